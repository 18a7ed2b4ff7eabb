"""The exact solver: a queue of problems, as many at a time as memory allows, each until its own gap is small enough.

Problems that are solved together are lanes of one batch, and one matrix product. A solved problem leaves its lane to
the next one that is ready: one whose neighbours on its penalty grid are solved, near whose solutions it starts
(`path`). So a grid of any size needs few compiled shapes: the batch is 1, 2, 3, 4, 6, 8, … lanes wide, as wide as the
problems that run. `iteration` says what happens in a lane and what it costs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lca_jax.machine.devices import fetch, replicate, zeros_by_word
from lca_jax.probing.losses.loss import Loss
from lca_jax.probing.matrix.block import Block
from lca_jax.probing.matrix.held import sweep_block
from lca_jax.probing.matrix.matrix import Gram, Matrix, Sweep, Visit
from lca_jax.probing.penalties.penalty import Penalty
from lca_jax.probing.placement import place_problems
from lca_jax.probing.problems import Answer, Problems, Question
from lca_jax.probing.solvers.iteration import look, propose, settle
from lca_jax.probing.solvers.path import Start, best_start
from lca_jax.probing.solvers.state import State, begin, stopped

_Result = TypeVar("_Result")

_CHUNK = 5
"""Iterations between two times at which the host looks for problems that are solved."""
_FRESH_SHARE = 4
"""Problems enter once they fill a fourth of the batch: entering costs the batch a product."""
_CURVATURE = 0.1
"""The curvature at which the search of problems without neighbours begins."""
_NARROW_ABOVE_FLOP = 2e10
"""The batch is as wide as the problems that run only where an iteration of all would cost more than this: compiling
another width costs seconds. Otherwise it has one width from the first to the last."""


@dataclass(frozen=True, kw_only=True)
class Proximal:
    """Proximal steps in the Gram metric, with momentum; implements `Solver`."""

    tolerance: float
    """A problem is solved when its duality gap is at most this share of its objective at zero weights."""
    max_iterations: int
    """A problem that needs more is returned with `converged` False and the gap it has."""

    @property
    def iterates_to_tolerance(self) -> bool:
        """True."""
        return True

    def check(self, penalty: Penalty) -> None:
        """Accepts every penalty: this solver calls nothing beyond `Penalty`."""

    def solve(
        self, matrix: Matrix, questions: Sequence[Question], loss: Loss, penalty: Penalty, *, at_once: int
    ) -> list[Answer]:
        """Solves every question; a problem stays in its lane until it is solved in all layers."""
        queue = _Queue(self, matrix, questions, loss, penalty, lanes=at_once)
        answers: dict[int, Answer] = {}
        waiting = list(range(len(questions)))
        batch: _Batch | None = None
        while len(answers) < len(questions):
            running = len(batch.running) if batch else 0
            ready = [number for number in waiting if all(parent in answers for parent in questions[number].parents)]
            entering = ready[: at_once - running]
            width = queue.width(running + len(entering))
            narrower = batch is not None and width < len(batch.members)
            enough = not queue.costly or len(entering) * _FRESH_SHARE >= running
            if narrower or (entering and enough):
                waiting = [number for number in waiting if number not in entering]
                batch = queue.enter(batch, entering, answers, width)
            assert batch is not None  # without running problems one is ready
            batch = queue.leave(batch._replace(state=queue.advance(batch)), answers)
        return [answers[number] for number in range(len(questions))]


SOLVER = Proximal


class _Batch(NamedTuple):
    """The problems that are being solved."""

    members: list[int | None]
    """Number of the question in each lane; None where the lane is idle."""
    problems: Problems
    means: Float[Array, "*layer problem class feature"]
    limits: Float[Array, " problem"]
    null: Float[np.ndarray, " problem"]
    state: State

    @property
    def running(self) -> list[int]:
        """The lanes that are not idle."""
        return [lane for lane, number in enumerate(self.members) if number is not None]


class _Queue:
    """One call of `solve`: everything that stays as it is while problems enter and leave the batch."""

    def __init__(
        self,
        settings: Proximal,
        matrix: Matrix,
        questions: Sequence[Question],
        loss: Loss,
        penalty: Penalty,
        *,
        lanes: int,
    ) -> None:
        self._settings, self._matrix, self._questions = settings, matrix, questions
        self._loss, self._penalty, self._lanes = loss, penalty, lanes
        self._metric = matrix.metric()
        self._classes = max(question.classes for question in questions)
        self._widest = _width(len(questions), lanes)
        operations = 4.0 * matrix.padded_words * matrix.layers * matrix.features * self._classes * self._widest
        self.costly = operations > _NARROW_ABOVE_FLOP

    def width(self, problems: int) -> int:
        """Returns the lanes of a batch for that many problems."""
        return _width(problems, self._lanes) if self.costly else self._widest

    def enter(self, batch: _Batch | None, entering: Sequence[int], answers: dict[int, Answer], width: int) -> _Batch:
        """Makes a batch of the problems that run and those that enter, its other lanes idle. Costs a product."""
        matrix = self._matrix
        running = batch.running if batch else []
        staying = [batch.members[lane] for lane in running] if batch else []
        members = [*staying, *entering, *[None] * (width - len(staying) - len(entering))]
        # An idle lane computes with the first problem's numbers, and nobody reads them.
        filled = [members[0] if number is None else number for number in members]
        problems = place_problems(
            [self._questions[number] for number in filled if number is not None],
            self._loss,
            classes=self._classes,
            mesh=matrix.mesh,
            padded_words=matrix.padded_words,
        )
        means, null, bias = _describe(problems, loss=self._loss)
        null = fetch(null)
        starts = dict(enumerate((self._start(number, answers) for number in entering), len(staying)))
        state = self._begin(starts, fetch(bias))
        if batch:
            source = np.array([*running, *[0] * (width - len(running))])
            state = _carry(batch.state, state, source, np.arange(width) < len(running), axis=int(matrix.layered))
        idle = np.array([number is None for number in members])
        state = state._replace(done=_either(state.done, idle))
        limits = replicate(matrix.mesh, self._settings.tolerance * null)
        return _Batch(members, problems, matrix.correlations(means), limits, null, state)

    def advance(self, batch: _Batch) -> State:
        """Takes up to `_CHUNK` iterations, fewer when every problem is solved before."""
        matrix, limit = self._matrix, self._settings.max_iterations
        arrays = (self._metric, batch.problems, batch.means, batch.limits)
        records = {"loss": self._loss, "penalty": self._penalty, "max_iterations": limit}
        if matrix.block is not None:
            return _advance_whole(matrix.block, *arrays, batch.state, **records)
        state = batch.state
        for _ in range(_CHUNK):
            visit = _look(self._loss, whole=matrix.whole)
            state = _iterate(matrix.sweep, visit, *arrays, state, layered=matrix.layered, **records)
            if fetch(stopped(state, limit)).all():
                break
        return state

    def leave(self, batch: _Batch, answers: dict[int, Answer]) -> _Batch:
        """Takes the problems out that are solved in all layers, or out of iterations, and adds their answers."""
        state, layers = batch.state, self._matrix.layers
        over: Bool[np.ndarray, " lane"] = (
            fetch(stopped(state, self._settings.max_iterations)).reshape(layers, -1).min(axis=0)
        )
        leaving = [lane for lane in batch.running if over[lane]]
        if not leaving:
            return batch

        def by_layer(array: Array) -> np.ndarray:
            return fetch(array).reshape(layers, *array.shape[int(self._matrix.layered) :])

        W, bias, objective, gap = (by_layer(part) for part in (state.W, state.bias, state.objective, state.gap))
        iterations, done, curvature = (by_layer(part) for part in (state.iterations, state.done, state.curvature))
        members = list(batch.members)
        for lane in leaving:
            number = members[lane]
            assert number is not None
            members[lane] = None
            answers[number] = Answer(
                weights=W[:, lane].copy(),
                bias=bias[:, lane].copy(),
                objective=objective[:, lane],
                duality_gap=gap[:, lane],
                null_objective=float(batch.null[lane]),
                iterations=iterations[:, lane],
                converged=done[:, lane],
                curvature=curvature[:, lane],
            )
        return batch._replace(members=members)

    def _start(self, number: int, answers: dict[int, Answer]) -> Start | None:
        """Returns where a question starts; None for zero weights."""
        question = self._questions[number]
        parents = [(self._questions[parent], answers[parent]) for parent in question.parents]
        return best_start(question, parents, self._penalty) if parents else None

    def _begin(self, starts: dict[int, Start | None], bias: Float[np.ndarray, "problem class"]) -> State:
        """Returns the state of fresh problems, by lane; lanes without a start have zero weights and their best bias."""
        matrix, (width, classes) = self._matrix, bias.shape
        weights = np.zeros((matrix.layers, width, classes, matrix.features), np.float32)
        bias = np.tile(bias, (matrix.layers, 1, 1))
        curvature = np.full((matrix.layers, width), _CURVATURE, np.float32)
        for lane, start in starts.items():
            if start is not None:
                present = start.bias.shape[1]
                weights[:, lane, :present], bias[:, lane, :present], curvature[:, lane] = start
        by_layer = (weights, bias, curvature)
        W, b, c = (replicate(matrix.mesh, array if matrix.layered else array[0]) for array in by_layer)
        zeros = zeros_by_word(matrix.mesh, (*W.shape[:-2], matrix.padded_words, classes))
        return _begin(W, zeros, b, c)


def _width(problems: int, lanes: int) -> int:
    """Returns the next of 1, 2, 3, 4, 6, 8, 12, 16, … that is at least the number of problems, or all lanes."""
    power = 1 << max(problems - 1, 0).bit_length()
    return min(power * 3 // 4 if power >= 4 and problems <= power * 3 // 4 else power, lanes)


_begin = jax.jit(begin)


@partial(jax.jit, static_argnames="loss")
def _describe(
    problems: Problems, *, loss: Loss
) -> tuple[Float[Array, "problem word class"], Float[Array, " problem"], Float[Array, "problem class"]]:
    """Returns `mean_weights` of problems, their objective at zero weights, and the best bias there."""
    return loss.mean_weights(problems), loss.null_objective(problems), loss.starting_bias(problems)


@jax.jit
def _either(done: Bool[Array, "*layer problem"], idle: Bool[Array, " problem"]) -> Bool[Array, "*layer problem"]:
    return done | jnp.broadcast_to(idle, done.shape)


@partial(jax.jit, static_argnames=("axis",))
def _carry(old: State, new: State, source: Int[Array, " lane"], staying: Bool[Array, " lane"], *, axis: int) -> State:
    """Moves some lanes of one batch into another."""

    def choose(before: Array, fresh: Array) -> Array:
        flags = staying.reshape(staying.shape + (1,) * (fresh.ndim - axis - 1))
        return jnp.where(flags, jnp.take(before, source, axis=axis), fresh)

    return jax.tree.map(choose, old, new)


@partial(jax.jit, static_argnames=("loss", "penalty", "max_iterations"))
def _advance_whole(
    block: Block,
    metric: Gram,
    problems: Problems,
    means: Float[Array, "*layer problem class feature"],
    limits: Float[Array, " problem"],
    state: State,
    *,
    loss: Loss,
    penalty: Penalty,
    max_iterations: int,
) -> State:
    """Takes the same iterations as one program, where all words are at hand."""
    sweep, visit = partial(sweep_block, block), _look(loss, whole=True)
    records = {"layered": block.layered, "loss": loss, "penalty": penalty, "max_iterations": max_iterations}

    def going(carry: tuple[Int[Array, ""], State]) -> Bool[Array, ""]:
        step, now = carry
        return (step < _CHUNK) & ~stopped(now, max_iterations).all()

    def step(carry: tuple[Int[Array, ""], State]) -> tuple[Int[Array, ""], State]:
        count, now = carry
        return count + 1, _iterate(sweep, visit, metric, problems, means, limits, now, **records)

    return jax.lax.while_loop(going, step, (jnp.zeros((), jnp.int32), state))[1]


def _iterate(
    sweep: Callable[..., Sweep],
    visit: Visit,
    metric: Gram,
    problems: Problems,
    means: Float[Array, "*layer problem class feature"],
    limits: Float[Array, " problem"],
    state: State,
    *,
    layered: bool,
    loss: Loss,
    penalty: Penalty,
    max_iterations: int,
) -> State:
    """Takes one iteration of all problems in all layers: two programs, and between them the products with X."""
    proposal = _propose(metric, problems, limits, state, layered=layered, penalty=penalty)
    swept = sweep(visit=visit, U=proposal.U, problems=problems, by_problem=proposal.steps, by_word=state.scores)
    arrays = (problems, means, limits, state, proposal, *swept)
    return _settle(*arrays, layered=layered, loss=loss, penalty=penalty, max_iterations=max_iterations)


@cache
def _look(loss: Loss, *, whole: bool) -> Visit:
    """Returns the same function for the same loss: matrices compile it once."""
    return partial(look, loss=loss, whole=whole)


def _program(stretch: Callable[..., _Result], *, axes: tuple[int | None, ...]) -> Callable[..., _Result]:
    """Makes a part of an iteration one compiled program, mapped over the layers where there are layers.

    Args:
        stretch: Function of one layer.
        axes: 0 for the arguments that differ by layer, None for those that all layers share.
    """

    @partial(jax.jit, static_argnames=("layered", "loss", "penalty", "max_iterations"))
    def program(*arrays: object, layered: bool, **records: object) -> _Result:
        of_layer = partial(stretch, **records)
        return (jax.vmap(of_layer, in_axes=axes) if layered else of_layer)(*arrays)

    return program


_propose = _program(propose, axes=(0, None, None, 0))
_settle = _program(settle, axes=(None, 0, None, 0, 0, 0, 0, 0))

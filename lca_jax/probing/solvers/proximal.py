"""The exact solver: a queue of problems, as many at a time as memory allows, each until its own gap is small enough.

Problems that are solved together are slots of one batch, and one matrix product. A solved problem leaves its slot to
the next one that is ready: whose neighbours on its penalty grid are solved, near whose solutions it starts (`path`).
So a grid of any size keeps few compiled shapes busy: the batch is 1, 2, 3, 4, 6, 8, … slots wide, as wide as the
problems at hand. What happens inside a slot, and what it costs, is `iteration`'s.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lca_jax.machine.devices import fetch, replicate, zeros_by_word
from lca_jax.probing.matrix.held import Design, Gram, Products
from lca_jax.probing.problems import Answer, Problems, Question, make_problems, null_objective, starting_bias
from lca_jax.probing.solvers.iteration import State, begin, look, propose, settle, stopped
from lca_jax.probing.solvers.loss import mean_weights
from lca_jax.probing.solvers.path import Start, best_start

_Result = TypeVar("_Result")

_CHUNK = 5
"""Iterations between two looks of the host at which problems are solved."""
_FRESH_SHARE = 4
"""Problems enter once they fill a fourth of the batch: entering costs the batch a product."""
_CURVATURE = 0.1
"""Where problems without neighbours begin to look."""
_NARROW_ABOVE_FLOP = 2e10
"""The batch is as wide as the problems at hand only where an iteration of all would cost more than this: compiling
another width costs seconds. Otherwise it has one width from the first to the last."""


class _Batch(NamedTuple):
    """What is being solved."""

    members: list[int | None]
    """Number of the question in each slot; None where the slot is idle."""
    problems: Problems
    means: Float[Array, "*layer problem class feature"]
    limits: Float[Array, " problem"]
    null: Float[np.ndarray, " problem"]
    state: State

    @property
    def running(self) -> list[int]:
        """The slots that are not idle."""
        return [slot for slot, number in enumerate(self.members) if number is not None]


def solve(
    design: Products,
    metric: Gram,
    questions: Sequence[Question],
    *,
    classes: int,
    slots: int,
    squared: bool,
    tolerance: float,
    max_iterations: int,
) -> list[Answer]:
    """Solves every question until its duality gap is at most `tolerance` of its objective at zero weights.

    Args:
        design: Features of the words.
        metric: `design.metric(words)`.
        questions: What to solve; in every layer, where the design is a matrix a layer: a problem keeps its slot until
            it is solved in all layers.
        classes: Length of the class axis.
        slots: Problems that may be solved at a time.
        squared: True for the elastic net, False for the `neurox` penalty.
        tolerance: Share of the null objective.
        max_iterations: Problems that need more are returned with `converged` False and the gap they have.
    """
    answers: dict[int, Answer] = {}
    waiting = list(range(len(questions)))
    widest = _width(len(questions), slots)
    costly = 4.0 * design.rows * design.layers * design.features * classes * widest > _NARROW_ABOVE_FLOP
    batch: _Batch | None = None
    while len(answers) < len(questions):
        running = len(batch.running) if batch else 0
        ready = [number for number in waiting if all(parent in answers for parent in questions[number].parents)]
        entering = ready[: slots - running]
        width = _width(running + len(entering), slots) if costly else widest
        narrower = batch is not None and width < len(batch.members)
        if narrower or (entering and (not costly or len(entering) * _FRESH_SHARE >= running)):
            waiting = [number for number in waiting if number not in entering]
            starts = [_start(questions, answers, number, squared=squared) for number in entering]
            batch = _enter(design, batch, questions, entering, starts, width, classes=classes, tolerance=tolerance)
        assert batch is not None  # without running problems one is ready
        state = _advance(design, metric, batch, squared=squared, max_iterations=max_iterations)
        batch = _leave(design, batch._replace(state=state), answers, max_iterations)
    return [answers[number] for number in range(len(questions))]


def _width(problems: int, slots: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, … that holds so many problems, or all slots."""
    power = 1 << max(problems - 1, 0).bit_length()
    return min(power * 3 // 4 if power >= 4 and problems <= power * 3 // 4 else power, slots)


def _start(questions: Sequence[Question], answers: dict[int, Answer], number: int, *, squared: bool) -> Start | None:
    """Where a question starts from; None for zero weights."""
    parents = [(questions[parent], answers[parent]) for parent in questions[number].parents]
    return best_start(questions[number], parents, squared=squared) if parents else None


def _enter(
    design: Products,
    batch: _Batch | None,
    questions: Sequence[Question],
    entering: Sequence[int],
    starts: Sequence[Start | None],
    width: int,
    *,
    classes: int,
    tolerance: float,
) -> _Batch:
    """A batch of the problems that are running and those that enter, its other slots idle. Costs a product."""
    running = batch.running if batch else []
    kept = [batch.members[slot] for slot in running] if batch else []
    members = [*kept, *entering, *[None] * (width - len(kept) - len(entering))]
    # An idle slot computes with the first problem's numbers, and nobody reads them.
    filled = [members[0] if number is None else number for number in members]
    asked = [questions[number] for number in filled if number is not None]
    problems = make_problems(asked, classes=classes, mesh=design.devices(), rows=design.rows)
    means, null, starting = _know(problems)
    null = fetch(null)
    weights = np.zeros((design.layers, width, classes, design.features), np.float32)
    bias = np.tile(fetch(starting), (design.layers, 1, 1))
    curvature = np.full((design.layers, width), _CURVATURE, np.float32)
    for slot, start in enumerate(starts, len(kept)):
        if start is not None:
            own = start.bias.shape[1]
            weights[:, slot, :own], bias[:, slot, :own], curvature[:, slot] = start
    W, b, c = (replicate(design.devices(), array if design.axis else array[0]) for array in (weights, bias, curvature))
    unknown = zeros_by_word(design.devices(), (*W.shape[:-2], design.rows, classes))
    state = _begin(W, unknown, b, c)
    if batch:
        source = np.array([*running, *[0] * (width - len(running))])
        state = _carry(batch.state, state, source, np.arange(width) < len(running), axis=design.axis)
    idle = np.array([number is None for number in members])
    state = state._replace(done=_either(state.done, idle))
    limits = replicate(design.devices(), tolerance * null)
    return _Batch(members, problems, design.correlations(means), limits, null, state)


_begin = jax.jit(begin)


@jax.jit
def _know(
    problems: Problems,
) -> tuple[Float[Array, "problem word class"], Float[Array, " problem"], Float[Array, "problem class"]]:
    """Of problems before they are solved: `mean_weights`, the objective at zero weights, and the best bias there."""
    return mean_weights(problems), null_objective(problems), starting_bias(problems)


@jax.jit
def _either(done: Bool[Array, "*layer problem"], idle: Bool[Array, " problem"]) -> Bool[Array, "*layer problem"]:
    return done | jnp.broadcast_to(idle, done.shape)


@partial(jax.jit, static_argnames=("axis",))
def _carry(old: State, new: State, source: Int[Array, " slot"], kept: Bool[Array, " slot"], *, axis: int) -> State:
    """Some slots of one batch as slots of another."""

    def choose(before: Array, fresh: Array) -> Array:
        flags = kept.reshape(kept.shape + (1,) * (fresh.ndim - axis - 1))
        return jnp.where(flags, jnp.take(before, source, axis=axis), fresh)

    return jax.tree.map(choose, old, new)


def _leave(design: Products, batch: _Batch, answers: dict[int, Answer], max_iterations: int) -> _Batch:
    """Takes the problems out that are solved in all layers, or out of iterations."""
    state = batch.state
    over: Bool[np.ndarray, " slot"] = fetch(stopped(state, max_iterations)).reshape(design.layers, -1).min(axis=0)
    leaving = [slot for slot in batch.running if over[slot]]
    if not leaving:
        return batch

    def of_layers(array: Array) -> np.ndarray:
        return fetch(array).reshape(design.layers, *array.shape[design.axis :])

    W, bias, objective, gap = (of_layers(part) for part in (state.W, state.bias, state.objective, state.gap))
    iterations, done, curvature = (of_layers(part) for part in (state.iterations, state.done, state.curvature))
    members = list(batch.members)
    for slot in leaving:
        number = members[slot]
        assert number is not None
        members[slot] = None
        answers[number] = Answer(
            weights=W[:, slot].copy(),
            bias=bias[:, slot].copy(),
            objective=objective[:, slot],
            duality_gap=gap[:, slot],
            null_objective=float(batch.null[slot]),
            iterations=iterations[:, slot],
            converged=done[:, slot],
            curvature=curvature[:, slot],
        )
    return batch._replace(members=members)


def _advance(design: Products, metric: Gram, batch: _Batch, *, squared: bool, max_iterations: int) -> State:
    """Up to `_CHUNK` iterations, fewer when every problem is solved before; with X on the devices, as one program."""
    fixed = (metric, batch.problems, batch.means, batch.limits)
    if isinstance(design, Design):
        return _advance_resident(design, *fixed, batch.state, squared=squared, max_iterations=max_iterations)
    state = batch.state
    for _ in range(_CHUNK):
        state = _iterate(design, *fixed, state, squared=squared, max_iterations=max_iterations)
        if fetch(stopped(state, max_iterations)).all():
            break
    return state


@partial(jax.jit, static_argnames=("squared", "max_iterations"))
def _advance_resident(
    design: Design,
    metric: Gram,
    problems: Problems,
    means: Float[Array, "*layer problem class feature"],
    limits: Float[Array, " problem"],
    state: State,
    *,
    squared: bool,
    max_iterations: int,
) -> State:
    """The same without a look of the host."""

    def going(carry: tuple[Int[Array, ""], State]) -> Bool[Array, ""]:
        step, now = carry
        return (step < _CHUNK) & ~stopped(now, max_iterations).all()

    def step(carry: tuple[Int[Array, ""], State]) -> tuple[Int[Array, ""], State]:
        count, now = carry
        then = _iterate(design, metric, problems, means, limits, now, squared=squared, max_iterations=max_iterations)
        return count + 1, then

    return jax.lax.while_loop(going, step, (jnp.zeros((), jnp.int32), state))[1]


def _iterate(
    design: Products,
    metric: Gram,
    problems: Problems,
    means: Float[Array, "*layer problem class feature"],
    limits: Float[Array, " problem"],
    state: State,
    *,
    squared: bool,
    max_iterations: int,
) -> State:
    """One iteration of all problems in all layers: two programs, and between them whatever makes the products."""
    layered = bool(design.axis)
    proposed = _propose(metric, problems, limits, state, layered=layered, squared=squared)
    visit = _look_at_all if isinstance(design, Design) else _look_at_some
    swept = design.sweep(visit, proposed.U, problems, proposed.steps, state.scores)
    known = (problems, means, limits, state, proposed, *swept)
    return _settle(*known, layered=layered, squared=squared, max_iterations=max_iterations)


def _program(stretch: Callable[..., _Result], *, axes: tuple[int | None, ...]) -> Callable[..., _Result]:
    """A stretch of an iteration as one compiled program, mapped over the layers where the design is a matrix a layer.

    Args:
        stretch: Of one layer.
        axes: 0 for the arguments that each layer has of its own, None for those that all share.
    """

    @partial(jax.jit, static_argnames=("layered", "squared", "max_iterations"))
    def program(*known: object, layered: bool, **settings: int) -> _Result:
        of_one = partial(stretch, **settings)
        return (jax.vmap(of_one, in_axes=axes) if layered else of_one)(*known)

    return program


_look_at_all = partial(look, whole=True)
_look_at_some = partial(look, whole=False)
_propose = _program(propose, axes=(0, None, None, 0))
_settle = _program(settle, axes=(None, 0, None, 0, 0, 0, 0, 0))

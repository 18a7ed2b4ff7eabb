"""The iterations of a batch of lanes, until some of its problems are over: one program, or one for each block of X."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TypeVar

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lca_jax.machine.devices import replicate
from lca_jax.probing.losses.loss import Loss
from lca_jax.probing.matrix.block import Block
from lca_jax.probing.matrix.held import sweep_block
from lca_jax.probing.matrix.matrix import BlockMatrix, Matrix, Sweep, Visit
from lca_jax.probing.matrix.metric import Metric
from lca_jax.probing.penalties.penalty import Penalty
from lca_jax.probing.problems import Problems
from lca_jax.probing.solvers.iteration import look, propose, settle
from lca_jax.probing.solvers.lanes import Lanes, over
from lca_jax.probing.solvers.sharing import Share, correlations_of, share_of, state_shared_out
from lca_jax.probing.solvers.state import State, stopped

_Result = TypeVar("_Result")


def advance(
    matrix: Matrix,
    lanes: Lanes,
    running: Sequence[int],
    leavers: int,
    *,
    loss: Loss,
    penalty: Penalty,
    max_iterations: int,
) -> Lanes:
    """Iterates until some of the running problems are over; takes over the memory of the state.

    Args:
        matrix: The words.
        lanes: The batch.
        running: Lanes that hold a problem.
        leavers: The number of running problems that must be over, at least 1.
        loss: Loss of the problems.
        penalty: Penalty of their weights.
        max_iterations: Largest number of iterations of a problem.
    """
    problems, means, limits, state = lanes
    metric, layered = matrix.metric(), matrix.layered
    records = {"loss": loss, "penalty": penalty, "share": share_of(matrix.mesh, len(lanes.limits))}
    most = np.array(max_iterations, np.int32)  # an array: another limit is no other program
    if matrix.block is not None:
        # Placed, or the compiler might divide it among groups of devices, of which JAX's mesh knows nothing.
        watched = replicate(matrix.mesh, np.isin(np.arange(len(lanes.limits)), running))
        wanted = np.int32(leavers)
        arrays = (problems, means, limits, watched, wanted, most)
        state = advance_whole(state, matrix.block, metric, *arrays, **records)
        return lanes._replace(state=state)
    assert isinstance(matrix, BlockMatrix)  # a matrix without a block of all words is read in blocks
    visit = _look(loss, whole=False)
    while over(state, matrix, max_iterations)[list(running)].sum() < leavers:
        arrays = (problems, means, limits, state, most)
        state = _iterate(matrix.sweep, visit, metric, *arrays, layered=layered, **records)
    return lanes._replace(state=state)


@partial(jax.jit, static_argnames=("loss", "penalty", "share"), donate_argnums=0)
def advance_whole(
    state: State,
    block: Block,
    metric: Metric,
    problems: Problems,
    means: Float[Array, "*layer problem class feature"],
    limits: Float[Array, " problem"],
    watched: Bool[Array, " problem"],
    leavers: Int[Array, ""],
    max_iterations: Int[Array, ""],
    *,
    loss: Loss,
    penalty: Penalty,
    share: Share | None = None,
) -> State:
    """Iterates as one program, where all words are at hand."""
    sweep, visit = partial(sweep_block, block, correlate=correlations_of(share)), _look(loss, whole=True)
    records = {"layered": block.layered, "loss": loss, "penalty": penalty, "share": share}

    def going(now: State) -> Bool[Array, ""]:
        flags = stopped(now, max_iterations).reshape(-1, len(watched)).all(axis=0)
        return (flags & watched).sum() < leavers

    def step(now: State) -> State:
        return _iterate(sweep, visit, metric, problems, means, limits, now, max_iterations, **records)

    return state_shared_out(jax.lax.while_loop(going, step, state), share)


def _iterate(
    sweep: Callable[..., Sweep],
    visit: Visit,
    metric: Metric,
    problems: Problems,
    means: Float[Array, "*layer problem class feature"],
    limits: Float[Array, " problem"],
    state: State,
    max_iterations: Int[Array | np.ndarray, ""],
    *,
    layered: bool,
    loss: Loss,
    penalty: Penalty,
    share: Share | None,
) -> State:
    """Takes one iteration of all problems in all layers: two programs, and between them the products with X."""
    proposal = _propose(metric, problems, limits, state, layered=layered, penalty=penalty, share=share)
    swept = sweep(visit=visit, U=proposal.U, problems=problems, by_problem=proposal.steps, by_word=state.scores)
    arrays = (problems, means, limits, state, proposal, *swept, max_iterations)
    return _settle(*arrays, layered=layered, loss=loss, penalty=penalty, share=share)


@cache
def _look(loss: Loss, *, whole: bool) -> Visit:
    """Returns the same function for the same loss: matrices compile it once."""
    return partial(look, loss=loss, whole=whole)


def _program(
    stretch: Callable[..., _Result], *, axes: tuple[int | None, ...], taken_over: tuple[int, ...] = ()
) -> Callable[..., _Result]:
    """Makes a part of an iteration one compiled program, mapped over the layers where there are layers.

    Args:
        stretch: Function of one layer.
        axes: 0 for the arguments that differ by layer, None for those that all layers share.
        taken_over: Places of the arguments whose memory becomes that of the result.
    """

    @partial(jax.jit, static_argnames=("layered", "loss", "penalty", "share"), donate_argnums=taken_over)
    def program(*arrays: object, layered: bool, **records: object) -> _Result:
        of_layer = partial(stretch, **records)
        return (jax.vmap(of_layer, in_axes=axes) if layered else of_layer)(*arrays)

    return program


_propose = _program(propose, axes=(0, None, None, 0))
_settle = _program(settle, axes=(None, 0, None, 0, 0, 0, 0, 0, None), taken_over=(3,))

"""The lanes of a batch: device arrays of the problems that are solved side by side, one product for all of them.

A problem enters a lane and leaves it when it is solved in all layers. Only the lane that changes is written: a lane
costs the memory of its own arrays, and its first iteration, which measures, makes its scores. Everything that problems
with the same labels and word weights share is placed once (`PlacedLabels`). A lane without a problem is done from the
start; it computes with the numbers of some other problem, and nobody reads them.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from lca_jax.machine.devices import fetch
from lca_jax.probing.losses.loss import Loss
from lca_jax.probing.matrix.matrix import Matrix
from lca_jax.probing.placement import place_problems
from lca_jax.probing.problems import Answer, Problems, Question, Start
from lca_jax.probing.solvers.sharing import share_of, shared_out, state_shared_out
from lca_jax.probing.solvers.state import State, begin, stopped

_Result = TypeVar("_Result")

_CURVATURE = 0.1
"""The curvature at which the search of problems without a start begins."""


class Lanes(NamedTuple):
    """The problems of a batch on the devices, and how far each one is."""

    problems: Problems
    means: Float[Array, "*layer problem class feature"]
    """Products of `loss.mean_weights` with X."""
    limits: Float[Array, " problem"]
    """Gap at which each problem is done."""
    state: State


class PlacedLabels(NamedTuple):
    """Labels and word weights on the devices, as a batch of one problem without a penalty."""

    problems: Problems
    means: Float[Array, "*layer problem class feature"]
    bias: Float[Array, "problem class"]
    """The best bias at zero weights."""
    null_objective: float
    """Objective there."""

    @staticmethod
    def of(question: Question, matrix: Matrix, loss: Loss, *, classes: int, weighted: bool) -> "PlacedLabels":
        """Places the labels of a question; costs half of the products of an iteration of this problem alone.

        Args:
            question: The question.
            matrix: The words.
            loss: Loss of the question.
            classes: Length of the class axis of the batch.
            weighted: Whether problems of the batch have word weights.
        """
        problems = place_problems(
            [question], loss, classes=classes, mesh=matrix.mesh, padded_words=matrix.padded_words, weighted=weighted
        )
        weights, null, bias = _describe(problems, loss=loss)
        return PlacedLabels(problems, matrix.correlations(weights), bias, float(fetch(null)[0]))


def lane_of(
    question: Question, labels: PlacedLabels, start: Start | None, matrix: Matrix, *, tolerance: float
) -> Lanes:
    """Returns a batch of one lane: a question at its start, or at zero weights and the best bias there.

    Args:
        question: The question.
        labels: Its labels, placed.
        start: Where it starts; None for zero weights.
        matrix: The words.
        tolerance: Gap at which it is done, as a share of its objective at zero weights.
    """
    classes, layers = labels.bias.shape[1], matrix.layers
    weights = np.zeros((layers, 1, classes, matrix.features), np.float32)
    bias = np.tile(fetch(labels.bias), (layers, 1, 1))
    curvature = np.full((layers, 1), _CURVATURE, np.float32)
    if start is not None:
        present = start.bias.shape[1]
        weights[:, 0, :present], bias[:, 0, :present] = start.weights, start.bias
        if start.curvature is not None:
            curvature[:, 0] = start.curvature
    by_layer = (weights, bias, curvature) if matrix.layered else (weights[0], bias[0], curvature[0])
    numbers = (np.array([value], np.float32) for value in (question.l1, question.l2, tolerance * labels.null_objective))
    by_word = PartitionSpec(*[None] * (2 + matrix.layered), "data")
    return _open(
        labels.problems,
        labels.means,
        question.keep[None],
        *numbers,
        *by_layer,
        words=NamedSharding(matrix.mesh, by_word),
        whole=matrix.block is not None,
    )


def spread(one: Lanes, width: int, *, layered: bool, mesh: Mesh) -> Lanes:
    """Returns lanes as many as wanted, of which the first holds a problem; the others are idle."""
    return one if width == 1 else _spread(one, width=width, layered=layered, mesh=mesh)


@partial(jax.jit, static_argnames=("layered", "mesh"), donate_argnums=0)
def enter(lanes: Lanes, one: Lanes, lane: Int[Array, ""], *, layered: bool, mesh: Mesh) -> Lanes:
    """Writes a problem into a lane; takes over the memory of the lanes."""

    def write(axis: int) -> Callable[[Array, Array], Array]:
        return lambda many, single: jax.lax.dynamic_update_slice_in_dim(many, single, lane, axis)

    return _shared_out(_by_axis(write, lanes, one, layered=layered), mesh)


@partial(jax.jit, static_argnames=("layered", "mesh"))
def keep_lanes(lanes: Lanes, kept: Int[Array, " kept"], *, layered: bool, mesh: Mesh) -> Lanes:
    """Returns narrower lanes: those of the given numbers, in that order."""

    def take(axis: int) -> Callable[[Array], Array]:
        return lambda many: jnp.take(many, kept, axis=axis)

    return _shared_out(_by_axis(take, lanes, layered=layered), mesh)


def answer_of(state: State, lane: int, null_objective: float, matrix: Matrix) -> Answer:
    """Fetches what the problem in a lane has come to."""
    taken = _take(state, np.int32(lane), layered=matrix.layered)
    W, bias, objective, gap, iterations, done, curvature = (
        fetch(part).reshape(matrix.layers, *part.shape[int(matrix.layered) :]) for part in taken
    )
    return Answer(
        weights=W,
        bias=bias,
        objective=objective,
        duality_gap=gap,
        null_objective=null_objective,
        iterations=iterations,
        converged=done,
        curvature=curvature,
    )


def over(state: State, matrix: Matrix, max_iterations: int) -> Bool[np.ndarray, " lane"]:
    """Tells which lanes have nothing to do any more, in no layer."""
    return np.all(fetch(stopped(state, max_iterations)).reshape(matrix.layers, -1), axis=0)


def _by_axis(function: Callable[[int], Callable[..., Array]], first: Lanes, *others: Lanes, layered: bool) -> Lanes:
    """Maps over the arrays of lanes a function that is given the place of their problem axis."""
    by_problem, by_layer = function(0), function(int(layered))

    def of(name: str, mapped: Callable[..., Array]) -> object:
        return jax.tree.map(mapped, getattr(first, name), *(getattr(other, name) for other in others))

    return Lanes(of("problems", by_problem), of("means", by_layer), of("limits", by_problem), of("state", by_layer))  # pyright: ignore[reportArgumentType] - trees of the same shapes


def _shared_out(lanes: Lanes, mesh: Mesh) -> Lanes:
    """Divides the weights of the lanes among the devices by problem, and whatever has their shape."""
    share = share_of(mesh, lanes.limits.shape[0])
    return lanes._replace(means=shared_out(lanes.means, share), state=state_shared_out(lanes.state, share))


@partial(jax.jit, static_argnames="loss")
def _describe(
    problems: Problems, *, loss: Loss
) -> tuple[Float[Array, "problem class word"], Float[Array, " problem"], Float[Array, "problem class"]]:
    """Returns `mean_weights` of problems, their objective at zero weights, and the best bias there."""
    return loss.mean_weights(problems), loss.null_objective(problems), loss.starting_bias(problems)


@partial(jax.jit, static_argnames=("words", "whole"))
def _open(
    problems: Problems,
    means: Array,
    keep: Array,
    l1: Array,
    l2: Array,
    limits: Array,
    W: Float[Array, "*layer problem class feature"],
    bias: Array,
    curvature: Array,
    *,
    words: NamedSharding,
    whole: bool,
) -> Lanes:
    shape = (*W.shape[:-1], problems.labels.shape[1])
    zeros = jax.lax.with_sharding_constraint(jnp.zeros(shape, W.dtype), words)
    state = begin(W, zeros, bias, curvature, whole=whole)
    return Lanes(problems._replace(l1=l1, l2=l2, keep=keep), means, limits, state)


@partial(jax.jit, static_argnames=("width", "layered", "mesh"))
def _spread(one: Lanes, *, width: int, layered: bool, mesh: Mesh) -> Lanes:
    lanes = _by_axis(lambda axis: partial(jnp.repeat, repeats=width, axis=axis), one, layered=layered)
    idle = jnp.broadcast_to(jnp.arange(width) > 0, lanes.state.done.shape)
    return _shared_out(lanes._replace(state=lanes.state._replace(done=lanes.state.done | idle)), mesh)


@partial(jax.jit, static_argnames="layered")
def _take(state: State, lane: Int[Array, ""], *, layered: bool) -> tuple[Array, ...]:
    parts = (state.W, state.bias, state.objective, state.gap, state.iterations, state.done, state.curvature)
    return tuple(jax.lax.dynamic_index_in_dim(part, lane, int(layered), keepdims=False) for part in parts)

"""The records of the exact solver: the state of every problem, and the values that pass between parts of an iteration.

Shapes are those of one layer; where the matrix has layers, the layer axis comes first. Letters as in `iteration`.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Scores(NamedTuple):
    """The scores of every word, without bias, for the last two weights of a problem, and the predictions at V."""

    X_W: Float[Array, "problem class word"]
    X_W_before: Float[Array, "problem class word"]
    Q: Float[Array, "problem class word"] | None
    """Predictions at V; None where X comes in blocks: they are computed again, and memory holds an array less."""


class Point(NamedTuple):
    """A point at which the loss is evaluated: W + β (W − W₋₁), and the bias there."""

    beta: Float[Array, " problem"]
    bias: Float[Array, "problem class"]


class State(NamedTuple):
    """The state of each problem between two iterations."""

    W: Float[Array, "problem class feature"]
    W_before: Float[Array, "problem class feature"]
    scores: Scores
    """Scores of both, and predictions; zeros until they are measured."""
    bias: Float[Array, "problem class"]
    """Bias at W."""
    point: Point
    """V."""
    gradient: Float[Array, "problem class feature"]
    """Gradient of the loss at V; the following fields are at V too."""
    bias_residual: Float[Array, "problem class"]
    newton: Float[Array, "problem class"]
    """The bias after a Newton step; for a problem that measures next, at W."""
    objective: Float[Array, " problem"]
    gap: Float[Array, " problem"]
    """A certificate after an iteration that measured; else an estimate, as if the bias were the best one."""
    momentum: Float[Array, " problem"]
    curvature: Float[Array, " problem"]
    measures: Bool[Array, " problem"]
    """Whether the next iteration stays at W, to compute its certificate."""
    trust: Float[Array, " problem"]
    """Share of its limit at which a gap looks small enough: less than 1 after one that looked so was not."""
    done: Bool[Array, " problem"]
    iterations: Int[Array, " problem"]


class Steps(NamedTuple):
    """The steps of every problem that are evaluated word by word."""

    before: Point
    """V."""
    after: Point
    """The next point, if U is taken."""
    bias: Float[Array, "problem class"]
    """The step of the bias from V to U."""


class Proposal(NamedTuple):
    """The next weights and point of every problem, before X is read."""

    U: Float[Array, "problem class feature"]
    bias: Float[Array, "problem class"]
    """Bias at U."""
    model: Float[Array, " problem"]
    """The growth of the loss beyond its tangent, from V to U, up to which U is taken."""
    momentum: Float[Array, " problem"]
    steps: Steps


class Sums(NamedTuple):
    """Sums over words: the outcome of a proposal."""

    loss: Float[Array, " problem"]
    """Loss at the next point, as are the dual value and the residual."""
    dual: Float[Array, " problem"]
    bias_residual: Float[Array, "problem class"]
    growth: Float[Array, " problem"]
    """Growth of the loss beyond its tangent, from V to U."""
    bias: Float[Array, "problem class"] | None
    """The best bias at the next point, if all words were at hand at once."""
    Q: Float[Array, "problem class word"] | None
    """Predictions at the next point, word by word, if all words were at hand at once."""


def begin(
    W: Float[Array, "*layer problem class feature"],
    zeros: Float[Array, "*layer problem class word"],
    bias: Float[Array, "*layer problem class"],
    curvature: Float[Array, "*layer problem"],
    *,
    whole: bool,
) -> State:
    """Returns the state of problems that start from given weights and the best bias there; they measure first.

    Args:
        W: The weights.
        zeros: Zeros in the place of scores.
        bias: The bias at W.
        curvature: The curvature at which the search for it begins.
        whole: Whether all words are at hand at once.
    """
    none = jnp.zeros_like(curvature)
    never = jnp.zeros(curvature.shape, bool)
    return State(
        W=W,
        W_before=W,
        scores=Scores(zeros, zeros, zeros if whole else None),
        bias=bias,
        point=Point(none, bias),
        gradient=jnp.zeros_like(W),
        bias_residual=jnp.zeros_like(bias),
        newton=bias,
        objective=none + jnp.inf,
        gap=none + jnp.inf,
        momentum=none + 1,
        curvature=curvature,
        measures=~never,
        trust=none + 1,
        done=never,
        iterations=jnp.zeros(curvature.shape, jnp.int32),
    )


def stopped(state: State, max_iterations: int | Int[Array, ""]) -> Bool[Array, "..."]:
    """Returns which problems are done or out of iterations."""
    return state.done | (state.iterations >= max_iterations)

r"""One iteration of the exact solver, for every problem at once, as the three stretches between its products with X.

Letters as in `design`:

    prepare    V = W + β (W − W₋₁)                        extrapolation; its scores follow without a product
               b = argmin over the bias, one Newton step  profiled out, which makes the certificate feasible
    product 1  g = X'(softmax(Z_V + b) − y)/n             with it the duality gap at V, free of charge
    propose    U ≈ argmin ⟨g, U−V⟩ + c/2 tr((U−V)' G (U−V)) + penalty(U)    a few FISTA steps with the Gram matrix G
    product 2  Z_U
    settle     U is taken if the loss is below its model, else c grows

G = X'X/n carries the correlations between neurons, so c is one number a problem: the curvature p(1 − p) that the
softmax still has (1 for a squared error). Measured on 20,000 words × 2,688 neurons × 17 classes this needs a third of
the products that proximal gradient steps need. An inner step costs feature² · class · problem · 2 operations,
word/feature times less than a product.

Momentum starts anew when a step turns back on the last one (O'Donoghue and Candès 2015, gradient scheme). A problem is
done when its own gap, at weights that it really holds, is at most its limit. Its iterates do not depend on which others
it is solved with. Everything here is pure and touches no X, so that the products may be made by whatever holds X.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lca_jax.probing.design import Gram
from lca_jax.probing.problems import Problems
from lca_jax.probing.terms import Prediction, bound_gap, fit_bias, loss_growth, penalty_proximal, predict, residuals

_INNER_STEPS = (5, 15)
"""Fewest and most. Measured, more than 15 save too few outer iterations for what they cost; few words make few worth
it, see `_inner_steps`."""


class State(NamedTuple):
    """Where each problem stands. `X_W` are the scores of W without bias."""

    W: Float[Array, "problem class feature"]
    W_before: Float[Array, "problem class feature"]
    X_W: Float[Array, "problem word class"]
    X_W_before: Float[Array, "problem word class"]
    bias: Float[Array, "problem class"]
    objective: Float[Array, " problem"]
    momentum: Float[Array, " problem"]
    curvature: Float[Array, " problem"]
    gap: Float[Array, " problem"]
    confirming: Bool[Array, " problem"]
    """The gap was small enough at an extrapolated point: the next iteration measures it at W itself."""
    done: Bool[Array, " problem"]
    iterations: Int[Array, " problem"]


class Prepared(NamedTuple):
    """What is known before the first product."""

    V: Float[Array, "problem class feature"]
    X_V: Float[Array, "problem word class"]
    bias: Float[Array, "problem class"]
    momentum: Float[Array, " problem"]
    prediction: Prediction
    R: Float[Array, "problem word class"]
    """What the first product takes."""


class Proposed(NamedTuple):
    """What is known before the second product."""

    U: Float[Array, "problem class feature"]
    """What it takes."""
    model: Float[Array, " problem"]
    """What the loss may grow beyond its tangent from V to U."""
    turns: Bool[Array, " problem"]
    """Whether the step from V to U turns back on the last one."""
    objective: Float[Array, " problem"]
    gap: Float[Array, " problem"]


def begin(
    W: Float[Array, "*layer problem class feature"],
    X_W: Float[Array, "*layer problem word class"],
    bias: Float[Array, "*layer problem class"],
    curvature: Float[Array, "*layer problem"],
    objective: Float[Array, "*layer problem"],
) -> State:
    """The state of problems that start from given weights, their scores and bias."""
    zeros = jnp.zeros_like(curvature)
    never = jnp.zeros(curvature.shape, bool)
    return State(
        W=W,
        W_before=W,
        X_W=X_W,
        X_W_before=X_W,
        bias=bias,
        objective=objective,
        momentum=zeros + 1,
        curvature=curvature,
        gap=zeros + jnp.inf,
        confirming=never,
        done=never,
        iterations=jnp.zeros(curvature.shape, jnp.int32),
    )


def prepare(problems: Problems, state: State, *, max_iterations: int) -> Prepared:
    """Extrapolates, fits the bias and predicts."""
    momentum = (1 + jnp.sqrt(1 + 4 * state.momentum**2)) / 2
    measures_W = state.confirming | _last(state, max_iterations)
    beta = jnp.where(measures_W, 0.0, (state.momentum - 1) / momentum)[:, None, None]
    V = state.W + beta * (state.W - state.W_before)
    X_V = state.X_W + beta * (state.X_W - state.X_W_before)
    bias = fit_bias(X_V, state.bias, problems)
    prediction = predict(X_V, bias, problems)
    return Prepared(V, X_V, bias, momentum, prediction, residuals(prediction, problems))


def propose(
    metric: Gram,
    problems: Problems,
    means: Float[Array, "problem class feature"],
    state: State,
    prepared: Prepared,
    gradient: Float[Array, "problem class feature"],
    *,
    squared: bool,
) -> Proposed:
    """The gap at V, and the weights that minimise the model of the objective around it."""
    V = prepared.V
    objective, gap = bound_gap(
        prepared.prediction,
        problems,
        W=V,
        gradient=gradient,
        means=means,
        bias_residual=prepared.R.sum(axis=1),
        squared=squared,
    )
    steps = _inner_steps(prepared.R.shape[1], V.shape[2])
    U = _minimise_model(V, gradient, metric, problems, state.curvature, inner_steps=steps, squared=squared)
    in_metric = _in_metric(U - V, metric)
    model = state.curvature / 2 * ((U - V) * in_metric).sum(axis=(1, 2))
    turns = (in_metric * (U - state.W)).sum(axis=(1, 2)) < 0
    return Proposed(U, model, turns, objective, gap)


def settle(
    problems: Problems,
    limits: Float[Array, " problem"],
    state: State,
    prepared: Prepared,
    proposed: Proposed,
    X_U: Float[Array, "problem word class"],
    *,
    max_iterations: int,
) -> State:
    """Takes the proposed weights where the loss keeps below its model, and tells the problems that are done.

    The last iteration that a problem may take measures W, like one that confirms. Problems that are done, or out of
    iterations, stay as they are.
    """
    last = _last(state, max_iterations)
    small = proposed.gap <= limits
    done = small & (state.confirming | last)
    ends = done | last
    taken = loss_growth(prepared.prediction.Q, X_U - prepared.X_V, problems) <= proposed.model
    turns = taken & proposed.turns

    def choose(accepted: Array, otherwise: Array) -> Array:
        return jnp.where(_like(taken, accepted), accepted, otherwise)

    # A problem that ends returns V, which is its W as β was zero: weights, bias, objective and gap agree.
    new = State(
        W=jnp.where(_like(ends, state.W), prepared.V, choose(proposed.U, state.W)),
        W_before=choose(state.W, state.W_before),
        X_W=choose(X_U, state.X_W),
        X_W_before=choose(state.X_W, state.X_W_before),
        bias=jnp.where((ends | taken)[:, None], prepared.bias, state.bias),
        objective=proposed.objective,
        momentum=jnp.where(turns, 1.0, choose(prepared.momentum, state.momentum)),
        curvature=state.curvature * jnp.where(taken, 0.9, 1.6),
        gap=proposed.gap,
        confirming=small & ~done,
        done=done,
        iterations=state.iterations + 1,
    )
    frozen = stopped(state, max_iterations)
    return jax.tree.map(lambda old, fresh: jnp.where(_like(frozen, old), old, fresh), state, new)


def stopped(state: State, max_iterations: int) -> Bool[Array, "..."]:
    """The problems that are done or out of iterations."""
    return state.done | (state.iterations >= max_iterations)


def _last(state: State, max_iterations: int) -> Bool[Array, " problem"]:
    return state.iterations + 1 >= max_iterations


def _inner_steps(words: int, features: int) -> int:
    """As many as cost about one and a half times the two products with X."""
    return min(max(3 * words // features, _INNER_STEPS[0]), _INNER_STEPS[1])


def _minimise_model(
    V: Float[Array, "problem class feature"],
    g: Float[Array, "problem class feature"],
    metric: Gram,
    problems: Problems,
    curvature: Float[Array, " problem"],
    *,
    inner_steps: int,
    squared: bool,
) -> Float[Array, "problem class feature"]:
    """FISTA on the quadratic model of the loss plus the penalty; no product with X."""
    c = curvature[:, None, None]
    length = (1 / (curvature * metric.largest))[:, None, None]

    def inner(
        _: Int[Array, ""],
        carry: tuple[Float[Array, "problem class feature"], Float[Array, "problem class feature"], Array],
    ) -> tuple[Float[Array, "problem class feature"], Float[Array, "problem class feature"], Array]:
        U, U_before, t = carry
        t_next = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
        at = U + (t - 1) / t_next * (U - U_before)
        slope = g + c * _in_metric(at - V, metric)
        moved = penalty_proximal(at - length * slope, length, problems, squared=squared)
        return moved, U, t_next

    return jax.lax.fori_loop(0, inner_steps, inner, (V, V, jnp.ones((), V.dtype)))[0]


def _in_metric(change: Float[Array, "problem class feature"], metric: Gram) -> Float[Array, "problem class feature"]:
    """The product with the Gram matrix, as one of two matrices."""
    return (change.reshape(-1, change.shape[2]) @ metric.matrix).reshape(change.shape)


def _like(flags: Bool[Array, "*problem"], array: Array) -> Bool[Array, "..."]:
    """Problem flags with trailing axes of length one, to choose whole problems of an array."""
    return flags.reshape(flags.shape + (1,) * (array.ndim - flags.ndim))

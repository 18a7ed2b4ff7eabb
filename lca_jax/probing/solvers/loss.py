"""The terms of the objective on the device: loss, penalty, bias, and the gap that both solvers end with.

Letters and shapes as in `design`; formulas in `objective` and `certificate`. Nothing here iterates or touches X.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lca_jax.probing.problems import Problems, targets, word_weights
from lca_jax.probing.solvers.certificate import duality_gap, feasible_distributions, feasible_numbers

_TINY = 1e-30
"""Under the root of ‖W‖_F: its gradient at zero weights is zero."""


class Prediction(NamedTuple):
    """What weights and bias say of every word."""

    Q: Float[Array, "problem word class"]
    """Predicted distributions; of a regression the predicted numbers."""
    loss: Float[Array, " problem"]
    """Mean cross-entropy with the labels, or half the mean squared error, by the words' weights."""
    dual: Float[Array, " problem"]
    """What the residuals are worth in the dual before the penalty's conjugate: see `certificate`."""


def predict(
    X_W: Float[Array, "problem word class"], bias: Float[Array, "problem class"], problems: Problems
) -> Prediction:
    """Predictions, loss and dual value in one pass over the scores."""
    weight = word_weights(problems)
    aim = targets(problems)
    scores = X_W + bias[:, None, :]
    if problems.regression:
        error = (scores - aim)[:, :, 0]
        dual = -(error**2 / 2 + error * aim[:, :, 0])
        return Prediction(scores, (error**2 / 2 * weight).sum(axis=1), (dual * weight).sum(axis=1))
    log_Q = jax.nn.log_softmax(scores, axis=2)
    Q = jnp.exp(log_Q)
    of_label = jnp.where(aim > 0, log_Q, 0.0).sum(axis=2)
    entropy = -jnp.where(Q > 0, Q * log_Q, 0.0).sum(axis=2)
    return Prediction(Q, -(of_label * weight).sum(axis=1), (entropy * weight).sum(axis=1))


def residuals(prediction: Prediction, problems: Problems) -> Float[Array, "problem word class"]:
    """Prediction less target of every word, by its weight: their product with X is the gradient of the loss."""
    return (prediction.Q - targets(problems)) * word_weights(problems)[:, :, None]


def loss_growth(
    Q: Float[Array, "problem word class"], change: Float[Array, "problem word class"], problems: Problems
) -> Float[Array, " problem"]:
    """What the loss grows beyond its tangent when the scores change: what a step's curvature has to bound.

    A difference of two losses would be rounding noise near the optimum. With q the predictions before and x the centred
    change of a word's scores, it is log(1 + Σ q (exp(x) - 1 - x)), of which every term is positive and small when x is;
    of a squared error it is half the squared change.
    """
    if problems.regression:
        return (change[:, :, 0] ** 2 / 2 * word_weights(problems)).sum(axis=1)
    centred = jnp.minimum(change - (Q * change).sum(axis=2, keepdims=True), 80.0)
    series = centred**2 / 2 * (1 + centred / 3 + centred**2 / 12)
    terms = jnp.where(jnp.abs(centred) < 0.05, series, jnp.exp(centred) - 1 - centred)
    return (jnp.log1p((Q * terms).sum(axis=2)) * word_weights(problems)).sum(axis=1)


def penalty_value(
    W: Float[Array, "problem class feature"],
    l1: Float[Array, " problem"],
    l2: Float[Array, " problem"],
    *,
    squared: bool,
) -> Float[Array, " problem"]:
    """l1 ‖W‖₁ and the second term of every problem."""
    squares = (W**2).sum(axis=(1, 2))
    return l1 * jnp.abs(W).sum(axis=(1, 2)) + l2 * (squares / 2 if squared else jnp.sqrt(jnp.maximum(squares, _TINY)))


def penalty_proximal(
    at: Float[Array, "problem class feature"],
    length: Float[Array, "problem 1 1"],
    problems: Problems,
    *,
    squared: bool,
) -> Float[Array, "problem class feature"]:
    """Argmin over U of ‖U − at‖²/(2 length) + penalty(U), with the weights of features not kept at zero."""
    thin = jnp.abs(at) - length * problems.l1[:, None, None]
    soft = jnp.where(problems.keep[:, None, :], jnp.sign(at) * jnp.maximum(thin, 0.0), 0.0)
    shrink = length * problems.l2[:, None, None]
    if squared:
        return soft / (1 + shrink)
    norm = jnp.sqrt((soft**2).sum(axis=(1, 2), keepdims=True))
    return soft * jnp.maximum(1 - shrink / jnp.maximum(norm, 1e-30), 0.0)


def fit_bias(
    X_W: Float[Array, "problem word class"],
    bias: Float[Array, "problem class"],
    problems: Problems,
) -> Float[Array, "problem class"]:
    """One Newton step on the bias of each problem, its length bounded; absent classes keep −∞.

    Of a squared error that is the best bias.
    """
    shares, weight = problems.shares, word_weights(problems)
    if problems.regression:
        return shares - (X_W * weight[:, :, None]).sum(axis=1)
    classes = shares.shape[1]
    absent = shares <= 0
    Q = jax.nn.softmax(X_W + bias[:, None, :], axis=2)
    mean = (Q * weight[:, :, None]).sum(axis=1)
    cross = jnp.einsum("pnc,pnk->pck", Q * weight[:, :, None], Q)
    identity = jnp.eye(classes, dtype=X_W.dtype)[None]
    # Adding 1/classes fills the direction in which all biases move together, which changes nothing.
    hessian = identity * jnp.where(absent, 1.0, mean)[:, None, :] - cross + 1 / classes
    step = jnp.linalg.solve(hessian, (shares - mean)[:, :, None])[:, :, 0]
    return jnp.where(absent, bias, bias + jnp.clip(step, -2.0, 2.0))


def mean_weights(problems: Problems) -> Float[Array, "problem word class"]:
    """Word weights whose product with X are the means that every certificate of these problems needs.

    By class, their sum over the words of each class; of a regression the mean of all its words.
    """
    weight = word_weights(problems)[:, :, None]
    return weight if problems.regression else targets(problems) * weight


def bound_gap(
    loss: Float[Array, " problem"],
    dual: Float[Array, " problem"],
    problems: Problems,
    *,
    W: Float[Array, "problem class feature"],
    gradient: Float[Array, "problem class feature"],
    means: Float[Array, "problem class feature"],
    bias_residual: Float[Array, "problem class"],
    squared: bool,
) -> tuple[Float[Array, " problem"], Float[Array, " problem"]]:
    """Objective and duality gap of weights, from values that an iteration has anyway; no product with X.

    Args:
        loss: Of these weights, as in `Prediction`.
        dual: The same.
        problems: What is solved.
        W: The weights.
        gradient: X' times the residuals.
        means: X' times `mean_weights`.
        bias_residual: Sum of the residuals over the words.
        squared: True for the elastic net, False for the `neurox` penalty.
    """
    primal = loss + penalty_value(W, problems.l1, problems.l2, squared=squared)
    make_feasible = feasible_numbers if problems.regression else feasible_distributions
    dual, feasible = make_feasible(dual, gradient, means, bias_residual, problems.shares)
    penalty = {"keep": problems.keep, "l1": problems.l1, "l2": problems.l2, "squared": squared}
    return primal, duality_gap(primal=primal, dual=dual, gradient=feasible, **penalty)

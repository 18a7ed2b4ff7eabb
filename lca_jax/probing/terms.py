"""The terms of the objective on the device: loss, penalty, bias, and the measurement that both solvers end with.

Letters and shapes as in `design`; formulas in `objective` and `certificate`. Nothing here iterates.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lca_jax.probing.certificate import duality_gap
from lca_jax.probing.design import Design, correlations, scores
from lca_jax.probing.problems import Problems, one_hot_targets, word_weights

_BIAS_STEPS = 8
_TINY = 1e-30
"""Under the root of ‖W‖_F: its gradient at zero weights is zero."""


class Prediction(NamedTuple):
    """What weights and bias say of every word."""

    Q: Float[Array, "problem word class"]
    """Predicted distributions."""
    loss: Float[Array, " problem"]
    """Mean cross-entropy with the labels, by the words' weights."""
    entropy: Float[Array, " problem"]
    """Mean entropy of the predicted distributions."""


def predict(
    X_W: Float[Array, "problem word class"], bias: Float[Array, "problem class"], problems: Problems
) -> Prediction:
    """Distributions, loss and entropy in one pass over the scores."""
    weight = word_weights(problems)
    log_Q = jax.nn.log_softmax(X_W + bias[:, None, :], axis=2)
    Q = jnp.exp(log_Q)
    of_label = jnp.where(one_hot_targets(problems) > 0, log_Q, 0.0).sum(axis=2)
    entropy = -jnp.where(Q > 0, Q * log_Q, 0.0).sum(axis=2)
    return Prediction(Q, -(of_label * weight).sum(axis=1), (entropy * weight).sum(axis=1))


def loss_growth(
    Q: Float[Array, "problem word class"], change: Float[Array, "problem word class"], problems: Problems
) -> Float[Array, " problem"]:
    """What the loss grows beyond its tangent when the scores change: what a step's curvature has to bound.

    A difference of two losses would be rounding noise near the optimum. With q the predictions before and x the centred
    change of a word's scores, it is log(1 + Σ q (exp(x) - 1 - x)), of which every term is positive and small when x is.
    """
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
    """One Newton step on the bias of each problem, its length bounded; absent classes keep −∞."""
    shares, weight = problems.shares, word_weights(problems)
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


@jax.jit
def class_means(design: Design, problems: Problems) -> Float[Array, "problem class feature"]:
    """X'y/n of the standardised features: constant in a solve, needed by every certificate."""
    return correlations(design, one_hot_targets(problems) * word_weights(problems)[:, :, None])


class Measurement(NamedTuple):
    """Where weights stand: their predictions, objective, gradient of the loss, and certificate."""

    Q: Float[Array, "problem word class"]
    objective: Float[Array, " problem"]
    gradient: Float[Array, "problem class feature"]
    gap: Float[Array, " problem"]


def measure(
    design: Design,
    problems: Problems,
    means: Float[Array, "problem class feature"],
    W: Float[Array, "problem class feature"],
    X_W: Float[Array, "problem word class"],
    bias: Float[Array, "problem class"],
    *,
    squared: bool,
) -> Measurement:
    """Objective, gradient of the loss and duality gap at given weights: one product with X."""
    weight = word_weights(problems)
    prediction = predict(X_W, bias, problems)
    R = (prediction.Q - one_hot_targets(problems)) * weight[:, :, None]
    gradient = correlations(design, R)
    objective = prediction.loss + penalty_value(W, problems.l1, problems.l2, squared=squared)
    gap = duality_gap(
        primal=objective,
        entropy=prediction.entropy,
        gradient=gradient,
        class_means=means,
        bias_residual=R.sum(axis=1),
        shares=problems.shares,
        keep=problems.keep,
        l1=problems.l1,
        l2=problems.l2,
        squared=squared,
    )
    return Measurement(prediction.Q, objective, gradient, gap)


@partial(jax.jit, static_argnames=("squared",))
def certify(
    design: Design,
    problems: Problems,
    W: Float[Array, "problem class feature"],
    bias: Float[Array, "problem class"],
    *,
    squared: bool,
) -> tuple[Float[Array, "problem class"], Float[Array, " problem"], Float[Array, " problem"]]:
    """Bias, objective and duality gap of weights from elsewhere, after the best bias for these weights was found."""
    X_W = scores(design, W)
    for _ in range(_BIAS_STEPS):
        bias = fit_bias(X_W, bias, problems)
    means = class_means(design, problems)
    found = measure(design, problems, means, W, X_W, bias, squared=squared)
    return bias, found.objective, found.gap

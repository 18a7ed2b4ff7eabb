"""The papers' solver: mini-batches and Adam through optax, many problems in the same batches.

Adam, learning rate 1e-3, batches of 512, 10 epochs (Durrani et al. 2020, A.1) end some per cent above the optimum; the
result says by how much, since it is measured with the same duality gap as the exact solver's. The l1 term is applied
after each update as a proximal operator, which makes exact zeros, or added to the loss as a sub-gradient, as published.
A step costs 4 · batch · feature · class · problem operations and moves four arrays of the weights' size; an epoch is
one program without a round trip to the host. Where X is read in blocks, mini-batches are drawn from one block at a
time, the blocks in another order every epoch.
"""

from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from lca_jax.machine.devices import fetch, replicate
from lca_jax.probing.matrix.held import Design, Products, over_layers, scores
from lca_jax.probing.problems import Answer, Problems, null_objective, starting_bias
from lca_jax.probing.solvers.loss import (
    Prediction,
    bound_gap,
    fit_bias,
    mean_weights,
    penalty_value,
    predict,
    residuals,
)

_BIAS_STEPS = 8


class Weights(NamedTuple):
    """What Adam trains: the penalised weights and the free bias of every problem."""

    W: Float[Array, "problem class feature"]
    bias: Float[Array, "problem class"]


class ProximalAdamState(NamedTuple):
    """Adam's moments, of the weights and the bias."""

    moments: optax.ScaleByAdamState


def proximal_adam(l1: Float[Array, " problem"], *, learning_rate: float) -> optax.GradientTransformation:
    """Adam whose every update ends with soft-thresholding of the weights, so that l1 makes exact zeros.

    The threshold is l1 times the step that Adam takes in each coordinate, learning_rate / √v: the proximal operator of
    l1 ‖W‖₁ in Adam's own metric. (A threshold of learning_rate · l1 for all is 1000 times too small where gradients
    are.)

    Args:
        l1: Weight of ‖W‖₁ in every problem.
        learning_rate: Adam's step size.
    """
    adam = optax.scale_by_adam()
    decay, floor = 0.999, 1e-8  # optax's own defaults

    # optax types every tree as one of arrays or scalars, which hides the fields of a NamedTuple: hence Any.
    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if params is None:
            raise ValueError("The proximal step needs the weights: call update(gradients, state, weights).")
        direction, moments = cast("tuple[Any, Any]", adam.update(updates, state.moments))
        spread = jnp.sqrt(moments.nu.W / (1 - decay ** moments.count.astype(params.W.dtype))) + floor
        moved = params.W - learning_rate * direction.W
        thin = jnp.abs(moved) - learning_rate / spread * l1[:, None, None]
        soft = jnp.sign(moved) * jnp.maximum(thin, 0.0)
        return Weights(soft - params.W, -learning_rate * direction.bias), ProximalAdamState(moments)

    def init(params: Any) -> ProximalAdamState:
        return ProximalAdamState(cast("optax.ScaleByAdamState", adam.init(params)))

    return optax.GradientTransformation(init, update)


def solve_adam(
    design: Products,
    problems: Problems,
    *,
    words: int,
    squared: bool,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    proximal_step: bool,
    tolerance: float,
    seed: int,
) -> list[Answer]:
    """Trains every problem by the papers' schedule, then measures how far from its optimum each one ended.

    Args:
        design: Features of the words.
        problems: What to solve.
        words: Number of real words; later rows of the design are padding.
        squared: True for the elastic net, False for the `neurox` penalty.
        epochs: Passes over the words.
        batch_size: Words in a step; the last step of an epoch holds the rest.
        learning_rate: Adam's step size.
        proximal_step: l1 as a proximal step (True) or as a sub-gradient of the loss (False); the second term is smooth
            and always part of the loss.
        tolerance: Share of the null objective up to which `converged` is said.
        seed: Orders the words of each epoch.
    """
    optimizer = _optimizer(problems, learning_rate, proximal_step=proximal_step)

    def begin(zeros: Array) -> tuple[Weights, optax.OptState]:
        weights = Weights(zeros, starting_bias(problems))
        return weights, optimizer.init(weights)

    shape = (*[design.layers] * design.axis, *problems.shares.shape, design.features)
    start = jax.jit(over_layers(begin, design, 0))
    weights, state = start(replicate(design.devices(), np.zeros(shape, np.float32)))
    epoch = partial(_epoch, learning_rate=learning_rate, squared=squared, proximal_step=proximal_step)
    generator = np.random.default_rng(seed)
    size = min(batch_size, words)
    taken = 0
    for _ in range(epochs):
        for stretch in design.stretches(words, generator):
            steps = -(-len(stretch.real) // size)
            order = np.full(steps * size, -1, np.int32)
            order[: len(stretch.real)] = generator.permutation(stretch.real)
            batches = replicate(design.devices(), order.reshape(steps, size))
            mapped = over_layers(epoch, design, (0, None, None, 0, 0))
            weights, state = mapped(stretch.design, stretch.of_problems(problems), batches, weights, state)
            jax.block_until_ready(weights)  # then the next stretch may take the memory of this one
            taken += steps
    bias, objective, gap = _certify(design, problems, weights, squared=squared)
    null = fetch(jax.jit(null_objective)(problems))

    def of_layers(array: Array) -> np.ndarray:
        return fetch(array).reshape(design.layers, *array.shape[design.axis :])

    W, b, F, gaps = (of_layers(part) for part in (weights.W, bias, objective, gap))
    return [
        Answer(
            weights=W[:, place],
            bias=b[:, place],
            objective=F[:, place],
            duality_gap=gaps[:, place],
            null_objective=float(null[place]),
            iterations=np.full(design.layers, taken),
            converged=gaps[:, place] <= tolerance * null[place],
        )
        for place in range(len(null))
    ]


def _optimizer(problems: Problems, learning_rate: float, *, proximal_step: bool) -> optax.GradientTransformation:
    return proximal_adam(problems.l1, learning_rate=learning_rate) if proximal_step else optax.adam(learning_rate)


@partial(jax.jit, static_argnames=("learning_rate", "squared", "proximal_step"))
def _epoch(
    design: Design,
    problems: Problems,
    batches: Int[Array, "step batch"],
    weights: Weights,
    state: optax.OptState,
    *,
    learning_rate: float,
    squared: bool,
    proximal_step: bool,
) -> tuple[Weights, optax.OptState]:
    """One pass over the words; -1 in a batch is no word."""
    optimizer = _optimizer(problems, learning_rate, proximal_step=proximal_step)

    def step(
        carry: tuple[Weights, optax.OptState], rows: Int[Array, " batch"]
    ) -> tuple[tuple[Weights, optax.OptState], None]:
        now, inner = carry
        here = design._replace(X=design.X[rows])
        masked = jnp.asarray(jnp.nan if problems.regression else -1, problems.labels.dtype)
        labels = jnp.where(rows[None, :] >= 0, problems.labels[:, rows], masked)
        weights = None if problems.weights is None else problems.weights[:, rows]
        batch = problems._replace(labels=labels, weights=weights, total=None)

        def loss(at: Weights) -> Float[Array, ""]:
            masked = jnp.where(problems.keep[:, None, :], at.W, 0.0)
            value = predict(scores(here, masked), at.bias, batch).loss
            l1 = jnp.zeros_like(problems.l1) if proximal_step else problems.l1
            return (value + penalty_value(masked, l1, problems.l2, squared=squared)).sum()

        gradients = jax.grad(loss)(now)
        # optax raises a float to an integer count, which callers with strict promotion do not allow.
        with jax.numpy_dtype_promotion("standard"):
            updates, inner = cast("tuple[Any, optax.OptState]", optimizer.update(gradients, inner, now))
        return (Weights(now.W + updates.W, now.bias + updates.bias), inner), None

    return jax.lax.scan(step, (weights, state), batches)[0]


def _certify(
    design: Products, problems: Problems, weights: Weights, *, squared: bool
) -> tuple[Float[Array, "*layer problem class"], Float[Array, "*layer problem"], Float[Array, "*layer problem"]]:
    """Bias, objective and duality gap of weights, after the best bias for these weights was found."""
    X_W = design.scores(weights.W)
    bias, prediction, R = _predict_with_best_bias(problems, X_W, weights.bias)
    gradient = design.correlations(R)
    means = design.correlations(jax.jit(mean_weights)(problems))

    def bound(W: Array, prediction: Prediction, gradient: Array, means: Array, R: Array) -> tuple[Array, Array]:
        residual = R.sum(axis=1)
        options = {"means": means, "bias_residual": residual, "squared": squared}
        return bound_gap(prediction.loss, prediction.dual, problems, W=W, gradient=gradient, **options)

    mapped = jax.jit(over_layers(bound, design, (0, 0, 0, 0, 0)))
    return bias, *mapped(weights.W, prediction, gradient, means, R)


@jax.jit
def _predict_with_best_bias(
    problems: Problems, X_W: Float[Array, "*layer problem word class"], bias: Float[Array, "*layer problem class"]
) -> tuple[Float[Array, "*layer problem class"], Prediction, Float[Array, "*layer problem word class"]]:
    def fit(X_W: Array, bias: Array) -> tuple[Array, Prediction, Array]:
        for _ in range(_BIAS_STEPS):
            bias = fit_bias(X_W, bias, problems)
        prediction = predict(X_W, bias, problems)
        return bias, prediction, residuals(prediction, problems)

    return (jax.vmap(fit) if X_W.ndim == 4 else fit)(X_W, bias)

r"""The exact solver: accelerated proximal steps in the Gram metric, all problems in one matrix product.

One iteration, for every problem at once (letters as in `design`):

    V = W + β (W − W₋₁)                        extrapolation; its scores follow without a product
    b = argmin over the bias, one Newton step  the bias is profiled out, which also makes the certificate feasible
    g = X'(softmax(Z_V + b) − y)/n             product 1; with it the duality gap at V, free of charge
    U ≈ argmin ⟨g, U−V⟩ + c/2 tr((U−V)' G (U−V)) + penalty(U)       a few FISTA steps with the feature × feature Gram G
    Z_U                                        product 2; U is taken if the loss is below its model, else c grows

G = X'X/n carries the correlations between neurons, so c is one number a problem: the curvature p(1 − p) that the
softmax still has. Measured on 20,000 words × 2,688 neurons × 17 classes this needs a third of the products that
proximal gradient steps need. An inner step costs feature² · class · problem · 2 operations, word/feature times less
than a product. Where the design is a matrix a layer, all of this is mapped over the layers: products with slices of X
and with their own small G, so that the probes of all layers cost an iteration about what one probe of all layers does.

Momentum starts anew when a step turns back on the last one (O'Donoghue and Candès 2015, gradient scheme). Each problem
stops when its own gap, at weights that it really holds, is at most the tolerance; solved problems leave the
batch when half of it is solved. A problem's iterates do not depend on which others it is solved with.
"""

from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lca_jax.probing.design import Design, Gram, over_layers, scores
from lca_jax.probing.problems import Problems, Solution, null_objective, starting_bias
from lca_jax.probing.terms import class_means, fit_bias, loss_growth, measure, penalty_proximal

_INNER_STEPS = (5, 15)
"""Fewest and most. Measured, more than 15 save no outer iteration; few words make few worth it, see `_inner_steps`."""
_CHUNK = 10
"""Iterations between two looks of the host at which problems are solved."""
_COMPACT_ABOVE_FLOP = 2e10
"""Solved problems leave the batch only where an iteration costs more than this: compiling the smaller shape costs
seconds."""


class _State(NamedTuple):
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


_Parts = TypeVar("_Parts", bound=tuple)


def solve(
    design: Design, metric: Gram, problems: Problems, *, squared: bool, tolerance: float, max_iterations: int
) -> Solution:
    """Solves every problem until its duality gap is at most `tolerance` of its objective at zero weights.

    Args:
        design: Features of the words.
        metric: `gram(design)`.
        problems: What to solve; in every layer, where the design is a matrix a layer. A problem stays in the batch
            until it is solved in all layers.
        squared: True for the elastic net, False for the `neurox` penalty.
        tolerance: Share of the null objective.
        max_iterations: Problems that need more are returned with `converged` False and the gap they have.
    """
    count, classes = problems.shares.shape
    null = np.asarray(null_objective(problems))
    limits = jnp.asarray(tolerance * null)
    means = over_layers(class_means, design, (0, None))(design, problems)
    state = over_layers(_start, design, (0, None, None))(design, problems, jnp.asarray(null))
    layers = design.layers
    solution = Solution(
        weights=np.zeros((layers * count, classes, design.X.shape[-1]), np.float32),
        bias=np.zeros((layers * count, classes), np.float32),
        objective=np.zeros(layers * count, np.float32),
        duality_gap=np.full(layers * count, np.inf, np.float32),
        null_objective=np.tile(null, layers),
        iterations=np.zeros(layers * count, np.int64),
        converged=np.zeros(layers * count, bool),
    )
    places = np.arange(count)
    flop = 4 * design.X.size * classes
    while True:
        state = _advance(design, metric, problems, means, limits, state, squared=squared, max_iterations=max_iterations)
        stopped = np.asarray(state.done | (state.iterations >= max_iterations)).reshape(layers, -1).all(axis=0)
        halved = stopped.sum() * 2 >= len(places) and flop * len(places) > _COMPACT_ABOVE_FLOP
        if not (stopped.all() or halved):
            continue
        leave = np.flatnonzero(stopped)
        for source, target in (
            (state.W, solution.weights),
            (state.bias, solution.bias),
            (state.objective, solution.objective),
            (state.gap, solution.duality_gap),
            (state.iterations, solution.iterations),
            (state.done, solution.converged),
        ):
            of_layers = target.reshape(layers, count, *target.shape[1:])
            of_layers[:, places[leave]] = np.asarray(source).reshape(layers, -1, *target.shape[1:])[:, leave]
        stay = np.flatnonzero(~stopped)
        if not len(stay):
            return solution
        places = places[stay]
        problems, limits = _take((problems, limits), stay)
        means, state = over_layers(_take, design, (0, None))((means, state), stay)


def _take(parts: _Parts, places: Int[np.ndarray, " place"]) -> _Parts:
    """Some of the problems of everything that is solved together."""
    return jax.tree.map(lambda part: part[places], parts)


def _start(design: Design, problems: Problems, null: Float[Array, " problem"]) -> _State:
    count, classes = problems.shares.shape
    W = jnp.zeros((count, classes, design.X.shape[1]))
    X_W = scores(design, W)
    zeros = jnp.zeros(count)
    never = jnp.zeros(count, bool)
    return _State(
        W=W,
        W_before=W,
        X_W=X_W,
        X_W_before=X_W,
        bias=starting_bias(problems),
        objective=null,
        momentum=zeros + 1,
        curvature=zeros + 0.1,
        gap=zeros + jnp.inf,
        confirming=never,
        done=never,
        iterations=jnp.zeros(count, jnp.int32),
    )


@partial(jax.jit, static_argnames=("squared", "max_iterations"))
def _advance(
    design: Design,
    metric: Gram,
    problems: Problems,
    means: Float[Array, "*layer problem class feature"],
    limits: Float[Array, " problem"],
    state: _State,
    *,
    squared: bool,
    max_iterations: int,
) -> _State:
    """Up to `_CHUNK` iterations, fewer when every problem is solved before."""

    def going(carry: tuple[Int[Array, ""], _State]) -> Bool[Array, ""]:
        step, now = carry
        return (step < _CHUNK) & ~(now.done | (now.iterations >= max_iterations)).all()

    def iterate(carry: tuple[Int[Array, ""], _State]) -> tuple[Int[Array, ""], _State]:
        step, now = carry
        last = now.iterations + 1 >= max_iterations
        new = over_layers(partial(_iterate, squared=squared), design, (0, 0, None, 0, None, 0, 0))(
            design, metric, problems, means, limits, now, last
        )
        frozen = now.done | (now.iterations >= max_iterations)
        kept = jax.tree.map(lambda old, fresh: jnp.where(_like(frozen, old), old, fresh), now, new)
        return step + 1, kept

    return jax.lax.while_loop(going, iterate, (jnp.zeros((), jnp.int32), state))[1]


def _iterate(
    design: Design,
    metric: Gram,
    problems: Problems,
    means: Float[Array, "problem class feature"],
    limits: Float[Array, " problem"],
    state: _State,
    last: Bool[Array, " problem"],
    *,
    squared: bool,
) -> _State:
    """One iteration of the module's docstring; the last one that a problem may take measures W, like confirming."""
    momentum = (1 + jnp.sqrt(1 + 4 * state.momentum**2)) / 2
    beta = jnp.where(state.confirming | last, 0.0, (state.momentum - 1) / momentum)[:, None, None]
    V = state.W + beta * (state.W - state.W_before)
    X_V = state.X_W + beta * (state.X_W - state.X_W_before)
    bias = fit_bias(X_V, state.bias, problems)

    at_V = measure(design, problems, means, V, X_V, bias, squared=squared)
    small = at_V.gap <= limits
    done = small & (state.confirming | last)
    ends = done | last

    steps = _inner_steps(*design.X.shape)
    U = _minimise_model(V, at_V.gradient, metric, problems, state.curvature, inner_steps=steps, squared=squared)
    in_metric = jnp.einsum("pcd,de->pce", U - V, metric.matrix)
    X_U = scores(design, U)
    curved = ((U - V) * in_metric).sum(axis=(1, 2))
    taken = loss_growth(at_V.Q, X_U - X_V, problems) <= state.curvature / 2 * curved
    turns = taken & ((in_metric * (U - state.W)).sum(axis=(1, 2)) < 0)

    def choose(accepted: Array, otherwise: Array) -> Array:
        return jnp.where(_like(taken, accepted), accepted, otherwise)

    # A problem that ends returns V, which is its W as β was zero: weights, bias, objective and gap agree.
    return _State(
        W=jnp.where(_like(ends, V), V, choose(U, state.W)),
        W_before=choose(state.W, state.W_before),
        X_W=choose(X_U, state.X_W),
        X_W_before=choose(state.X_W, state.X_W_before),
        bias=jnp.where((ends | taken)[:, None], bias, state.bias),
        objective=at_V.objective,
        momentum=jnp.where(turns, 1.0, choose(momentum, state.momentum)),
        curvature=state.curvature * jnp.where(taken, 0.9, 1.6),
        gap=at_V.gap,
        confirming=small & ~done,
        done=done,
        iterations=state.iterations + 1,
    )


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
        slope = g + c * jnp.einsum("pcd,de->pce", at - V, metric.matrix)
        moved = penalty_proximal(at - length * slope, length, problems, squared=squared)
        return moved, U, t_next

    return jax.lax.fori_loop(0, inner_steps, inner, (V, V, jnp.ones((), V.dtype)))[0]


def _like(flags: Bool[Array, "*problem"], array: Array) -> Bool[Array, "..."]:
    """Problem flags with trailing axes of length one, to choose whole problems of an array."""
    return flags.reshape(flags.shape + (1,) * (array.ndim - flags.ndim))

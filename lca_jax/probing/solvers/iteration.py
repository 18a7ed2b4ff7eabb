r"""One iteration of the exact solver, for every problem at once; it reads X once.

Letters as in `design`. Of each problem the state holds its weights W, the point V ahead of them in the direction of the
last step, and the gradient g at V:

    propose    U ≈ argmin ⟨g, U−V⟩ + c/2 tr((U−V)' G (U−V)) + penalty(U)    a few FISTA steps with the Gram matrix G
    look       Z_U, of it the scores of the next point, U + β (U − W), and there
               g = X'(softmax(Z + b) − y)/n                                 both products word by word: one reading of X
    settle     U is taken if the loss is below its model, else c grows; the duality gap at the point, free of charge

G = X'X/n carries the correlations between neurons, so c is one number a problem: the curvature p(1 − p) that the
softmax still has (1 for a squared error). Measured on 20,000 words × 2,688 neurons × 17 classes this needs a third of
the products that proximal gradient steps need. An inner step costs feature² · class · problem · 2 operations,
word/feature times less than a product.

A gap is a certificate only with the best bias. Where X is at hand as a whole (`whole`), the bias at the next point is
fitted between the two products. Where X comes in blocks, it is needed before any score there is known. Then it moves
like the weights, with the same momentum: by an eighth of Newton's step at V. Measured on the same words, four penalties
take 55, 66, 131 and 77 iterations so, 52, 65, 112 and 76 with the best bias; Newton's whole step takes twice as many.
And where the gap looks small enough the next iteration measures: it stays at W, whose scores are known and with them
their best bias. So do a problem's first iteration and its last.

Momentum starts anew when a step turns back on the last one (O'Donoghue and Candès 2015, gradient scheme). A problem is
done when its own gap, at weights that it really holds, is at most its limit. Its iterates do not depend on which others
it is solved with. Everything here is pure and touches no X, so that the products may be made by whatever holds X.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lca_jax.probing.matrix.held import Gram
from lca_jax.probing.problems import Problems
from lca_jax.probing.solvers.loss import bound_gap, fit_bias, loss_growth, penalty_proximal, predict, residuals

_INNER_STEPS = (5, 12)
"""Fewest and most. Over 19 penalties, each from zero, 8, 10, 12 and 15 take 1389, 1303, 1250 and 1234 iterations in
all, and a step costs some 2 % of an iteration; 25, 60 and 200 save none. Few words make few worth it, see
`_inner_steps`."""
_BIAS_SHARE = 1 / 8
"""Of Newton's step on the bias; 1/4 and 1/30 take more iterations."""
_EASE, _STIFFEN = 0.9, 2.5
"""Factors of the curvature after a step that was taken and one that was refused. Over 19 penalties, each from zero, 1.6
in place of 2.5 takes a tenth more iterations: curvature that is barely enough is soon refused again. From 2 to 3, and
.87 to .93, they differ by 2 %."""
_LEAST_TRUST = 0.5
"""See `State.trust`."""


class Scores(NamedTuple):
    """What a problem owns of every word: the scores, without bias, of its last two weights."""

    X_W: Float[Array, "problem word class"]
    X_W_before: Float[Array, "problem word class"]


class Point(NamedTuple):
    """Where the loss is looked at: W + β (W − W₋₁), and the bias there."""

    beta: Float[Array, " problem"]
    bias: Float[Array, "problem class"]


class State(NamedTuple):
    """Where each problem stands."""

    W: Float[Array, "problem class feature"]
    W_before: Float[Array, "problem class feature"]
    scores: Scores
    """Of both; not known yet where nothing was measured."""
    bias: Float[Array, "problem class"]
    """At W."""
    point: Point
    """V."""
    gradient: Float[Array, "problem class feature"]
    """At V, as are all that follow."""
    bias_residual: Float[Array, "problem class"]
    newton: Float[Array, "problem class"]
    """The bias after a Newton step; of a problem that measures next, at W."""
    objective: Float[Array, " problem"]
    gap: Float[Array, " problem"]
    """A certificate after an iteration that measured, else what one with the best bias would be near to."""
    momentum: Float[Array, " problem"]
    curvature: Float[Array, " problem"]
    measures: Bool[Array, " problem"]
    """The next iteration stays at W, to know its gap."""
    trust: Float[Array, " problem"]
    """Share of its limit at which a gap looks small enough: less than 1 after one that looked so was not."""
    done: Bool[Array, " problem"]
    iterations: Int[Array, " problem"]


class Steps(NamedTuple):
    """What a look at the words needs to know of every problem."""

    before: Point
    """V."""
    after: Point
    """The next point, if U is taken."""
    bias: Float[Array, "problem class"]
    """The step of the bias from V to U."""


class Proposed(NamedTuple):
    """What is known before X is read."""

    U: Float[Array, "problem class feature"]
    bias: Float[Array, "problem class"]
    """At U."""
    model: Float[Array, " problem"]
    """What the loss may grow beyond its tangent from V to U."""
    momentum: Float[Array, " problem"]
    steps: Steps


class Seen(NamedTuple):
    """Sums over words."""

    loss: Float[Array, " problem"]
    dual: Float[Array, " problem"]
    bias_residual: Float[Array, "problem class"]
    """At the next point."""
    growth: Float[Array, " problem"]
    """Of the loss beyond its tangent, from V to U."""
    bias: Float[Array, "problem class"] | None
    """The best one at the next point, if all words were seen at once."""


def begin(
    W: Float[Array, "*layer problem class feature"],
    unknown: Float[Array, "*layer problem word class"],
    bias: Float[Array, "*layer problem class"],
    curvature: Float[Array, "*layer problem"],
) -> State:
    """The state of problems that start from given weights and the best bias there; they measure first.

    Args:
        W: The weights.
        unknown: Zeros in the place of scores.
        bias: At W.
        curvature: Where the search for it begins.
    """
    zeros = jnp.zeros_like(curvature)
    never = jnp.zeros(curvature.shape, bool)
    return State(
        W=W,
        W_before=W,
        scores=Scores(unknown, unknown),
        bias=bias,
        point=Point(zeros, bias),
        gradient=jnp.zeros_like(W),
        bias_residual=jnp.zeros_like(bias),
        newton=bias,
        objective=zeros + jnp.inf,
        gap=zeros + jnp.inf,
        momentum=zeros + 1,
        curvature=curvature,
        measures=~never,
        trust=zeros + 1,
        done=never,
        iterations=jnp.zeros(curvature.shape, jnp.int32),
    )


def propose(
    metric: Gram, problems: Problems, limits: Float[Array, " problem"], state: State, *, squared: bool
) -> Proposed:
    """The weights that minimise the model of the objective around V, and the point that would be next.

    Args:
        metric: Of the words.
        problems: What is solved.
        limits: Gap at which each problem is done.
        state: Where problems stand.
        squared: True for the elastic net, False for the `neurox` penalty.
    """
    V = _ahead(state.W, state.W_before, state.point.beta)
    inner_steps = _inner_steps(state.scores.X_W.shape[1], V.shape[2])
    U = _minimise_model(V, state.gradient, metric, problems, state.curvature, inner_steps=inner_steps, squared=squared)
    U = jnp.where(_like(state.measures, U), state.W, U)
    bias = _moved(state.point.bias, state.newton, jnp.where(state.measures, 1.0, _BIAS_SHARE))
    bias_step = _step(state.point.bias, bias)
    in_metric = _in_metric(U - V, metric)
    # Newton's step times its matrix is the residual it answers to: the model of the bias needs no matrix.
    model = state.curvature / 2 * ((U - V) * in_metric).sum(axis=(1, 2)) - (state.bias_residual * bias_step).sum(1) / 2
    turns = (in_metric * (U - state.W)).sum(axis=(1, 2)) < 0
    start = jnp.where(turns & ~state.measures, 1.0, state.momentum)
    momentum = jnp.where(state.measures, start, (1 + jnp.sqrt(1 + 4 * start**2)) / 2)
    # A certificate is of weights that a problem holds: near the end, the next point is U itself.
    near_end = state.measures | (state.gap <= state.trust * limits)
    beta = jnp.where(near_end, 0.0, (start - 1) / momentum)
    steps = Steps(before=state.point, after=Point(beta, _moved(bias, state.bias, -beta)), bias=bias_step)
    return Proposed(U, bias, model, momentum, steps)


def look(
    problems: Problems, steps: Steps, scores: Scores, X_U: Float[Array, "problem word class"], *, whole: bool
) -> tuple[Float[Array, "problem word class"], Seen]:
    """Residuals at the next point, whose product with X is the gradient there, and sums over words.

    Args:
        problems: What is solved, cut to the words.
        steps: Where the loss is looked at.
        scores: Of the weights so far.
        X_U: Of those proposed.
        whole: These are all words, and the bias is fitted to them first.
    """
    X_before = _ahead(scores.X_W, scores.X_W_before, steps.before.beta)
    before = predict(X_before, steps.before.bias, problems)
    growth = loss_growth(before.Q, X_U - X_before + steps.bias[:, None, :], problems)
    X_V = _ahead(X_U, scores.X_W, steps.after.beta)
    fitted = fit_bias(X_V, steps.after.bias, problems) if whole else None
    after = predict(X_V, steps.after.bias if fitted is None else fitted, problems)
    R = residuals(after, problems)
    return R, Seen(after.loss, after.dual, R.sum(axis=1), growth, fitted)


def settle(
    problems: Problems,
    means: Float[Array, "problem class feature"],
    limits: Float[Array, " problem"],
    state: State,
    proposed: Proposed,
    X_U: Float[Array, "problem word class"],
    gradient: Float[Array, "problem class feature"],
    seen: Seen,
    *,
    squared: bool,
    max_iterations: int,
) -> State:
    """Takes the proposed weights where the loss keeps below its model, and tells the problems that are done.

    The last iteration that a problem may take measures. Problems that are done, or out of iterations, stay as they are.

    Args:
        problems: What is solved.
        means: Products of `terms.mean_weights` with X.
        limits: Gap at which each problem is done.
        state: Where problems stood.
        proposed: What was proposed.
        X_U: Scores of its weights.
        gradient: At its point.
        seen: What `look` found, over all words.
        squared: True for the elastic net, False for the `neurox` penalty.
        max_iterations: Of every problem.
    """
    whole = seen.bias is not None
    certified = state.measures | whole
    taken = state.measures | (seen.growth <= proposed.model)

    def choose(accepted: Array, otherwise: Array) -> Array:
        return jnp.where(_like(taken, accepted), accepted, otherwise)

    W, W_before = choose(proposed.U, state.W), choose(state.W, state.W_before)
    scores = Scores(choose(X_U, state.scores.X_W), choose(state.scores.X_W, state.scores.X_W_before))
    beta = choose(proposed.steps.after.beta, state.point.beta)
    bias_there = choose(proposed.steps.after.bias if seen.bias is None else seen.bias, state.point.bias)
    bias = jnp.where((taken & (beta == 0))[:, None], bias_there, choose(proposed.bias, state.bias))
    objective, gap = bound_gap(
        seen.loss,
        seen.dual,
        problems,
        W=_ahead(W, W_before, beta),
        gradient=gradient,
        means=means,
        bias_residual=jnp.where(certified[:, None], seen.bias_residual, 0.0),
        squared=squared,
    )
    objective, gap = choose(objective, state.objective), choose(gap, state.gap)
    done = certified & (beta == 0) & (gap <= limits)
    looks_done = ~certified & (beta == 0) & (gap <= state.trust * limits)
    measures = looks_done | (state.iterations + 2 >= max_iterations)
    # A problem that measures next needs the best bias at W, the others a step towards that at their point.
    point = Point(jnp.where(measures, 0.0, beta), jnp.where(measures[:, None], bias, bias_there))
    new = State(
        W=W,
        W_before=W_before,
        scores=scores,
        bias=bias,
        point=point,
        gradient=choose(gradient, state.gradient),
        bias_residual=choose(seen.bias_residual, state.bias_residual),
        newton=point.bias if whole else fit_bias(_ahead(*scores, point.beta), point.bias, problems),
        objective=objective,
        gap=gap,
        momentum=choose(proposed.momentum, state.momentum),
        curvature=state.curvature * jnp.where(state.measures, 1.0, jnp.where(taken, _EASE, _STIFFEN)),
        measures=measures,
        trust=jnp.where(state.measures, jnp.clip(state.gap / gap, _LEAST_TRUST, 1.0), state.trust),
        done=done,
        iterations=state.iterations + 1,
    )
    frozen = stopped(state, max_iterations)
    return jax.tree.map(lambda old, fresh: jnp.where(_like(frozen, old), old, fresh), state, new)


def stopped(state: State, max_iterations: int) -> Bool[Array, "..."]:
    """The problems that are done or out of iterations."""
    return state.done | (state.iterations >= max_iterations)


def _ahead(now: Float[Array, "problem row column"], before: Array, beta: Float[Array, " problem"]) -> Array:
    """A step's direction, followed further."""
    return now + beta[:, None, None] * (now - before)


def _moved(bias: Float[Array, "problem class"], towards: Array, share: Float[Array, " problem"] | float) -> Array:
    """Part of the way from one bias to another; −∞ stays."""
    return bias + jnp.reshape(jnp.asarray(share, bias.dtype), (-1, 1)) * _step(bias, towards)


def _step(bias: Float[Array, "problem class"], towards: Float[Array, "problem class"]) -> Array:
    """From one bias to another, 0 for absent classes."""
    return jnp.where(jnp.isfinite(bias), towards - bias, 0.0)


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

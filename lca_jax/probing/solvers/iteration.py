r"""One iteration of the exact solver, for every problem at once; it reads X once.

Letters as in `matrix.block`. The state of a problem holds its weights W, the point V ahead of them in the direction of
the last step, and the gradient g at V:

    propose    U ≈ argmin ⟨g, U−V⟩ + c/2 tr((U−V)' G (U−V)) + penalty(U)    a few FISTA steps in the metric G
    look       the scores of U, from them those of the next point, U + β (U − W), and the gradient there,
               g = X' residuals                                             both products word by word: one reading of X
    settle     U is taken if the loss is below its model, else c grows; the duality gap at the point, free of charge

G ≈ X'X/n carries the correlations between neurons (`matrix.metric`), so c is one number a problem: the curvature
p(1 − p) that the softmax still has (1 for a squared error). Measured on 20,000 words × 2,688 neurons × 17 classes this
needs a third of the products that proximal gradient steps need. An inner step costs a product with G.

A gap is a certificate only with the best bias. Where the matrix is whole, the bias at the next point is fitted between
the two products. Where X comes in blocks, the bias is needed before any score there is known. Then it moves like the
weights, with the same momentum: by an eighth of Newton's step at V. Measured on the same words, four penalties take 55,
66, 131 and 77 iterations this way, 52, 65, 112 and 76 with the best bias; Newton's whole step takes twice as many. And
where the gap looks small enough the next iteration measures: it stays at W, whose scores are known and with them their
best bias. The first and the last iteration of a problem measure too.

Momentum starts anew when a step turns back on the last one (O'Donoghue and Candès 2015, gradient scheme). A problem is
done when its own gap, at the weights that it returns, is at most its limit. Its iterates do not depend on which others
it is solved with. Everything here is pure and touches no X: any `Matrix` may make the products.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lca_jax.probing.losses.loss import Loss, residuals
from lca_jax.probing.matrix.metric import Metric, metric_operations
from lca_jax.probing.penalties.penalty import Penalty
from lca_jax.probing.problems import Problems
from lca_jax.probing.solvers.certificate import ROUNDING, bound_gap
from lca_jax.probing.solvers.sharing import Share, handed_over, shared_out, state_shared_out, worked_on
from lca_jax.probing.solvers.state import Point, Proposal, Scores, State, Steps, Sums, stopped

_INNER_STEPS = (5, 10)
"""Fewest and most inner steps. Over 19 penalties, each from zero, 8, 10, 12 and 15 take 1389, 1303, 1250 and 1234
iterations in all, and a step costs 2 to 5 % of an iteration; 25, 60 and 200 save none. Few words make few worth it, see
`_inner_steps`."""
_BIAS_SHARE = 1 / 8
"""Share of Newton's step that the bias takes; 1/4 and 1/30 take more iterations."""
_EASE, _STIFFEN = 0.9, 2.5
"""Factors of the curvature after a step that was taken and one that was refused. Over 19 penalties, each from zero, 1.6
in place of 2.5 takes a tenth more iterations: curvature that is barely enough is soon refused again. From 2 to 3, and
.87 to .93, they differ by 2 %."""
_LEAST_TRUST = 0.5
"""Lower limit of `State.trust`."""


def propose(
    metric: Metric,
    problems: Problems,
    limits: Float[Array, " problem"],
    state: State,
    *,
    penalty: Penalty,
    share: Share | None = None,
) -> Proposal:
    """Minimises the model of the objective around V, and chooses the point that would be next.

    Args:
        metric: Metric of the words.
        problems: The problems.
        limits: Gap at which each problem is done.
        state: State of the problems.
        penalty: Penalty of the weights.
        share: How the problems are divided among devices.
    """
    V = worked_on(_ahead(state.W, state.W_before, state.point.beta), share)
    inner_steps = _inner_steps(state.scores.X_W.shape[2], V.shape[2])
    U = _minimise_model(V, state.gradient, metric, problems, state.curvature, inner_steps=inner_steps, penalty=penalty)
    U = worked_on(jnp.where(_like(state.measures, U), state.W, U), share)
    bias = _moved(state.point.bias, state.newton, jnp.where(state.measures, 1.0, _BIAS_SHARE))
    bias_step = _step(state.point.bias, bias)
    in_metric = metric.times(U - V)
    # Newton's step times its matrix is the residual it answers to: the model of the bias needs no matrix.
    model = state.curvature / 2 * ((U - V) * in_metric).sum(axis=(1, 2)) - (state.bias_residual * bias_step).sum(1) / 2
    turns = (in_metric * (U - state.W)).sum(axis=(1, 2)) < 0
    start = jnp.where(turns & ~state.measures, 1.0, state.momentum)
    momentum = jnp.where(state.measures, start, (1 + jnp.sqrt(1 + 4 * start**2)) / 2)
    # A certificate is one of the weights that are returned: near the end, the next point is U itself.
    near_end = state.measures | _looks_small(state.gap, state.objective, state.trust, limits)
    beta = jnp.where(near_end, 0.0, (start - 1) / momentum)
    steps = Steps(before=state.point, after=Point(beta, _moved(bias, state.bias, -beta)), bias=bias_step)
    return handed_over(Proposal(U, bias, model, momentum, steps), share)


def look(
    problems: Problems,
    steps: Steps,
    scores: Scores,
    X_U: Float[Array, "problem class word"],
    *,
    loss: Loss,
    whole: bool,
) -> tuple[Float[Array, "problem class word"], Sums]:
    """Returns residuals at the next point, whose product with X is the gradient there, and sums over words.

    Args:
        problems: The problems, cut to the words.
        steps: Points at which the loss is evaluated.
        scores: Scores of the last two weights.
        X_U: Scores of the proposed weights.
        loss: Loss of the problems.
        whole: Whether these are all words; then the bias is fitted to them first.
    """
    X_before = _scores_at(scores, steps.before)
    Q = loss.predict(X_before, steps.before.bias, problems).Q if scores.Q is None else scores.Q
    growth = loss.growth(Q, X_U - X_before + steps.bias[:, :, None], problems)
    X_V = _ahead(X_U, scores.X_W, steps.after.beta)
    if whole:
        fitted, after = loss.predict_at_best_bias(X_V, steps.after.bias, problems)
    else:
        fitted, after = None, loss.predict(X_V, steps.after.bias, problems)
    R = residuals(after, problems, loss)
    return R, Sums(after.loss, after.dual, R.sum(axis=2), growth, fitted, after.Q if whole else None)


def settle(
    problems: Problems,
    means: Float[Array, "problem class feature"],
    limits: Float[Array, " problem"],
    state: State,
    proposal: Proposal,
    X_U: Float[Array, "problem class word"],
    gradient: Float[Array, "problem class feature"],
    sums: Sums,
    max_iterations: Int[Array, ""],
    *,
    loss: Loss,
    penalty: Penalty,
    share: Share | None = None,
) -> State:
    """Takes the proposed weights where the loss stays below its model, and marks the problems that are done.

    The last iteration that a problem may take measures. Problems that are done, or out of iterations, stay as they are.

    Args:
        problems: The problems.
        means: Products of `loss.mean_weights` with X.
        limits: Gap at which each problem is done.
        state: State before the iteration.
        proposal: The proposed weights and point.
        X_U: Scores of the proposed weights.
        gradient: Gradient at the proposed point.
        sums: Sums of `look`, over all words.
        max_iterations: Largest number of iterations of a problem.
        loss: Loss of the problems.
        penalty: Penalty of the weights.
        share: How the problems are divided among devices.
    """
    gradient = shared_out(gradient, share)
    whole = sums.bias is not None
    certified = state.measures | whole
    taken = state.measures | (sums.growth <= proposal.model)
    choose = partial(_choose, taken)
    W, W_before = choose(proposal.U, state.W), choose(state.W, state.W_before)
    scores = jax.tree.map(choose, Scores(X_U, state.scores.X_W, sums.Q), state.scores)
    beta = choose(proposal.steps.after.beta, state.point.beta)
    bias_there = choose(proposal.steps.after.bias if sums.bias is None else sums.bias, state.point.bias)
    bias = jnp.where((taken & (beta == 0))[:, None], bias_there, choose(proposal.bias, state.bias))
    objective, gap = bound_gap(
        sums.loss,
        sums.dual,
        problems,
        loss=loss,
        penalty=penalty,
        W=_ahead(W, W_before, beta),
        gradient=gradient,
        means=means,
        bias_residual=jnp.where(certified[:, None], sums.bias_residual, 0.0),
    )
    objective, gap = choose(objective, state.objective), choose(gap, state.gap)
    looks_done = ~certified & (beta == 0) & _looks_small(gap, objective, state.trust, limits)
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
        bias_residual=choose(sums.bias_residual, state.bias_residual),
        newton=point.bias if whole else loss.fit_bias(_scores_at(scores, point), point.bias, problems),
        objective=objective,
        gap=gap,
        momentum=choose(proposal.momentum, state.momentum),
        curvature=state.curvature * jnp.where(state.measures, 1.0, jnp.where(taken, _EASE, _STIFFEN)),
        measures=measures,
        trust=jnp.where(state.measures, jnp.clip(state.gap / gap, _LEAST_TRUST, 1.0), state.trust),
        done=certified & (beta == 0) & (gap <= limits),
        iterations=state.iterations + 1,
    )
    return state_shared_out(_unless_stopped(state, new, max_iterations), share)


def iteration_operations(words: int, features: int, columns: int) -> int:
    """Counts the operations of the products in an iteration of one problem: two with X, the others in the metric.

    The solver does not ask: benchmarks and tests compare with it what a device did and what a compiler made.

    Args:
        words: Number of words.
        features: Number of features.
        columns: Number of classes.
    """
    steps = _inner_steps(words, features) + 1
    return columns * (4 * words * features + steps * metric_operations(words, features))


def _looks_small(
    gap: Float[Array, " problem"],
    objective: Float[Array, " problem"],
    trust: Float[Array, " problem"],
    limits: Float[Array, " problem"],
) -> Bool[Array, " problem"]:
    """Tells for which problems a gap is worth measuring; trust is in the part beyond rounding, which never shrinks."""
    rounding = ROUNDING * objective
    return gap - rounding <= trust * (limits - rounding)


def _unless_stopped(state: State, new: State, max_iterations: Int[Array, ""]) -> State:
    """Returns the new state of the problems that were going on, and the old one of the others."""
    frozen = stopped(state, max_iterations)
    return jax.tree.map(lambda old, fresh: jnp.where(_like(frozen, old), old, fresh), state, new)


def _ahead(now: Float[Array, "problem row column"], before: Array, beta: Float[Array, " problem"]) -> Array:
    """Follows the direction of the last step further."""
    return now + beta[:, None, None] * (now - before)


def _scores_at(scores: Scores, point: Point) -> Float[Array, "problem class word"]:
    """Returns the scores at a point that the last two weights lead to."""
    return _ahead(scores.X_W, scores.X_W_before, point.beta)


def _moved(bias: Float[Array, "problem class"], towards: Array, share: Float[Array, " problem"] | float) -> Array:
    """Moves a bias part of the way towards another; −∞ stays."""
    return bias + jnp.reshape(jnp.asarray(share, bias.dtype), (-1, 1)) * _step(bias, towards)


def _step(bias: Float[Array, "problem class"], towards: Float[Array, "problem class"]) -> Array:
    """Returns the step from one bias to another, 0 for absent classes."""
    return jnp.where(jnp.isfinite(bias), towards - bias, 0.0)


def _inner_steps(words: int, features: int) -> int:
    """Returns the number of inner steps: counted, they cost at most one and a half times the two products with X."""
    affordable = 6 * words * features // metric_operations(words, features)
    return min(max(affordable, _INNER_STEPS[0]), _INNER_STEPS[1])


def _minimise_model(
    V: Float[Array, "problem class feature"],
    g: Float[Array, "problem class feature"],
    metric: Metric,
    problems: Problems,
    curvature: Float[Array, " problem"],
    *,
    inner_steps: int,
    penalty: Penalty,
) -> Float[Array, "problem class feature"]:
    """Runs FISTA on the quadratic model of the loss plus the penalty; no product with X."""
    c = curvature[:, None, None]
    length = 1 / (curvature * metric.largest)

    def inner(
        _: Int[Array, ""],
        carry: tuple[Float[Array, "problem class feature"], Float[Array, "problem class feature"], Array],
    ) -> tuple[Float[Array, "problem class feature"], Float[Array, "problem class feature"], Array]:
        U, U_before, t = carry
        t_next = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
        at = U + (t - 1) / t_next * (U - U_before)
        slope = g + c * metric.times(at - V)
        moved = jnp.where(problems.keep[:, None, :], at - length[:, None, None] * slope, 0.0)
        return penalty.proximal(moved, length, problems.l1, problems.l2), U, t_next

    return jax.lax.fori_loop(0, inner_steps, inner, (V, V, jnp.ones((), V.dtype)))[0]


def _choose(taken: Bool[Array, " problem"], accepted: Array, otherwise: Array) -> Array:
    """Returns the first array for the problems whose step is taken, the other for the rest."""
    return jnp.where(_like(taken, accepted), accepted, otherwise)


def _like(flags: Bool[Array, "*problem"], array: Array) -> Bool[Array, "..."]:
    """Gives flags of problems trailing axes of length one, to choose whole problems of an array."""
    return flags.reshape(flags.shape + (1,) * (array.ndim - flags.ndim))

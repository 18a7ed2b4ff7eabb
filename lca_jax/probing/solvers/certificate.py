r"""The duality gap: an upper bound of how far a probe is above the optimum.

For residuals ρ_i (one vector per word: prediction minus target) with dual value d(ρ), the dual of objective (1) in
`objective` is

    D(ρ) = d(ρ) − penalty*( −X'ρ/n )      subject to   1/n Σ_i ρ_i = 0                                            (2)

with penalty* the conjugate. The constraint is that of the free bias. Where words have weights, each one's share of the
weight stands for 1/n. Any feasible ρ gives a lower bound of the optimum, so F(W, b) − D(ρ) bounds the distance. ρ
starts as the probe's own residuals, is made feasible by the loss, and is then scaled by the penalty where that helps:

- *The constraint.* `Loss.make_feasible` changes ρ so that it sums to zero, and tells what happens to d and to X'ρ.
- *The scale.* s ρ is feasible for s in [0, 1], its gradient is s times as large and its dual value at least s d(ρ).
  `Penalty.dual_bound` takes the best of some scales; where the conjugate is infinite beyond a bound, as for an elastic
  net with l2 = 0 or for `neurox`, the scale is what makes it finite.

Everything here comes from values that an iteration has computed anyway; no product with X.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lca_jax.probing.losses.loss import Loss
from lca_jax.probing.penalties.penalty import Penalty, penalty_value
from lca_jax.probing.problems import Problems

ROUNDING = 16 * 1.2e-7
"""Float32 sums over the words are exact to a few units in the last place; the bound is widened by this share of F."""


def bound_gap(
    value: Float[Array, " problem"],
    dual: Float[Array, " problem"],
    problems: Problems,
    *,
    loss: Loss,
    penalty: Penalty,
    W: Float[Array, "problem class feature"],
    gradient: Float[Array, "problem class feature"],
    means: Float[Array, "problem class feature"],
    bias_residual: Float[Array, "problem class"],
) -> tuple[Float[Array, " problem"], Float[Array, " problem"]]:
    """Returns objective F and an upper bound of F − min F, ≥ 0, of every problem; formulas in the module's docstring.

    Args:
        value: Loss at the weights, `Prediction.loss`.
        dual: Dual value of the residuals there, `Prediction.dual`.
        problems: The problems, with their l1, l2 and the features they may use.
        loss: Makes the residuals feasible.
        penalty: Bounds the dual over scales.
        W: The weights.
        gradient: X' times the residuals.
        means: X' times `loss.mean_weights`.
        bias_residual: Sum of the residuals over the words.
    """
    primal = value + penalty_value(penalty, W, problems.l1, problems.l2)
    dual, feasible = loss.make_feasible(dual, gradient, means, bias_residual, problems.shares)
    allowed = jnp.where(problems.keep[:, None, :], feasible, 0.0)
    bound = penalty.dual_bound(allowed, dual, problems.l1, problems.l2)
    return primal, jnp.maximum(primal - bound, 0.0) + ROUNDING * primal

r"""The duality gap: how far above the optimum a probe can be at most.

For residual distributions q_i (one per word, row sums 1) the dual of objective (1) in `objective` is

    D(q) = 1/n Σ_i H(q_i) − penalty*( −X'(q − y)/n )      subject to   1/n Σ_i (q_i − y_i) = 0                    (2)

with H the entropy and penalty* the conjugate: Σ (|a| − l1)₊² / (2 l2) for the elastic net, and for `neurox` zero where
‖(|a| − l1)₊‖_F ≤ l2 and infinite elsewhere. Where words have weights, each one's share of the weight stands for 1/n.
Any q gives a lower bound of the optimum, so F(W, b) − D(q) bounds the distance. q starts as the probe's own
predictions, is made feasible, and is then scaled towards y where that helps:

- *The constraint.* With p the class shares and r = mean(q) − p, mixing a share t = max_c |r_c| / (p_c + |r_c|) of the
  constant distribution u = p − r (1 − t)/t into every q_i makes it exact. With M the class means X'y/n and m = Σ_c M_c
  the mean of the problem's words (zero where they are those on which X was centred), the gradient g becomes
  (1 − t) (g − r m) − t (M − p m); H(mixture) ≥ (1 − t) H(q).
- *The scale.* y + s (q − y) is feasible for s in [0, 1], its gradient is s g and its entropy at least s H(q). For l2 =
  0 and for `neurox` this scaling is what makes the conjugate finite.

For a regression, with residuals e_i = z_i − y_i in place of q − y, H(q_i) is replaced by −e_i²/2 − e_i y_i. The
constraint is met by e − r with r their mean, which moves the gradient by −r m; and s e again is worth at least s times
what e is.

Everything here comes from values that an iteration has computed anyway; no product with X.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

_SCALES = (1.0, 0.9999, 0.9997, 0.999, 0.997, 0.99, 0.97, 0.9, 0.8)
_ROUNDING = 16 * 1.2e-7
"""Float32 sums over the words are exact to a few units in the last place; the bound is widened by this share of F."""


def feasible_distributions(
    entropy: Float[Array, " problem"],
    gradient: Float[Array, "problem class feature"],
    class_means: Float[Array, "problem class feature"],
    bias_residual: Float[Array, "problem class"],
    shares: Float[Array, "problem class"],
) -> tuple[Float[Array, " problem"], Float[Array, "problem class feature"]]:
    """Entropy and gradient after mixing in the constant distribution that meets the constraint.

    Args:
        entropy: Mean entropy of the predictions, 1/n Σ H(q_i).
        gradient: X'(q − y)/n of the standardised features.
        class_means: M.
        bias_residual: r.
        shares: p; 0 where a problem has no word of a class.
    """
    excess = jnp.abs(bias_residual)
    mix = jnp.max(jnp.where(shares > 0, excess / jnp.maximum(shares + excess, 1e-30), 0.0), axis=1)
    t = mix[:, None, None]
    mean = class_means.sum(axis=1, keepdims=True)
    moved = gradient - bias_residual[:, :, None] * mean
    return (1 - mix) * entropy, (1 - t) * moved - t * (class_means - shares[:, :, None] * mean)


def feasible_numbers(
    dual: Float[Array, " problem"],
    gradient: Float[Array, "problem class feature"],
    mean: Float[Array, "problem class feature"],
    bias_residual: Float[Array, "problem class"],
    shares: Float[Array, "problem class"],
) -> tuple[Float[Array, " problem"], Float[Array, "problem class feature"]]:
    """Dual value and gradient of a regression after taking the mean r off its residuals.

    Args:
        dual: 1/n Σ (−e_i²/2 − e_i y_i).
        gradient: X'e/n of the standardised features.
        mean: m.
        bias_residual: r.
        shares: Mean of the numbers y.
    """
    r, mean_number = bias_residual[:, 0], shares[:, 0]
    return dual + r**2 / 2 + r * mean_number, gradient - bias_residual[:, :, None] * mean


def duality_gap(
    *,
    primal: Float[Array, " problem"],
    dual: Float[Array, " problem"],
    gradient: Float[Array, "problem class feature"],
    keep: Bool[Array, "problem feature"],
    l1: Float[Array, " problem"],
    l2: Float[Array, " problem"],
    squared: bool,
) -> Float[Array, " problem"]:
    """Upper bound of F − min F for every problem, ≥ 0; formulas in the module's docstring.

    Args:
        primal: F at the weights and bias that made the predictions.
        dual: What the feasible residuals are worth without the penalty's conjugate.
        gradient: X' times them.
        keep: Features that the problem may use.
        l1: Weight of ‖W‖₁.
        l2: Weight of the second term.
        squared: True for the elastic net, False for `neurox`.
    """
    magnitude = jnp.where(keep[:, None, :], jnp.abs(gradient), 0.0)
    bound = _elastic_net_bound(magnitude, dual, l1, l2) if squared else _neurox_bound(magnitude, dual, l1, l2)
    return jnp.maximum(primal - bound, 0.0) + _ROUNDING * primal


def _elastic_net_bound(
    magnitude: Float[Array, "problem class feature"],
    dual: Float[Array, " problem"],
    l1: Float[Array, " problem"],
    l2: Float[Array, " problem"],
) -> Float[Array, " problem"]:
    """Best D over a few scales; the scale at which the conjugate vanishes is among them, for l2 near or at zero."""
    free = jnp.minimum(1.0, l1 / jnp.maximum(magnitude.max(axis=(1, 2)), 1e-30))

    def bound(scale: Float[Array, " problem"]) -> Float[Array, " problem"]:
        over = jnp.maximum(scale[:, None, None] * magnitude - l1[:, None, None], 0.0)
        cost = (over**2).sum(axis=(1, 2))
        return scale * dual - jnp.where(cost > 0, cost / jnp.maximum(2 * l2, 1e-30), 0.0)

    candidates = [bound(jnp.full_like(l1, scale)) for scale in _SCALES]
    return jnp.stack([*candidates, bound(free * (1 - 1e-6))]).max(axis=0)


def _neurox_bound(
    magnitude: Float[Array, "problem class feature"],
    dual: Float[Array, " problem"],
    l1: Float[Array, " problem"],
    l2: Float[Array, " problem"],
) -> Float[Array, " problem"]:
    """D at the largest feasible scale, found by bisection: the constraint is monotone in the scale."""

    def halve(
        _: Int[Array, ""], bracket: tuple[Float[Array, " problem"], Float[Array, " problem"]]
    ) -> tuple[Float[Array, " problem"], Float[Array, " problem"]]:
        low, high = bracket
        middle = (low + high) / 2
        over = jnp.maximum(middle[:, None, None] * magnitude - l1[:, None, None], 0.0)
        fits = jnp.sqrt((over**2).sum(axis=(1, 2))) <= l2
        return jnp.where(fits, middle, low), jnp.where(fits, high, middle)

    # The upper end starts above 1, so that a scale of 1 that fits is found.
    low, _ = jax.lax.fori_loop(0, 26, halve, (jnp.zeros_like(l1), jnp.full_like(l1, 1 + 1e-6)))
    return jnp.minimum(low, 1.0) * dual

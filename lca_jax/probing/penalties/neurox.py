"""The penalty that NeuroX's code trains: l1 ‖W‖₁ + l2 ‖W‖_F. The Frobenius norm is not squared.

So published penalties are taken as published. The second term is a group lasso with one group, the whole of W: a large
l2 makes all weights zero at once.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lca_jax.probing.penalties.penalty import root, soft_threshold

_HALVINGS = 26
"""Down to 1.5e-8 of the scale."""


@dataclass(frozen=True)
class NeuroxPenalty:
    """A = ‖W‖₁ and B = ‖W‖_F; implements `Penalty` and `ByCoordinate`."""

    def terms(
        self, W: Float[Array | np.ndarray, "problem class feature"]
    ) -> tuple[Float[Array | np.ndarray, " problem"], Float[Array | np.ndarray, " problem"]]:
        """Returns ‖W‖₁ and ‖W‖_F."""
        squares = (W**2).sum(axis=(1, 2))
        return abs(W).sum(axis=(1, 2)), root(squares)

    def proximal(
        self,
        at: Float[Array, "problem class feature"],
        length: Float[Array, " problem"],
        l1: Float[Array, " problem"],
        l2: Float[Array, " problem"],
    ) -> Float[Array, "problem class feature"]:
        """Thresholds every weight by length·l1, then shortens the whole by length·l2."""
        soft = soft_threshold(at, (length * l1)[:, None, None])
        norm = jnp.sqrt((soft**2).sum(axis=(1, 2), keepdims=True))
        return soft * jnp.maximum(1 - (length * l2)[:, None, None] / jnp.maximum(norm, 1e-30), 0.0)

    def coordinate_proximal(
        self, at: Float[Array, "problem class feature"], length: Float[Array, "problem class feature"]
    ) -> Float[Array, "problem class feature"]:
        """Thresholds every weight by its own length."""
        return soft_threshold(at, length)

    def dual_bound(
        self,
        gradient: Float[Array, "problem class feature"],
        dual: Float[Array, " problem"],
        l1: Float[Array, " problem"],
        l2: Float[Array, " problem"],
    ) -> Float[Array, " problem"]:
        """Returns the bound at the largest feasible scale, found by bisection.

        The conjugate is zero where ‖(|a| − l1)₊‖_F ≤ l2 and infinite elsewhere, and that norm grows with the scale.
        """
        magnitude = jnp.abs(gradient)

        def halve(
            _: Int[Array, ""], bracket: tuple[Float[Array, " problem"], Float[Array, " problem"]]
        ) -> tuple[Float[Array, " problem"], Float[Array, " problem"]]:
            low, high = bracket
            middle = (low + high) / 2
            over = jnp.maximum(middle[:, None, None] * magnitude - l1[:, None, None], 0.0)
            fits = jnp.sqrt((over**2).sum(axis=(1, 2))) <= l2
            return jnp.where(fits, middle, low), jnp.where(fits, high, middle)

        # The upper end starts above 1, so that a scale of 1 that fits is found.
        bracket = (jnp.zeros_like(l1), jnp.full_like(l1, 1 + 1e-6))
        low, _ = jax.lax.fori_loop(0, _HALVINGS, halve, bracket)
        return jnp.minimum(low, 1.0) * dual


PENALTY = NeuroxPenalty()

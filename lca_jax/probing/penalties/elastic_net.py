"""The elastic net: l1 ‖W‖₁ + (l2/2) ‖W‖²_F, which leaves single weights out and shares weight between like neurons."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lca_jax.probing.penalties.penalty import ridge_bound, soft_threshold


@dataclass(frozen=True)
class ElasticNetPenalty:
    """A = ‖W‖₁ and B = ‖W‖²_F/2; implements `Penalty` and `ByCoordinate`."""

    def terms(
        self, W: Float[Array | np.ndarray, "problem class feature"]
    ) -> tuple[Float[Array | np.ndarray, " problem"], Float[Array | np.ndarray, " problem"]]:
        """Returns ‖W‖₁ and ‖W‖²_F/2."""
        squares = (W**2).sum(axis=(1, 2))
        return abs(W).sum(axis=(1, 2)), squares / 2

    def proximal(
        self,
        at: Float[Array, "problem class feature"],
        length: Float[Array, " problem"],
        l1: Float[Array, " problem"],
        l2: Float[Array, " problem"],
    ) -> Float[Array, "problem class feature"]:
        """Thresholds every weight by length·l1, then divides by 1 + length·l2."""
        return soft_threshold(at, (length * l1)[:, None, None]) / (1 + (length * l2)[:, None, None])

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
        """Returns the best bound over scales; the conjugate is Σ (|a| − l1)₊²/(2 l2)."""
        return ridge_bound(jnp.abs(gradient), dual, l1, l2)


PENALTY = ElasticNetPenalty()

r"""The group lasso over classes: l1 Σ_j ‖W_j‖₂ + (l2/2) ‖W‖²_F, with W_j the weights of neuron j for all classes.

A neuron is in for all classes or out for all of them, while the elastic net chooses for each class by itself. As l1
falls, neurons enter the probe one by one: neuron j is out while the norm of its gradient is at most l1. `rank_neurons`
orders the neurons of such a probe by weight mass, as for every probe; neurons that are out have no weight in any class
and come last, as one tie. With one column of weights (a regression, where ‖W_j‖₂ = |W_j|) the group lasso is the
elastic net.

With t the step length and a the gradient, group by group:

    proximal operator   U_j = (1 − t l1/‖V_j‖)₊ V_j / (1 + t l2)           threshold the group, then shrink
    conjugate           Σ_j (‖a_j‖ − l1)₊²/(2 l2); for l2 = 0 zero where all ‖a_j‖ ≤ l1, and infinite elsewhere

Reference:
    Yuan and Lin 2006 (model selection with grouped variables); Simon, Friedman and Hastie 2013 (a block of coefficients
    per feature in multinomial regression).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lca_jax.probing.penalties.penalty import ridge_bound, root

_HALVINGS = 30
"""Down to 1e-9 of the length of a group's weights."""


@dataclass(frozen=True)
class GroupLasso:
    """A = Σ_j ‖W_j‖₂ over features and B = ‖W‖²_F/2; implements `Penalty` and `ByCoordinate`."""

    def terms(
        self, W: Float[Array | np.ndarray, "problem class feature"]
    ) -> tuple[Float[Array | np.ndarray, " problem"], Float[Array | np.ndarray, " problem"]]:
        """Returns Σ_j ‖W_j‖₂ and ‖W‖²_F/2."""
        squares = (W**2).sum(axis=1)
        return root(squares).sum(axis=1), squares.sum(axis=1) / 2

    def proximal(
        self,
        at: Float[Array, "problem class feature"],
        length: Float[Array, " problem"],
        l1: Float[Array, " problem"],
        l2: Float[Array, " problem"],
    ) -> Float[Array, "problem class feature"]:
        """Shortens every group by length·l1, then divides by 1 + length·l2."""
        norm = jnp.sqrt((at**2).sum(axis=1, keepdims=True))
        share = jnp.maximum(1 - (length * l1)[:, None, None] / jnp.maximum(norm, 1e-30), 0.0)
        return share * at / (1 + (length * l2)[:, None, None])

    def coordinate_proximal(
        self, at: Float[Array, "problem class feature"], length: Float[Array, "problem class feature"]
    ) -> Float[Array, "problem class feature"]:
        """Solves for the length ρ of every group by bisection.

        U = V ρ/(ρ + length), so ρ is zero where ‖V/length‖ ≤ 1, and else the root of Σ (V/(ρ + length))² = 1, whose
        left side falls in ρ and is below 1 at ρ = ‖V‖.
        """

        def halve(
            _: Int[Array, ""], bracket: tuple[Float[Array, "problem 1 feature"], Float[Array, "problem 1 feature"]]
        ) -> tuple[Float[Array, "problem 1 feature"], Float[Array, "problem 1 feature"]]:
            low, high = bracket
            middle = (low + high) / 2
            longer = ((at / jnp.maximum(middle + length, 1e-30)) ** 2).sum(axis=1, keepdims=True) > 1
            return jnp.where(longer, middle, low), jnp.where(longer, high, middle)

        norm = jnp.sqrt((at**2).sum(axis=1, keepdims=True))
        low, high = jax.lax.fori_loop(0, _HALVINGS, halve, (jnp.zeros_like(norm), norm))
        # Where no positive length fits, the lower end was never raised.
        found = jnp.where(low > 0, high, 0.0)
        return at * found / jnp.maximum(found + length, 1e-30)

    def dual_bound(
        self,
        gradient: Float[Array, "problem class feature"],
        dual: Float[Array, " problem"],
        l1: Float[Array, " problem"],
        l2: Float[Array, " problem"],
    ) -> Float[Array, " problem"]:
        """Returns the best bound over scales; the conjugate is that of the module's docstring."""
        return ridge_bound(jnp.sqrt((gradient**2).sum(axis=1, keepdims=True)), dual, l1, l2)


PENALTY = GroupLasso()

r"""The group lasso over groups of neurons: l1 Σ_g √n_g ‖W_g‖₂ + (l2/2) ‖W‖²_F, W_g the weights of n_g neurons together.

All neurons of a group are in for all classes, or all are out. The factor √n_g keeps large groups from being favoured:
with weights of zero the norm of a group's gradient grows like it. Groups of one neuron make the penalty that of
`group_lasso`. A problem that may use a part of a group's neurons alone pays for the whole group.

With t the step length, a the gradient and c_g = √n_g, group by group:

    proximal operator   U_g = (1 − t l1 c_g/‖V_g‖)₊ V_g / (1 + t l2)
    conjugate           Σ_g (‖a_g‖ − l1 c_g)₊²/(2 l2); for l2 = 0 zero where all ‖a_g‖ ≤ l1 c_g, and infinite elsewhere

The record holds the group of every column as a tuple, so that it is hashable like every penalty; a compiled program
holds them as constants.

Reference: Yuan and Lin 2006, "Model selection and estimation in regression with grouped variables", section 2 (the
factor √n_g).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from lca_jax.probing.penalties.penalty import ridge_bound, root


@dataclass(frozen=True)
class NeuronGroupLasso:
    """A = Σ_g √n_g ‖W_g‖₂ and B = ‖W‖²_F/2; implements `Penalty`."""

    group_of_column: tuple[int, ...]
    """Number of every column's group, from 0; every number up to the largest is used."""

    def terms(
        self, W: Float[Array | np.ndarray, "problem class feature"]
    ) -> tuple[Float[Array | np.ndarray, " problem"], Float[Array | np.ndarray, " problem"]]:
        """Returns Σ_g √n_g ‖W_g‖₂ and ‖W‖²_F/2."""
        squares = (W**2).sum(axis=1)
        total = self._host_sums(squares) if isinstance(squares, np.ndarray) else self._sums(squares)
        return (root(total) * self._costs.astype(total.dtype)[None]).sum(axis=1), squares.sum(axis=1) / 2

    def proximal(
        self,
        at: Float[Array, "problem class feature"],
        length: Float[Array, " problem"],
        l1: Float[Array, " problem"],
        l2: Float[Array, " problem"],
    ) -> Float[Array, "problem class feature"]:
        """Shortens every group by length·l1·√n_g, then divides by 1 + length·l2."""
        norm = jnp.sqrt(self._sums((at**2).sum(axis=1)))
        shorter = (length * l1)[:, None] * self._costs.astype(np.float32)[None]
        share = jnp.maximum(1 - shorter / jnp.maximum(norm, 1e-30), 0.0)
        return share[:, None, np.array(self.group_of_column)] * at / (1 + (length * l2)[:, None, None])

    def dual_bound(
        self,
        gradient: Float[Array, "problem class feature"],
        dual: Float[Array, " problem"],
        l1: Float[Array, " problem"],
        l2: Float[Array, " problem"],
    ) -> Float[Array, " problem"]:
        """Returns the best bound over scales; the conjugate is that of the module's docstring."""
        norm = jnp.sqrt(self._sums((gradient**2).sum(axis=1)))
        return ridge_bound(norm[:, None, :], dual, l1, l2, cost_of=self._costs.astype(np.float32)[None, None])

    @property
    def _costs(self) -> Float64[np.ndarray, " group"]:
        return np.sqrt(np.bincount(np.array(self.group_of_column)).astype(np.float64))

    def _sums(self, of_column: Float[Array, "problem feature"]) -> Float[Array, "problem group"]:
        places, count = np.array(self.group_of_column), max(self.group_of_column) + 1
        return jax.ops.segment_sum(of_column.T, places, num_segments=count).T

    def _host_sums(self, of_column: Float[np.ndarray, "problem feature"]) -> Float[np.ndarray, "problem group"]:
        total = np.zeros((len(of_column), max(self.group_of_column) + 1), of_column.dtype)
        np.add.at(total.T, np.array(self.group_of_column), of_column.T)
        return total

"""The interface of a penalty, and what several penalties share: soft thresholding and the bound of a ridge term.

Every penalty is l1·A(W) + l2·B(W): A is zero exactly where weights may be exactly zero, B is the second term. A penalty
is a small frozen record without arrays: it is hashable, so that a compiled program takes it as a static argument. It
knows its two terms, its proximal operator and its part of the certificate, and asks nothing of losses, solvers or
matrices. l1 and l2 come with the problems, one pair each.

A solver may need more of a penalty than `Penalty` promises: `ByCoordinate` is what `adam` needs for its proximal step.
Such a solver refuses a penalty that lacks the method, by name, before it starts.
"""

from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_TINY = 1e-30
"""Under roots: the gradient of a norm at zero weights is zero."""
_SCALES = (1.0, 0.9999, 0.9997, 0.999, 0.997, 0.99, 0.97, 0.9, 0.8)
"""Scales at which a dual bound is tried."""


@runtime_checkable
class Penalty(Protocol):
    """A convex penalty l1·A(W) + l2·B(W) of the weights of a problem; A and B are zero at zero weights."""

    def terms(
        self, W: Float[Array | np.ndarray, "problem class feature"]
    ) -> tuple[Float[Array | np.ndarray, " problem"], Float[Array | np.ndarray, " problem"]]:
        """Returns A(W) and B(W) of every problem, by NumPy for NumPy arrays and by JAX for JAX arrays."""
        ...

    def proximal(
        self,
        at: Float[Array, "problem class feature"],
        length: Float[Array, " problem"],
        l1: Float[Array, " problem"],
        l2: Float[Array, " problem"],
    ) -> Float[Array, "problem class feature"]:
        """Returns argmin over U of ‖U − at‖²_F/(2 length) + l1·A(U) + l2·B(U); zero features of `at` stay zero."""
        ...

    def dual_bound(
        self,
        gradient: Float[Array, "problem class feature"],
        dual: Float[Array, " problem"],
        l1: Float[Array, " problem"],
        l2: Float[Array, " problem"],
    ) -> Float[Array, " problem"]:
        """Returns the best of the lower bounds s·dual − penalty*(s·gradient) over scales s in [0, 1].

        Args:
            gradient: X' times feasible residuals; zero for features that the problem may not use.
            dual: Dual value of these residuals.
            l1: Weight of A.
            l2: Weight of B.
        """
        ...


@runtime_checkable
class ByCoordinate(Penalty, Protocol):
    """A penalty whose first term has a proximal operator also where every coordinate has a step length of its own."""

    def coordinate_proximal(
        self, at: Float[Array, "problem class feature"], length: Float[Array, "problem class feature"]
    ) -> Float[Array, "problem class feature"]:
        """Returns argmin over U of Σ (U − at)²/(2 length) + A(U)."""
        ...


def penalty_value(
    penalty: Penalty,
    W: Float[Array, "problem class feature"],
    l1: Float[Array, " problem"],
    l2: Float[Array, " problem"],
) -> Float[Array, " problem"]:
    """Returns l1·A(W) + l2·B(W) of every problem."""
    first, second = penalty.terms(W)
    return l1 * jnp.asarray(first) + l2 * jnp.asarray(second)


def soft_threshold(
    at: Float[Array, "problem class feature"], length: Float[Array, "problem #class #feature"]
) -> Float[Array, "problem class feature"]:
    """Returns argmin over U of Σ (U − at)²/(2 length) + ‖U‖₁: every entry moved towards zero by its length."""
    return jnp.sign(at) * jnp.maximum(jnp.abs(at) - length, 0.0)


def root(squares: Float[Array | np.ndarray, "..."]) -> Any:
    """Returns square roots whose gradient at zero is zero, and which are exactly zero there."""
    arrays = squares.__array_namespace__()
    return arrays.where(squares > _TINY, arrays.sqrt(arrays.maximum(squares, _TINY)), 0 * squares)


def ridge_bound(
    magnitude: Float[Array, "problem row column"],
    dual: Float[Array, " problem"],
    l1: Float[Array, " problem"],
    l2: Float[Array, " problem"],
    *,
    cost_of: Float[Array | np.ndarray, "1 1 column"] | float = 1.0,
) -> Float[Array, " problem"]:
    """Returns the dual bound of l1 Σ_g c_g ‖W_g‖ + (l2/2) ‖W‖²_F, where groups g (or single entries) share no weight.

    The conjugate is Σ_g (m_g − l1 c_g)₊²/(2 l2), with m_g the norm of the gradient in a group. For l2 = 0 it is finite
    only where all m_g ≤ l1 c_g, and the largest scale with that is among those tried: it also serves an l2 near zero.

    Args:
        magnitude: m_g, in any two axes behind the problems.
        dual: Dual value of the residuals.
        l1: Weight of the norms.
        l2: Weight of the ridge term.
        cost_of: c_g, above 0, for every column of the magnitudes; 1 by default.
    """
    free = jnp.minimum(1.0, l1 / jnp.maximum((magnitude / cost_of).max(axis=(1, 2)), 1e-30))

    def bound(scale: Float[Array, " problem"]) -> Float[Array, " problem"]:
        over = jnp.maximum(scale[:, None, None] * magnitude - l1[:, None, None] * cost_of, 0.0)
        cost = (over**2).sum(axis=(1, 2))
        return scale * dual - jnp.where(cost > 0, cost / jnp.maximum(2 * l2, 1e-30), 0.0)

    candidates = [bound(jnp.full_like(l1, scale)) for scale in _SCALES]
    return jnp.stack([*candidates, bound(free * (1 - 1e-6))]).max(axis=0)

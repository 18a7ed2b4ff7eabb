"""Shares of variance: how much of the differences in a full table of outcomes goes with each factor.

The sum of squared distances from the mean is divided among all sets of factors, as in an analysis of variance with
equally many outcomes in every cell. The part of one factor is that of the means of its levels; the part of two is what
the means of their combinations have beyond both; and so on. Parts are sums of squares of orthogonal components, so they
add up to the whole, whatever the outcomes are. A last axis of repetitions is a factor like the others; all parts with
it together are what is left to chance.

Reference: Searle, Casella and McCulloch 1992, "Variance Components", section 4.2 (balanced data).
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float


def variance_shares(values: Float[np.ndarray, "..."], factors: Sequence[str]) -> dict[tuple[str, ...], float]:
    """Returns the share of the variance of every set of factors, single factors first; the shares sum to 1.

    Args:
        values: The outcomes, one axis a factor. Without any variance all shares are 0.
        factors: The name of each axis.

    Raises:
        ValueError: The names are not those of the axes, or an outcome is missing (NaN).
    """
    if len(factors) != values.ndim or len(set(factors)) != values.ndim or not np.isfinite(values).all():
        raise ValueError(f"`values` with {values.ndim} axes needs as many names and no gaps, got {list(factors)}.")
    centred = values.astype(np.float64) - values.mean(dtype=np.float64)
    axes = range(values.ndim)
    parts = [chosen for size in range(1, values.ndim + 1) for chosen in combinations(axes, size)]
    component: dict[tuple[int, ...], np.ndarray] = {}
    for chosen in parts:
        others = tuple(axis for axis in axes if axis not in chosen)
        # The means of the levels, less the components of all smaller sets of these factors.
        means = centred.mean(axis=others, keepdims=True)
        component[chosen] = means - sum(component[one] for one in component if set(one) < set(chosen))
    total = float((centred**2).mean())
    return {
        tuple(factors[axis] for axis in chosen): float((part**2).mean()) / total if total > 0 else 0.0
        for chosen, part in component.items()
    }


def share_by_factor(values: Float[np.ndarray, "..."], factors: Sequence[str], *, chance: str) -> dict[str, float]:
    """Returns the share of each factor by itself, of its interactions together, and of chance.

    Args:
        values: As for `variance_shares`.
        factors: The name of each axis.
        chance: The axis of repetitions.
    """
    shares = variance_shares(values, factors)
    found = {name: shares[name,] for name in factors if name != chance}
    left = sum(share for chosen, share in shares.items() if chance in chosen)
    return {**found, "interactions": 1 - sum(found.values()) - left if any(shares.values()) else 0.0, "chance": left}

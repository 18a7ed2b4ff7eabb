"""Merges counts, means and summed squares of samples that were measured apart, without losing digits.

Samples are measured in parts: on several devices, or some at a time. The formulas hold for any split, for parts of one
sample and for empty parts, and nothing cancels in them. They take the arrays of NumPy and of JAX alike, in the type
that they have; under `jit` they are traced.

Reference: Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", formulas (1.1) and (1.5).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Shaped

_Numbers = Shaped[Array | np.ndarray, "..."]


class Moments(NamedTuple):
    """Moments of some samples; every feature by itself."""

    number: _Numbers
    """Number of samples; of a shape that broadcasts against the mean."""
    mean: _Numbers
    """Mean of the samples; 0 where there is none."""
    squares: _Numbers
    """Sum of the squared distances from the mean."""


def merge_moments(one: Moments, other: Moments) -> Moments:
    """Returns the moments of the samples of both, which have none in common."""
    number = one.number + other.number
    share = other.number / number.clip(1)
    apart = other.mean - one.mean
    squares = one.squares + other.squares + apart**2 * (one.number * share)
    return Moments(number, one.mean + apart * share, squares)


def merge_products(one: Moments, one_products: _Numbers, other: Moments, other_products: _Numbers) -> _Numbers:
    """Returns the summed products of the features' distances from the mean, of the samples of both.

    Args:
        one: Moments of some samples; the last axis is that of the features.
        one_products: Their summed products, with the axis of the features twice.
        other: Moments of other samples.
        other_products: Their summed products.
    """
    both = one.number * (other.number / (one.number + other.number).clip(1))
    apart = other.mean - one.mean
    return one_products + other_products + both[..., None] * apart[..., :, None] * apart[..., None, :]

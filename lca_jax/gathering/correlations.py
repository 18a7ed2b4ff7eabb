"""Correlations of all neurons with each other, across layers: gathered block by block of the words, on the devices.

The products X'X of d neurons have d² numbers, 4·d² bytes. They are gathered in strips of columns, d by the width of a
strip; each strip takes one pass over the words (`gathering.products`), and there is one strip where the whole fits
(`STRIP_BYTES`): 16,000 neurons take one pass.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from lca_jax.gathering.products import BLOCK_BYTES, Columns, Table, sum_products
from lca_jax.store.finite import NamePlace, refuse_not_finite

STRIP_BYTES = 1e9
"""Largest size of the products of a strip of columns, on the devices."""


class Strip(NamedTuple):
    """Correlations of some neighbouring columns with all columns."""

    first: int
    """Number of the first of these columns."""
    correlation: Float64[np.ndarray, "column feature"]
    """Pearson's correlations, -1 to 1; 0 with a neuron that never changes."""


def correlation_strips(
    read: Callable[[int, int], Float32[np.ndarray, "word feature"]],
    words: int,
    features: int,
    *,
    name_place: NamePlace,
    strip_bytes: float = STRIP_BYTES,
    block_bytes: float = BLOCK_BYTES,
) -> Iterator[Strip]:
    """Yields the correlations of all columns, strip by strip.

    Args:
        read: Function that returns the vectors of the words `first, …, last - 1`.
        words: Number of words, 1 or more.
        features: Number of columns.
        name_place: Function that names a value in the message of one that is not finite.
        strip_bytes: Largest size of the products of a strip.
        block_bytes: Size of the blocks of words.

    Raises:
        DataError: There is no word, or a value is not finite.
    """
    width = min(features, max(1, int(strip_bytes / (4 * features))))
    for first in range(0, features, width):
        # The last strip begins earlier, so that all strips have one shape.
        start = min(first, features - width)
        wanted = (Columns(0, start, start + width), Columns(0, 0, features))
        sums = sum_products([Table(read, features)], words, [wanted], block_bytes=block_bytes)
        (squares,), (products,) = sums.squares, sums.products
        if not np.isfinite(squares).all():
            refuse_not_finite(read, words, name_place)
        yield Strip(first, correlations_of(products, squares[start : start + width], squares)[first - start :])


def correlations_of(
    products: Float32[np.ndarray, "column feature"],
    one: Float64[np.ndarray, " column"],
    other: Float64[np.ndarray, " feature"],
) -> Float64[np.ndarray, "column feature"]:
    """Returns Pearson's correlations, from summed products and the summed squares of both sides, around the means."""
    both = np.sqrt(one[:, None] * other[None, :])
    correlation = np.divide(products, both, out=np.zeros_like(both), where=both != 0)
    return np.clip(correlation, -1, 1)

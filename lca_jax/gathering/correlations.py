"""Correlations of all neurons with each other, across layers: gathered block by block of the words, on the devices.

The products X'X of d neurons have d² numbers, 4·d² bytes. They are gathered in strips of columns, d by the width of a
strip; each strip takes one pass over the words, and there is one strip where the whole fits (`STRIP_BYTES`): 16,000
neurons take one pass. Sums are of distances from a centre near the mean, so that a neuron far from zero loses no digits
(`gathering.moments` has the argument). On several devices the words of a block are split over them.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Float64, Int

from lca_jax.machine.devices import data_mesh, fetch, shard_rows
from lca_jax.machine.precision import FLOAT32
from lca_jax.machine.prefetch import prefetch
from lca_jax.store.finite import NamePlace, refuse_not_finite

BLOCK_BYTES = 64e6
"""Bytes of the blocks of words that are read one after the other."""
STRIP_BYTES = 1e9
"""Largest size of the products of a strip of columns, on the devices."""


class Strip(NamedTuple):
    """Correlations of some neighbouring columns with all columns."""

    first: int
    """Number of the first of these columns."""
    correlation: Float64[np.ndarray, "column feature"]
    """Pearson's correlations, -1 to 1; 0 with a neuron that never changes."""


class _Sums(NamedTuple):
    """Sums over words of distances from the centre."""

    sums: Float32[Array, " feature"]
    squares: Float32[Array, " feature"]
    products: Float32[Array, "column feature"]


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
        words: Number of words.
        features: Number of columns.
        name_place: Function that names a value in the message of one that is not finite.
        strip_bytes: Largest size of the products of a strip.
        block_bytes: Size of the blocks of words.

    Raises:
        DataError: A value is not finite.
    """
    width = min(features, max(1, int(strip_bytes / (4 * features))))
    rows = max(1, min(words, int(block_bytes / (4 * features))))
    for first in range(0, features, width):
        # The last strip begins earlier, so that all strips have one shape.
        start = min(first, features - width)
        correlation = _correlate(read, words, rows=rows, start=start, width=width)
        if not np.isfinite(correlation).all():
            refuse_not_finite(read, words, name_place)
        yield Strip(first, correlation[first - start :])


def _correlate(
    read: Callable[[int, int], Float32[np.ndarray, "word feature"]], words: int, *, rows: int, start: int, width: int
) -> Float64[np.ndarray, "column feature"]:
    mesh = data_mesh()
    total: _Sums | None = None
    centre = np.zeros(0, np.float32)
    blocks = [(first, min(first + rows, words)) for first in range(0, words, rows)]
    for block in prefetch(lambda ends: read(*ends), blocks, name="correlation-reader"):
        if total is None:
            centre = _centre(block)
        moved = np.zeros((rows, len(centre)), np.float32)  # zeros behind the last word add nothing
        np.subtract(block, centre, out=moved[: len(block)])
        added = _sum(shard_rows(mesh, moved), np.int32(start), width=width)
        total = added if total is None else _add(total, added)
        jax.block_until_ready(total)
    if total is None:
        return np.zeros((width, 0))
    sums, squares, products = (fetch(part).astype(np.float64) for part in total)
    offset = sums / words
    variance = np.maximum(squares / words - offset**2, 0)
    own = slice(start, start + width)
    covariance = products / words - offset[own, None] * offset[None, :]
    both = np.sqrt(variance[own, None] * variance[None, :])
    correlation = np.divide(covariance, both, out=np.zeros_like(covariance), where=both != 0)
    return np.clip(correlation, -1, 1)


def _centre(block: Float32[np.ndarray, "word feature"]) -> Float32[np.ndarray, " feature"]:
    """Returns the means of a block; of a neuron that never changes in it its value, so that nothing is left of it."""
    means = block.mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.where((block == block[0]).all(axis=0), block[0], means)


@partial(jax.jit, static_argnames="width")
def _sum(moved: Float32[Array, "word feature"], start: Int[Array | np.ndarray, ""], *, width: int) -> _Sums:
    own = jax.lax.dynamic_slice_in_dim(moved, start, width, axis=1)
    products = jnp.matmul(own.T, moved, precision=FLOAT32)
    return _Sums(moved.sum(axis=0), (moved**2).sum(axis=0), products)


@partial(jax.jit, donate_argnums=0)
def _add(total: _Sums, added: _Sums) -> _Sums:
    return jax.tree.map(jnp.add, total, added)

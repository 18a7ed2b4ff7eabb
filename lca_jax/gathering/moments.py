"""Counts, means and squares of groups of words: summed on the device, made into moments and merged on the host.

Group 0 is all words that have a vector; every class of every task is a group more. So two matrix products make all
means and variances at once, one_hot'·X and one_hot'·X², and a third one the covariances, X'·X layer by layer.

**Nothing cancels.** What is summed, in float32, are distances from a fixed *centre* near the words' mean: on every
device the mean of its part of the first batch. For a neuron that lies at 10,000 ± 1 the subtraction is exact, and what
is lost afterwards is a float32 rounding times (mean − centre)² / variance, which is at most the number of words over
those of that part, and seldom above 1. The centre is added again in float64. A mean around which later batches were
updated would have to be rounded at every step, by 0.0005 at 10,000. The sums of devices and of stretches of words
(shards) are merged on the host in float64, by the formulas of Chan, Golub and LeVeque, which hold for any split.

Cost of a batch of n words (padding included), d neurons in layers w wide, g groups: 4·n·g·d operations, and 2·n·d·w for
covariances; X is read about six times, n·d·4 bytes each. Memory on the device: (2·g + 3)·d numbers, and d·w for
covariances.

Reference: Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", formulas (1.1) and (1.5).
"""

from collections.abc import Mapping
from functools import partial, reduce
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Float64, Int, Int32, Int64, Shaped

_Tree = TypeVar("_Tree")


class SiteSums(NamedTuple):
    """Sums of a stretch of words at one site; a leading axis has one part a device."""

    centre: Float32[Array, "*part layer neuron"] | Float32[np.ndarray, "*part layer neuron"]
    """What every vector has had subtracted."""
    sums: Float32[Array, "*part group layer neuron"] | Float32[np.ndarray, "*part group layer neuron"]
    squares: Float32[Array, "*part group layer neuron"] | Float32[np.ndarray, "*part group layer neuron"]
    smallest: Float32[Array, "*part layer neuron"] | Float32[np.ndarray, "*part layer neuron"]
    largest: Float32[Array, "*part layer neuron"] | Float32[np.ndarray, "*part layer neuron"]
    """Of all words, without the subtraction; infinite where there is none."""
    products: Float32[Array, "*part layer neuron _neuron"] | Float32[np.ndarray, "*part layer neuron _neuron"] | None
    """Of all words; None where covariances are not asked for."""


class Sums(NamedTuple):
    """Sums of a stretch of words."""

    counts: Int32[Array, "*part group"] | Int32[np.ndarray, "*part group"]
    sites: dict[str, SiteSums]


@partial(jax.jit, static_argnames=("groups", "covariance", "parts"))
def begin_sums(
    vectors: dict[str, Shaped[Array, "row read _layer _neuron"]],
    real: Bool[Array, "row read"],
    *,
    groups: int,
    covariance: bool,
    parts: int = 1,
) -> Sums:
    """Sums of no word, around a centre.

    Args:
        vectors: At every site; the first words there are, be they of this stretch or not, for the centre.
        real: Which of them are words.
        groups: How many there are, group 0 included.
        covariance: Whether products are summed.
        parts: Over how many devices the rows are split: each has sums of its own, around its own centre, on a leading
            axis. So devices need not meet, which several threads of several processes would do in different orders.
    """
    begin = partial(_begin_part, groups=groups, covariance=covariance)
    return jax.vmap(begin)(_in_parts(vectors, parts), _in_parts(real, parts))


def _in_parts(arrays: _Tree, parts: int) -> _Tree:
    """Neighbouring rows together, as they lie on devices."""
    return jax.tree.map(lambda array: array.reshape(parts, len(array) // parts, *array.shape[1:]), arrays)


def _begin_part(
    vectors: dict[str, Shaped[Array, "row read _layer _neuron"]],
    real: Bool[Array, "row read"],
    *,
    groups: int,
    covariance: bool,
) -> Sums:
    sites = {}
    for site, of_site in vectors.items():
        *_, layers, width = of_site.shape
        known = of_site.astype(jnp.float32)
        smallest, largest = _extremes(known, real)
        total = jnp.where(real[:, :, None, None], known, 0.0).sum(axis=(0, 1))
        mean = total / jnp.maximum(real.sum(), 1).astype(jnp.float32)
        none = jnp.zeros((groups, layers, width), jnp.float32)
        sites[site] = SiteSums(
            # A neuron that never changes is its own centre to the last bit, and has the variance 0.
            centre=jnp.where(real.any(), jnp.clip(mean, smallest, largest), 0.0),
            sums=none,
            squares=none,
            smallest=jnp.full((layers, width), jnp.inf),
            largest=jnp.full((layers, width), -jnp.inf),
            products=jnp.zeros((layers, width, width), jnp.float32) if covariance else None,
        )
    return Sums(jnp.zeros(groups, jnp.int32), sites)


@partial(jax.jit, donate_argnums=0)
def add_words(
    total: Sums,
    vectors: dict[str, Shaped[Array, "row read _layer _neuron"]],
    groups: Int[Array, "row read task"],
    counted: Bool[Array, "row read"],
) -> Sums:
    """Adds the words of one batch.

    Args:
        total: Sums so far; their memory is used again.
        vectors: At every site.
        groups: The group of each word in each task; 0 for none.
        counted: Which words are added.
    """
    parts = len(total.counts)
    return jax.vmap(_add_part)(total, _in_parts(vectors, parts), _in_parts(groups, parts), _in_parts(counted, parts))


def _add_part(
    total: Sums,
    vectors: dict[str, Shaped[Array, "row read _layer _neuron"]],
    groups: Int[Array, "row read task"],
    counted: Bool[Array, "row read"],
) -> Sums:
    named = jnp.arange(1, len(total.counts), dtype=groups.dtype)
    of_class = (groups[:, :, :, None] == named[None, None, None, :]).any(axis=2)
    member = jnp.concatenate([jnp.ones_like(counted)[:, :, None], of_class], axis=2) & counted[:, :, None]
    sites = {site: _add_site(of_site, vectors[site], member) for site, of_site in total.sites.items()}
    return Sums(total.counts + member.sum(axis=(0, 1), dtype=jnp.int32), sites)


def _add_site(
    total: SiteSums, vectors: Shaped[Array, "row read layer neuron"], member: Bool[Array, "row read group"]
) -> SiteSums:
    layers, width = total.centre.shape
    counted, known = member[:, :, 0], vectors.astype(jnp.float32)
    apart = jnp.where(counted[:, :, None, None], known - total.centre[None, None], 0.0).reshape(-1, layers * width)
    shares = member.astype(jnp.float32).reshape(len(apart), -1)
    add = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST, preferred_element_type=jnp.float32)
    smallest, largest = _extremes(known, counted)
    products = total.products
    if products is not None:
        # Layer by layer: as one product with a layer axis, X would be transposed first, which takes as long again.
        products += jnp.stack([add("nw,nv->wv", layer, layer) for layer in jnp.split(apart, layers, axis=1)])
    return SiteSums(
        centre=total.centre,
        sums=total.sums + add("ng,nd->gd", shares, apart).reshape(total.sums.shape),
        squares=total.squares + add("ng,nd->gd", shares, apart**2).reshape(total.squares.shape),
        smallest=jnp.minimum(total.smallest, smallest),
        largest=jnp.maximum(total.largest, largest),
        products=products,
    )


def _extremes(
    known: Float32[Array, "row read layer neuron"], counted: Bool[Array, "row read"]
) -> tuple[Float32[Array, "layer neuron"], Float32[Array, "layer neuron"]]:
    """Smallest and largest of the words counted, infinite if there are none.

    By halves, within rows. Asked for as two minima along an axis beside the
    products, XLA's CPU compiler makes one loop of all that takes five times as long as everything else.
    """
    is_counted = counted[:, :, None, None]
    low, high = jnp.where(is_counted, known, jnp.inf), jnp.where(is_counted, known, -jnp.inf)
    while (size := low.shape[1]) > 1:
        half = -(-size // 2)  # of an odd number, the one in the middle is in both halves
        low = jnp.minimum(low[:, :half], low[:, size - half :])
        high = jnp.maximum(high[:, :half], high[:, size - half :])
    return low[:, 0].min(axis=0), high[:, 0].max(axis=0)


class SiteMoments(NamedTuple):
    """Moments of some words at one site, on the host."""

    mean: Float64[np.ndarray, "group layer neuron"]
    """0 where a group has no word."""
    squares: Float64[np.ndarray, "group layer neuron"]
    """Summed squares around each group's own mean."""
    smallest: Float32[np.ndarray, "layer neuron"]
    largest: Float32[np.ndarray, "layer neuron"]
    products: Float64[np.ndarray, "layer neuron _neuron"] | None
    """Summed products around the mean of all words."""


class Moments(NamedTuple):
    """Moments of some words."""

    counts: Int64[np.ndarray, " group"]
    sites: Mapping[str, SiteMoments]


def moments_of(sums: Sums) -> Moments:
    """The moments of one stretch, from its sums around centres, those of all devices put together."""
    host: Sums = jax.tree.map(np.asarray, sums)
    parts = [
        _moments_of_part(jax.tree.map(lambda array, part=part: array[part], host)) for part in range(len(host.counts))
    ]
    return reduce(merge_moments, parts)


def _moments_of_part(host: Sums) -> Moments:
    counts = np.asarray(host.counts, np.int64)
    each = np.maximum(counts, 1)[:, None, None]
    several = (counts > 1)[:, None, None]
    sites = {}
    for site, of_site in host.sites.items():
        totals = np.asarray(of_site.sums, np.float64)
        offset = totals / each
        products = None
        if of_site.products is not None:
            products = of_site.products - counts[0] * offset[0, :, :, None] * offset[0, :, None, :]
        sites[site] = SiteMoments(
            mean=np.where(counts[:, None, None] > 0, of_site.centre + offset, 0.0),
            squares=np.where(several, np.maximum(of_site.squares - totals * offset, 0.0), 0.0),
            smallest=np.asarray(of_site.smallest),
            largest=np.asarray(of_site.largest),
            products=products,
        )
    return Moments(counts, sites)


def merge_moments(one: Moments, other: Moments) -> Moments:
    """The moments of the words of both, which have none in common."""
    counts = one.counts + other.counts
    share = (other.counts / np.maximum(counts, 1))[:, None, None]
    both = one.counts[:, None, None] * share
    sites = {}
    for site, left in one.sites.items():
        right = other.sites[site]
        apart = right.mean - left.mean
        products = None
        if left.products is not None and right.products is not None:
            between = both[0, 0, 0] * apart[0, :, :, None] * apart[0, :, None, :]
            products = left.products + right.products + between
        sites[site] = SiteMoments(
            mean=left.mean + apart * share,
            squares=left.squares + right.squares + apart**2 * both,
            smallest=np.minimum(left.smallest, right.smallest),
            largest=np.maximum(left.largest, right.largest),
            products=products,
        )
    return Moments(counts, sites)

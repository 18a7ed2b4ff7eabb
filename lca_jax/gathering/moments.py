"""Counts, means and squares of groups of words: summed on the device, made into moments and merged on the host.

Group 0 is all words that have a vector; every class of every task is one more group. So two matrix products make all
means and variances at once, one_hot'·X and one_hot'·X², and a third one the covariances, X'·X layer by layer.

**Nothing cancels.** The sums, in float32, are of distances from a fixed *centre* near the words' mean: on every device
the mean of its part of the first batch. For a neuron that lies at 10,000 ± 1 the subtraction is exact, and the error
afterwards is a float32 rounding times (mean − centre)² / variance, which is at most the number of words over the number
of that part's words, and seldom above 1. The centre is added again in float64. A mean that follows later batches would
have to be rounded at every step, by 0.0005 at 10,000. The sums of devices and of stretches of words (shards) are merged
on the host in float64, by the formulas of Chan, Golub and LeVeque (`machine.moments`), which hold for any split.

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

from lca_jax.machine.moments import Moments, merge_moments, merge_products
from lca_jax.machine.precision import FLOAT32

_Tree = TypeVar("_Tree")


class SiteSums(NamedTuple):
    """Sums of a stretch of words at one site; a leading axis has one entry a device."""

    centre: Float32[Array, "*part layer neuron"] | Float32[np.ndarray, "*part layer neuron"]
    """Subtracted from every vector before it is summed."""
    sums: Float32[Array, "*part group layer neuron"] | Float32[np.ndarray, "*part group layer neuron"]
    squares: Float32[Array, "*part group layer neuron"] | Float32[np.ndarray, "*part group layer neuron"]
    smallest: Float32[Array, "*part layer neuron"] | Float32[np.ndarray, "*part layer neuron"]
    largest: Float32[Array, "*part layer neuron"] | Float32[np.ndarray, "*part layer neuron"]
    """Smallest and largest values of all words, without the subtraction; infinite where there is no word."""
    products: Float32[Array, "*part layer neuron _neuron"] | Float32[np.ndarray, "*part layer neuron _neuron"] | None
    """Summed products of all words; None unless covariances are gathered."""


class Sums(NamedTuple):
    """Sums of a stretch of words."""

    counts: Int32[Array, "*part group"] | Int32[np.ndarray, "*part group"]
    """Number of words of each group."""
    sites: dict[str, SiteSums]
    """The sums at each site."""


@partial(jax.jit, static_argnames=("groups", "covariance", "parts"))
def begin_sums(
    vectors: dict[str, Shaped[Array, "row read _layer _neuron"]],
    real: Bool[Array, "row read"],
    *,
    groups: int,
    covariance: bool,
    parts: int = 1,
) -> Sums:
    """Returns sums of no word yet, around a centre.

    Args:
        vectors: The first vectors at every site, of this stretch or not; they give the centre.
        real: Whether each of them is a word.
        groups: Number of groups, group 0 included.
        covariance: Whether products are summed.
        parts: Number of devices over which the rows are split. Each has sums of its own, around its own centre, on a
            leading axis: devices need not meet, which several threads of several processes would do in different
            orders.
    """
    begin = partial(_begin_part, groups=groups, covariance=covariance)
    return jax.vmap(begin)(_in_parts(vectors, parts), _in_parts(real, parts))


def _in_parts(arrays: _Tree, parts: int) -> _Tree:
    """Splits the rows as they lie on the devices: neighbouring rows together."""
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
        values = of_site.astype(jnp.float32)
        smallest, largest = _extremes(values, real)
        total = jnp.where(real[:, :, None, None], values, 0.0).sum(axis=(0, 1))
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
        vectors: Vectors at every site.
        groups: Group of each word in each task; 0 for none.
        counted: Whether each word is added.
    """
    parts = len(total.counts)
    return jax.vmap(_add_part)(total, _in_parts(vectors, parts), _in_parts(groups, parts), _in_parts(counted, parts))


def _add_part(
    total: Sums,
    vectors: dict[str, Shaped[Array, "row read _layer _neuron"]],
    groups: Int[Array, "row read task"],
    counted: Bool[Array, "row read"],
) -> Sums:
    classes = jnp.arange(1, len(total.counts), dtype=groups.dtype)
    of_class = (groups[:, :, :, None] == classes[None, None, None, :]).any(axis=2)
    member = jnp.concatenate([jnp.ones_like(counted)[:, :, None], of_class], axis=2) & counted[:, :, None]
    sites = {site: _add_site(of_site, vectors[site], member) for site, of_site in total.sites.items()}
    return Sums(total.counts + member.sum(axis=(0, 1), dtype=jnp.int32), sites)


def _add_site(
    total: SiteSums, vectors: Shaped[Array, "row read layer neuron"], member: Bool[Array, "row read group"]
) -> SiteSums:
    layers, width = total.centre.shape
    counted, values = member[:, :, 0], vectors.astype(jnp.float32)
    apart = jnp.where(counted[:, :, None, None], values - total.centre[None, None], 0.0).reshape(-1, layers * width)
    shares = member.astype(jnp.float32).reshape(len(apart), -1)
    add = partial(jnp.einsum, precision=FLOAT32, preferred_element_type=jnp.float32)
    smallest, largest = _extremes(values, counted)
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
    values: Float32[Array, "row read layer neuron"], counted: Bool[Array, "row read"]
) -> tuple[Float32[Array, "layer neuron"], Float32[Array, "layer neuron"]]:
    """Returns the smallest and largest values of the counted words, infinite if there are none.

    They are found by halves, within rows. As two minima along an axis beside the products, XLA's CPU compiler would
    make one loop of it all, which takes five times as long as everything else.
    """
    is_counted = counted[:, :, None, None]
    low, high = jnp.where(is_counted, values, jnp.inf), jnp.where(is_counted, values, -jnp.inf)
    while (size := low.shape[1]) > 1:
        half = -(-size // 2)  # the middle one of an odd number is in both halves
        low = jnp.minimum(low[:, :half], low[:, size - half :])
        high = jnp.maximum(high[:, :half], high[:, size - half :])
    return low[:, 0].min(axis=0), high[:, 0].max(axis=0)


class SiteMoments(NamedTuple):
    """Moments of some words at one site, on the host."""

    mean: Float64[np.ndarray, "group layer neuron"]
    """Mean of each group; 0 where it has no word."""
    squares: Float64[np.ndarray, "group layer neuron"]
    """Summed squares around each group's own mean."""
    smallest: Float32[np.ndarray, "layer neuron"]
    largest: Float32[np.ndarray, "layer neuron"]
    products: Float64[np.ndarray, "layer neuron _neuron"] | None
    """Summed products around the mean of all words."""


class GroupMoments(NamedTuple):
    """Moments of every group of some words, on the host."""

    counts: Int64[np.ndarray, " group"]
    """Number of words of each group."""
    sites: Mapping[str, SiteMoments]
    """Their moments at each site."""


def moments_of(sums: Sums) -> GroupMoments:
    """Returns the moments of one stretch of words, from the sums of all devices around their centres."""
    host: Sums = jax.tree.map(np.asarray, sums)
    parts = [
        _moments_of_part(jax.tree.map(lambda array, part=part: array[part], host)) for part in range(len(host.counts))
    ]
    return reduce(merge_groups, parts)


def _moments_of_part(host: Sums) -> GroupMoments:
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
    return GroupMoments(counts, sites)


def merge_groups(one: GroupMoments, other: GroupMoments) -> GroupMoments:
    """Returns the moments of the words of both, which have none in common."""
    sites = {}
    for site, left in one.sites.items():
        right = other.sites[site]
        ours, theirs = _site_moments(one, site), _site_moments(other, site)
        merged = merge_moments(ours, theirs)
        products = None
        if left.products is not None and right.products is not None:
            all_ours, all_theirs = (Moments(*(part[0] for part in moments)) for moments in (ours, theirs))
            products = np.asarray(merge_products(all_ours, left.products, all_theirs, right.products))
        sites[site] = SiteMoments(
            mean=np.asarray(merged.mean),
            squares=np.asarray(merged.squares),
            smallest=np.minimum(left.smallest, right.smallest),
            largest=np.maximum(left.largest, right.largest),
            products=products,
        )
    return GroupMoments(one.counts + other.counts, sites)


def _site_moments(moments: GroupMoments, site: str) -> Moments:
    """Returns count, mean and squares of every group at one site, in shapes that broadcast."""
    of_site = moments.sites[site]
    return Moments(moments.counts[:, None, None], of_site.mean, of_site.squares)

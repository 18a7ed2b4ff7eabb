"""Groups of neurons that vary together, across all layers: by a chain of correlations, or by their mean.

`single` linkage joins neurons i and j where |r_ij| is at least the threshold; a group is a connected component of these
joints. Two neurons of a group may so correlate less, where others stand between them; the threshold is a promise about
neighbours alone. In a residual stream most groups are the copies of one index in neighbouring layers, and no site has
to be a residual stream.

`average` linkage, that of the paper, merges the two groups whose neurons have the largest mean |r| with each other, as
long as that is at least the threshold. It cuts the long chains of a residual stream. Two groups with a mean of at least
the threshold have a pair with at least as much, so every group lies inside a single-linkage group; the hierarchy is
made within these one by one, and the result is that of all neurons at once.

Reference: Dalvi et al. 2020, "Analyzing Redundancy in Pretrained Transformer Models", section 4.2 (average linkage of
1 - |r|, cut at 0.3: the threshold 0.7 here).
"""

from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int

from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import DataError, SettingsError
from lca_jax.gathering.correlations import STRIP_BYTES, correlation_strips
from lca_jax.probing.measuring import MeasuredWords
from lca_jax.probing.neuron_groups import NeuronGroups
from lca_jax.ranking.groups import GROUP
from lca_jax.store.finite import place_in_store
from lca_jax.store.store import ActivationStore


def correlated_groups(
    given: ActivationStore | MeasuredWords,
    *,
    threshold: float = 0.8,
    linkage: Literal["single", "average"] = "single",
    strip_bytes: float = STRIP_BYTES,
) -> NeuronGroups:
    """Groups neurons whose values follow each other, across all layers.

    A group has the name of its first neuron: `group.residual 2`, index 7, begins with the neuron 2:7.

    Args:
        given: A store, of which all words that have a vector are read once; or words that were read before.
        threshold: Least magnitude of Pearson's correlation that joins two neurons, or mean magnitude that joins two
            groups, in (0, 1].
        linkage: `single` for connected components, `average` for groups of neurons that correlate in the mean; these
            need the correlations of all d neurons on the host, 4·d² bytes.
        strip_bytes: Largest size of the products of neurons on the devices. Where d² products of d neurons take more,
            the words are read once for every strip of so many bytes.

    Returns:
        The groups, in the order of their first neurons. A neuron that never changes is a group of its own.

    Raises:
        SettingsError: The threshold is not in (0, 1], or the linkage is unknown.
        DataError: There are fewer than two words, or an activation is not finite.
    """
    if not 0 < threshold <= 1:
        raise SettingsError(f"`threshold` must be in (0, 1], got {threshold}. Correlations of copies are above 0.8.")
    if linkage not in ("single", "average"):
        raise SettingsError(f"`linkage` must be single or average, got {linkage!r}.")
    words = given.units if isinstance(given, MeasuredWords) else np.flatnonzero(given.usable)
    axis = given.axis if isinstance(given, MeasuredWords) else given.axis()
    if len(words) < 2:
        raise DataError(f"Correlations need 2 words or more, got {len(words)}.")

    def read(first: int, last: int) -> Float32[np.ndarray, "word feature"]:
        return given.X[first:last] if isinstance(given, MeasuredWords) else given.matrix(words[first:last])

    store = given.store if isinstance(given, MeasuredWords) else given
    name = (
        (lambda word, column: f"word {word}, feature {column}") if store is None else place_in_store(store, words, axis)
    )
    root, kept = np.arange(axis.size), []
    for strip in correlation_strips(read, len(words), axis.size, name_place=name, strip_bytes=strip_bytes):
        size = np.abs(strip.correlation)
        one, other = np.nonzero(size >= threshold)
        join(root, one + strip.first, other)
        if linkage == "average":
            kept.append(size.astype(np.float32))
    if linkage == "average":
        _divide(root, np.concatenate(kept), 1 - threshold)
    leaders, group_of_column = np.unique(root, return_inverse=True)
    return NeuronGroups(axis=axis, group_of_column=group_of_column, groups=_named(axis, leaders))


def join(root: Int[np.ndarray, " node"], one: Int[np.ndarray, " edge"], other: Int[np.ndarray, " edge"]) -> None:
    """Joins the components of the two ends of every edge, in place.

    Args:
        root: The smallest node of every node's component.
        one: One end of each edge.
        other: The other end.
    """
    while (apart := root[one] != root[other]).any():
        one, other = one[apart], other[apart]
        ends = np.stack([root[one], root[other]])
        # A root may meet several smaller ones; it takes the smallest, and the next round sees to the others.
        np.minimum.at(root, ends.max(axis=0), ends.min(axis=0))
        while (nearer := root[root]).tolist() != root.tolist():
            root[:] = nearer


def _divide(root: Int[np.ndarray, " node"], size: Float32[np.ndarray, "node _node"], furthest: float) -> None:
    """Divides components into the clusters of average linkage of 1 - |r|, in place."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    for leader in np.unique(root):
        own = np.flatnonzero(root == leader)
        if len(own) < 3:
            continue
        apart: Float64[np.ndarray, " pair"] = squareform(1 - size[np.ix_(own, own)].astype(np.float64), checks=False)
        cluster = fcluster(linkage(apart, "average"), furthest, "distance")
        _, first, place = np.unique(cluster, return_index=True, return_inverse=True)
        root[own] = own[first][place]


def _named(axis: NeuronAxis, leaders: Int[np.ndarray, " group"]) -> NeuronAxis:
    """Returns the axis of the groups that begin with some columns, which grow."""
    blocks, places = [], axis.block_of_column[leaders]
    for number, block in enumerate(axis.blocks):
        own = axis.index_of_column[leaders[places == number]].tolist()
        if own:
            blocks.append(LayerBlock(GROUP + block.site, block.layer, len(own), tuple(own)))
    return NeuronAxis(blocks=tuple(blocks))

"""Rankings of groups of neurons: of one index in all layers of a residual stream, or any other division.

A block adds to the residual stream and leaves most of it as it was, so a neuron and that of the same index in the next
layer have nearly the same values. A probe with an l1 penalty takes one of them, and which one depends on the sample.
Whether the *index* matters is a question with a stable answer, so a ranking may be asked for groups instead.

A ranking of groups is a `Ranking` whose columns are groups. Groups by index have an axis with one block for each site,
`group.residual`, with the layer 0 and the indices of the neurons; other groups are named by their first neuron
(`ranking.correlated`). Everything that takes rankings (stability, agreement) takes those of groups.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.probing.neuron_groups import NeuronGroups
from lca_jax.ranking.ranking import Ranking, rank_by_scores

Groups = Literal["index"] | NeuronGroups
"""`"index"`, or a division of the neurons, such as that of `correlated_groups`."""
GROUP = "group."
"""Prefix of the sites of groups."""
_RESIDUAL = "residual"


def index_groups(axis: NeuronAxis) -> NeuronGroups:
    """Groups the neurons of one index in all layers of a site.

    Raises:
        SettingsError: A site is not a residual stream, where equal indices mean nothing.
    """
    others = sorted({block.site for block in axis.blocks if not _is_residual(block)})
    if others:
        raise SettingsError(
            f"Neurons of one index are near copies in a residual stream alone, not at {', '.join(others)}. Read the "
            "site `residual` for groups by index, or group by correlation: `correlated_groups(store)`."
        )
    return copy_groups(axis)


def copy_groups(axis: NeuronAxis) -> NeuronGroups:
    """Groups the neurons of one index in all layers of a residual stream; at other sites every neuron is by itself."""
    indices: dict[tuple[str, int], set[int]] = {}
    for block, own in _indices_of_blocks(axis):
        indices.setdefault(_name_of(block), set()).update(own.tolist())
    starts, first = {}, 0
    for name, known in indices.items():
        starts[name] = (first, np.array(sorted(known)))
        first += len(known)
    places = []
    for block, own in _indices_of_blocks(axis):
        start, known = starts[_name_of(block)]
        places.append(start + np.searchsorted(known, own))
    return NeuronGroups(
        axis=axis,
        group_of_column=np.concatenate(places),
        groups=NeuronAxis(
            blocks=tuple(
                LayerBlock(GROUP + site, layer, len(own), tuple(sorted(own))) for (site, layer), own in indices.items()
            )
        ),
    )


def as_groups(axis: NeuronAxis, groups: Groups) -> NeuronGroups:
    """Returns the division of the neurons that is meant.

    Raises:
        SettingsError: `groups` is unknown, divides other neurons, or a site has no groups by index.
    """
    if isinstance(groups, NeuronGroups):
        groups.check_axis(axis)
        return groups
    if groups != "index":
        raise SettingsError(f"`groups` must be 'index' or the result of `correlated_groups`, got {groups!r}.")
    return index_groups(axis)


def group_axis(axis: NeuronAxis, groups: Groups = "index") -> NeuronAxis:
    """Returns the axis of the groups; `as_groups` says what it refuses."""
    return as_groups(axis, groups).groups


def groups_of_columns(axis: NeuronAxis, groups: Groups = "index") -> Int[np.ndarray, " feature"]:
    """Returns the group of every column, as a column of `group_axis(axis)`."""
    return as_groups(axis, groups).group_of_column


def group_weights(
    weights: Float[np.ndarray, "feature class"], axis: NeuronAxis, groups: Groups = "index"
) -> Float[np.ndarray, "group class"]:
    """Returns for every group and class the sum of the magnitudes of its neurons' weights."""
    place = groups_of_columns(axis, groups)
    total = np.zeros((group_axis(axis, groups).size, weights.shape[1]))
    np.add.at(total, place, np.abs(weights.astype(np.float64)))
    return total


def rank_groups(ranking: Ranking, groups: Groups = "index") -> Ranking:
    """Ranks groups by the sum of the scores that a ranking gives their neurons, overall and by class.

    Probes have their own way: `rank_neurons(groups="index")` sums weights, and orders groups by the mass of these sums.

    Raises:
        SettingsError: `groups` is unknown or divides other neurons, or a site has no groups by index.
    """
    place = groups_of_columns(ranking.axis, groups)[ranking.columns]
    axis = group_axis(ranking.axis, groups)
    by_class = {name: rank_groups(of_class, groups) for name, of_class in ranking.by_class.items()}
    scores = np.bincount(place, weights=ranking.scores, minlength=axis.size)
    return rank_by_scores(ranking.task, axis, scores, by_class=by_class)


def neurons_of_groups(ranking: Ranking, axis: NeuronAxis, groups: Groups = "index") -> Ranking:
    """Returns the ranking of neurons in which each has the place of its group: all of the first group, then the next.

    Args:
        ranking: A ranking of groups.
        axis: The axis of the neurons.
        groups: How they were grouped.

    Returns:
        The ranking of neurons. Neurons of one group are tied, by layer.

    Raises:
        SettingsError: The ranking is not one of the groups of this axis.
    """
    if ranking.axis != group_axis(axis, groups):
        raise SettingsError(
            f"This ranking orders {ranking.axis.size} columns of {', '.join(ranking.axis.layer_names)}, not the groups "
            f"of {', '.join(axis.layer_names)}. Give the axis of the probes, and a ranking made with `groups`."
        )
    rank = np.empty(ranking.axis.size, np.int64)
    rank[ranking.columns] = np.arange(ranking.axis.size)
    rank_of_column = rank[groups_of_columns(axis, groups)]
    order = np.argsort(rank_of_column, kind="stable")
    by_class = {name: neurons_of_groups(of_class, axis, groups) for name, of_class in ranking.by_class.items()}
    place = rank_of_column[order]
    return Ranking(
        task=ranking.task,
        axis=axis,
        columns=order,
        scores=ranking.scores[place],
        ties=ranking.ties[place],
        by_class=by_class,
    )


def one_of_each_group(ranking: Ranking, groups: Groups = "index") -> Ranking:
    """Reorders neurons so that near copies do not follow each other: the best of every group, then the second of each.

    A ranking by weights that copies share puts all copies of the strongest direction first, and the fifth copy tells a
    probe nothing new. Here the first neurons are of as many groups as they can be. Groups are in the order of the sum
    of their neurons' scores, and within a group its neurons in the order of the ranking.

    Args:
        ranking: A ranking of neurons; also its `by_class` is reordered.
        groups: How neurons are grouped.

    Returns:
        The ranking of the same neurons. A score is g − r, with r the number of better neurons of the group and g in
        [0, 1) the group's sum, scaled from the least group to the greatest.

    Raises:
        SettingsError: `groups` is unknown or divides other neurons, or a site has no groups by index.
    """
    division = as_groups(ranking.axis, groups)
    place, before = division.group_of_column[ranking.columns], _better_of_group(ranking, division)
    total = np.bincount(place, weights=ranking.scores, minlength=division.groups.size)
    spread = np.ptp(total)
    scaled = (total - total.min()) / (spread * (1 + 1e-9) if spread > 0 else 1.0)
    scores, within = np.empty(len(place)), np.empty(len(place))
    scores[ranking.columns] = scaled[place] - before
    within[ranking.columns] = ranking.scores
    by_class = {name: one_of_each_group(of_class, groups) for name, of_class in ranking.by_class.items()}
    return rank_by_scores(ranking.task, ranking.axis, scores, by_class=by_class, within=within)


def discount_copies(ranking: Ranking, *, share: float = 0.9, groups: Groups = "index") -> Ranking:
    """Reorders neurons by their scores, of which a neuron keeps a share for every better neuron of its group.

    Between the order of the scores (1) and `one_of_each_group`: the second of a group has `share` of its score, the
    third the square of it. A strong neuron whose copy is stronger so comes before a weak one without copies. Measured
    with mean weights (`benchmarks/reliability.py`), .9 keeps what makes such a ranking reproduce and gives the first
    neurons more to tell; smaller shares tell more and reproduce less.

    Args:
        ranking: A ranking of neurons with scores of 0 or more; also its `by_class` is reordered.
        share: The share, in (0, 1].
        groups: How neurons are grouped.

    Raises:
        SettingsError: `share` is out of its range, a score is negative, or the groups are not of these neurons.
    """
    if not 0 < share <= 1:
        raise SettingsError(f"`share` must be in (0, 1], got {share}. 1 leaves the order as it is.")
    if (ranking.scores < 0).any():
        raise SettingsError("Negative scores would rise with a discount. Reorder with `one_of_each_group` instead.")
    before = _better_of_group(ranking, as_groups(ranking.axis, groups))
    scores, within = np.empty(len(before)), np.empty(len(before))
    scores[ranking.columns] = ranking.scores * share**before
    within[ranking.columns] = -np.arange(len(before))
    by_class = {name: discount_copies(one, share=share, groups=groups) for name, one in ranking.by_class.items()}
    return rank_by_scores(ranking.task, ranking.axis, scores, by_class=by_class, within=within)


def _better_of_group(ranking: Ranking, division: NeuronGroups) -> Int[np.ndarray, " rank"]:
    """Returns for every rank how many neurons of the same group stand before it."""
    place, sizes = division.group_of_column[ranking.columns], division.sizes
    before = np.empty(len(place), np.int64)
    before[np.argsort(place, kind="stable")] = np.arange(len(place)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return before


def _is_residual(block: LayerBlock) -> bool:
    return block.site.rpartition(".")[2] == _RESIDUAL


def _name_of(block: LayerBlock) -> tuple[str, int]:
    """Returns site and layer of the groups of a block; those of a residual stream have no layer of their own."""
    return block.site, 0 if _is_residual(block) else block.layer


def _indices_of_blocks(axis: NeuronAxis) -> list[tuple[LayerBlock, Int[np.ndarray, " feature"]]]:
    return [(block, axis.index_of_column[axis.block_of_column == number]) for number, block in enumerate(axis.blocks)]

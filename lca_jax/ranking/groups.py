"""Groups of neurons that are near copies of each other: those of one index in all layers of a residual stream.

A block adds to the residual stream and leaves most of it as it was, so a neuron and that of the same index in the next
layer have nearly the same values. A probe with an l1 penalty takes one of them, and which one depends on the sample.
Whether the *index* matters is a question with a stable answer, so a ranking may be asked for groups instead.

A ranking of groups is a `Ranking` whose columns are groups. Its axis has one block for each site, `group.residual`,
with the layer 0 and the indices of the neurons. Everything that takes rankings (stability, agreement) takes those of
groups.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.ranking.ranking import Ranking, rank_by_scores

Groups = Literal["index"]
GROUP = "group."
"""Prefix of the sites of groups."""
_RESIDUAL = "residual"


def group_axis(axis: NeuronAxis, groups: Groups = "index") -> NeuronAxis:
    """Returns the axis of the groups: one block for each site, with every index that some layer of it has.

    Raises:
        SettingsError: A site is not a residual stream, where equal indices mean nothing; or `groups` is unknown.
    """
    _check(axis, groups)
    indices: dict[str, set[int]] = {}
    for block, own in _indices_of_blocks(axis):
        indices.setdefault(block.site, set()).update(own.tolist())
    return NeuronAxis(
        blocks=tuple(LayerBlock(GROUP + site, 0, len(own), tuple(sorted(own))) for site, own in indices.items())
    )


def groups_of_columns(axis: NeuronAxis, groups: Groups = "index") -> Int[np.ndarray, " feature"]:
    """Returns the group of every column, as a column of `group_axis(axis)`."""
    first, starts = 0, {}
    for block in group_axis(axis, groups).blocks:
        starts[block.site.removeprefix(GROUP)] = (first, np.array(block.indices))
        first += block.width
    parts = []
    for block, own in _indices_of_blocks(axis):
        start, known = starts[block.site]
        parts.append(start + np.searchsorted(known, own))
    return np.concatenate(parts)


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
        SettingsError: A site is not a residual stream, or `groups` is unknown.
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


def _indices_of_blocks(axis: NeuronAxis) -> list[tuple[LayerBlock, Int[np.ndarray, " feature"]]]:
    return [(block, axis.index_of_column[axis.block_of_column == number]) for number, block in enumerate(axis.blocks)]


def _check(axis: NeuronAxis, groups: str) -> None:
    if groups != "index":
        raise SettingsError(f"`groups` must be 'index', got {groups!r}.")
    others = sorted({block.site for block in axis.blocks if block.site.rpartition(".")[2] != _RESIDUAL})
    if others:
        raise SettingsError(
            f"Neurons of one index are near copies in a residual stream alone, not at {', '.join(others)}. Read the "
            "site `residual` for groups by index."
        )

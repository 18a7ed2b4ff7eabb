"""Neurons by how much they vary, and pairs that vary together: from a store's statistics, without labels or reading.

Reference: Dalvi et al. 2020, "Analyzing Redundancy in Pretrained Transformer Models", section 4 (correlated neurons).
"""

from typing import NamedTuple

import numpy as np

from lca_jax.axes import Neuron, NeuronAxis
from lca_jax.errors import DataError, SettingsError
from lca_jax.ranking.ranking import Ranking, rank_by_scores
from lca_jax.store.statistics import Statistics


def rank_by_variance(statistics: Statistics) -> Ranking:
    """Ranks neurons by their variance over all words with a vector, whatever they are labelled.

    Raises:
        DataError: No word has a vector.
    """
    if not statistics.words:
        raise DataError(f"No word of {statistics.place} has a vector, so nothing varies. Check the excluded words.")
    return rank_by_scores("variance", statistics.axis, statistics.variance)


class CorrelatedPair(NamedTuple):
    """Two neurons of a layer."""

    one: Neuron
    other: Neuron
    correlation: float
    """Pearson's, -1 to 1."""


def strongest_correlations(statistics: Statistics, *, count: int = 20, least: float = 0.0) -> list[CorrelatedPair]:
    """The pairs of neurons of the same site and layer that are correlated most, by magnitude.

    Args:
        statistics: With covariances. Pairs from different layers are not in them.
        count: Most pairs listed, 1 or more.
        least: Only pairs whose correlation is at least that by magnitude, 0 to 1.

    Returns:
        The strongest first; ties by layer, then by neuron. Neurons that never change are in no pair.

    Raises:
        SettingsError: Covariances were not gathered, or a setting is out of its range.
    """
    if count < 1 or not 0 <= least <= 1:
        raise SettingsError(f"`count` must be 1 or more and `least` in [0, 1], got {count} and {least}.")
    found: list[CorrelatedPair] = []
    for block in statistics.axis.blocks:
        correlation = statistics.correlation(block.site, block.layer)
        rows, columns = np.triu_indices(block.width, k=1)
        moving = np.diagonal(correlation) > 0
        of_pairs = correlation[rows, columns]
        wanted = np.flatnonzero(moving[rows] & moving[columns] & (np.abs(of_pairs) >= least))
        strongest = wanted[np.argsort(-np.abs(of_pairs[wanted]), kind="stable")][:count]
        here = NeuronAxis(blocks=(block,))
        found += [
            CorrelatedPair(here.neuron(int(rows[pair])), here.neuron(int(columns[pair])), float(of_pairs[pair]))
            for pair in strongest
        ]
    return sorted(found, key=lambda pair: -abs(pair.correlation))[:count]

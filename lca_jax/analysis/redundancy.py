"""Pairs of neurons that vary together, from the statistics of a store: no labels, and no activation is read.

Reference: Dalvi et al. 2020, "Analyzing Redundancy in Pretrained Transformer Models", section 4 (correlated neurons).
"""

from typing import NamedTuple

import numpy as np

from lca_jax.axes import Neuron, NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.store.statistics import Statistics


class CorrelatedPair(NamedTuple):
    """Two neurons of one layer, and their correlation."""

    one: Neuron
    other: Neuron
    correlation: float
    """Pearson's correlation, -1 to 1."""


def strongest_correlations(statistics: Statistics, *, count: int = 20, least: float = 0.0) -> list[CorrelatedPair]:
    """Finds the pairs of neurons of one site and layer whose correlation is largest in magnitude.

    Args:
        statistics: Statistics with covariances, which cover pairs within one layer.
        count: Maximum number of pairs, 1 or more.
        least: Smallest magnitude of a correlation that is listed, 0 to 1.

    Returns:
        The pairs, strongest first; equal ones by layer, then by neuron. A neuron that never changes is in no pair.

    Raises:
        SettingsError: Covariances were not gathered, or a setting is out of its range.
    """
    if count < 1 or not 0 <= least <= 1:
        raise SettingsError(f"`count` must be 1 or more and `least` in [0, 1], got {count} and {least}.")
    pairs: list[CorrelatedPair] = []
    for block in statistics.axis.blocks:
        correlation = statistics.correlation(block.site, block.layer)
        first, second = np.triu_indices(block.width, k=1)
        varies = np.diagonal(correlation) > 0
        of_pairs = correlation[first, second]
        strong = np.flatnonzero(varies[first] & varies[second] & (np.abs(of_pairs) >= least))
        strongest = strong[np.argsort(-np.abs(of_pairs[strong]), kind="stable")][:count]
        layer = NeuronAxis(blocks=(block,))
        pairs += [
            CorrelatedPair(layer.neuron(int(first[pair])), layer.neuron(int(second[pair])), float(of_pairs[pair]))
            for pair in strongest
        ]
    return sorted(pairs, key=lambda pair: -abs(pair.correlation))[:count]

"""Ranks neurons by how much they vary, from the statistics of a store: no labels, and no activation is read.

Reference: Dalvi et al. 2020, "Analyzing Redundancy in Pretrained Transformer Models".
"""

from lca_jax.errors import DataError
from lca_jax.ranking.ranking import Ranking, rank_by_scores
from lca_jax.store.statistics import Statistics


def rank_by_variance(statistics: Statistics) -> Ranking:
    """Ranks neurons by their variance over all words with a vector; labels play no part.

    Raises:
        DataError: No word has a vector.
    """
    if not statistics.words:
        raise DataError(
            f"No word of {statistics.place} has a vector, so no neuron varies. Check the excluded words of the store."
        )
    return rank_by_scores("variance", statistics.axis, statistics.variance)

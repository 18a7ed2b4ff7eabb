"""Ranks neurons by k-sparse probes: probes of ever fewer neurons, each of the best half of those before.

The first probe reads the neurons that a cheap ranking puts first; of its neurons the half with the smaller weights is
dropped, and a probe is trained again on the rest, down to one. So a neuron is judged beside the others that are left,
which no heuristic does by itself. `validity_curve(mode="retrain")` measures the k-sparse probes of any ranking.

Reference: Gurnee et al. 2023, "Finding Neurons in a Haystack: Case Studies with Sparse Probing", section 3 and appendix
(adaptive thresholding, and the heuristics that it starts from).
"""

from collections.abc import Callable

import numpy as np

from lca_jax.errors import SettingsError
from lca_jax.probing.measuring import MeasuredWords
from lca_jax.probing.objective import ElasticNet
from lca_jax.ranking.anova import rank_by_anova
from lca_jax.ranking.group_lasso import rank_by_group_lasso
from lca_jax.ranking.mean_distance import rank_by_mean_distance
from lca_jax.ranking.mutual_information import rank_by_mutual_information
from lca_jax.ranking.ranking import Ranking, rank_by_scores
from lca_jax.ranking.small_probes import Fitter
from lca_jax.ranking.words import Words, read_words, statistics_of_words

STARTS: dict[str, Callable[[MeasuredWords], Ranking]] = {
    "mean_distance": lambda words: rank_by_mean_distance(statistics_of_words(words), words.task),
    "anova": lambda words: rank_by_anova(statistics_of_words(words), words.task),
    "mutual_information": rank_by_mutual_information,
    "group_lasso": rank_by_group_lasso,
}
"""The rankings that choose the neurons of the first probe."""


def rank_by_sparse_probes(
    words: Words,
    task: str | None = None,
    *,
    start: str = "mean_distance",
    largest: int = 256,
    l2: float = 1e-2,
) -> Ranking:
    """Ranks neurons by how long they stay in probes of ever fewer neurons.

    Args:
        words: A store, words that were read before, or features and labels (X, y).
        task: The task; None for the only one.
        start: The ranking whose first neurons the first probe reads, a key of `STARTS`.
        largest: Their number, 1 or more; at most all.
        l2: Weight of ‖W‖²/2 of all probes, on standardised features.

    Returns:
        The ranking. A neuron's score is 1/k, with k the number of neurons of the smallest probe that has it; those of
        the same k are tied, in the order of the norms of their weights. Neurons of no probe have 0, in the order of the
        first ranking. `by_class` ranks by the magnitude of the class's weights in the first probe.

    Raises:
        SettingsError: `start` is unknown, a number is out of its range, or a store has several tasks and none is named.
        DataError: No word is labelled, there is one class only, or an activation is not finite.
    """
    if start not in STARTS:
        raise SettingsError(f"`start` must be one of {', '.join(STARTS)}, got {start!r}.")
    if largest < 1 or not l2 > 0:
        raise SettingsError(f"`largest` must be 1 or more and `l2` above 0, got {largest} and {l2}.")
    given = read_words(words, task)
    fitter, first, size = Fitter(given), STARTS[start](given), given.axis.size
    scores, within = np.zeros(size), np.zeros(size)
    within[first.columns] = -np.arange(size)
    of_class = np.zeros((size, len(given.classes)))
    columns = np.sort(first.top(min(largest, size)))
    width, settings = len(columns), ElasticNet(l1=0.0, l2=l2)
    while True:
        weights = fitter.fit(columns, settings, width=width).weights
        if not scores.any():
            of_class[columns] = np.abs(weights)
        norm = np.sqrt((weights.astype(np.float64) ** 2).sum(axis=1))
        scores[columns], within[columns] = 1 / len(columns), norm
        if len(columns) == 1:
            break
        columns = np.sort(columns[np.argsort(-norm, kind="stable")[: len(columns) // 2]])
    by_class = {
        name: rank_by_scores(f"{given.task}: {name}", given.axis, np.ascontiguousarray(of_class[:, number]))
        for number, name in enumerate(given.classes)
    }
    return rank_by_scores(given.task, given.axis, scores, by_class=by_class, within=within)

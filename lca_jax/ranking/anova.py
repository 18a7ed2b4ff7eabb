"""Ranks neurons by the F statistic of a one-way analysis of variance: how far classes lie apart for their spread.

    F = (Σ n_c (m_c − m)² / (k − 1)) / (Σ n_c v_c / (n − k))

with n_c words, mean m_c and variance v_c (over n_c) of class c, m the mean of all n labelled words and k the number of
classes that have words. The order is that of η², the share of a neuron's variance that the classes explain. Without
training, from the statistics of a store, reading no activation; all neurons and classes at once, in float64.

Reference: Fisher 1925, Statistical Methods for Research Workers, chapter VII; `sklearn.feature_selection.f_classif`.
"""

import numpy as np
from jaxtyping import Float64

from lca_jax.errors import DataError
from lca_jax.ranking.ranking import Ranking, rank_by_scores
from lca_jax.ranking.words import divide
from lca_jax.store.statistics import Statistics

LARGEST = float(np.finfo(np.float64).max)
"""Score of a neuron whose classes differ and do not spread at all."""


def rank_by_anova(statistics: Statistics, task: str) -> Ranking:
    """Ranks neurons by the F statistic of a task's classes.

    Args:
        statistics: Statistics from `store.statistics()` or `gather_statistics`.
        task: The task.

    Returns:
        The ranking. `by_class` ranks by F of two classes, one class and all other words. A neuron that never changes
        has the score 0.

    Raises:
        DataError: Fewer than two classes have a word with a vector, or there are no more words than classes.
        SettingsError: The classes of this task were not gathered.
    """
    of_task = statistics.of_task(task)
    present = np.flatnonzero(of_task.counts > 0)
    counts = of_task.counts[present].astype(np.float64)
    if len(present) < 2 or counts.sum() <= len(present):
        raise DataError(
            f"F needs at least two classes of `{task}`, and more words than classes; {statistics.place} has "
            f"{int(counts.sum())} words of {len(present)}. Check the label column and the excluded words."
        )
    mean, variance = of_task.mean[present], of_task.variance[present]
    by_class = {}
    for place, number in enumerate(present.tolist()):
        name = of_task.classes[number]
        alone = np.arange(len(present)) == place
        merged = [_merged(counts[part], mean[part], variance[part]) for part in (alone, ~alone)]
        pair = (np.array([part[0] for part in merged]), *(np.stack([part[at] for part in merged]) for at in (1, 2)))
        if pair[0].sum() > 2:
            by_class[name] = rank_by_scores(f"{task}: {name}", statistics.axis, _f(*pair))
    return rank_by_scores(task, statistics.axis, _f(counts, mean, variance), by_class=by_class)


def _f(
    counts: Float64[np.ndarray, " class"],
    mean: Float64[np.ndarray, "class feature"],
    variance: Float64[np.ndarray, "class feature"],
) -> Float64[np.ndarray, " feature"]:
    """Returns F of each neuron, from the moments of some classes."""
    n, k = counts.sum(), len(counts)
    between = counts @ (mean - counts @ mean / n) ** 2 / (k - 1)
    within = counts @ variance / (n - k)
    return divide(between, within, otherwise=LARGEST)


def _merged(
    counts: Float64[np.ndarray, " class"],
    mean: Float64[np.ndarray, "class feature"],
    variance: Float64[np.ndarray, "class feature"],
) -> tuple[float, Float64[np.ndarray, " feature"], Float64[np.ndarray, " feature"]]:
    """Returns number, mean and variance of the words of some classes together."""
    n = counts.sum()
    joint = counts @ mean / n
    return float(n), joint, counts @ (variance + (mean - joint) ** 2) / n

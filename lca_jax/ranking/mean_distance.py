"""Ranks neurons by how far the mean of one class lies from that of all other words, for the neuron's deviation.

    d(n, C) = (μ(C) − μ(¬C)) / s

It is the mean-difference heuristic of sparse probing; with the deviation within classes it is the standardised
difference of means. Probeless sums the distances of all classes, and so prefers neurons that tell many classes a
little; here a neuron's score is that of the class it tells best. From the statistics of a store, reading no activation.

Reference: Gurnee et al. 2023, "Finding Neurons in a Haystack: Case Studies with Sparse Probing" (the heuristic `mean
difference`); Cohen 1988, "Statistical Power Analysis for the Behavioral Sciences", section 2.2 (d).
"""

from lca_jax.ranking.class_means import Scale, class_means
from lca_jax.ranking.direction import Direction, in_direction
from lca_jax.ranking.ranking import Ranking, rank_by_class_scores
from lca_jax.store.statistics import Statistics


def rank_by_mean_distance(
    statistics: Statistics, task: str, *, scale: Scale = "within", direction: Direction = "both"
) -> Ranking:
    """Ranks neurons by the distance of a class's mean, without training.

    Args:
        statistics: Statistics from `store.statistics()` or `gather_statistics`.
        task: The task.
        scale: What s is: the deviation within the classes (`"within"`), that over all words (`"total"`), or 1
            (`"none"`, the heuristic as published, for neurons of one layer).
        direction: Whether a class is spoken for by high means, low ones, or both.

    Returns:
        The ranking. A neuron's score is that of the class for which it is highest; `by_class` ranks for each class. A
        neuron that never changes has the score 0.

    Raises:
        DataError: Fewer than two classes have a word with a vector.
        SettingsError: The classes of this task were not gathered, or an argument is unknown.
    """
    means = class_means(statistics, task, scale=scale)
    scores = in_direction(direction, means.apart, -means.apart)
    of_class = dict(zip(means.names, scores, strict=True))
    return rank_by_class_scores(task, statistics.axis, of_class, name="Distance of means")

"""Ranks neurons by the means of classes, without training: from the statistics of a store, reading no activation.

Reference: Antverg and Belinkov 2022, "On the Pitfalls of Analyzing Individual Neurons", section 3 (PROBELESS); Fan,
Dalvi, Durrani and Sajjad 2023, "Evaluating Neuron Interpretation Methods of NLP Models" (a class against the rest);
Sajjad et al. 2022 (why neurons with activations of different size are brought to one scale).
"""

import numpy as np
from jaxtyping import Float

from lca_jax.errors import DataError
from lca_jax.ranking.ranking import Ranking, rank_by_scores
from lca_jax.store.statistics import Statistics


def rank_by_means(statistics: Statistics, task: str, *, standardize: bool = False) -> Ranking:
    """Ranks neurons by how far apart the means of a task's classes are.

    With q(z) the mean vector of the words of class z, a neuron's score is Σ |q(z) − q(z')| over all ordered pairs of
    classes, as printed: each pair is counted twice. Every class counts alike, however many words it has.

    Args:
        statistics: Statistics from `store.statistics()` or `gather_statistics`.
        task: The task.
        standardize: Whether each neuron is divided by its deviation over all words first. The paper does not do so, and
            ranks within one layer: over several, neurons of layers with large activations would come first. A neuron
            that never changes has the score 0 either way.

    Returns:
        The ranking. `by_class` ranks by |q(z) − q(not z)|; q(not z) is the mean over the words of all other classes.

    Raises:
        DataError: Fewer than two classes have a word with a vector.
        SettingsError: The classes of this task were not gathered.
    """
    of_task = statistics.of_task(task)
    present = np.flatnonzero(of_task.counts > 0)
    if len(present) < 2:
        raise DataError(
            f"At least two classes of `{task}` must have words with a vector, and in {statistics.place} {len(present)} "
            f"{'has' if len(present) == 1 else 'have'}. Check the label column and the excluded words."
        )
    means, counts = of_task.mean[present], of_task.counts[present]
    if standardize:
        deviation = np.sqrt(statistics.variance)
        means = np.divide(means, deviation, out=np.zeros_like(means), where=deviation > 0)
    total, words = counts @ means, counts.sum()
    by_class = {}
    for number, mean, count in zip(present.tolist(), means, counts, strict=True):
        name = of_task.classes[number]
        rest = (total - count * mean) / (words - count)
        by_class[name] = rank_by_scores(f"{task}: {name}", statistics.axis, np.abs(mean - rest))
    return rank_by_scores(task, statistics.axis, _apart(means), by_class=by_class)


def _apart(means: Float[np.ndarray, "class feature"]) -> Float[np.ndarray, " feature"]:
    """Returns Σ |a − b| over all ordered pairs, by sorting.

    A mean is added in the pairs where it is the larger one, and subtracted in the others.
    """
    rising = np.sort(means, axis=0)
    times = 2 * np.arange(len(means)) - (len(means) - 1)
    return 2 * (times @ (rising - rising[:1]))

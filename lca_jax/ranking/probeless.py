"""Rankings by the means of classes, without training: they need a store's statistics and read no activation.

Reference: Antverg and Belinkov 2022, "On the Pitfalls of Analyzing Individual Neurons", section 3 (PROBELESS); Fan,
Dalvi, Durrani and Sajjad 2023, "Evaluating Neuron Interpretation Methods of NLP Models" (a class against the rest);
Sajjad et al. 2022 (why neurons of different loudness are brought to one scale).
"""

import numpy as np
from jaxtyping import Float

from lca_jax.errors import DataError
from lca_jax.ranking.ranking import Ranking, rank_by_scores
from lca_jax.store.statistics import Statistics


def rank_by_means(statistics: Statistics, task: str, *, standardize: bool = False) -> Ranking:
    """Ranks neurons by how far apart the means of a task's classes lie.

    With q(z) the mean vector of the words of class z, a neuron's score is Σ |q(z) - q(z')| over all ordered pairs of
    classes, as printed: each pair is counted twice. Every class counts alike, however many words it has.

    Args:
        statistics: From `store.statistics()` or `gather_statistics`.
        task: The task.
        standardize: Whether each neuron is divided by its deviation over all words first. The paper does not, and ranks
            within one layer: over several, neurons of loud layers would come first. A neuron that never changes has the
            score 0 either way.

    Returns:
        The ranking. `by_class` ranks by |q(z) - q(not z)|, the mean of the labelled words of all other classes.

    Raises:
        DataError: Fewer than two classes have a word with a vector.
        SettingsError: The classes of this task were not gathered.
    """
    of_task = statistics.of_task(task)
    held = np.flatnonzero(of_task.counts > 0)
    if len(held) < 2:
        raise DataError(
            f"Means of two classes at least are compared, but of the task `{task}` {len(held)} has words with a vector "
            f"in {statistics.place}. Check the label column and the excluded words."
        )
    means, counts = of_task.mean[held], of_task.counts[held]
    if standardize:
        deviation = np.sqrt(statistics.variance)
        means = np.divide(means, deviation, out=np.zeros_like(means), where=deviation > 0)
    total, words = counts @ means, counts.sum()
    by_class = {}
    for number, mean, count in zip(held.tolist(), means, counts, strict=True):
        name = of_task.classes[number]
        rest = (total - count * mean) / (words - count)
        by_class[name] = rank_by_scores(f"{task}: {name}", statistics.axis, np.abs(mean - rest))
    return rank_by_scores(task, statistics.axis, _apart(means), by_class=by_class)


def _apart(means: Float[np.ndarray, "class feature"]) -> Float[np.ndarray, " feature"]:
    """Σ |a - b| over all ordered pairs, by sorting: each mean is added where it is the larger one, else taken off."""
    rising = np.sort(means, axis=0)
    times = 2 * np.arange(len(means)) - (len(means) - 1)
    return 2 * (times @ (rising - rising[:1]))

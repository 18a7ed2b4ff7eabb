"""Ranks neurons by the means of classes, without training: from the statistics of a store, reading no activation.

Two methods have this name. Antverg and Belinkov 2022 (section 3) and NeuroX's code sum the distances of all pairs of
class means; Fan et al. 2023 print the mean of one class less that of all other words, with its sign. The first ranks
for the task, the second for a class; so the order over all classes is the sum, and `by_class` is the difference. Its
magnitude counts, unless `direction="high"` asks for the sign as printed.

Reference: Antverg and Belinkov 2022, "On the Pitfalls of Analyzing Individual Neurons", section 3 (PROBELESS); Fan,
Dalvi, Durrani and Sajjad 2023, "Evaluating Neuron Interpretation Methods of NLP Models" (a class against the rest);
Sajjad et al. 2022 (why neurons with activations of different size are brought to one scale).
"""

import numpy as np
from jaxtyping import Float

from lca_jax.ranking.class_means import Scale, class_means
from lca_jax.ranking.direction import Direction, in_direction
from lca_jax.ranking.ranking import Ranking, rank_by_scores
from lca_jax.store.statistics import Statistics


def rank_by_means(
    statistics: Statistics, task: str, *, standardize: bool | Scale = False, direction: Direction = "both"
) -> Ranking:
    """Ranks neurons by how far apart the means of a task's classes are.

    With q(z) the mean vector of the words of class z, a neuron's score is Σ |q(z) − q(z')| over all ordered pairs of
    classes, as printed: each pair is counted twice. Every class counts alike, however many words it has.

    Args:
        statistics: Statistics from `store.statistics()` or `gather_statistics`.
        task: The task.
        standardize: Whether each neuron is divided by its deviation first: over all words (True or `"total"`), or
            within the classes (`"within"`). The paper does not do so, and ranks within one layer: over several, neurons
            of layers with large activations would come first. A neuron that never changes has the score 0 either way.
        direction: Whether a class is spoken for by high means, low ones, or both. `"high"` is Fan's signed difference.
            It plays a part in `by_class` alone.

    Returns:
        The ranking. `by_class` ranks by q(z) − q(not z); q(not z) is the mean over the words of all other classes.

    Raises:
        DataError: Fewer than two classes have a word with a vector.
        SettingsError: The classes of this task were not gathered, or an argument is unknown.
    """
    scale: Scale = ("total" if standardize else "none") if isinstance(standardize, bool) else standardize
    means = class_means(statistics, task, scale=scale)
    scores = in_direction(direction, means.apart, -means.apart)
    by_class = {
        name: rank_by_scores(f"{task}: {name}", statistics.axis, of_class)
        for name, of_class in zip(means.names, scores, strict=True)
    }
    return rank_by_scores(task, statistics.axis, _sum_of_distances(means.mean), by_class=by_class)


def _sum_of_distances(means: Float[np.ndarray, "class feature"]) -> Float[np.ndarray, " feature"]:
    """Returns Σ |a − b| over all ordered pairs, by sorting.

    A mean is added in the pairs where it is the larger one, and subtracted in the others.
    """
    rising = np.sort(means, axis=0)
    times = 2 * np.arange(len(means)) - (len(means) - 1)
    return 2 * (times @ (rising - rising[:1]))

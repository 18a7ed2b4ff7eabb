"""Ranks neurons by how far a class's mean lies from that of all other words, for the range of the class.

    R(n, C) = |μ(C) − μ(¬C)| / (max z − min z over the words of C)

The paper prints the difference with its sign, which ranks neurons that are low for a class last; here magnitude counts,
unless `direction="high"` asks for the paper's form.

Reference: Fan, Dalvi, Durrani and Sajjad 2023, "Evaluating Neuron Interpretation Methods of NLP Models" (MeanSelect).
"""

import numpy as np

from lca_jax.ranking.direction import Direction, in_direction
from lca_jax.ranking.ranking import Ranking, rank_by_class_scores
from lca_jax.ranking.words import Words, classes_apart, read_words


def rank_by_mean_select(words: Words, task: str | None = None, *, direction: Direction = "both") -> Ranking:
    """Ranks neurons by MeanSelect, without training.

    Args:
        words: A store, words that were read before, or features and labels (X, y).
        task: The task; None for the only one.
        direction: Whether a class is spoken for by high means (`"high"`, as the paper prints), low ones, or both.

    Returns:
        The ranking. A neuron's score is that of the class for which it is highest; `by_class` ranks for each class. A
        neuron that does not change within a class (as any within a class of one word) has the score 0 for it.

    Raises:
        SettingsError: The task is not that of the words, or a store has several and none is named, or the direction is
            unknown.
        DataError: No word is labelled, there is one class only, or an activation is not finite.
    """
    words = read_words(words, task)
    total, scores = words.X.sum(axis=0, dtype=np.float64), {}
    for name, inside in classes_apart(words).items():
        of_class = words.X[inside].astype(np.float64)
        apart = of_class.mean(axis=0) - (total - of_class.sum(axis=0)) / (~inside).sum()
        width = of_class.max(axis=0) - of_class.min(axis=0)
        directed = in_direction(direction, apart, -apart)
        scores[name] = np.divide(directed, width, out=np.zeros_like(width), where=width > 0)
    return rank_by_class_scores(words.task, words.axis, scores, name="MeanSelect")

"""Ranks neurons by intersection over union: the words that a neuron is active on, and the words of a class.

    IoU(n, C) = |{z > δ} ∩ C| / |{z > δ} ∪ C|

This is the paper's own formula. What NeuroX calls IoU is average precision of values whose magnitudes below 0.05 became
zero: that is `average_precision` with a threshold.

Reference: Fan, Dalvi, Durrani and Sajjad 2023, section 2; Mu and Andreas 2020, "Compositional Explanations of Neurons".
"""

import numpy as np

from lca_jax.errors import SettingsError
from lca_jax.ranking.counting import count_above
from lca_jax.ranking.direction import Direction, in_direction
from lca_jax.ranking.ranking import Ranking, rank_by_class_scores
from lca_jax.ranking.words import Words, classes_apart, read_words


def rank_by_iou(
    words: Words, task: str | None = None, *, threshold: float = 0.0, direction: Direction = "both"
) -> Ranking:
    """Ranks neurons by intersection over union, without training.

    Args:
        words: A store, words that were read before, or features and labels (X, y).
        task: The task; None for the only one.
        threshold: δ, in the unit of the activations: a neuron is active on the words where it is above.
        direction: Whether a neuron is active above δ (`"high"`, as published), below −δ (`"low"`), or by the better of
            the two, since directions of a residual stream have no sign of their own.

    Returns:
        The ranking. A neuron's score is that of the class for which it is highest, 0 to 1; `by_class` ranks for each.

    Raises:
        SettingsError: The task is not that of the words, a store has several and none is named, the direction is
            unknown, or δ is negative while both count.
        DataError: No word is labelled, there is one class only, or an activation is not finite.
    """
    if threshold < 0 and direction == "both":
        raise SettingsError(
            f"`threshold` must be 0 or more where both directions count, got {threshold}. Or give `direction`."
        )
    words = read_words(words, task)
    classes = classes_apart(words)
    inside = np.array(list(classes.values()), bool).reshape(len(classes), len(words.X))
    everything = np.concatenate([inside, np.ones((1, len(words.X)), bool)])
    levels = np.full((2, words.axis.size), threshold, np.float32)
    counts = count_above(words.X, everything, levels, signs=(1, -1)).astype(np.float64)
    both, active = counts[:, :-1], counts[:, -1:]
    high, low = both / (inside.sum(axis=1)[None, :, None] + active - both)
    of_class = dict(zip(classes, in_direction(direction, high, low), strict=True))
    return rank_by_class_scores(words.task, words.axis, of_class, name="Intersection over union")

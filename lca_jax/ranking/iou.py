"""Ranks neurons by intersection over union: the words that a neuron is active on, and the words of a class.

    IoU(n, C) = |{z > δ} ∩ C| / |{z > δ} ∪ C|

This is the paper's own formula. What NeuroX calls IoU is average precision of thresholded values: that is in
`average_precision`, without a threshold.

Reference: Fan, Dalvi, Durrani and Sajjad 2023, section 2; Mu and Andreas 2020, "Compositional Explanations of Neurons".
"""

import numpy as np

from lca_jax.errors import SettingsError
from lca_jax.ranking.ranking import Ranking, rank_by_class_scores
from lca_jax.ranking.words import Words, classes_apart, read_words


def rank_by_iou(words: Words, task: str | None = None, *, threshold: float = 0.0, signed: bool = False) -> Ranking:
    """Ranks neurons by intersection over union, without training.

    Args:
        words: A store, words that were read before, or features and labels (X, y).
        task: The task; None for the only one.
        threshold: δ, in the unit of the activations: a neuron is active on the words where it is above.
        signed: Whether a neuron is active above δ only. Otherwise it is also measured by the words where it is below
            −δ, and the better of the two counts: directions of a residual stream have no sign of their own.

    Returns:
        The ranking. A neuron's score is that of the class for which it is highest, 0 to 1; `by_class` ranks for each.

    Raises:
        SettingsError: The task is not that of the words, a store has several and none is named, or δ is negative while
            both signs count.
        DataError: No word is labelled, there is one class only, or an activation is not finite.
    """
    if threshold < 0 and not signed:
        raise SettingsError(f"`threshold` must be 0 or more where both signs count, got {threshold}. Or give signed.")
    words = read_words(words, task)
    classes = classes_apart(words)
    inside = np.array(list(classes.values()), np.float64).reshape(len(classes), len(words.X))
    scores = np.zeros((len(classes), words.axis.size))
    for values in [words.X] if signed else [words.X, -words.X]:
        active = values > threshold
        both = inside @ active
        either = inside.sum(axis=1)[:, None] + active.sum(axis=0)[None, :] - both
        scores = np.maximum(scores, both / either)
    of_class = dict(zip(classes, scores, strict=True))
    return rank_by_class_scores(words.task, words.axis, of_class, name="Intersection over union")

"""Ranks neurons by average precision: how well a neuron's value alone finds the words of a class.

    AP(n, C) = Σ over thresholds t of (recall(t) − recall(t before)) · precision(t)

over all distinct values of the neuron, highest first; words of equal value enter together. The values of each neuron
are sorted once for all classes: O(words · log words) a neuron, in float64 on the host.

Reference: Suau, Zappella and Apostoloff 2020, "Finding Experts in Transformer Models" (expertise);
`sklearn.metrics.average_precision_score`.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from lca_jax.ranking.ranking import Ranking, rank_by_class_scores
from lca_jax.ranking.words import Words, classes_apart, read_words

_COLUMNS = 64
"""Number of neurons that are sorted at a time."""


def rank_by_average_precision(words: Words, task: str | None = None, *, signed: bool = False) -> Ranking:
    """Ranks neurons by average precision, without training.

    Args:
        words: A store, words that were read before, or features and labels (X, y).
        task: The task; None for the only one.
        signed: Whether high values alone speak for a class. Otherwise the better of a neuron and its negative counts.

    Returns:
        The ranking. A neuron's score is that of the class for which it is highest, 0 to 1; `by_class` ranks for each.
        A frequent class has a high average precision by chance already (its share of the words), so the order over all
        classes prefers neurons of frequent classes.

    Raises:
        SettingsError: The task is not that of the words, or a store has several and none is named.
        DataError: No word is labelled, there is one class only, or an activation is not finite.
    """
    words = read_words(words, task)
    classes = classes_apart(words)
    inside = np.array(list(classes.values()), bool).reshape(len(classes), len(words.X))
    scores = np.zeros((len(classes), words.axis.size))
    for first in range(0, words.axis.size, _COLUMNS):
        part = slice(first, min(first + _COLUMNS, words.axis.size))
        values = words.X[:, part]
        falling = np.argsort(-values, axis=0, kind="stable")
        orders = [falling] if signed else [falling, falling[::-1]]
        for order in orders:
            ends = _ends_of_ties(np.take_along_axis(values, order, axis=0))
            for number, of_class in enumerate(inside):
                found = _average_precision(of_class[order], ends)
                scores[number, part] = np.maximum(scores[number, part], found)
    of_class = dict(zip(classes, scores, strict=True))
    return rank_by_class_scores(words.task, words.axis, of_class, name="Average precision")


def _ends_of_ties(ordered: Float[np.ndarray, "word feature"]) -> Int[np.ndarray, "word feature"]:
    """Returns for every place of ordered values the last place of the same value."""
    places = np.arange(len(ordered))[:, None]
    last = np.concatenate([ordered[1:] != ordered[:-1], np.ones((1, ordered.shape[1]), bool)])
    ends = np.where(last, places, len(ordered))
    return np.minimum.accumulate(ends[::-1], axis=0)[::-1]


def _average_precision(
    hits: Bool[np.ndarray, "word feature"], ends: Int[np.ndarray, "word feature"]
) -> Float64[np.ndarray, " feature"]:
    """Returns the mean precision at the thresholds of the hits."""
    precision = np.cumsum(hits, axis=0) / np.arange(1, len(hits) + 1)[:, None]
    return (np.take_along_axis(precision, ends, axis=0) * hits).sum(axis=0) / hits.sum(axis=0)

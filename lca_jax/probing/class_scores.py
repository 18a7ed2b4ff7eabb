"""Scores in which every class counts the same, however rare: macro-F1 and balanced accuracy, with their intervals.

A task with one frequent class has a high accuracy where nothing but that class is found; these two scores do not. Their
95 % intervals are from the bootstrap over sentences behind every accuracy, with the same samples: the scores are
functions of three sums a class (its words, its predictions, and what of both is right). In a sample a class counts that
occurs in it. An interval reaches at least as far as words of a kind that was not seen could move the scores of the
classes, each by itself (`with_unseen`); the distances are those of a mean of independent classes (Zou and Donner 2008).

Reference: Sokolova and Lapalme 2009, "A systematic analysis of performance measures for classification tasks", table 3;
Brodersen et al. 2010, "The balanced accuracy and its posterior distribution" (a mean of recalls);
Zou and Donner 2008, "Construction of confidence limits about effect measures: a general approach".
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from lca_jax.probing.metrics import resampled_sums, units_of_sums, with_unseen


class Score(NamedTuple):
    """A score on test words, and the ends of its 95 % interval over sentences."""

    value: float
    low: float
    high: float


class ClassScores(NamedTuple):
    """Both scores of the same predictions."""

    macro_f1: Score
    """Mean F1, 2·right / (gold + predicted), over the classes that are gold or predicted somewhere."""
    balanced_accuracy: Score
    """Mean recall over the classes that have a word."""


def class_scores(
    predicted: Int[np.ndarray, " word"],
    gold: Int[np.ndarray, " word"],
    sentences: Int[np.ndarray, " word"],
    *,
    classes: int,
    seed: int = 0,
) -> ClassScores:
    """Scores predictions by class.

    Args:
        predicted: Class number predicted for each word.
        gold: Class number of each word. A negative number is a label that training lacks: it is no class of its own,
            and the prediction counts among those of the class that it names.
        sentences: Number of the sentence that each word stands in.
        classes: Number of classes.
        seed: Seed of the resampling.
    """
    numbers = np.arange(classes)[:, None]
    said, true = (predicted[None] == numbers).astype(np.float64), (gold[None] == numbers).astype(np.float64)
    rows = np.concatenate([true, said, true * said])
    samples = np.concatenate([rows.sum(axis=1)[None], resampled_sums(rows, sentences, seed=seed)])
    words, named, right = np.split(samples, 3, axis=1)
    place = np.unique(sentences, return_inverse=True)[1]
    of_sentences = np.stack([np.bincount(place, weights=row) for row in rows])
    of_words, of_named, of_right = np.split(of_sentences, 3)
    return ClassScores(
        mean_ratio(2 * right, words + named, 2 * of_right, of_words + of_named),
        mean_ratio(right, words, of_right, of_words),
    )


def mean_ratio(
    above: Float[np.ndarray, "sample class"],
    below: Float[np.ndarray, "sample class"],
    right: Float[np.ndarray, "class sentence"],
    units: Float[np.ndarray, "class sentence"],
) -> Score:
    """Returns the mean of the ratios over the classes that have one, of the words (first row) and its interval.

    Args:
        above: What is divided, in the words and in samples of the sentences.
        below: What it is divided by.
        right: What is divided, of each sentence.
        units: What it is divided by.
    """
    ratios = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    means = ratios.sum(axis=1) / np.maximum((below > 0).sum(axis=1), 1)
    low, high = np.quantile(means[1:], [0.025, 0.975]).tolist()
    known = np.flatnonzero(below[0])
    # What unseen words could do to each class, as distances from its ratio.
    reach = np.zeros((len(known), 2))
    for row, number in enumerate(known.tolist()):
        ratio = np.full((1, 2), ratios[0, number])
        of_class = units_of_sums(right[None, number], units[number])
        reach[row] = (with_unseen(ratio, *of_class, least=0) - ratio)[0]
    down, up = np.sqrt((reach**2).sum(axis=0)) / max(len(known), 1)
    value = float(means[0])
    return Score(value, min(low, value - float(down)), max(high, value + float(up)))

"""Votes of single neurons as a probe: every neuron has its own best threshold for each class, and nothing is weighed.

A neuron votes for a class where its activation lies on the class's side of a threshold. The side and the threshold are
those with the largest difference of two shares, the class's words on that side and the other words on it (Youden's J):
with plain accuracy no neuron would ever vote for a rare class. Thresholds lie in the middle between two neighbouring
activations. A word gets the class with the most votes, of equal ones the most frequent class in training.

The votes of a neuron depend on no other, so masking a neuron and training without it are the same thing.

Reference: Youden 1950, "Index for rating diagnostic tests".
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from lca_jax.analysis.retraining import TrainingWords


def majority_on_sets(
    training: TrainingWords,
    X: Float[np.ndarray, "word feature"],
    order: Int[np.ndarray, " neuron"],
    sizes: Sequence[int],
) -> Int[np.ndarray, "size word"]:
    """Predicts classes by a majority vote of the leading neurons of an order, for every number of neurons."""
    gold = training.real.numbers
    counted = gold >= 0
    counts = np.bincount(gold[counted], minlength=len(training.real.classes))
    inside = np.arange(len(counts))[:, None] == gold[counted]
    present = np.flatnonzero((counts > 0) & (counts < counts.sum()))
    if not len(present):  # one class only: there is nothing to vote on
        return np.full((len(sizes), len(X)), counts.argmax())
    present = present[np.argsort(-counts[present], kind="stable")]  # argmax takes the first of equal votes
    votes = np.zeros((len(present), len(X)), np.int32)
    predicted = np.empty((len(sizes), len(X)), np.int64)
    for place, column in enumerate(order[: max(sizes)].tolist(), start=1):
        thresholds, sides = best_thresholds(training.X[counted, column], inside[present])
        votes += (X[:, column] > thresholds[:, None]) == (sides > 0)[:, None]
        for at in np.flatnonzero(np.asarray(sizes) == place).tolist():
            predicted[at] = present[votes.argmax(axis=0)]
    return predicted


def best_thresholds(
    values: Float[np.ndarray, " word"], inside: Bool[np.ndarray, "class word"]
) -> tuple[Float64[np.ndarray, " class"], Int[np.ndarray, " class"]]:
    """Returns each class's threshold and side (1: above, -1: at or below) with the largest Youden's J.

    Args:
        values: Activations of one neuron.
        inside: Which words are of each class; each has words inside and outside.

    A constant neuron has an infinite threshold, below which all words are: it votes for all classes alike.
    """
    order = np.argsort(values, kind="stable")
    ascending = values[order].astype(np.float64)
    members = inside[:, order]
    sizes = members.sum(axis=1, keepdims=True)
    below = np.cumsum(members, axis=1) / sizes
    others = np.cumsum(~members, axis=1) / (members.shape[1] - sizes)
    # A threshold lies between two different values only.
    apart = np.diff(ascending) > 0
    if not apart.any():
        return np.full(len(inside), np.inf), np.full(len(inside), -1)
    j = np.where(apart, (others - below)[:, :-1], 0.0)
    best = np.where(apart, np.abs(j), -1.0).argmax(axis=1)
    middle = (ascending[:-1] + ascending[1:]) / 2
    return middle[best], np.where(j[np.arange(len(inside)), best] >= 0, 1, -1)

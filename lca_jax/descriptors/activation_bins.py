"""Even bins around a neuron's mean, and the words of each class in them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int, Int64

from lca_jax.probing.labelling import number_labels

BINS, REACH = 24, 4.0
"""Number of bins, and standard deviations from the mean to the outermost edges, unless others are asked for."""


class ClassActivations(NamedTuple):
    """The words of one class by a neuron's activation."""

    name: str
    mean: float
    """Mean activation of its words, in standard deviations of all words from their mean."""
    counts: tuple[int, ...]
    """Words in even bins from -`REACH` to `REACH` such deviations; the outermost also have all words beyond."""


def bin_edges(
    mean: Float[np.ndarray, " neuron"], deviation: Float[np.ndarray, " neuron"], *, bins: int, reach: float
) -> Float64[np.ndarray, "neuron edge"]:
    """Returns the edges of even bins around the mean of every neuron, half a unit to both sides without deviation."""
    half = np.where(deviation > 0, reach * deviation, 0.5)
    return mean[:, None] + half[:, None] * np.linspace(-1, 1, bins + 1)


def count_in_bins(
    values: Float[np.ndarray, "word neuron"],
    numbers: Int[np.ndarray, " word"],
    edges: Float64[np.ndarray, "neuron edge"],
    *,
    classes: int,
) -> Int64[np.ndarray, "class neuron bin"]:
    """Counts the values of each class in even bins; a value beyond the edges counts in the outermost bin.

    Args:
        values: Finite activations.
        numbers: Class of each word; words with a negative number are left out.
        edges: Edges of the bins, rising by equal steps.
        classes: Number of classes.
    """
    neurons, bins = edges.shape[0], edges.shape[1] - 1
    values, numbers = values[numbers >= 0].astype(np.float64), numbers[numbers >= 0]
    low, high = edges[:, 0], edges[:, -1]
    places = np.clip((values - low) * (bins / (high - low)), 0, bins - 1).astype(np.int64)
    # What the product rounds over an edge goes back to the side of it on which the value lies.
    column = np.arange(neurons)
    places -= (values < edges[column, places]) & (places > 0)
    places += (values >= edges[column, places + 1]) & (places < bins - 1)
    flat = (numbers[:, None].astype(np.int64) * neurons + column) * bins + places
    return np.bincount(flat.ravel(), minlength=classes * neurons * bins).reshape(classes, neurons, bins)


def activations_by_class(
    scores: Float[np.ndarray, "word neuron"], labels: Sequence[str | None]
) -> list[tuple[ClassActivations, ...]]:
    """Returns the words of every class by z-score, for each neuron."""
    labelling = number_labels("labels", labels)
    names, numbers, width = labelling.classes, labelling.numbers, scores.shape[1]
    edges = bin_edges(np.zeros(width), np.ones(width), bins=BINS, reach=REACH)
    counts = count_in_bins(scores, numbers, edges, classes=len(names))
    means = [scores[numbers == place].mean(axis=0) for place in range(len(names))]
    return [
        tuple(
            ClassActivations(name, float(means[place][column]), tuple(counts[place, column].tolist()))
            for place, name in enumerate(names)
        )
        for column in range(width)
    ]

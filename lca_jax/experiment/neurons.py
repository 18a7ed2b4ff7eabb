"""What is told of single neurons: the class whose weights read them most, where they lie for it, and their near copies.

Means are those of the training words, raw, as the model computes them. Copies are neurons of any layer whose values
follow those of the neuron on the dev words: in a residual stream the same index of the next layer often does.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from lca_jax.analysis.retraining import TrainingWords
from lca_jax.axes import NeuronAxis
from lca_jax.experiment.rankings import Rankings
from lca_jax.probing.measuring import MeasuredWords

_COPY = 0.9
"""Least magnitude of Pearson's correlation of a near copy."""
_COPIES = 3
"""Number of near copies that are listed."""


def describe_neurons(
    rankings: Rankings, task: str, columns: Int[np.ndarray, " neuron"], training: TrainingWords, dev: MeasuredWords
) -> list[dict[str, Any]]:
    """Returns the `top_neurons` entry of a task: one table for each neuron, in the order given.

    A neuron without weight has no class, and neither weight nor means.
    """
    probe, axis = rankings.probes.one(task), rankings.probes.axis
    numbers, X = rankings.first_class(task, columns), training.X[:, columns].astype(np.float64)
    copies = near_copies(dev.X, columns)
    entries: list[dict[str, Any]] = []
    for place, column in enumerate(columns.tolist()):
        neuron = axis.neuron(column)
        number = int(numbers[place])
        inside = training.real.numbers == number
        outside = (training.real.numbers >= 0) & ~inside
        of_class = {"class": None, "weight": None, "mean_inside": None, "mean_outside": None}
        if number >= 0:
            of_class = {
                "class": probe.classes[number],
                "weight": float(probe.weights[column, number]),
                "mean_inside": float(X[inside, place].mean()),
                "mean_outside": float(X[outside, place].mean()),
            }
        entries.append(
            {
                "site": neuron.site,
                "layer": neuron.layer,
                "index": neuron.index,
                **of_class,
                "deviation": float(X[:, place].std()),
                "copies": [_copy(axis, other, correlation) for other, correlation in copies[place]],
            }
        )
    return entries


def near_copies(
    X: Float[np.ndarray, "word feature"], columns: Int[np.ndarray, " neuron"]
) -> list[list[tuple[int, float]]]:
    """Returns for every column the others that follow it, at most three, strongest first, each with its correlation."""
    if len(X) < 3:
        return [[] for _ in columns]
    mean, deviation = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    chosen = (X[:, columns] - mean[columns]).astype(np.float64)
    # Σ (x − mean)(y − mean) = Σ (x − mean) y, so X is not copied to be centred.
    products = chosen.T @ X / len(X)
    both = deviation[columns][:, None] * deviation[None, :]
    correlation = np.divide(products, both, out=np.zeros_like(products), where=both > 0)
    correlation[np.arange(len(columns)), columns] = 0
    found = []
    for row in np.clip(correlation, -1, 1):
        close = np.flatnonzero(np.abs(row) >= _COPY)
        strongest = close[np.argsort(-np.abs(row[close]), kind="stable")][:_COPIES]
        found.append([(int(other), float(row[other])) for other in strongest])
    return found


def _copy(axis: NeuronAxis, column: int, correlation: float) -> dict[str, Any]:
    site, layer, index = axis.neuron(column)
    return {"site": site, "layer": layer, "index": index, "correlation": correlation}

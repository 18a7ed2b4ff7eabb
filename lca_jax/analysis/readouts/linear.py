"""Certified linear probes: one multinomial probe of all classes, or a probe of two classes for each class.

The binary probes of all classes and of all nested sets are problems of one fit. A word gets the class whose probe is
most certain of it (one-vs-rest).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from lca_jax.analysis.retraining import TrainingWords, train_nested_sets
from lca_jax.probing.fit import fit_problems
from lca_jax.probing.labelling import Labelling, tell_from_rest
from lca_jax.probing.probe import Probe, predict_masked


def linear_on_sets(
    training: TrainingWords,
    X: Float[np.ndarray, "word feature"],
    order: Int[np.ndarray, " neuron"],
    sizes: Sequence[int],
) -> Int[np.ndarray, "size word"]:
    """Predicts classes by multinomial probes trained on the leading neurons of an order."""
    columns = order[: max(sizes)]
    probes = train_nested_sets(training, order, sizes, labellings=[training.real])
    return predict_masked(probes, X[:, columns], keep=np.ones((len(probes), 1, len(columns)), bool))[:, 0]


def linear_masked(
    training: TrainingWords, X: Float[np.ndarray, "word feature"], keep: Bool[np.ndarray, "mask feature"]
) -> Int[np.ndarray, "mask word"]:
    """Predicts classes by one multinomial probe on all neurons, with some of them masked."""
    (probe,) = fit_problems(training.X, [training.real], training.settings, given=training.scale)
    return predict_masked([probe], X, keep=keep[None])[0]


def one_vs_rest_on_sets(
    training: TrainingWords,
    X: Float[np.ndarray, "word feature"],
    order: Int[np.ndarray, " neuron"],
    sizes: Sequence[int],
) -> Int[np.ndarray, "size word"]:
    """Predicts classes by one binary probe for each class, trained on the leading neurons of an order."""
    numbers, binary = _apart(training.real)
    columns = order[: max(sizes)]
    probes = train_nested_sets(training, order, sizes, labellings=binary)
    everything = np.ones((1, len(columns)), bool)
    margins = np.stack([_margins(probe, X[:, columns], everything)[0] for probe in probes])
    return numbers[margins.reshape(len(binary), len(sizes), len(X)).argmax(axis=0)]


def one_vs_rest_masked(
    training: TrainingWords, X: Float[np.ndarray, "word feature"], keep: Bool[np.ndarray, "mask feature"]
) -> Int[np.ndarray, "mask word"]:
    """Predicts classes by one binary probe for each class on all neurons, with some of them masked."""
    numbers, binary = _apart(training.real)
    probes = fit_problems(training.X, binary, training.settings, given=training.scale)
    return numbers[np.stack([_margins(probe, X, keep) for probe in probes]).argmax(axis=0)]


def _apart(real: Labelling) -> tuple[Int[np.ndarray, " class"], list[Labelling]]:
    """Returns the numbers of the classes that training has words of, and the labelling of each against all others."""
    present = np.unique(real.numbers[real.counted])
    return present, [tell_from_rest(real, real.classes[number]) for number in present.tolist()]


def _margins(
    probe: Probe, X: Float[np.ndarray, "word feature"], keep: Bool[np.ndarray, "mask feature"]
) -> Float64[np.ndarray, "mask word"]:
    """Returns how far a binary probe puts each word on the side of its class, with masked neurons at the mean."""
    weights = (probe.weights[:, 1] - probe.weights[:, 0]).astype(np.float64) / probe.scale
    bias = float(probe.bias[1] - probe.bias[0])
    kept = np.where(keep, weights, 0.0)
    return kept @ X.T.astype(np.float64) - (kept @ probe.mean)[:, None] + bias

"""Class-conditional Gaussians as a probe: no training beyond the moments of the words, no weights.

A neuron that is masked is integrated out, and the Gaussian of the others is the sub-vector and the sub-matrix: so
masking a neuron and training without it are the same thing.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from lca_jax.analysis.retraining import TrainingWords
from lca_jax.probing.gaussian import gather_gaussians, log_posteriors


def gaussian_on_sets(
    training: TrainingWords,
    X: Float[np.ndarray, "word feature"],
    order: Int[np.ndarray, " neuron"],
    sizes: Sequence[int],
) -> Int[np.ndarray, "size word"]:
    """Predicts classes by Gaussians of the leading neurons, each class with its own covariance."""
    return _predicted(training, X, order[: max(sizes)], sizes, shared=False)


def shared_gaussian_on_sets(
    training: TrainingWords,
    X: Float[np.ndarray, "word feature"],
    order: Int[np.ndarray, " neuron"],
    sizes: Sequence[int],
) -> Int[np.ndarray, "size word"]:
    """Predicts classes by Gaussians of the leading neurons, all classes with one covariance."""
    return _predicted(training, X, order[: max(sizes)], sizes, shared=True)


def _predicted(
    training: TrainingWords,
    X: Float[np.ndarray, "word feature"],
    columns: Int[np.ndarray, " neuron"],
    sizes: Sequence[int],
    *,
    shared: bool,
) -> Int[np.ndarray, "size word"]:
    real = training.real
    gaussians = gather_gaussians(training.X[:, columns], real.numbers, classes=len(real.classes), shared=shared)
    return log_posteriors(gaussians, X[:, columns], sizes).argmax(axis=2)

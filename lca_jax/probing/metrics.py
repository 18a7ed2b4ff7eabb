"""Scores of predictions: accuracy, its interval over sentences, accuracy by class, and R² of numbers."""

import numpy as np
from jaxtyping import Bool, Float, Int

_RESAMPLES = 2000
"""Number of bootstrap samples behind an interval."""


def accuracy(predicted: Int[np.ndarray, "... word"], gold: Int[np.ndarray, " word"]) -> Float[np.ndarray, "..."]:
    """Returns the share of words whose predicted class is the gold class; leading axes are kept."""
    return np.asarray((predicted == gold).mean(axis=-1))


def determination(
    predicted: Float[np.ndarray, "... word"], gold: Float[np.ndarray, " word"]
) -> Float[np.ndarray, "..."]:
    """Returns R²: 1 − squared errors / squared distances from the mean of the gold numbers; leading axes are kept.

    1 is perfect, 0 is as good as predicting the mean, and a negative number is worse than that. If all gold numbers are
    alike, R² is 1 where all predictions are right and −∞ otherwise.
    """
    wide = gold.astype(np.float64)
    errors = ((predicted - wide) ** 2).sum(axis=-1)
    from_mean = ((wide - wide.mean()) ** 2).sum()
    if from_mean == 0:
        return np.where(errors == 0, 1.0, -np.inf)
    return np.asarray(1 - errors / from_mean)


def class_accuracy(
    predicted: Int[np.ndarray, " word"], gold: Int[np.ndarray, " word"], *, classes: int
) -> list[float | None]:
    """Returns the share of right predictions among the words of each class (recall); None for a class without words."""
    words = np.bincount(gold[gold >= 0], minlength=classes)
    right = np.bincount(gold[(predicted == gold) & (gold >= 0)], minlength=classes)
    return [float(right[c] / words[c]) if words[c] else None for c in range(classes)]


def accuracy_interval(
    right: Bool[np.ndarray, " word"], sentences: Int[np.ndarray, " word"], *, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Returns the percentile bootstrap interval of an accuracy, over sentences: words of one are not independent.

    Args:
        right: Whether each word was predicted rightly.
        sentences: Number of the sentence that each word stands in.
        level: Coverage of the interval, in (0, 1).
        seed: Seed of the resampling.

    Returns:
        The lower and the upper end.
    """
    _, place = np.unique(sentences, return_inverse=True)
    words = np.bincount(place).astype(np.float64)
    hits = np.bincount(place, weights=right)
    generator = np.random.default_rng(seed)
    accuracies = []
    for _ in range(_RESAMPLES // 100):
        drawn = generator.integers(0, len(words), size=(100, len(words)))
        accuracies.append(hits[drawn].sum(axis=1) / words[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(accuracies), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

"""Means of the classes of a task and of all other words, in one scale for all neurons: from statistics alone."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from lca_jax.errors import DataError, SettingsError
from lca_jax.store.statistics import ClassStatistics, Statistics

Scale = Literal["none", "total", "within"]
"""What each neuron is divided by: nothing, its deviation over all words, or its deviation within the classes."""


class ClassMeans(NamedTuple):
    """The classes that have words; columns are those of the statistics."""

    names: tuple[str, ...]
    counts: Int64[np.ndarray, " class"]
    mean: Float64[np.ndarray, "class feature"]
    """Mean of each class, divided by the scale; 0 for a neuron whose scale is 0."""

    @property
    def rest(self) -> Float64[np.ndarray, "class feature"]:
        """Mean over the words of all other classes."""
        total, words = self.counts @ self.mean, self.counts.sum()
        return (total - self.counts[:, None] * self.mean) / (words - self.counts)[:, None]

    @property
    def apart(self) -> Float64[np.ndarray, "class feature"]:
        """How far each class's mean lies above that of all other words."""
        return self.mean - self.rest


def class_means(statistics: Statistics, task: str, *, scale: Scale) -> ClassMeans:
    """Returns the means of the classes that have a word with a vector.

    Args:
        statistics: Statistics from `store.statistics()` or `gather_statistics`.
        task: The task.
        scale: `none` for raw means; `total` for the deviation over all words, which is larger where the classes lie far
            apart; `within` for √(Σ n_c v_c / n), with variance v_c of the n_c words of class c.

    Raises:
        DataError: Fewer than two classes have a word with a vector.
        SettingsError: The classes of this task were not gathered, or the scale is unknown.
    """
    of_task = statistics.of_task(task)
    present = np.flatnonzero(of_task.counts > 0)
    if len(present) < 2:
        raise DataError(
            f"At least two classes of `{task}` must have words with a vector, and in {statistics.place} {len(present)} "
            f"{'has' if len(present) == 1 else 'have'}. Check the label column and the excluded words."
        )
    deviation = _deviation(statistics, of_task, scale)
    means = of_task.mean[present]
    return ClassMeans(
        names=tuple(of_task.classes[number] for number in present),
        counts=of_task.counts[present],
        mean=np.divide(means, deviation, out=np.zeros_like(means), where=deviation > 0),
    )


def _deviation(statistics: Statistics, of_task: ClassStatistics, scale: Scale) -> Float64[np.ndarray, " feature"]:
    if scale == "none":
        return np.ones(statistics.axis.size)
    if scale == "total":
        return np.sqrt(statistics.variance)
    if scale != "within":
        raise SettingsError(f"`scale` must be 'none', 'total' or 'within', got {scale!r}.")
    present = of_task.counts > 0
    return np.sqrt(of_task.counts[present] @ of_task.variance[present] / of_task.counts.sum())

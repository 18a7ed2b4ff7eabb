"""Probes of a few neurons, for rankings that fit many of them: the columns are padded to one of few widths.

Padding has an infinite scale, so nothing depends on it, and fits of like width share their compiled programs.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int

from lca_jax.errors import DataError
from lca_jax.probing.fit import fit_problems
from lca_jax.probing.labelling import Labelling, check_classes
from lca_jax.probing.matrix.scale import Scale
from lca_jax.probing.matrix.sizes import coarse_size
from lca_jax.probing.measuring import MeasuredWords
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.problems import Start
from lca_jax.ranking.words import mean_and_variance


class SmallProbe(NamedTuple):
    """The solution on some columns, in the scale of standardised features."""

    weights: Float32[np.ndarray, "column class"]
    bias: Float32[np.ndarray, " class"]
    residuals: Float32[np.ndarray, "word class"]
    """Probability of each class less 1 for the class that the word has, over the number of words."""


class Fitter:
    """The labelled words of a task, standardised once for all probes on them."""

    def __init__(self, words: MeasuredWords) -> None:
        self.words = words
        labelling = Labelling(task=words.task, control=False, classes=words.classes, numbers=words.gold)
        check_classes(labelling)
        if (words.gold < 0).any():
            raise DataError("These words have labels that are no class of theirs. Read them again: measured_words.")
        self._labelling = labelling
        self.mean, variance = mean_and_variance(words.X)
        deviation = np.sqrt(variance)
        self.scale = np.where(deviation > 1e-6 * np.abs(words.X).max(axis=0), deviation, np.inf)
        self._gold = words.gold[:, None] == np.arange(len(words.classes))

    @property
    def constant(self) -> Float32[np.ndarray, "word class"]:
        """Residuals of the probe without weights."""
        return ((self._gold.mean(axis=0) - self._gold) / len(self._gold)).astype(np.float32)

    def fit(
        self,
        columns: Int[np.ndarray, " column"],
        settings: ElasticNet,
        *,
        width: int = 0,
        start: SmallProbe | None = None,
    ) -> SmallProbe:
        """Fits a probe on some columns.

        Args:
            columns: The columns.
            settings: Objective with one pair of penalties, on standardised features.
            width: Number of columns to pad to; the next of few widths if it is less than there are.
            start: Where the solver starts: the weights of these columns in another probe, and its bias. None for zero
                weights.
        """
        size = max(coarse_size(len(columns)), width)
        missing = (0, size - len(columns))
        X = np.zeros((len(self.words.X), size), np.float32)
        X[:, : len(columns)] = self.words.X[:, columns]
        scale = Scale(
            np.pad(self.mean[columns], missing).astype(np.float32),
            np.pad(self.scale[columns], missing, constant_values=np.inf).astype(np.float32),
        )
        begin = None if start is None else Start(np.pad(start.weights.T, ((0, 0), missing))[None], start.bias[None])
        (probe,) = fit_problems(X, [self._labelling], settings, given=scale, start=begin)
        scores = (X - probe.mean) @ (probe.weights / probe.scale[:, None]) + probe.bias
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        residuals = (raised / raised.sum(axis=1, keepdims=True) - self._gold) / len(X)
        return SmallProbe(probe.weights[: len(columns)], probe.bias, residuals.astype(np.float32))

    def gradient(self, residuals: Float32[np.ndarray, "word class"]) -> Float64[np.ndarray, "feature class"]:
        """Returns the gradient of the mean loss by the weights of all standardised neurons."""
        products = (self.words.X.T @ residuals).astype(np.float64)
        return (products - np.outer(self.mean, residuals.sum(axis=0, dtype=np.float64))) / self.scale[:, None]

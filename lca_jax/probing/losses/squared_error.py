r"""Half the squared error: linear regression on numbers.

A label is a number, NaN for words that do not belong to a problem; the class axis has length 1. With z_i the score of
word i and e_i = z_i − y_i,

    loss = 1/n Σ_i e_i²/2                   dual value of the residuals e = 1/n Σ_i (−e_i²/2 − e_i y_i)

`make_feasible`: the residuals e − r, with r their mean, sum to zero. That moves the gradient by −r m, with m the mean
of the problem's words, and the dual value by r²/2 + r mean(y).
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num

from lca_jax.probing.losses.loss import Prediction, word_weights
from lca_jax.probing.problems import Problems


@dataclass(frozen=True)
class SquaredError:
    """Mean of (z − y)²/2 over the words; implements `Loss`."""

    @property
    def mask_label(self) -> np.generic:
        """NaN."""
        return np.float32(np.nan)

    def labelled(self, labels: Num[Array | np.ndarray, "..."]) -> Bool[Array | np.ndarray, "..."]:
        """Tells which words have a number."""
        return ~labels.__array_namespace__().isnan(labels)

    def sum_targets(
        self, labels: Num[np.ndarray, " word"], counts: Float[np.ndarray, " word"], *, classes: int
    ) -> Float[np.ndarray, " class"]:
        """Sums the numbers of the words, each as often as it counts."""
        if classes != 1:
            raise ValueError(f"A regression has a class axis of length 1, got {classes}.")
        return np.array([np.dot(labels, counts)])

    def targets(self, problems: Problems) -> Float[Array, "problem class word"]:
        """Returns the number of each word."""
        return jnp.nan_to_num(problems.labels)[:, None, :]

    def starting_bias(self, problems: Problems) -> Float[Array, "problem class"]:
        """Returns the mean of the numbers."""
        return problems.shares

    def null_objective(self, problems: Problems) -> Float[Array, " problem"]:
        """Returns half the variance of the numbers."""
        away = self.targets(problems)[:, 0] - problems.shares
        return 0.5 * (away**2 * word_weights(problems, self)).sum(axis=1)

    def predict(
        self, X_W: Float[Array, "problem class word"], bias: Float[Array, "problem class"], problems: Problems
    ) -> Prediction:
        """Returns predicted numbers, half the mean squared error and the dual value of the residuals."""
        weight, aim = word_weights(problems, self), self.targets(problems)
        scores = X_W + bias[:, :, None]
        error = (scores - aim)[:, 0]
        dual = -(error**2 / 2 + error * aim[:, 0])
        return Prediction(scores, (error**2 / 2 * weight).sum(axis=1), (dual * weight).sum(axis=1))

    def growth(
        self,
        Q: Float[Array, "problem class word"],  # noqa: ARG002 - the curvature is the same everywhere
        change: Float[Array, "problem class word"],
        problems: Problems,
    ) -> Float[Array, " problem"]:
        """Returns half the mean squared change of the scores."""
        return (change[:, 0] ** 2 / 2 * word_weights(problems, self)).sum(axis=1)

    def fit_bias(
        self,
        X_W: Float[Array, "problem class word"],
        bias: Float[Array, "problem class"],  # noqa: ARG002 - the best one does not depend on it
        problems: Problems,
    ) -> Float[Array, "problem class"]:
        """Returns the best bias: mean number minus mean score."""
        return problems.shares - (X_W * word_weights(problems, self)[:, None, :]).sum(axis=2)

    def predict_at_best_bias(
        self, X_W: Float[Array, "problem class word"], bias: Float[Array, "problem class"], problems: Problems
    ) -> tuple[Float[Array, "problem class"], Prediction]:
        """Returns the best bias and the prediction there."""
        best = self.fit_bias(X_W, bias, problems)
        return best, self.predict(X_W, best, problems)

    def mean_weights(self, problems: Problems) -> Float[Array, "problem class word"]:
        """Returns word weights whose product with X is m, the mean of the problem's words."""
        return word_weights(problems, self)[:, None, :]

    def make_feasible(
        self,
        dual: Float[Array, " problem"],
        gradient: Float[Array, "problem class feature"],
        means: Float[Array, "problem class feature"],
        bias_residual: Float[Array, "problem class"],
        shares: Float[Array, "problem class"],
    ) -> tuple[Float[Array, " problem"], Float[Array, "problem class feature"]]:
        """Subtracts the mean of the residuals; formulas in the module's docstring."""
        r, mean_number = bias_residual[:, 0], shares[:, 0]
        return dual + r**2 / 2 + r * mean_number, gradient - bias_residual[:, :, None] * means


LOSS = SquaredError()

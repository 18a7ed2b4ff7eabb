"""The interface of a loss, and the two quantities that every loss shares: word weights and residuals.

A loss is a small frozen record without arrays: it is hashable, so a compiled program takes it as a static argument. It
knows how labels become targets, what a prediction costs, and how residuals are made feasible for the certificate. It
asks nothing of penalties, solvers or matrices. Letters and shapes are those of `matrix.block`; nothing here touches X.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num

from lca_jax.probing.problems import Problems


class Prediction(NamedTuple):
    """The predictions of given weights and bias for every word."""

    Q: Float[Array, "problem class word"]
    """Predicted distributions (cross-entropy) or predicted numbers (squared error)."""
    loss: Float[Array, " problem"]
    """Mean loss over the words, by their weights."""
    dual: Float[Array, " problem"]
    """Mean dual value of the residuals, before the conjugate of the penalty is subtracted: see `certificate`."""


@runtime_checkable
class Loss(Protocol):
    """A convex loss of the scores of a word; its conjugate gives the dual value of residuals."""

    @property
    def mask_label(self) -> np.generic:
        """The label of a word that does not belong to a problem; its dtype is that of labels on the devices."""
        ...

    def labelled(self, labels: Num[Array | np.ndarray, "..."]) -> Bool[Array | np.ndarray, "..."]:
        """Tells which words have a label, on the host or on the devices."""
        ...

    def sum_targets(
        self, labels: Num[np.ndarray, " word"], counts: Float[np.ndarray, " word"], *, classes: int
    ) -> Float[np.ndarray, " class"]:
        """Sums the targets of labelled words, each word as often as it counts; on the host, in float64."""
        ...

    def targets(self, problems: Problems) -> Float[Array, "problem class word"]:
        """Returns what predictions are compared with; zeros for words that do not belong to a problem."""
        ...

    def starting_bias(self, problems: Problems) -> Float[Array, "problem class"]:
        """Returns the best bias at zero weights; −∞ for classes that a problem does not have."""
        ...

    def null_objective(self, problems: Problems) -> Float[Array, " problem"]:
        """Returns the objective at zero weights and the best bias."""
        ...

    def predict(
        self, X_W: Float[Array, "problem class word"], bias: Float[Array, "problem class"], problems: Problems
    ) -> Prediction:
        """Returns predictions, loss and dual value in one pass over the scores."""
        ...

    def growth(
        self, Q: Float[Array, "problem class word"], change: Float[Array, "problem class word"], problems: Problems
    ) -> Float[Array, " problem"]:
        """Returns how much the loss grows beyond its tangent when the scores change; a step's curvature bounds it.

        Args:
            Q: Predictions before the change.
            change: Change of the scores, the bias included.
            problems: Labels and word weights.
        """
        ...

    def fit_bias(
        self, X_W: Float[Array, "problem class word"], bias: Float[Array, "problem class"], problems: Problems
    ) -> Float[Array, "problem class"]:
        """Moves the bias to, or towards, the best one for the scores; classes that a problem does not have stay."""
        ...

    def predict_at_best_bias(
        self, X_W: Float[Array, "problem class word"], bias: Float[Array, "problem class"], problems: Problems
    ) -> tuple[Float[Array, "problem class"], Prediction]:
        """Returns the bias of `fit_bias` and the prediction there, for less than both cost one after the other."""
        ...

    def mean_weights(self, problems: Problems) -> Float[Array, "problem class word"]:
        """Returns word weights whose product with X are the means that `make_feasible` needs."""
        ...

    def make_feasible(
        self,
        dual: Float[Array, " problem"],
        gradient: Float[Array, "problem class feature"],
        means: Float[Array, "problem class feature"],
        bias_residual: Float[Array, "problem class"],
        shares: Float[Array, "problem class"],
    ) -> tuple[Float[Array, " problem"], Float[Array, "problem class feature"]]:
        """Changes residuals so that they sum to zero, which a free bias asks of the dual: see `certificate`.

        Args:
            dual: Dual value of the residuals.
            gradient: X' times the residuals, of the standardised features.
            means: X' times `mean_weights`.
            bias_residual: Sum of the residuals over the words.
            shares: Mean of the targets.

        Returns:
            A lower bound of the dual value of the changed residuals, and X' times them.
        """
        ...


def word_weights(problems: Problems, loss: Loss) -> Float[Array, "problem word"]:
    """Returns the share of each word in the total of its problem: 1/n where all count the same, 0 if unlabelled."""
    counted = jnp.asarray(loss.labelled(problems.labels)).astype(problems.shares.dtype)
    if problems.weights is not None:
        counted = counted * problems.weights
    total = counted.sum(axis=1) if problems.total is None else problems.total
    return counted / jnp.where(total > 0, total, 1.0)[:, None]


def residuals(prediction: Prediction, problems: Problems, loss: Loss) -> Float[Array, "problem class word"]:
    """Returns prediction minus target of every word, by its weight; the product with X is the gradient of the loss."""
    return (prediction.Q - loss.targets(problems)) * word_weights(problems, loss)[:, None, :]

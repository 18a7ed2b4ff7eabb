"""One fitted probe on the host, and how it predicts.

A probe's weights are in the scale in which they were penalised: the scale of features with mean 0 and deviation 1 if
the fit was standardised (the default), the scale of the raw activations otherwise. Rankings read these weights.
`raw_weights` and `raw_bias` are the same function on raw activations. Masking a neuron sets its feature to zero in the
penalised scale: to its training mean if the fit was standardised, to zero activation if it was raw (as in the papers).

A probe of a part of the neurons has the weights of those alone: `columns` says which columns of the activations they
are, and predicting takes the activations of all neurons. Probes of a hundred layers take the memory of one probe of all
their neurons.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from lca_jax.errors import SettingsError
from lca_jax.probing.labelling import SAMPLE_KINDS, SampleKind
from lca_jax.probing.matrix.block import Block, scores
from lca_jax.probing.matrix.sizes import fine_size
from lca_jax.probing.objective import PenaltyName, SolverName
from lca_jax.tables import html_table, text_table

_BLOCK = 4096
"""Most words that are predicted at a time; the blocks of one call are about equal, and padded to few sizes."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Probe:
    """A multinomial logistic or linear probe with its certificate; from `fit_probes` or `fit_elastic_net`."""

    task: str
    """Name of the label column."""
    control: bool
    """Whether the labels are those of the task's control task."""
    l1: float
    l2: float
    penalty: PenaltyName
    solver: SolverName
    classes: tuple[str, ...]
    """Class names, in the order of the weights' columns; empty for a regression, whose weights have one column."""
    weights: Float[np.ndarray, "feature class"]
    """Weights in the penalised scale."""
    bias: Float[np.ndarray, " class"]
    """Bias for centred features; -∞ for a class that no training word had."""
    mean: Float[np.ndarray, " feature"]
    """Numbers subtracted from the activations; zeros for a raw fit."""
    scale: Float[np.ndarray, " feature"]
    """Numbers by which the activations are divided; ones for a raw fit. Infinite for constant features."""
    objective: float
    """Mean loss plus penalty at these weights, in nats for classes."""
    null_objective: float
    """Objective at zero weights."""
    duality_gap: float
    """Upper bound of the distance of `objective` from the optimum, in the same unit."""
    iterations: int
    """Number of iterations of the exact solver, or of steps of `adam`."""
    converged: bool
    """Whether the gap is within the tolerance."""
    words: int
    """Number of training words, without those of weight 0."""
    target: str | None = None
    """The class that a probe of two classes tells from all others; None for a probe of all classes."""
    replicate: int = 0
    """Number of the sample of the sentences; 0 for the training words as they are."""
    kind: SampleKind = "bootstrap"
    """How that sample was drawn."""
    subset: str | None = None
    """Name of the part of the neurons that it reads; None for all."""
    columns: Int[np.ndarray, " feature"] | None = None
    """The column of the activations that each feature is, ascending; None for all."""
    class_words: tuple[int, ...] | None = None
    """Number of these words of each class; None for a regression, and for probes that were saved before format 5."""

    def __repr__(self) -> str:
        """Describes the probe in two lines, and its classes in a table."""
        return text_table(self.table(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption())

    def table(self) -> dict[str, list[object]]:
        """Returns one row a class (one row for a regression), ready for `pandas.DataFrame(...)`.

        The columns are `class`, `bias`, `nonzero` (number of weights that are not zero), and `mass` (sum of their
        magnitudes).
        """
        return {
            "class": list(self.classes) or [None],
            "bias": self.bias.tolist(),
            "nonzero": np.count_nonzero(self.weights, axis=0).tolist(),
            "mass": np.abs(self.weights).sum(axis=0).tolist(),
        }

    @property
    def regression(self) -> bool:
        """Whether the probe predicts numbers."""
        return not self.classes

    @property
    def raw_weights(self) -> Float[np.ndarray, "feature class"]:
        """Weights for raw activations."""
        return self.weights / self.scale[:, None]

    @property
    def raw_bias(self) -> Float[np.ndarray, " class"]:
        """Bias for raw activations."""
        return self.bias - np.dot(self.mean, self.raw_weights)

    @property
    def nonzero_fraction(self) -> float:
        """Share of weights that are not exactly zero."""
        return float((self.weights != 0).mean())

    def weights_among(self, size: int) -> Float[np.ndarray, "neuron class"]:
        """Returns the weights of all neurons, `size` in number: zero for those that the probe does not read."""
        if self.columns is None:
            return self.weights
        weights = np.zeros((size, self.weights.shape[1]), self.weights.dtype)
        weights[self.columns] = self.weights
        return weights

    def predict(self, X: Float[np.ndarray, "word neuron"]) -> Int[np.ndarray, " word"]:
        """Predicts the class numbers of words.

        Args:
            X: Raw activations of all neurons, also if the probe reads a part of them.

        Raises:
            SettingsError: X has other neurons, or the probe predicts numbers.
        """
        return predict_masked([self], X, keep=np.ones((1, 1, len(self.weights)), bool))[0, 0]

    def predict_numbers(self, X: Float[np.ndarray, "word neuron"]) -> Float[np.ndarray, " word"]:
        """Predicts the numbers of words, by a regression.

        Args:
            X: Raw activations of all neurons, also if the probe reads a part of them.

        Raises:
            SettingsError: X has other neurons, or the probe tells classes apart.
        """
        return predict_masked_numbers([self], X, keep=np.ones((1, 1, len(self.weights)), bool))[0, 0]

    def _caption(self) -> str:
        kind = "Regression" if self.regression else f"Probe of {len(self.classes)} classes"
        parts = [
            f"{kind} for {self.task}" + (" (control task)" if self.control else ""),
            f"target {self.target}" if self.target is not None else "",
            f"{SAMPLE_KINDS[self.kind].lower()} {self.replicate}" if self.replicate else "",
            f"{len(self.weights)} features" + (f" of {self.subset}" if self.subset is not None else ""),
            f"{self.words} words",
        ]
        return (
            f"{', '.join(part for part in parts if part)}\n"
            f"l1={self.l1:g}, l2={self.l2:g}: objective {self.objective:.4g}, duality gap {self.duality_gap:.2g}, "
            f"{'converged' if self.converged else 'not converged'} after {self.iterations} iterations"
        )


def predict_masked(
    probes: Sequence[Probe],
    X: Float[np.ndarray, "word neuron"],
    *,
    keep: Bool[np.ndarray, "problem mask feature"],
) -> Int[np.ndarray, "problem mask word"]:
    """Predicts classes by several probes, each with several sets of neurons kept and the others masked.

    All probes and masks are one matrix product: 2 · word · feature · Σ class · mask operations.

    Args:
        probes: Probes on the same features and scale (`scaling_of`), with the same number of classes.
        X: Raw activations of all neurons, also if the probes read a part of them.
        keep: For every probe and mask, which of the probe's own features keep their activation.

    Raises:
        SettingsError: The probes differ in classes, features, mean or scale, predict numbers, or X has other features.
    """
    if any(probe.regression for probe in probes):
        raise SettingsError(
            f"The probe of `{probes[0].task}` predicts numbers, not classes: use predict_numbers. Accuracies and keep "
            "curves need classes."
        )
    return _predict_in_blocks(_best_classes, probes, X, keep=keep)


def predict_masked_numbers(
    probes: Sequence[Probe],
    X: Float[np.ndarray, "word neuron"],
    *,
    keep: Bool[np.ndarray, "problem mask feature"],
) -> Float[np.ndarray, "problem mask word"]:
    """Predicts numbers by several regressions, each with several sets of neurons kept and the others masked.

    Args:
        probes: Regressions on the same features and scale (`scaling_of`).
        X: Raw activations of all neurons, also if the probes read a part of them.
        keep: For every probe and mask, which of the probe's own features keep their activation.

    Raises:
        SettingsError: The probes differ in features, mean or scale, tell classes apart, or X has other features.
    """
    if not all(probe.regression for probe in probes):
        raise SettingsError(f"The probe of `{probes[0].task}` tells classes apart: use predict.")
    return _predict_in_blocks(_numbers, probes, X, keep=keep)


def scaling_of(probe: Probe) -> tuple[bytes, bytes, bytes]:
    """Returns what is the same for probes that read the same standardised features: columns, mean and scale.

    Tasks that label different words have different means and scales, also where they are fitted in one call.
    """
    columns = b"" if probe.columns is None else probe.columns.tobytes()
    return columns, probe.mean.tobytes(), probe.scale.tobytes()


def _predict_in_blocks(
    program: Callable[[Block, Array, Array], Array],
    probes: Sequence[Probe],
    X: Float[np.ndarray, "word neuron"],
    *,
    keep: Bool[np.ndarray, "problem mask feature"],
) -> Shaped[np.ndarray, "problem mask word"]:
    first = probes[0]
    columns = first.columns
    if {probe.subset for probe in probes} != {first.subset}:
        raise SettingsError("Probes that predict together must read the same neurons. Predict by one at a time.")
    if {len(probe.classes) for probe in probes} != {len(first.classes)}:
        raise SettingsError(
            "Probes that predict together must have the same number of classes. Predict by one at a time."
        )
    if {scaling_of(probe) for probe in probes} != {scaling_of(first)}:
        raise SettingsError(
            "Probes that predict together must read the same columns with the same mean and scale, which tasks that "
            "label different words do not have. Predict by one at a time, or by `ProbeSet.predict`."
        )
    if X.shape[1] != len(first.weights) if columns is None else X.shape[1] <= columns[-1]:
        read = f"{len(first.weights)} features" if columns is None else f"{first.subset}, up to column {columns[-1]}"
        raise SettingsError(
            f"These probes read {read}; the activations have {X.shape[1]} columns. "
            "Extract the same sites and layers as for training, and give all of their neurons."
        )
    W = np.stack([probe.weights.T for probe in probes])
    masked = W[:, None] * keep[:, :, None, :]
    problems, masks, classes, features = masked.shape
    bias = np.repeat(np.stack([probe.bias for probe in probes]), masks, axis=0)
    flat = jnp.asarray(masked.reshape(problems * masks, classes, features))
    predictions, blocks = [], max(1, -(-len(X) // _BLOCK))
    size = fine_size(max(1, -(-len(X) // blocks)), multiple_of=1)
    for start in range(0, len(X), size):
        block = X[start : start + size] if columns is None else X[start : start + size, columns]
        padded = np.zeros((size, features), np.float32)
        padded[: len(block)] = block
        words = Block(jnp.asarray(padded), jnp.asarray(first.mean), jnp.asarray(first.scale))
        predictions.append(np.asarray(program(words, flat, jnp.asarray(bias)))[:, : len(block)])
    joined = np.concatenate(predictions, axis=1) if predictions else np.zeros((problems * masks, 0), np.int32)
    return joined.reshape(problems, masks, len(X))


@jax.jit
def _best_classes(
    block: Block, W: Float[Array, "problem class feature"], bias: Float[Array, "problem class"]
) -> Int[Array, "problem word"]:
    return jnp.argmax(scores(block, W) + bias[:, :, None], axis=1).astype(jnp.int32)


@jax.jit
def _numbers(
    block: Block, W: Float[Array, "problem class feature"], bias: Float[Array, "problem class"]
) -> Float[Array, "problem word"]:
    return scores(block, W)[:, 0] + bias[:, :1]

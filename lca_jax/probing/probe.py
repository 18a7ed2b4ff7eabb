"""One fitted probe on the host, and how it predicts.

A probe's weights are in the scale in which they were penalised: of features with mean 0 and deviation 1 where the fit
was standardised (the default), of the raw activations otherwise. Rankings read these weights. `raw_weights` and
`raw_bias` are the same function on raw activations. Masking a neuron sets its feature to zero in the penalised scale:
to its training mean where the fit was standardised, to zero activation where it was raw (as in the papers).

A probe of a part of the neurons has the weights of those alone: `columns` says which columns of the activations they
are, and predicting takes the activations whole. A hundred layers cost no more memory than their neurons do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from lca_jax.errors import SettingsError
from lca_jax.probing.matrix.block import Block, scores
from lca_jax.probing.objective import PenaltyName, SolverName

_BLOCK = 4096
"""Words predicted at a time."""


@dataclass(frozen=True, kw_only=True)
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
    """Class names, in the order of the weights' columns; none of a regression, whose weights have one column."""
    weights: Float[np.ndarray, "feature class"]
    """In the penalised scale."""
    bias: Float[np.ndarray, " class"]
    """Belongs to centred features; -∞ for a class that no training word had."""
    mean: Float[np.ndarray, " feature"]
    """Subtracted from the activations; zeros for a raw fit."""
    scale: Float[np.ndarray, " feature"]
    """What the activations are divided by; ones for a raw fit."""
    objective: float
    """Mean cross-entropy plus penalty, in nats, at these weights."""
    null_objective: float
    """The same at zero weights."""
    duality_gap: float
    """Upper bound of how far `objective` is above the optimum, in nats."""
    iterations: int
    """Of the exact solver; steps of `adam`."""
    converged: bool
    """Whether the gap is within the tolerance."""
    words: int
    """Training words, those of weight 0 left out."""
    target: str | None = None
    """The class that a probe of two classes tells from all others; None for a probe of all classes."""
    replicate: int = 0
    """0 for the training words as they are, otherwise the number of the bootstrap sample."""
    subset: str | None = None
    """Name of the part of the neurons that it reads; None for all."""
    columns: Int[np.ndarray, " feature"] | None = None
    """Columns of the activations that its features are, ascending; None for all."""

    @property
    def regression(self) -> bool:
        """Whether it predicts numbers."""
        return not self.classes

    @property
    def raw_weights(self) -> Float[np.ndarray, "feature class"]:
        """Weights for raw activations."""
        return self.weights / self.scale[:, None]

    @property
    def raw_bias(self) -> Float[np.ndarray, " class"]:
        """Bias for raw activations."""
        return self.bias - self.mean @ self.raw_weights

    @property
    def nonzero_fraction(self) -> float:
        """Share of weights that are not exactly zero."""
        return float((self.weights != 0).mean())

    def weights_among(self, size: int) -> Float[np.ndarray, "neuron class"]:
        """Weights of all neurons, of which there are `size`: zero for those that the probe does not read."""
        if self.columns is None:
            return self.weights
        spread = np.zeros((size, self.weights.shape[1]), self.weights.dtype)
        spread[self.columns] = self.weights
        return spread

    def predict(self, X: Float[np.ndarray, "word neuron"]) -> Int[np.ndarray, " word"]:
        """Class numbers of words from their raw activations, those of a probe of some neurons too from all neurons.

        Raises:
            SettingsError: X has other neurons, or the probe predicts numbers.
        """
        return predict_masked([self], X, keep=np.ones((1, 1, len(self.weights)), bool))[0, 0]

    def predict_numbers(self, X: Float[np.ndarray, "word neuron"]) -> Float[np.ndarray, " word"]:
        """The numbers of words from their raw activations, by a regression.

        Raises:
            SettingsError: X has other neurons, or the probe tells classes apart.
        """
        return predict_masked_numbers([self], X, keep=np.ones((1, 1, len(self.weights)), bool))[0, 0]


def predict_masked(
    probes: Sequence[Probe],
    X: Float[np.ndarray, "word neuron"],
    *,
    keep: Bool[np.ndarray, "problem mask feature"],
) -> Int[np.ndarray, "problem mask word"]:
    """Predictions of several probes on the same words, each with several sets of neurons kept and the others masked.

    All probes and masks are one matrix product: 2 · word · feature · Σ class · mask operations.

    Args:
        probes: Probes on the same features and scale, with the same number of classes.
        X: Raw activations of all neurons, also where the probes read some of them.
        keep: For every probe and mask the features that keep their activation; of the probes' own features.

    Raises:
        SettingsError: The probes differ in classes or features, predict numbers, or X has other features.
    """
    if any(probe.regression for probe in probes):
        raise SettingsError(
            f"The probe of `{probes[0].task}` predicts numbers, not classes: use predict_numbers. Accuracies and keep "
            "curves are of classes."
        )
    return _predict_in_blocks(_best_classes, probes, X, keep=keep)


def predict_masked_numbers(
    probes: Sequence[Probe],
    X: Float[np.ndarray, "word neuron"],
    *,
    keep: Bool[np.ndarray, "problem mask feature"],
) -> Float[np.ndarray, "problem mask word"]:
    """The same of regressions.

    Raises:
        SettingsError: The probes differ in features, tell classes apart, or X has other features.
    """
    if not all(probe.regression for probe in probes):
        raise SettingsError(f"The probe of `{probes[0].task}` tells classes apart: use predict.")
    return _predict_in_blocks(_numbers, probes, X, keep=keep)


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
        raise SettingsError("Probes predicted together must read the same neurons; predict them one by one.")
    if {len(probe.classes) for probe in probes} != {len(first.classes)}:
        raise SettingsError("Probes predicted together must have the same number of classes; predict them one by one.")
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
    predictions = []
    for start in range(0, len(X), _BLOCK):
        block = X[start : start + _BLOCK] if columns is None else X[start : start + _BLOCK, columns]
        padded = np.zeros((_BLOCK, features), np.float32)
        padded[: len(block)] = block
        words = Block(jnp.asarray(padded), jnp.asarray(first.mean), jnp.asarray(first.scale))
        predictions.append(np.asarray(program(words, flat, jnp.asarray(bias)))[:, : len(block)])
    joined = np.concatenate(predictions, axis=1) if predictions else np.zeros((problems * masks, 0), np.int32)
    return joined.reshape(problems, masks, len(X))


@jax.jit
def _best_classes(
    block: Block, W: Float[Array, "problem class feature"], bias: Float[Array, "problem class"]
) -> Int[Array, "problem word"]:
    return jnp.argmax(scores(block, W) + bias[:, None, :], axis=2).astype(jnp.int32)


@jax.jit
def _numbers(
    block: Block, W: Float[Array, "problem class feature"], bias: Float[Array, "problem class"]
) -> Float[Array, "problem word"]:
    return scores(block, W)[:, :, 0] + bias[:, :1]

"""How far each descriptor is present in each text, by exchangeable scorers; none of them sees a label or a neuron.

`written`: the share of a text's answers that hold the descriptor. `words`: whether one of its phrases stands in the
text. `embedding`: cosine of text and descriptor. `carried`: where it was written or stands, carried over to similar
texts: a ridge regression on the texts' vectors, each text predicted by a fit without its own document. `judged`: the
generator's log-odds of the descriptor's name as the answer. Cost for n texts and k descriptors: n·k for the first
three; one solve a fold for `carried`; one run of every prompt and a step a further piece of a name for `judged`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from lca_jax.descriptors.clusters import PhraseCluster
from lca_jax.descriptors.embedding import directions
from lca_jax.descriptors.phrases import words_of
from lca_jax.machine.precision import FLOAT32

FOLDS = 5
"""Number of parts of the documents; each is predicted by a fit to the others."""


@runtime_checkable
class Judge(Protocol):
    """A generator that knows how likely an answer is."""

    def log_probabilities(self, prompts: Sequence[str], answers: Sequence[str]) -> Float32[np.ndarray, "prompt answer"]:
        """Returns natural logarithms."""
        ...


def by_words(clusters: Sequence[PhraseCluster], texts: Sequence[str]) -> Float32[np.ndarray, "text descriptor"]:
    """Returns 1 where a phrase of the descriptor stands in the text, plural endings aside."""
    told = [f" {' '.join(map(_stem, words_of(text)))} " for text in texts]
    phrases = [[f" {' '.join(map(_stem, phrase.split()))} " for phrase in cluster.phrases] for cluster in clusters]
    return np.array([[any(one in text for one in of_cluster) for of_cluster in phrases] for text in told], np.float32)


def by_embedding(
    texts: Float[np.ndarray, "text neuron"], descriptors: Float[np.ndarray, "descriptor neuron"]
) -> Float32[np.ndarray, "text descriptor"]:
    """Returns cosines of centred vectors, each text's mean over all descriptors taken off."""
    cosines = np.dot(directions(texts.astype(np.float64)), directions(descriptors.astype(np.float64)).T)
    return (cosines - cosines.mean(axis=1, keepdims=True)).astype(np.float32)


def carried_over(
    occurrence: Float[np.ndarray, "text descriptor"],
    vectors: Float[np.ndarray, "text neuron"],
    documents: Int[np.ndarray, " text"],
    *,
    strength: float = 1.0,
) -> Float32[np.ndarray, "text descriptor"]:
    """Predicts where each descriptor occurs from where it occurs in similar texts of other documents.

    Args:
        occurrence: Where each descriptor was written or stands in the text.
        vectors: Vectors of the texts.
        documents: Document of each text.
        strength: Ridge penalty in units of the number of texts times the mean variance of a standardised direction.
    """
    unit = directions(vectors.astype(np.float64)).astype(np.float32)
    unit = unit / max(float(unit.std()), 1e-12)
    fold = np.unique(documents, return_inverse=True)[1] % FOLDS
    target = jnp.asarray(occurrence, jnp.float32)
    predicted = np.zeros(occurrence.shape, np.float32)
    for number in np.unique(fold):
        held = fold == number
        weight = (~held).astype(np.float32)
        found = _ridge(jnp.asarray(unit), target, jnp.asarray(weight), jnp.float32(strength))
        predicted[held] = np.asarray(found)[held]
    return predicted


def by_judgement(judge: Judge, prompts: Sequence[str], names: Sequence[str]) -> Float32[np.ndarray, "text descriptor"]:
    """Returns the generator's log-odds of each name as the answer, its mean over all texts taken off."""
    chances = judge.log_probabilities(prompts, [f" {name}" for name in names]).astype(np.float64)
    odds = chances - np.log1p(-np.exp(np.minimum(chances, -1e-9)))
    return (odds - odds.mean(axis=0)).astype(np.float32)


@jax.jit
def _ridge(
    X: Float[Array, "text neuron"], Y: Float[Array, "text descriptor"], weight: Float[Array, " text"],
    strength: Float[Array, ""],
) -> Float[Array, "text descriptor"]:  # fmt: skip
    """Fits Y by X on the texts of weight 1, and predicts all texts."""
    multiply = partial(jnp.matmul, precision=FLOAT32)
    count = weight.sum()
    X = X - (multiply(weight, X) / count)[None, :]
    mean = multiply(weight, Y) / count
    gram = multiply((X * weight[:, None]).T, X) + strength * count * jnp.eye(X.shape[1], dtype=X.dtype)
    fitted = jnp.linalg.solve(gram, multiply((X * weight[:, None]).T, Y - mean[None, :]))
    return multiply(X, fitted) + mean[None, :]


def _stem(word: str) -> str:
    """Returns a word without a plural ending."""
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word

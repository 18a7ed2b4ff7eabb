"""Vectors of texts and phrases by a model of ours: the mean of its last states, centred, of length 1.

Models of texts put all texts into a narrow cone, where all cosines are near 1; the mean over a set of texts is taken
off first, so that a cosine of 0 means "no nearer than any other".
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from lca_jax.errors import DataError
from lca_jax.extraction.extract import extract
from lca_jax.models.model import Model
from lca_jax.text.corpus import Corpus


def embed(model: Model, texts: Sequence[str], *, folder: Path | None = None) -> Float32[np.ndarray, "text neuron"]:
    """Returns the mean of the last hidden states of each text, in the model's own scale.

    Args:
        model: A model of texts.
        texts: The texts.
        folder: Where the vectors are kept for the next call; None keeps nothing.

    Raises:
        DataError: A text has no vector: it is empty, or too long for the model.
    """
    corpus = Corpus.from_words([text.split() for text in texts], name="texts")
    store = extract(model, corpus, folder, layers=[model.layer_count("residual") - 1], pool="sentence-mean")
    if not store.usable.all():
        number = int(np.flatnonzero(~store.usable)[0])
        raise DataError(f"Text {number} is empty or too long to embed: {texts[number][:60]!r}.")
    return np.array(store.matrix())


def directions(vectors: Float[np.ndarray, "text neuron"]) -> Float[np.ndarray, "text neuron"]:
    """Returns vectors without their mean, at length 1; a zero vector stays zero."""
    moved = vectors - vectors.mean(axis=0)
    length = np.linalg.norm(moved, axis=1, keepdims=True)
    return moved / np.where(length > 0, length, 1.0)

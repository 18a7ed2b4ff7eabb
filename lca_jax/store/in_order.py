"""Goes through a store from its first word to its last, some thousands of words at a time, as exports do."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int, Shaped

from lca_jax.store.folder import CHUNK_WORDS
from lca_jax.store.store import ActivationStore

WORDS_AT_ONCE = 16 * CHUNK_WORDS
"""Words that are read at once."""


def in_order(store: ActivationStore) -> Iterator[slice]:
    """Yields stretches of neighbouring words; each ends where chunks do, so that no chunk is read twice."""
    for first in range(0, store.word_count, WORDS_AT_ONCE):
        yield slice(first, min(first + WORDS_AT_ONCE, store.word_count))


def sentence_lengths(store: ActivationStore) -> Int[np.ndarray, "sentence"]:
    """Returns the number of words of every sentence, 0 for empty ones."""
    return np.bincount(store.words["sentence"].to_numpy(), minlength=store.manifest.counts["sentences"])


def read_sentences(store: ActivationStore, site: str) -> Iterator[Shaped[np.ndarray, "word layer neuron"]]:
    """Yields the vectors of every sentence in turn.

    A sentence is read together with its neighbours; memory is that of a few thousand words.
    """
    source, first = store.read(site), 0
    vectors, vectors_from = source[0:0], 0
    for length in sentence_lengths(store).tolist():
        last = first + length
        if last > vectors_from + len(vectors):
            vectors, vectors_from = source[first : max(last, first + WORDS_AT_ONCE)], first
        yield vectors[first - vectors_from : last - vectors_from]
        first = last

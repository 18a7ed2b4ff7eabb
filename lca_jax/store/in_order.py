"""Going through a store from its first word to its last, some thousands of words at a time, as exports do."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int, Shaped

from lca_jax.store.folder import CHUNK_WORDS
from lca_jax.store.store import ActivationStore

_SLAB_WORDS = 16 * CHUNK_WORDS


def slabs(store: ActivationStore) -> Iterator[slice]:
    """Neighbouring words, slab by slab; a slab ends where chunks do, so that none is read twice."""
    for first in range(0, store.word_count, _SLAB_WORDS):
        yield slice(first, min(first + _SLAB_WORDS, store.word_count))


def sentence_lengths(store: ActivationStore) -> Int[np.ndarray, "sentence"]:
    """Words of every sentence, the empty ones included."""
    return np.bincount(store.words["sentence"].to_numpy(), minlength=store.manifest.counts["sentences"])


def read_sentences(store: ActivationStore, site: str) -> Iterator[Shaped[np.ndarray, "word layer neuron"]]:
    """The vectors of every sentence in turn; a sentence is read with its neighbours, and memory is a few slabs."""
    source, first = store.read(site), 0
    held, held_from = source[0:0], 0
    for length in sentence_lengths(store).tolist():
        last = first + length
        if last > held_from + len(held):
            held, held_from = source[first : max(last, first + _SLAB_WORDS)], first
        yield held[first - held_from : last - held_from]
        first = last

"""Ranks neurons by mutual information: how many bits a neuron's value tells about the class of a word.

    I(n; C) = Σ p(b, c) log₂ (p(b, c) / (p(b) p(c)))

over bins b of the neuron's values, of equally many words each. The papers differ: sparse probing estimates it from
nearest neighbours, intrinsic probing by Gaussians. Bins make no assumption of the shape of a neuron's values, do not
change under any rising function of them, need no scale, and all classes, bins and neurons are a few products on the
devices; what lies within a bin is not seen, so it is a lower bound of the information of the value itself. Information
of several neurons together is what `gaussian` measures.

Counts overstate information, by (cells − bins − classes + 1) / (2 n) nats in the mean, with the cells, bins and classes
that have words; this is taken off (Miller), and what is left below 0 is 0.

Reference: Gurnee et al. 2023, "Finding Neurons in a Haystack" (the heuristic `mutual information`); Miller 1955, "Note
on the bias of information estimates".
"""

import numpy as np
from jaxtyping import Float32, Float64, Int64

from lca_jax.errors import DataError, SettingsError
from lca_jax.ranking.counting import count_above
from lca_jax.ranking.ranking import Ranking, rank_by_scores
from lca_jax.ranking.words import Words, classes_apart, read_words

_COLUMNS = 64
"""Number of neurons that are sorted at a time."""


def rank_by_mutual_information(words: Words, task: str | None = None, *, bins: int = 16) -> Ranking:
    """Ranks neurons by the information that they have about the classes, without training.

    Args:
        words: A store, words that were read before, or features and labels (X, y).
        task: The task; None for the only one.
        bins: Number of bins of equally many words, 2 or more. Equal values are in one bin.

    Returns:
        The ranking; scores are bits. `by_class` ranks by the information about whether a word is of the class.

    Raises:
        SettingsError: There are fewer than two bins, the task is not that of the words, or a store has several and none
            is named.
        DataError: No word is labelled, there is one class only, or an activation is not finite.
    """
    if bins < 2:
        raise SettingsError(f"`bins` must be 2 or more, got {bins}.")
    words = read_words(words, task)
    classes = classes_apart(words)
    if not classes:
        raise DataError(
            f"Mutual information needs a class with words inside and outside of it, and `{words.task}` has none."
        )
    other = ~np.any(list(classes.values()), axis=0)  # words of labels that are no class here
    inside = np.stack([*classes.values(), other])
    above = count_above(words.X, inside, _edges(words.X, bins))
    total = np.broadcast_to(inside.sum(axis=1)[:, None], above.shape[1:])
    tables = -np.diff(np.concatenate([total[None], above, np.zeros_like(above[:1])]), axis=0)
    by_class = {}
    for number, name in enumerate(classes):
        pair = np.stack([tables[:, number], tables.sum(axis=1) - tables[:, number]], axis=1)
        by_class[name] = rank_by_scores(f"{words.task}: {name}", words.axis, _information(pair))
    return rank_by_scores(words.task, words.axis, _information(tables), by_class=by_class)


def _edges(X: Float32[np.ndarray, "word feature"], bins: int) -> Float32[np.ndarray, "edge feature"]:
    """Returns for every neuron the largest value of each bin but the last."""
    last = np.arange(1, bins) * len(X) // bins - 1
    edges = np.empty((bins - 1, X.shape[1]), np.float32)
    for first in range(0, X.shape[1], _COLUMNS):
        part = slice(first, first + _COLUMNS)
        edges[:, part] = np.sort(X[:, part].T, axis=1)[:, np.maximum(last, 0)].T
    return edges


def _information(tables: Int64[np.ndarray, "bin class feature"]) -> Float64[np.ndarray, " feature"]:
    """Returns the bits that the bins of each neuron tell about the classes, less what counts overstate."""
    counts = tables.astype(np.float64)
    words = counts.sum(axis=(0, 1))
    of_bin, of_class = counts.sum(axis=1), counts.sum(axis=0)
    nats = (_n_log_n(counts).sum(axis=(0, 1)) - _n_log_n(of_bin).sum(axis=0) - _n_log_n(of_class).sum(axis=0)) / words
    cells, rows, columns = ((part > 0).sum(axis=0) for part in (counts.reshape(-1, len(words)), of_bin, of_class))
    overstated = (cells - rows - columns + 1) / (2 * words)
    return np.maximum((nats + np.log(words) - overstated) / np.log(2), 0.0)


def _n_log_n(counts: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
    return counts * np.log(np.maximum(counts, 1))

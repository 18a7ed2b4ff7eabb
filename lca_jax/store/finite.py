"""Checks that activations are finite; where one is not, the message names layer, neuron and word.

A NaN stops nothing by itself: it makes every product with its word or its neuron NaN, and an argmax of them is class 0.
The check costs one pass over the matrix on the host.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from lca_jax.axes import NeuronAxis
from lca_jax.errors import DataError
from lca_jax.store.store import ActivationStore

_WORDS_AT_ONCE = 4096

NamePlace = Callable[[int, int], str]
"""Returns the name of the value at a word and a column of a matrix, for messages."""


def name_word_and_feature(word: int, column: int) -> str:
    """Names a value of a plain array, counted from 0 as it is indexed."""
    return f"word {word}, feature {column}"


def place_in_store(store: ActivationStore, words: Int[np.ndarray, " word"], axis: NeuronAxis) -> NamePlace:
    """Returns a function that names values of a matrix by site, layer, neuron, and the word as its corpus has it.

    Args:
        store: The store from which the matrix was read.
        words: Number in the store of each word of the matrix.
        axis: The neuron of each column.
    """

    def name(place: int, column: int) -> str:
        neuron, word = axis.neuron(column), int(words[place])
        sentence, position, form = (store.words[field][word].as_py() for field in ("sentence", "position", "form"))
        return (
            f"{neuron.site} layer {neuron.layer}, neuron {neuron.index} of {form!r}, word {position + 1} of sentence "
            f"{sentence + 1} in {store.place},"
        )

    return name


def refuse_not_finite(
    read: Callable[[int, int], Float[np.ndarray, "word feature"]], words: int, name_place: NamePlace
) -> None:
    """Refuses activations that are NaN or infinite.

    Args:
        read: Function that returns the vectors of the words `first, …, last - 1`.
        words: Number of words.
        name_place: Function that names a value in the message.

    Raises:
        DataError: A value is not finite; the message names the first one, and counts the others.
    """
    found, values, broken = None, 0, 0
    for start in range(0, words, _WORDS_AT_ONCE):
        X = read(start, min(start + _WORDS_AT_ONCE, words))
        wrong = ~np.isfinite(X)
        if not wrong.any():
            continue
        if found is None:
            word, column = (int(part) for part in np.argwhere(wrong)[0])
            found = f"{name_place(start + word, column)} is {X[word, column]}"
        values, broken = values + int(wrong.sum()), broken + int(wrong.any(axis=1).sum())
    if found is not None:
        raise DataError(
            f"Activations must be finite; {found} ({values} such values in {broken} of {words} words). "
            "Look for overflow (float16) or a broken checkpoint."
        )

"""Activations must be finite: where one is not, the message says in which layer, neuron and word.

A NaN would not stop anything by itself: it makes every product with its word or its neuron NaN, and an argmax of them
is class 0. Looking costs one pass over the matrix on the host.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from lca_jax.axes import NeuronAxis
from lca_jax.errors import DataError
from lca_jax.store.store import ActivationStore

_WORDS_AT_ONCE = 4096

NamePlace = Callable[[int, int], str]
"""What messages call the value at a row and a column of a matrix."""


def name_word_and_feature(row: int, column: int) -> str:
    """The place of a value in plain arrays, counted from 0 as they are indexed."""
    return f"word {row}, feature {column}"


def place_in_store(store: ActivationStore, rows: Int[np.ndarray, " word"], axis: NeuronAxis) -> NamePlace:
    """Names values of a matrix by site, layer, neuron, and the word as its corpus has it.

    Args:
        store: Where the matrix was read from.
        rows: The store's word in each row of the matrix.
        axis: The neuron in each column.
    """

    def name(row: int, column: int) -> str:
        neuron, word = axis.neuron(column), int(rows[row])
        sentence, position, form = (store.words[field][word].as_py() for field in ("sentence", "position", "form"))
        return (
            f"{neuron.site} layer {neuron.layer}, neuron {neuron.index} of {form!r}, word {position + 1} of sentence "
            f"{sentence + 1} in {store.place},"
        )

    return name


def refuse_not_finite(
    read: Callable[[int, int], Float[np.ndarray, "word feature"]], words: int, name_place: NamePlace
) -> None:
    """Refuses activations of which one is NaN or infinite.

    Args:
        read: Gives the words `first, …, last - 1`.
        words: How many there are.
        name_place: What the message calls a value.

    Raises:
        DataError: The message names the first one, and how many there are in how many words.
    """
    found, values, broken = None, 0, 0
    for start in range(0, words, _WORDS_AT_ONCE):
        X = read(start, min(start + _WORDS_AT_ONCE, words))
        wrong = ~np.isfinite(X)
        if not wrong.any():
            continue
        if found is None:
            row, column = (int(part) for part in np.argwhere(wrong)[0])
            found = f"{name_place(start + row, column)} is {X[row, column]}"
        values, broken = values + int(wrong.sum()), broken + int(wrong.any(axis=1).sum())
    if found is not None:
        raise DataError(
            f"Activations must be finite; {found} ({values} such values in {broken} of {words} words). "
            "Look for overflow (float16) or a broken checkpoint."
        )

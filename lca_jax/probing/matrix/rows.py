"""Where a matrix of words is read from, a part at a time: a store, an array, or a model that computes it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lca_jax.errors import DataError
from lca_jax.store.finite import NamePlace, name_word_and_feature


class Rows(NamedTuple):
    """A matrix of words somewhere, of which parts are read when they are needed."""

    words: int
    features: int
    read_into: Callable[[int, Float[np.ndarray, "word feature"]], None]
    """Fills an array with the words from a first one on."""
    name_place: NamePlace = name_word_and_feature
    """What messages call a value."""
    layers: int | None = None
    """None for one matrix; a number for that many, of equal widths, whose columns stand side by side."""

    @staticmethod
    def of(X: Float[np.ndarray, "word feature"]) -> "Rows":
        """The rows of an array."""

        def read_into(first: int, target: Float[np.ndarray, "word feature"]) -> None:
            target[...] = X[first : first + len(target)]

        return Rows(len(X), X.shape[1], read_into)

    def read(self, first: int, last: int) -> Float[np.ndarray, "word feature"]:
        """The words `first, …, last - 1`, in memory of their own."""
        target = np.empty((last - first, self.features), np.float32)
        self.read_into(first, target)
        return target

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a word, layer axis first.

        In that order a CPU multiplies the layers as fast as the whole; word first, as they are read, takes five times
        as long.
        """
        return (self.features,) if self.layers is None else (self.layers, self.features // self.layers)


def read_part(rows: Rows, first: int, target: Float[np.ndarray, "*layer word feature"]) -> None:
    """Fills an array with the rows from a first one on as they lie on a device, zeros beyond the last word.

    Args:
        rows: Where they are read.
        first: The first one.
        target: Of the type that X is held in.
    """
    words = min(max(rows.words - first, 0), target.shape[-2])
    target[..., words:, :] = 0
    if rows.layers is None and target.dtype == np.float32:
        rows.read_into(first, target[:words])
    else:
        read = rows.read(first, first + words).reshape(words, *rows.shape)
        target[..., :words, :] = np.moveaxis(read, 0, -2)


def refuse_no_words(words: int) -> None:
    """Refuses a design without words.

    Raises:
        DataError: There is none.
    """
    if words == 0:
        raise DataError("A probe needs at least one labelled word with a vector, got none.")

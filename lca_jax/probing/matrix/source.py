"""The source of a matrix of words, read a part at a time: a store, an array, or a model that computes it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from lca_jax.errors import DataError, SettingsError
from lca_jax.machine.devices import in_equal_stretches
from lca_jax.store.finite import NamePlace, name_word_and_feature


class MatrixSource(NamedTuple):
    """A matrix of words anywhere; parts of it are read when they are needed."""

    words: int
    features: int
    read_into: Callable[[int, Float[np.ndarray, "word feature"]], None]
    """Fills an array with the words from a given one on."""
    name_place: NamePlace = name_word_and_feature
    """Names the place of a value in messages."""
    layers: int | None = None
    """None for one matrix; else the number of matrices, of equal widths, whose columns stand side by side."""
    blocks: Int[np.ndarray, " feature"] | None = None
    """Number of the layer that each feature is of; None where that is not known, or where every matrix is a layer."""
    in_step: bool = False
    """Whether all processes must read at the same time, from the thread that the matrix is used in."""

    @staticmethod
    def of(X: Float[np.ndarray, "word feature"]) -> "MatrixSource":
        """Makes a source of an array."""

        def read_into(first: int, target: Float[np.ndarray, "word feature"]) -> None:
            target[...] = X[first : first + len(target)]

        return MatrixSource(len(X), X.shape[1], read_into)

    def read(self, first: int, last: int) -> Float[np.ndarray, "word feature"]:
        """Reads the words `first, …, last - 1` into fresh memory."""
        target = np.empty((last - first, self.features), np.float32)
        self.read_into(first, target)
        return target

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one word on the devices: (feature,) or (layer, feature).

        The layer axis is first, the word axis next. In that order a CPU multiplies the layers as fast as the whole;
        word first, as they are read, takes five times as long.
        """
        return (self.features,) if self.layers is None else (self.layers, self.features // self.layers)


def read_part(source: MatrixSource, first: int, target: Float[np.ndarray, "*layer word feature"]) -> None:
    """Fills an array with words in the order of axes that the devices use, and with zeros beyond the last word.

    Args:
        source: Where the words are read.
        first: Number of the first word.
        target: Array of the dtype in which X is stored.
    """
    words = min(max(source.words - first, 0), target.shape[-2])
    target[..., words:, :] = 0
    if source.layers is None and target.dtype == np.float32:
        source.read_into(first, target[:words])
    else:
        read = source.read(first, first + words).reshape(words, *source.shape)
        target[..., :words, :] = np.moveaxis(read, 0, -2)


def check_source(source: MatrixSource, mesh: Mesh) -> None:
    """Refuses a source that no matrix on these devices can be made of.

    Args:
        source: Where the words are read.
        mesh: The devices; those along `model` share the columns of some words, which are read once for all of them.

    Raises:
        DataError: There is no word.
        SettingsError: The columns cannot be shared out evenly; or processes must read at the same time, and would not
            read equally often.
    """
    if source.words == 0:
        raise DataError("A probe needs at least one labelled word with a vector, got none.")
    width, split_over = source.shape[-1], mesh.shape["model"]
    if width % split_over:
        raise SettingsError(f"{width} columns cannot be split over {split_over} devices: give a divisor of it.")
    if source.in_step and not in_equal_stretches(mesh):
        raise SettingsError(
            f"Processes that run one model together must read equally often, and with columns split over {split_over} "
            "devices some have more words than others: give a divisor or a multiple of the devices of a process."
        )

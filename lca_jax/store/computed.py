"""Arrays whose vectors lie nowhere: they are computed when they are read, for several sites and layers at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, Shaped


class VectorRequest(NamedTuple):
    """Some vectors of one site, and the memory that they are written to."""

    site: str
    words: Int[np.ndarray, " word"]
    """Numbers of the words in the store, in any order; a word may occur several times."""
    layers: Int[np.ndarray, " layer"]
    """Positions on the layer axis."""
    target: Shaped[np.ndarray, "word layer neuron"]
    """Memory of the store's type or of float32; may be a strided view."""


@runtime_checkable
class Computer(Protocol):
    """Computes the vectors of a store."""

    @property
    def in_step(self) -> bool:
        """Whether all processes of the job must read at the same time, from the thread that made the store."""
        ...

    def compute(self, requests: Sequence[VectorRequest]) -> None:
        """Fills all targets, computing each vector once for all of them; words without a vector get zeros."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ComputedArray:
    """The array (word, layer, neuron) of one site."""

    computer: Computer
    site: str
    shape: tuple[int, int, int]
    dtype: np.dtype

    def read(self, words: Int[np.ndarray, "*words"], layers: Int[np.ndarray, "*layers"]) -> Shaped[np.ndarray, "..."]:
        """Computes some words and layers.

        Args:
            words: Numbers of words, of any shape.
            layers: Positions on the layer axis, of any shape.

        Returns:
            The vectors, with the axes of `words`, those of `layers`, and the axis of neurons.
        """
        target = np.empty((np.size(words), np.size(layers), self.shape[2]), self.dtype)
        self.computer.compute([VectorRequest(self.site, np.ravel(words), np.ravel(layers), target)])
        return target.reshape(*np.shape(words), *np.shape(layers), self.shape[2])

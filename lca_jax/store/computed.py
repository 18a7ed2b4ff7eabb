"""Arrays that lie nowhere: vectors are computed when they are asked for, those of several sites and layers together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, Shaped


class Wanted(NamedTuple):
    """Some vectors of one site, and where they go."""

    site: str
    words: Int[np.ndarray, " word"]
    """Their rows in the store, in any order and as often as wanted."""
    layers: Int[np.ndarray, " layer"]
    """Positions on the layer axis."""
    target: Shaped[np.ndarray, "word layer neuron"]
    """Of the type of the store, or float32; may be a strided view."""


@runtime_checkable
class Computer(Protocol):
    """What computes the vectors of a store."""

    def compute(self, wanted: Sequence[Wanted]) -> None:
        """Fills all targets, each vector being computed once for all of them; words without a vector get zeros."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ComputedArray:
    """The array (word, layer, neuron) of one site."""

    computer: Computer
    site: str
    shape: tuple[int, int, int]
    dtype: np.dtype

    def read(self, words: Int[np.ndarray, "*words"], layers: Int[np.ndarray, "*layers"]) -> Shaped[np.ndarray, "..."]:
        """Computes some words and layers, positions of any shape, whose axes the result has before that of neurons."""
        target = np.empty((np.size(words), np.size(layers), self.shape[2]), self.dtype)
        self.computer.compute([Wanted(self.site, np.ravel(words), np.ravel(layers), target)])
        return target.reshape(*np.shape(words), *np.shape(layers), self.shape[2])

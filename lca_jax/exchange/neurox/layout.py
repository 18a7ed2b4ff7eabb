"""The common interface of NeuroX's two kinds of activation files: sentences of words, and their vectors."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped


@dataclass(frozen=True, kw_only=True)
class FileLayout:
    """Contents of a file, known before any vector is read."""

    sentences: tuple[tuple[str, ...], ...]
    """Words as the file has them; NeuroX writes the pieces glued together (`una##ffa##ble`)."""
    layers: int | None
    """Number of layers of every vector; None if the file has no axis for them, so that they lie side by side."""
    width: int
    """Number of neurons in each layer, or in all layers that lie side by side."""
    dtype: Literal["float32", "float16"]
    """Type of the numbers."""


class NeuroxReader(ABC):
    """A file open for reading."""

    layout: FileLayout

    @abstractmethod
    def read(self, sentence: int) -> Float[np.ndarray, "layer word neuron"]:
        """Returns the vectors of one sentence, numbered from 0; as one layer if the layout has no layers."""

    @abstractmethod
    def close(self) -> None:
        """Closes the file."""


class NeuroxWriter(ABC):
    """A file that is written sentence by sentence."""

    @abstractmethod
    def write(self, words: Sequence[str], vectors: Shaped[np.ndarray, "layer word neuron"]) -> None:
        """Writes the next sentence."""

    @abstractmethod
    def close(self) -> None:
        """Completes the file, which is of no use before that."""

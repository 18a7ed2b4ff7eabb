"""What NeuroX's two kinds of activation files have in common: sentences of words, and their vectors one by one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped


@dataclass(frozen=True, kw_only=True)
class FileLayout:
    """What a file holds, known before any vector is read."""

    sentences: tuple[tuple[str, ...], ...]
    """The words as the file has them: NeuroX's are the pieces glued together (`una##ffa##ble`)."""
    layers: int | None
    """Layers of every vector; None if the file has no axis for them, so that they lie side by side in `width`."""
    width: int
    """Neurons in each layer."""
    dtype: Literal["float32", "float16"]
    """Type of the numbers."""


class NeuroxReader(ABC):
    """A file open for reading."""

    layout: FileLayout

    @abstractmethod
    def read(self, sentence: int) -> Float[np.ndarray, "layer word neuron"]:
        """The vectors of one sentence, numbered from 0; of one layer where the layout has none."""

    @abstractmethod
    def close(self) -> None:
        """Closes the file."""


class NeuroxWriter(ABC):
    """A file being written, sentence by sentence."""

    @abstractmethod
    def write(self, words: Sequence[str], vectors: Shaped[np.ndarray, "layer word neuron"]) -> None:
        """Writes the next sentence."""

    @abstractmethod
    def close(self) -> None:
        """Ends the file; without it there is none."""

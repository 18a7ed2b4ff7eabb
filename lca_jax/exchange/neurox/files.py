"""Finds the file or files of one NeuroX extraction, opens them together, and puts their layers into one array.

All layers may be in one file, or each in a file of its own (`NAME-layer3.hdf5`, found as `NAME.hdf5`), whose name alone
holds the number of the layer. A file may also hold layers side by side as one wide layer, as NeuroX's loader returns
them: neuron j is neuron `j % width` of layer `j // width`.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
from jaxtyping import Float

from lca_jax.errors import SettingsError, StoreError, list_problems
from lca_jax.exchange.neurox.hdf5_file import Hdf5Reader, Hdf5Writer
from lca_jax.exchange.neurox.json_file import JsonReader, JsonWriter
from lca_jax.exchange.neurox.layout import NeuroxReader, NeuroxWriter
from lca_jax.machine.checksums import checksum_of, checksum_of_file

READERS: dict[str, Callable[[Path], NeuroxReader]] = {".hdf5": Hdf5Reader, ".json": JsonReader}
WRITERS: dict[str, Callable[[Path], NeuroxWriter]] = {".hdf5": Hdf5Writer, ".json": JsonWriter}
_LAYER_IN_NAME = re.compile(r"-layer([0-9]+)")


class NeuroxFiles:
    """The files of one extraction, open for reading; a context."""

    sentences: tuple[tuple[str, ...], ...]
    """Words as the files have them."""
    layers: tuple[int, ...]
    """The model's own numbers of the layers, if they are known; otherwise numbers from 0."""
    width: int
    """Number of neurons in each layer."""
    dtype: Literal["float32", "float16"]
    """Type of the numbers."""
    fingerprint: str
    """SHA-256 of the bytes of all files."""

    def __init__(self, path: Path, *, layers: int | None, layer_numbers: Sequence[int] | None) -> None:
        """Opens and checks the files; reads no vector yet.

        Args:
            path: `NAME.hdf5` or `NAME.json`; it may stand for the files of its layers.
            layers: Number of layers into which each vector is cut, if they lie side by side.
            layer_numbers: The model's own numbers of the layers, in the order of the file.

        Raises:
            SettingsError: The name ends in neither, or `layers` or `layer_numbers` do not fit.
            StoreError: There is no such file, files break the layout, or the files of the layers differ.
        """
        found = _find(path)
        self._opened = ExitStack()
        with ExitStack() as opening:
            self._readers = [opening.enter_context(closing(READERS[path.suffix](file))) for file in found]
            first = self._readers[0].layout
            _refuse_unlike(found, self._readers)
            in_files = sum(reader.layout.layers or 1 for reader in self._readers)
            is_known = first.layers is not None
            count, self.width = _cut(path, in_files, first.width, requested=layers, is_known=is_known)
            self.sentences, self.dtype = first.sentences, first.dtype
            self.layers = _numbers(path, found, count, layer_numbers)
            self.fingerprint = _fingerprint(found)
            self._opened = opening.pop_all()

    def __enter__(self) -> "NeuroxFiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def read(self, sentence: int) -> Float[np.ndarray, "word layer neuron"]:
        """Returns the vectors of one sentence, numbered from 0."""
        parts = [reader.read(sentence) for reader in self._readers]
        vectors = np.concatenate(parts).swapaxes(0, 1)
        return vectors.reshape(len(vectors), len(self.layers), self.width)


def layer_file(path: Path, layer: int) -> Path:
    """Returns the name of the file that holds one layer alone."""
    return path.with_name(f"{path.stem}-layer{layer}{path.suffix}")


def refuse_other_names(path: Path) -> None:
    """Checks that a name says which kind of file it is.

    Raises:
        SettingsError: The name ends in neither `.hdf5` nor `.json`.
    """
    if path.suffix not in READERS:
        raise SettingsError(f"An activation file of NeuroX ends in {' or '.join(READERS)}, got {path.name}.")


def _find(path: Path) -> list[Path]:
    """Returns the file, or the files of its layers in the order of their numbers."""
    refuse_other_names(path)
    if path.exists():
        return [path]
    of_layers = [file for file in path.parent.glob("*") if _layer_in_name(file, path) is not None]
    if not of_layers:
        raise StoreError(f"{path} does not exist, and neither do files of its layers ({layer_file(path, 0).name}, …).")
    return sorted(of_layers, key=lambda file: _layer_in_name(file, path) or 0)


def _layer_in_name(file: Path, path: Path) -> int | None:
    """Returns the number of the layer that a file holds, if it is a file of a layer of `path`."""
    if file.suffix != path.suffix or not file.name.startswith(path.stem):
        return None
    number = _LAYER_IN_NAME.fullmatch(file.stem.removeprefix(path.stem))
    return None if number is None else int(number[1])


def _refuse_unlike(found: Sequence[Path], readers: Sequence[NeuroxReader]) -> None:
    """Checks that files of single layers hold the same words, in vectors of one width and type."""
    first = readers[0].layout
    problems = []
    for file, reader in zip(found, readers, strict=True):
        layout = reader.layout
        if len(found) > 1 and layout.layers != 1:
            problems.append(f"{file.name} holds {layout.layers or 'no'} layers, but its name says that it holds one")
        if layout.sentences != first.sentences:
            problems.append(f"{file.name} holds other sentences than {found[0].name}")
        if (layout.width, layout.dtype) != (first.width, first.dtype):
            problems.append(
                f"{file.name} holds {layout.width} neurons of {layout.dtype}, {found[0].name} {first.width} of "
                f"{first.dtype}"
            )
    if problems:
        raise StoreError(
            f"The files of the layers in {found[0].parent} do not belong together:\n{list_problems(problems)}"
        )


def _cut(path: Path, in_files: int, width: int, *, requested: int | None, is_known: bool) -> tuple[int, int]:
    """Returns the number of layers, and of neurons in each."""
    if requested is None:
        if not is_known:
            raise SettingsError(f"{path} has layers side by side in {width} columns. Give their number as `layers`.")
        return in_files, width
    if is_known and in_files != 1 and requested != in_files:
        raise SettingsError(f"{path} holds {in_files} layers, but `layers` is {requested}. Leave it out.")
    if requested < 1 or (in_files == 1 and width % requested):
        raise SettingsError(f"`layers` must divide the {width} columns of {path}, got {requested}.")
    return requested, in_files * width // requested


def _numbers(path: Path, found: Sequence[Path], count: int, requested: Sequence[int] | None) -> tuple[int, ...]:
    """Returns the model's own layer numbers: as requested, or from the names of the files, or from 0."""
    if requested is not None:
        if len(requested) != count or len(set(requested)) != count or min(requested) < 0:
            raise SettingsError(
                f"`layer_numbers` must be {count} different numbers of 0 or more, one for each layer of {path}, got "
                f"{list(requested)}."
            )
        return tuple(requested)
    in_names = [re.search(_LAYER_IN_NAME.pattern + "$", file.stem) for file in found]
    named = [int(match[1]) for match in in_names if match is not None]
    return tuple(named) if len(named) == count else tuple(range(count))


def _fingerprint(files: Sequence[Path]) -> str:
    digests = [checksum_of_file(path) for path in files]
    return digests[0] if len(digests) == 1 else checksum_of("".join(digests).encode())

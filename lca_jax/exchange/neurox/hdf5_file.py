"""NeuroX's HDF5 files: one dataset (layer, word, neuron) per sentence, and the sentences as keys of a JSON string.

The layout, as NeuroX 1.0.9 writes and reads it: datasets named by the index of the sentence from "0", contiguous,
float32 or float16, without attributes; beside them `sentence_to_index`, of shape (1,), a string of JSON that maps each
sentence (its words joined by single spaces) to its index as text. A repeated sentence gets ` (Occurrence 2)`, the next
one ` (Occurrence 3)`. The order of that mapping is the order of the sentences.

One sentence at a time is in memory, besides the words.

A file may be hostile. Only hard links to datasets whose numbers lie in the file itself are read: external links, raw
storage in other files and virtual datasets would bring in the bytes of any file that the reader may read. A dataset
whose shape promises more bytes than the file holds is refused before memory is asked for.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from lca_jax.errors import MissingExtraError, StoreError, list_problems
from lca_jax.exchange.neurox.layout import FileLayout, NeuroxReader, NeuroxWriter
from lca_jax.machine.json_text import parse_json

INDEX = "sentence_to_index"
_MOST_COMPRESSED = 1100
"""DEFLATE, the densest filter that every HDF5 has, makes 1,032 bytes of one at most."""
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError)
"""What h5py raises where a file is damaged inside."""
_REPEAT = re.compile(r"(.*) \(Occurrence [0-9]+\)", re.DOTALL)


class Hdf5Reader(NeuroxReader):
    """An HDF5 file of NeuroX, open for reading."""

    def __init__(self, path: Path) -> None:
        """Opens a file and reads its sentences and the shapes of their vectors, but no vector.

        Raises:
            MissingExtraError: The package `h5py` is not installed.
            StoreError: The file breaks the layout; the message lists all places.
        """
        try:
            self._file = _h5py().File(path, "r")
        except OSError as error:
            raise StoreError(f"{path} cannot be read as HDF5: {error}") from None
        try:
            _refuse(path, list(_find_foreign(self._file, path.stat().st_size)))
            names = _names_of_sentences(self._file, path)
            self._names = list(names.values())
            self.layout = _layout(path, names, [_Kind.of(self._file[name]) for name in self._names])
        except StoreError:
            self._file.close()
            raise
        except _DAMAGE as error:
            self._file.close()
            raise StoreError(f"{path} cannot be read as HDF5: {error}") from None

    def read(self, sentence: int) -> Float[np.ndarray, "layer word neuron"]:  # noqa: D102
        try:
            vectors = self._file[self._names[sentence]][()]
        except _DAMAGE as error:
            name = self._names[sentence]
            raise StoreError(f"{self._file.filename}: the dataset {name!r} cannot be read: {error}") from None
        return vectors if vectors.ndim == 3 else vectors[None]

    def close(self) -> None:  # noqa: D102
        self._file.close()


class _Kind(NamedTuple):
    """Shape and type of one dataset."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def of(cls, dataset: Any) -> "_Kind":
        """Returns the kind of a dataset."""
        return cls(dataset.shape, dataset.dtype)

    def without_words(self) -> "_Kind":
        """Returns the part that all sentences must share: the last axis but one is that of the words."""
        return _Kind((*self.shape[:-2], -1, *self.shape[-1:]), self.dtype)


class Hdf5Writer(NeuroxWriter):
    """Writes an HDF5 file as NeuroX does."""

    def __init__(self, path: Path) -> None:
        """Begins a file.

        Raises:
            MissingExtraError: The package `h5py` is not installed.
        """
        self._h5py = _h5py()
        self._file = self._h5py.File(path, "w")
        self._index_of: dict[str, str] = {}
        self._last_occurrence: Counter[str] = Counter()

    def write(self, words: Sequence[str], vectors: Shaped[np.ndarray, "layer word neuron"]) -> None:  # noqa: D102
        index = str(len(self._index_of))
        self._file.create_dataset(index, vectors.shape, dtype=vectors.dtype, data=vectors)
        self._index_of[self._unused_key(" ".join(words))] = index

    def close(self) -> None:
        """Writes the sentences and closes the file."""
        sentences = self._file.create_dataset(INDEX, (1,), dtype=self._h5py.string_dtype())
        sentences[0] = json.dumps(self._index_of)
        self._file.close()

    def _unused_key(self, sentence: str) -> str:
        """Returns the sentence, or the sentence with the first `(Occurrence n)`, n from 2, that is not a key yet."""
        key, number = sentence, self._last_occurrence[sentence] or 1
        while key in self._index_of:
            number += 1
            key = f"{sentence} (Occurrence {number})"
        self._last_occurrence[sentence] = number
        return key


def _h5py() -> ModuleType:
    try:
        import h5py
    except ModuleNotFoundError:
        raise MissingExtraError("h5py", "neurox", "Reading and writing NeuroX's HDF5 files") from None
    return h5py


def _find_foreign(file: Any, file_bytes: int) -> Iterator[str]:
    """Yields what is wrong with entries that are not plain datasets, or that promise more bytes than the file has."""
    h5py = _h5py()
    for name in file:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            yield f"the entry {name!r} is a link to another place, which is not followed"
            continue
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset):
            yield f"the entry {name!r} is no dataset"
        elif dataset.is_virtual or dataset.external:
            yield f"the numbers of the dataset {name!r} lie in other files, which are not read"
        elif dataset.size and dataset.dtype.kind == "f":
            # Chunks may be compressed, but a chunk that was never written would be read as zeros.
            promised, stored = dataset.size * dataset.dtype.itemsize, dataset.id.get_storage_size()
            if promised > file_bytes and dataset.compression is None:
                yield f"the dataset {name!r} must hold {promised} bytes, and the whole file has {file_bytes}"
            elif stored == 0 or promised > _MOST_COMPRESSED * stored:
                yield f"the dataset {name!r} must hold {promised} bytes, and only {stored} were written"


def _names_of_sentences(file: Any, path: Path) -> dict[str, str]:
    """Returns the dataset of every sentence, in the order of the index in the file."""
    if INDEX not in file:
        raise StoreError(
            f"{path} is not an activation file of NeuroX: it has no dataset `{INDEX}`. Datasets: {_some(list(file))}."
        )
    try:
        pairs = parse_json(file[INDEX][0], pairs=True)
        names = {str(sentence): str(name) for sentence, name in pairs}
    except (ValueError, TypeError, IndexError) as error:
        raise StoreError(f"{path}: `{INDEX}` must hold a JSON object of sentences and indices: {error!r}.") from None
    problems = [
        f"{count} sentences have the key {key!r}"
        for key, count in Counter(key for key, _ in pairs).items()
        if count > 1
    ]
    listed = Counter(names.values())
    problems += [f"{count} sentences have the index {name!r}" for name, count in listed.items() if count > 1]
    problems += [
        f"the dataset {name!r} of {key!r} is missing"
        for key, name in names.items()
        if not hasattr(file.get(name), "dtype")
    ]
    problems += [
        f"the dataset {name!r} belongs to no sentence" for name in file if name not in listed and name != INDEX
    ]
    _refuse(path, problems)
    if not names:
        raise StoreError(f"{path} holds no sentence.")
    return names


def _layout(path: Path, names: dict[str, str], kinds: Sequence[_Kind]) -> FileLayout:
    """Returns words and shape; every sentence must have the layers, width and type that most sentences have."""
    usual, _ = Counter(kind.without_words() for kind in kinds).most_common(1)[0]
    typical = next(kind for kind in kinds if kind.without_words() == usual)
    described = f"{typical.dtype} of shape {typical.shape}"
    if len(typical.shape) not in (2, 3) or typical.dtype.newbyteorder("=") not in (np.float32, np.float16):
        _refuse(path, [f"sentences are {described}, but must be float32 or float16 of three axes"])
    problems: list[str] = []
    sentences: list[tuple[str, ...]] = []
    for number, (key, name, kind) in enumerate(zip(names, names.values(), kinds, strict=True), 1):
        words = _words_of_key(key, kind.shape[-2]) if kind.without_words() == usual else ()
        if kind.without_words() != usual:
            problems.append(
                f"sentence {number}, dataset {name!r}: {kind.dtype} of shape {kind.shape}, but most sentences are "
                f"{described}; layers, neurons and type must be the same"
            )
        elif words is None:
            problems.append(f"sentence {number}, dataset {name!r}: {kind.shape[-2]} vectors, but its key is {key!r}")
        sentences.append(words or ())
    _refuse(path, problems)
    *layers, _, width = typical.shape
    return FileLayout(
        sentences=tuple(sentences),
        layers=layers[0] if layers else None,
        width=width,
        dtype="float16" if typical.dtype.itemsize == 2 else "float32",
    )


def _words_of_key(key: str, count: int) -> tuple[str, ...] | None:
    """Returns the words of a key; the number of vectors tells an occurrence suffix from words of that spelling."""
    for text in (key, match[1] if (match := _REPEAT.fullmatch(key)) else None):
        if text is not None:
            words = tuple(text.split(" ")) if text or count else ()
            if len(words) == count:
                return words
    return None


def _refuse(path: Path, problems: Sequence[str]) -> None:
    """Raises one error for all problems of a file, if there are any."""
    if problems:
        raise StoreError(f"{path} breaks the layout of NeuroX's files:\n{list_problems(problems)}")


def _some(names: Sequence[str]) -> str:
    """Returns the first names as text."""
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "") if names else "none"

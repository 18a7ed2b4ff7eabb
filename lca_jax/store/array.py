"""Arrays that are read, or computed, when they are sliced.

A `LazyArray` of a store on disk holds no data: slicing reads the chunks concerned, and nothing else, into fresh NumPy
memory. A `LazyArray` in memory hands out views where NumPy would.
"""

import re
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import EllipsisType
from typing import NamedTuple

import numpy as np
import tensorstore as ts
from jaxtyping import Float32, Int, Shaped

from lca_jax.errors import SettingsError
from lca_jax.store.computed import ComputedArray, Computer, VectorRequest
from lca_jax.store.folder import CHUNK_WORDS, damaged_file
from lca_jax.store.shard_files import ShardFiles, as_slice

_WORDS_AT_ONCE = 4 * CHUNK_WORDS
"""Words that are read in one piece. Four times as many leave the processor's caches before they are copied: half the
speed."""
_READS_AT_ONCE = 4
_LONG_RUN = 64
"""From this mean length on, runs of neighbouring words are read one by one, which is twice as fast for whole chunks."""

Index = int | slice | EllipsisType | list | np.ndarray | np.integer


class LazyArray:
    """A (word, layer, neuron) array that is read when it is indexed."""

    def __init__(
        self,
        source: ts.TensorStore | np.ndarray | ComputedArray,
        *,
        place: str = "memory",
        files: ShardFiles | None = None,
        words: Int[np.ndarray, "word"] | None = None,
    ) -> None:
        """Wraps a source.

        Args:
            source: The array on disk, in memory, or computed when it is read.
            place: Name of the store for messages.
            files: The shards of the array, if they are on this machine's disk.
            words: Numbers of the source's words that this array has, in its order; all if None.
        """
        self._source = source
        self._place = place
        self._files = files
        self._words = words

    def take(self, words: Int[np.ndarray, "word"]) -> "LazyArray":
        """Returns an array of some of the words, by number, in any order and repeated at will; nothing is read yet."""
        of_source = words if self._words is None else self._words[words]
        return LazyArray(self._source, place=self._place, files=self._files, words=of_source)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of words, layers and neurons."""
        words, layers, neurons = self._source.shape
        return words if self._words is None else len(self._words), layers, neurons

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored numbers."""
        return self._source.dtype.numpy_dtype if isinstance(self._source, ts.TensorStore) else self._source.dtype

    @property
    def in_memory(self) -> bool:
        """Whether the whole array is in memory, so that slicing it costs nothing."""
        return isinstance(self._source, np.ndarray) and self._words is None

    @property
    def in_step(self) -> bool:
        """Whether the array is computed by several processes together, which must all read at the same time."""
        return isinstance(self._source, ComputedArray) and self._source.computer.in_step

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array, once read."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"LazyArray(shape={self.shape}, dtype={self.dtype}, place={self._place!r})"

    def __array__(
        self, dtype: np.dtype | None = None, copy: bool | None = None
    ) -> Shaped[np.ndarray, "word layer neuron"]:
        """Returns the whole array, as NumPy asks for it."""
        return np.array(self[:], dtype=dtype, copy=copy)

    def __getitem__(self, index: Index | tuple[Index, ...]) -> Shaped[np.ndarray, "..."]:
        """Reads a part by integers, slices and at most one array of positions or Booleans, as in NumPy.

        Raises:
            IndexError: A position is outside the array.
            SettingsError: The index has more than one array of positions.
            StoreError: The file was altered since it was written; the message names it.
            DataError: The array is computed, and the model gave something that is not a finite number.
        """
        if self.in_memory:
            assert isinstance(self._source, np.ndarray)
            return np.asarray(self._source[index])
        chosen = [_resolve(part, size) for part, size in zip(_fill(index), self.shape, strict=True)]
        if sum(isinstance(part, np.ndarray) for part in chosen) > 1:
            raise SettingsError("One array of positions at a time: read the words, then choose layers or neurons.")
        if isinstance(self._source, ComputedArray):
            words = np.arange(len(self)) if self._words is None else self._words
            layers = np.arange(self.shape[1])
            computed = self._source.read(np.asarray(words[chosen[0]]), np.asarray(layers[chosen[1]]))
            return computed[..., chosen[2]]
        if self._words is not None:
            picked = self._words[chosen[0]]
            chosen[0] = int(picked) if picked.ndim == 0 else picked
            if isinstance(self._source, np.ndarray):
                # Words first: NumPy would take two arrays of positions pair by pair.
                return np.asarray(self._source[chosen[0]][(*([slice(None)] * picked.ndim), *chosen[1:])])
        assert isinstance(self._source, ts.TensorStore)
        with naming_the_file(self._place):
            return self._source.oindex[tuple(chosen)].read().result()

    def read_into(
        self,
        target: Float32[np.ndarray, "word layer neuron"],
        *,
        words: Int[np.ndarray, "word"] | None,
        layers: list[int],
    ) -> None:
        """Reads some words and layers as float32 into existing memory, without a second copy of the whole.

        Args:
            target: Memory for the numbers; may be a strided view.
            words: Numbers of the words, in the order of the target; all if None.
            layers: Positions on the layer axis.

        Raises:
            StoreError: A file was altered since it was written; the message names it.
            DataError: The array is computed, and the model gave something that is not a finite number.
        """
        if isinstance(self._source, ComputedArray):
            read_together([ArrayRead(self, target, words, layers)])
            return
        if self._words is not None:
            words = self._words if words is None else self._words[words]
        if isinstance(self._source, np.ndarray):
            for position, layer in enumerate(layers):
                target[:, position] = self._source[slice(None) if words is None else words, layer]
            return
        if self._files is not None:
            self._files.read_into(target, words=words, layers=layers)
            return
        # Without a limit tensorstore reads faster than it copies, and a large part of the array would wait in memory.
        source, goal = ts.cast(self._source, ts.float32), ts.array(target)
        reading: deque[ts.WriteFutures] = deque()
        with naming_the_file(self._place):
            for places, chosen in _neighbours(len(target), words):
                reading.append(goal.oindex[places].write(source.oindex[chosen, as_slice(np.array(layers))]))
                if len(reading) == _READS_AT_ONCE:
                    reading.popleft().result()
            for read in reading:
                read.result()


class ArrayRead(NamedTuple):
    """One call of `LazyArray.read_into`: the array and the arguments."""

    array: LazyArray
    target: Float32[np.ndarray, "word layer neuron"]
    words: Int[np.ndarray, "word"] | None
    layers: list[int]


def read_together(reads: Sequence[ArrayRead]) -> None:
    """Reads parts of several arrays; a word that must be computed is computed once for all of them."""
    requests: dict[Computer, list[VectorRequest]] = defaultdict(list)
    for array, target, words, layers in reads:
        source = array._source
        if isinstance(source, ComputedArray):
            numbers = np.arange(source.shape[0]) if array._words is None else array._words
            numbers = numbers if words is None else numbers[words]
            requests[source.computer].append(VectorRequest(source.site, numbers, np.array(layers), target))
        else:
            array.read_into(target, words=words, layers=layers)
    for computer, of_computer in requests.items():
        computer.compute(of_computer)


@contextmanager
def naming_the_file(place: str) -> Iterator[None]:
    """Turns what tensorstore says about a damaged file into a `StoreError` with the file's name and the way out."""
    try:
        yield
    except ValueError as error:
        found = re.search(r'"([^"]*/c/\d+/\d+/\d+)"', str(error))
        if found is None:
            raise
        if "Digest mismatch" in str(error):
            found_wrong = "was altered since it was written (a checksum inside it does not match)"
        elif "NOT_FOUND" in str(error) or "does not exist" in str(error):
            found_wrong = "is missing"
        else:
            found_wrong = f"cannot be read ({error})"
        raise damaged_file(found[1], found_wrong, place=place) from None


def _neighbours(
    count: int, words: Int[np.ndarray, "word"] | None
) -> Iterator[tuple[slice | Int[np.ndarray, "part"], slice | Int[np.ndarray, "part"]]]:
    """Groups words that lie in the same few chunks; yields their places in the target and in the source."""
    if words is None:
        for first in range(0, count, _WORDS_AT_ONCE):
            part = slice(first, min(first + _WORDS_AT_ONCE, count))
            yield part, part
        return
    stretch = words // _WORDS_AT_ONCE
    order = np.argsort(stretch, kind="stable")
    new_stretch = np.diff(stretch[order]) != 0
    new_run = new_stretch | (np.diff(words[order]) != 1) | (np.diff(order) != 1)
    in_runs = len(words) >= _LONG_RUN * (1 + np.count_nonzero(new_run))
    for places in np.split(order, np.flatnonzero(new_run if in_runs else new_stretch) + 1):
        if places.size:
            chosen = words[places]
            yield (_slice_of_run(places), _slice_of_run(chosen)) if in_runs else (places, chosen)


def _slice_of_run(positions: Int[np.ndarray, "part"]) -> slice:
    """Returns positions that follow each other as a slice, which is copied as a whole."""
    return slice(int(positions[0]), int(positions[-1]) + 1)


def _fill(index: Index | tuple[Index, ...]) -> list[Index]:
    """Returns an index of three parts, one for each axis."""
    parts: list[Index] = list(index) if isinstance(index, tuple) else [index]
    if not any(part is Ellipsis for part in parts):
        parts.append(Ellipsis)
    gap = next(place for place, part in enumerate(parts) if part is Ellipsis)
    missing = 4 - len(parts)
    if missing < 0:
        raise IndexError(f"The array has three axes (word, layer, neuron), got an index of {len(parts) - 1} parts.")
    return parts[:gap] + [slice(None)] * missing + parts[gap + 1 :]


def _resolve(part: Index, size: int) -> int | slice | Int[np.ndarray, "chosen"]:
    """Returns one part of an index as tensorstore takes it: there a negative position would lie before the start."""
    if isinstance(part, slice):
        start, stop, step = part.indices(size)
        return slice(start, max(start, stop)) if step == 1 else np.arange(start, stop, step)
    positions = np.asarray(part)
    if positions.dtype == bool:
        if positions.shape != (size,):
            raise IndexError(
                f"A Boolean index needs one value for each of {size} positions, got shape {positions.shape}."
            )
        positions = np.flatnonzero(positions)
    elif positions.size == 0:
        positions = positions.astype(np.int64)
    outside = positions[(positions < -size) | (positions >= size)]
    if outside.size:
        raise IndexError(f"Position {outside.flat[0]} is outside an axis of {size}.")
    positions = np.where(positions < 0, positions + size, positions)
    return int(positions) if positions.ndim == 0 else positions

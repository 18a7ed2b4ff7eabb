"""Reads shards on this machine's disk at the speed of memory.

tensorstore reads any store, wherever it lies, and spends 0.5 seconds of a processor on a gigabyte: each chunk goes into
fresh memory, which the system hands out page by page. Here chunks are read into one piece of memory that stays in the
processor's cache, checked, and copied to their places: 0.2 seconds, of which the checksum takes a tenth. The speed of a
probe depends on it where the matrix is read anew at every iteration.

A shard, as `folder.create_array` has it written (Zarr version 3, codec `sharding_indexed`), has chunks of `CHUNK_WORDS`
words of one layer, each followed by its CRC32C, and at the end for every chunk its offset and its bytes, followed by
their CRC32C.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import FileIO
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from crc32c import crc32c
from jaxtyping import Float32, Int, UInt64

from lca_jax.store.folder import CHUNK_WORDS, damaged_file, shard_file

_CRC_BYTES = 4
THREADS = min(8, os.cpu_count() or 1)
"""Number of threads that read one matrix."""
BYTES_A_THREAD = 2**22
"""Bytes that are worth the start of a thread."""


class _Piece(NamedTuple):
    """Requested words that lie in one chunk."""

    chunk: int
    """Number of the chunk."""
    places: slice | Int[np.ndarray, " part"]
    """Places of the words in the target."""
    inside: slice | Int[np.ndarray, " part"]
    """Places of the words in the chunk."""


@dataclass(frozen=True)
class ShardFiles:
    """The shard files of one site."""

    folder: Path
    """Folder of the store."""
    site: str
    """Name of the site."""
    layers: int
    """Number of layers."""
    width: int
    """Number of neurons of each layer."""
    dtype: np.dtype
    """Type of the stored numbers."""
    shard_words: int
    """Number of words in one shard."""
    _indexes: dict[int, UInt64[np.ndarray, "chunk layer 2"]] = field(default_factory=dict, repr=False)
    """Offset and bytes of every chunk, by shard."""

    def read_into(
        self,
        target: Float32[np.ndarray, "word layer neuron"],
        *,
        words: Int[np.ndarray, " word"] | None,
        layers: Sequence[int],
    ) -> None:
        """Reads some words and layers; arguments and errors are those of `LazyArray.read_into`."""
        numbers = np.arange(len(target)) if words is None else words
        pieces = list(_pieces(numbers, self._chunk_words))
        threads = min(THREADS, 1 + len(pieces) * len(layers) * self._chunk_bytes // BYTES_A_THREAD)
        if threads == 1:
            self._read(pieces, target, layers)
            return
        parts = [pieces[first::threads] for first in range(threads)]
        with ThreadPoolExecutor(threads, "shard-reader") as pool:
            for read in [pool.submit(self._read, part, target, layers) for part in parts]:
                read.result()

    @property
    def _chunk_words(self) -> int:
        return min(CHUNK_WORDS, self.shard_words)

    @property
    def _shard_chunks(self) -> int:
        return -(-self.shard_words // self._chunk_words)

    @property
    def _chunk_bytes(self) -> int:
        return self._chunk_words * self.width * self.dtype.itemsize

    def _read(
        self, pieces: Sequence[_Piece], target: Float32[np.ndarray, "word layer neuron"], layers: Sequence[int]
    ) -> None:
        """Reads pieces, which are in the order of their chunks."""
        memory = np.empty(self._chunk_bytes + _CRC_BYTES, np.uint8)
        vectors = memory[:-_CRC_BYTES].view(self.dtype).reshape(self._chunk_words, self.width)
        for shard, of_shard in groupby(pieces, lambda piece: piece.chunk // self._shard_chunks):
            with self._open(shard) as file:
                index = self._index(shard, file)
                for piece in of_shard:
                    for position, layer in enumerate(layers):
                        offset, size = (int(number) for number in index[piece.chunk % self._shard_chunks, layer])
                        if size != len(memory):
                            what = "was altered since it was written (its index names chunks of another size)"
                            self._refuse(shard, what)
                        self._fill(memory, shard, file, offset)
                        target[piece.places, position] = vectors[piece.inside]

    def _index(self, shard: int, file: FileIO) -> UInt64[np.ndarray, "chunk layer 2"]:
        """Returns offset and bytes of every chunk of a shard, which are read once."""
        if shard not in self._indexes:
            shape = (self._shard_chunks, self.layers, 2)
            memory = np.empty(int(np.prod(shape)) * 8 + _CRC_BYTES, np.uint8)
            self._fill(memory, shard, file, os.fstat(file.fileno()).st_size - len(memory))
            self._indexes[shard] = memory[:-_CRC_BYTES].view("<u8").reshape(shape)
        return self._indexes[shard]

    def _open(self, shard: int) -> FileIO:
        try:
            return FileIO(self._path(shard))
        except FileNotFoundError:
            self._refuse(shard, "is missing")
        except OSError as error:
            self._refuse(shard, f"cannot be read ({error})")

    def _fill(self, memory: np.ndarray, shard: int, file: FileIO, offset: int) -> None:
        """Reads bytes of which the last four are the checksum of the others."""
        try:
            file.seek(max(offset, 0))
            whole = file.readinto(memory.data) == len(memory)
        except OSError as error:
            self._refuse(shard, f"cannot be read ({error})")
        if not whole or crc32c(memory.data[:-_CRC_BYTES]) != int(memory[-_CRC_BYTES:].view("<u4")[0]):
            self._refuse(shard, "was altered since it was written (a checksum inside it does not match)")

    def _path(self, shard: int) -> Path:
        return self.folder / shard_file(self.site, shard)

    def _refuse(self, shard: int, what: str) -> NoReturn:
        raise damaged_file(str(self._path(shard)), what, place=str(self.folder)) from None


def _pieces(words: Int[np.ndarray, " word"], chunk_words: int) -> Iterator[_Piece]:
    """Yields the requested words chunk by chunk, in the order of the chunks."""
    chunks = words // chunk_words
    order = np.argsort(chunks, kind="stable")
    for places in np.split(order, np.flatnonzero(np.diff(chunks[order])) + 1):
        if len(places):
            chunk = int(chunks[places[0]])
            yield _Piece(chunk, as_slice(places), as_slice(words[places] - chunk * chunk_words))


def as_slice(positions: Int[np.ndarray, " part"]) -> slice | Int[np.ndarray, " part"]:
    """Returns positions that follow each other as a slice, which is read or copied as a whole; others as they are."""
    first, last = int(positions[0]), int(positions[-1])
    neighbours = last - first == len(positions) - 1 and bool((np.diff(positions) == 1).all())
    return slice(first, last + 1) if neighbours else positions

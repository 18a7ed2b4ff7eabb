"""Sorts words into shards: words arrive in the order of packed rows, shards leave in the order of the corpus.

A shard is opened when the first of its words arrives and handed to the writer when its last one has arrived. The writer
works in a thread of its own, so that syncing to disk and computing overlap. At most one shard waits to be written: a
disk slower than the model slows the model down, and memory stays at the two or three shards that are open.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Int64, Shaped

from lca_jax.extraction.batches import BlockNotes
from lca_jax.gathering.gather import BatchGatherer
from lca_jax.machine.progress import Progress
from lca_jax.store.recipe import Recipe
from lca_jax.store.writer import ShardArrays, ShardRecord, StoreWriter


class _OpenShard(NamedTuple):
    """A shard whose words are arriving."""

    arrays: ShardArrays
    pieces: Int32[np.ndarray, "word"]
    """Number of pieces of each word."""
    excluded: dict[int, str]
    """Why a word has no vector, by its number in the shard."""


class ShardSorter:
    """Sorts the words of batches into shards; a context, which on leaving waits until the last shard is safe."""

    def __init__(
        self,
        writer: StoreWriter,
        recipe: Recipe,
        shards: frozenset[int],
        progress: Progress,
        *,
        gatherer: BatchGatherer | None = None,
    ) -> None:
        """Begins to sort.

        Args:
            writer: Writer of whole shards.
            recipe: What determines the store.
            shards: Numbers of the shards that are sorted; words of other shards are passed over.
            progress: Counter of the seconds of sorting and writing.
            gatherer: Statistics of each shard, which are written beside it; none if None.
        """
        self._writer = writer
        self._gatherer = gatherer
        self._recipe = recipe
        self._shards = shards
        self._progress = progress
        self._open: dict[int, _OpenShard] = {}
        self._words_to_come: dict[int, int] = {}
        self._thread = ThreadPoolExecutor(1, "shard-writer")
        self._writing: Future[None] | None = None

    def __enter__(self) -> "ShardSorter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True)
        if error is None and self._writing is not None:
            self._writing.result()

    def note(self, notes: BlockNotes) -> int:
        """Takes the notes of a block, before its vectors; returns how many of the shards' words will have none."""
        excluded_words = 0
        last_word = notes.first_word + len(notes.pieces)
        for shard in self._shards_between(notes.first_word, last_word):
            first, last = self._recipe.shard_range(shard)
            begin, end = max(first, notes.first_word), min(last, last_word)
            open_shard = self._opened(shard)
            pieces = notes.pieces[begin - notes.first_word : end - notes.first_word]
            open_shard.pieces[begin - first : end - first] = pieces
            excluded = {word - first: reason for word, reason in notes.excluded.items() if begin <= word < end}
            open_shard.excluded.update(excluded)
            self._count_down(shard, len(excluded))
            excluded_words += len(excluded)
        return excluded_words

    def place(
        self, words: Int64[np.ndarray, "read"], vectors: Mapping[str, Shaped[np.ndarray, "read layer neuron"]]
    ) -> int:
        """Takes the vectors of some words, where -1 stands for none; returns how many words were stored."""
        stored = 0
        real = words[words >= 0]
        if not real.size:
            return 0
        for shard in self._shards_between(int(real.min()), int(real.max()) + 1):
            first, last = self._recipe.shard_range(shard)
            read = np.flatnonzero((words >= first) & (words < last))
            open_shard = self._opened(shard)
            with self._progress.working("sorting"):
                for site, array in open_shard.arrays.items():
                    array[words[read] - first] = vectors[site][read]
            self._count_down(shard, len(read))
            stored += len(read)
        return stored

    def _shards_between(self, first_word: int, last_word: int) -> list[int]:
        """Returns the shards that are sorted and hold some of the words `first_word, …, last_word - 1`."""
        size = self._recipe.shard_words
        return [shard for shard in range(first_word // size, -(-last_word // size)) if shard in self._shards]

    def _opened(self, shard: int) -> _OpenShard:
        if shard not in self._open:
            first, last = self._recipe.shard_range(shard)
            self._open[shard] = _OpenShard(self._writer.new_arrays(shard), np.zeros(last - first, np.int32), {})
            self._words_to_come[shard] = last - first
        return self._open[shard]

    def _count_down(self, shard: int, words: int) -> None:
        """Hands a shard to the writer once all of its words have arrived."""
        self._words_to_come[shard] -= words
        if self._words_to_come[shard] == 0:
            whole = self._open.pop(shard)
            if self._writing is not None:
                self._writing.result()
            record = ShardRecord(pieces=whole.pieces.tolist(), excluded=whole.excluded)
            self._writing = self._thread.submit(self._write, shard, whole.arrays, record)

    def _write(self, shard: int, arrays: ShardArrays, record: ShardRecord) -> None:
        with self._progress.working("writing"):
            statistics = None if self._gatherer is None else self._gatherer.take(shard, arrays, record)
            self._writer.write(shard, arrays, record, statistics)

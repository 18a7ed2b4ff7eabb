"""Makes a store without arrays: whenever words are read, the model runs over their sentences.

The batches are those that `extract` makes with the same settings, whatever is read and in whatever order: a read
computes whole batches, those that hold the requested words. So a word has the same bits in every read, and those of the
store that `extract` would have written; and all reads together compile the same few shapes.

Memory on the host: the batches as pieces, about 50 bytes a word; the vectors of three batches in flight; and those of
the few batches that reach beyond the last word of a read, where the next read will go on.
"""

import threading
from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
import tensorstore as ts
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Int, Int32, Shaped

from lca_jax.axes import Layers
from lca_jax.errors import SettingsError
from lca_jax.extraction.batches import BlockNotes, ReadBatch, plan_batches
from lca_jax.extraction.reading import Neurons, Reading, plan_reading
from lca_jax.extraction.running import WordVectors, compute_vectors
from lca_jax.machine.devices import processes_of, replicate
from lca_jax.machine.progress import Progress
from lca_jax.models.model import Model
from lca_jax.models.stack.taps import Edit
from lca_jax.store.array import LazyArray
from lca_jax.store.computed import ComputedArray, VectorRequest
from lca_jax.store.description import warn_of_excluded
from lca_jax.store.memory_writer import store_without_folder
from lca_jax.store.recipe import Pool, StoreDtype, WordChoice
from lca_jax.store.store import ActivationStore
from lca_jax.store.writer import ShardRecord
from lca_jax.text.corpus import Corpus

_BatchVectors = Mapping[str, Shaped[np.ndarray, "read _layer _neuron"]]
"""The vectors of one batch by site."""


def recompute(
    model: Model,
    corpus: Corpus,
    *,
    sites: Sequence[str] = ("residual",),
    layers: Layers = None,
    neurons: Neurons = None,
    pool: Pool = "last",
    choice: WordChoice | None = None,
    dtype: StoreDtype = "float32",
    edits: Mapping[str, Edit] | None = None,
    row_length: int | None = None,
    rows_per_batch: int | None = None,
    shard_words: int = 2_048,
    longest_window: int | None = None,
) -> ActivationStore:
    """Makes a store as `extract` does, with words, labels and counts, whose vectors are computed when they are read.

    They have the bits that `extract` stores with the same `shard_words`, which has another default there: it decides
    which sentences are packed together, and so the last digits.

    No vector is stored anywhere, so neither disk nor memory limits the corpus. This pays where X is read once or a few
    times: `fit_probes` with X on the devices reads it once, `adam` once an epoch, and both find nothing on disk that
    they must read first. The exact solver on streamed X reads it once an iteration, fifty times and more: then
    recomputing pays only where the store would fit on no disk.

    Reading neighbouring words one stretch after the other computes each of them once. Words that lie apart cost whole
    batches (1,024 pieces on CPU), and reading site after site costs a run of the model each: `matrix` reads all sites
    in one run. Making the store tokenizes the corpus, once. Each of several processes computes what it reads. Where
    processes share one copy of the model (`split_over`), all processes of the job must read at the same time, each what
    it needs, and in the thread that made the store; they compute together what any of them needs.

    Args:
        model: A model from `load_model`; it is kept as long as the store.
        corpus: The words. The arguments below are those of `extract`.
        sites: Places in the network, in the order of the feature columns.
        layers: Layer numbers for every site alike, or by site; all if None.
        neurons: Indices of the neurons kept, of every layer alike, or by site; all if None.
        pool: Pieces that make a word's vector, and what a unit is.
        choice: Which words are read; all if None.
        dtype: Type to which numbers are rounded, as if they were stored.
        edits: Scale and shift of neurons inside the model, by site.
        row_length: Pieces of a packed row.
        rows_per_batch: Rows computed at once, the least that a read costs.
        shard_words: Number of units whose sentences are packed together; a read of fewer neighbours computes about as
            many.
        longest_window: Pieces of the longest window, 512 by default; sentences with more are cut.

    Raises:
        CorpusError: The corpus has no words.
        ModelError: The corpus or an edit does not fit the model, as in `extract`.
        SettingsError: A setting is out of its range, or a site, layer or task is unknown.
        DataError: When it is read: the model computed something that is not a finite number.
    """
    reading = plan_reading(
        model,
        corpus,
        sites=sites,
        layers=layers,
        neurons=neurons,
        pool=pool,
        choice=choice,
        dtype=dtype,
        edits=edits,
        row_length=row_length,
        rows_per_batch=rows_per_batch,
        shard_words=shard_words,
        longest_window=longest_window,
    )
    batches, records = _plan(reading)
    computer = _Recomputation(reading, batches)
    arrays = {
        site: ComputedArray(
            computer=computer,
            site=site,
            shape=(reading.recipe.words, len(shape.layers), shape.width),
            dtype=ts.dtype(dtype).numpy_dtype,
        )
        for site, shape in reading.recipe.sites.items()
    }
    store = store_without_folder(
        reading.recipe,
        corpus,
        reading.names,
        reading.units,
        records=records,
        arrays={site: LazyArray(array) for site, array in arrays.items()},
    )
    warn_of_excluded(store.manifest)
    return store


def _plan(reading: Reading) -> tuple[list[ReadBatch], dict[int, ShardRecord]]:
    """Returns all batches of the corpus, and the record of every shard."""
    recipe = reading.recipe
    every = frozenset(range(recipe.shard_count))
    batches: list[ReadBatch] = []
    notes: list[BlockNotes] = []
    for item in plan_batches(reading, missing=every):
        if isinstance(item, BlockNotes):
            notes.append(item)
        else:
            batches.append(item)
    pieces = np.concatenate([block.pieces for block in notes])
    bounds = {shard: slice(*recipe.shard_range(shard)) for shard in every}
    records = {shard: ShardRecord(pieces=pieces[bound].tolist(), excluded={}) for shard, bound in bounds.items()}
    for block in notes:
        for word, reason in block.excluded.items():
            shard, place = divmod(word, recipe.shard_words)
            records[shard].excluded[place] = reason
    return batches, records


class _Recomputation:
    """Runs the batches that hold the requested words, one read after the other, for any number of threads."""

    def __init__(self, reading: Reading, batches: Sequence[ReadBatch]) -> None:
        everywhere = NamedSharding(reading.mesh, PartitionSpec())
        model = reading.model
        placed = model.params if model.mesh is not None else jax.device_put(model.params, everywhere)
        edits = jax.tree.map(partial(replicate, reading.mesh), dict(reading.edits))
        self._reading = replace(reading, model=replace(model, params=placed), edits=edits)
        self._batches = batches
        words = reading.recipe.words
        self._batch_of_word: Int32[np.ndarray, " word"] = np.full(words, -1, np.int32)
        self._place_of_word: Int32[np.ndarray, " word"] = np.zeros(words, np.int32)
        self._last_word: Int[np.ndarray, " batch"] = np.zeros(len(batches), np.int64)
        first_word = np.zeros(len(batches), np.int64)
        for number, batch in enumerate(batches):
            of_batch = batch.words.reshape(-1)
            places = np.flatnonzero(of_batch >= 0)
            self._batch_of_word[of_batch[places]] = number
            self._place_of_word[of_batch[places]] = places
            first_word[number], self._last_word[number] = of_batch[places].min(), of_batch[places].max()
        self._cache: OrderedDict[int, _BatchVectors] = OrderedDict()
        self._cache_size = _most_at_once(first_word, self._last_word) * reading.mesh.shape["data"]
        self._lock = threading.Lock()
        self._team = processes_of(reading.mesh)
        self._thread = threading.get_ident()

    @property
    def in_step(self) -> bool:
        """Whether all processes must read at the same time, since the model is split over several of them."""
        return len(self._team) > 1

    def compute(self, requests: Sequence[VectorRequest]) -> None:
        """Fills the targets of all requests, as `Computer` says.

        Raises:
            DataError: The model computed something that is not finite; the message names layer, sentence and word.
            SettingsError: The model is split over several processes, and another thread reads.
        """
        if self.in_step and threading.get_ident() != self._thread:
            raise SettingsError(
                "A model that is split over several processes computes in the thread that made the store, in all "
                "processes at the same time. Read there, or split the model over the devices of one process."
            )
        with self._lock:
            batches = [_WordsByBatch.of(self._batch_of_word[request.words]) for request in requests]
            for request, by_batch in zip(requests, batches, strict=True):
                request.target[by_batch.places_of(-1)] = 0
            needed = np.unique(np.concatenate([by_batch.batches for by_batch in batches]))
            last_word = max((int(request.words.max()) for request in requests if len(request.words)), default=0)
            with closing(self._run(needed[needed >= 0].tolist(), last_word)) as computed:
                for number, vectors in computed:
                    for request, by_batch in zip(requests, batches, strict=True):
                        places = by_batch.places_of(number)
                        read = self._place_of_word[request.words[places]]
                        request.target[places] = vectors[request.site][read[:, None], request.layers[None, :]]

    def _run(self, numbers: Sequence[int], last_word: int) -> Generator[tuple[int, _BatchVectors], None, None]:
        """Yields the vectors of some batches, those in the cache first; caches batches that reach beyond a word."""
        missing = self._missing_in_team([number for number in numbers if number not in self._cache])
        own = set(numbers)
        for number in numbers:
            if number in self._cache:
                self._cache.move_to_end(number)
                yield number, self._cache[number]
        if not missing:
            return
        items = iter([self._batches[number] for number in missing])
        with closing(compute_vectors(self._reading, items, progress=Progress(total=0))) as computed:
            for number, batch in zip(missing, computed, strict=True):
                assert isinstance(batch, WordVectors)
                if self._last_word[number] > last_word and number in own:
                    self._cache[number] = batch.vectors
                    if len(self._cache) > self._cache_size:
                        self._cache.popitem(last=False)
                yield number, batch.vectors

    def _missing_in_team(self, numbers: list[int]) -> list[int]:
        """Returns the batches that any of the processes that share the model has to compute."""
        if not self.in_step:
            return numbers
        missing = np.zeros(len(self._batches), bool)
        missing[numbers] = True
        of_all = multihost_utils.process_allgather(missing)
        return np.flatnonzero(of_all[list(self._team)].any(axis=0)).tolist()


class _WordsByBatch(NamedTuple):
    """Requested words in the order of the batches that hold them."""

    order: Int[np.ndarray, " word"]
    """Places of the words in the request."""
    batches: Int32[np.ndarray, " word"]
    """Number of each word's batch, in that order."""

    @classmethod
    def of(cls, batches: Int32[np.ndarray, " word"]) -> "_WordsByBatch":
        order = np.argsort(batches, kind="stable")
        return cls(order, batches[order])

    def places_of(self, batch: int) -> Int[np.ndarray, " place"]:
        """Returns the places in the request of the words of one batch."""
        return self.order[slice(*np.searchsorted(self.batches, [batch, batch + 1]))]


def _most_at_once(first: Int[np.ndarray, " batch"], last: Int[np.ndarray, " batch"]) -> int:
    """Returns how many batches, each a stretch from its first to its last word, lie over one word at most."""
    begun = np.searchsorted(np.sort(first), first, side="right")
    ended = np.searchsorted(np.sort(last), first, side="left")
    return int((begun - ended).max(initial=1))

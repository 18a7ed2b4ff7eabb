"""A store without arrays: the model runs over the sentences of the words that are read, whenever they are read.

The batches are those that `extract` makes with the same settings, whatever is read and in whatever order: a read
computes the batches that hold the words asked for, whole. So a word has the same bits in every read, and those of the
store that `extract` would have written; and all reads together compile the same few shapes.

Memory on the host: the batches as pieces, about 50 bytes a word; the vectors of three batches in flight; and those of
the few batches that reach beyond the last word of a read, where the next one will go on.
"""

import threading
from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np
import tensorstore as ts
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int, Int32, Shaped

from lca_jax.extraction.batches import BlockNotes, ReadBatch, plan_batches
from lca_jax.extraction.choice import WordChoice
from lca_jax.extraction.extract import Neurons, names_of, settle, shapes_on, warn_of_excluded
from lca_jax.extraction.running import WordVectors, compute_vectors
from lca_jax.machine.devices import data_mesh
from lca_jax.machine.progress import Tally
from lca_jax.models.model import Model
from lca_jax.models.stack.taps import Edit
from lca_jax.store.array import LazyArray
from lca_jax.store.computed import ComputedArray, Wanted
from lca_jax.store.recipe import Pool, Recipe, StoreDtype
from lca_jax.store.rows import Rows
from lca_jax.store.store import ActivationStore, Layers
from lca_jax.store.writer import ShardRecord, store_without_folder
from lca_jax.text.corpus import Corpus

_Vectors = Mapping[str, Shaped[np.ndarray, "read _layer _neuron"]]
"""Of a batch, by site."""


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
) -> ActivationStore:
    """A store as `extract` makes it, with its words, labels and counts, whose vectors are computed when read.

    They have the bits that `extract` stores with the same `shard_words`, whose default is another there: that decides
    which sentences are packed together, and so the last digits.

    No vector is stored anywhere, so that neither disk nor memory limits the corpus. It pays where X is read once or a
    few times: `fit_probes` with X on the devices reads it once, `adam` once an epoch, and both find nothing on disk
    that they must read first. The exact solver on streamed X reads it once an iteration, fifty times and more:
    then recomputing pays only where the store would fit no disk.

    Reading neighbouring words one stretch after the other computes each of them once. Words that lie apart cost whole
    batches (1,024 pieces on CPU), and reading site after site costs a run of the model each: `matrix` reads all sites
    in one. Only making the store tokenizes the corpus, once. Several processes compute what each of them reads.

    Args:
        model: From `load_model`; it is kept as long as the store.
        corpus: As in `extract`, as are the others that are not named here.
        sites: Places in the network.
        layers: Layer numbers.
        neurons: Indices of the neurons kept.
        pool: Which pieces make a word's vector.
        choice: Which words are read.
        dtype: Numbers are rounded to this type, as if they were stored.
        edits: Scale and shift of neurons inside the model.
        row_length: Pieces of a packed row.
        rows_per_batch: Rows computed at once, the least that a read costs.
        shard_words: How many words' sentences are packed together; a read of fewer neighbours computes about as many.

    Raises:
        CorpusError: As in `extract`.
        ModelError: As in `extract`.
        SettingsError: As in `extract`.
        DataError: When it is read: the model computed something that is not a finite number.
    """
    rows, recipe = settle(
        model,
        corpus,
        sites=sites,
        layers=layers,
        neurons=neurons,
        pool=pool,
        choice=choice or WordChoice(),
        dtype=dtype,
        edits=edits or {},
        row_length=row_length,
        rows_per_batch=rows_per_batch,
        shard_words=shard_words,
    )
    mesh = model.mesh or data_mesh()
    plan = _plan(model, corpus, recipe, rows, shapes_on(mesh, recipe, rows_per_batch=rows_per_batch))
    computer = _Recomputation(model, corpus, recipe, rows, plan.batches, edits=edits or {}, mesh=mesh)
    arrays = {
        site: ComputedArray(
            computer=computer,
            site=site,
            shape=(recipe.words, len(shape.layers), shape.width),
            dtype=ts.dtype(recipe.dtype).numpy_dtype,
        )
        for site, shape in recipe.sites.items()
    }
    store = store_without_folder(
        recipe,
        corpus,
        names_of(model),
        rows,
        records=plan.records,
        arrays={site: LazyArray(array) for site, array in arrays.items()},
    )
    warn_of_excluded(store, rows)
    return store


class _Plan(NamedTuple):
    """What is known before the model has run."""

    batches: list[ReadBatch]
    records: dict[int, ShardRecord]


def _plan(model: Model, corpus: Corpus, recipe: Recipe, rows: Rows, shapes: dict[int, int]) -> _Plan:
    """All batches of the corpus, and what is known of its words, by shard."""
    every = frozenset(range(recipe.shard_count))
    batches: list[ReadBatch] = []
    notes: list[BlockNotes] = []
    for item in plan_batches(corpus, model.tokenizer, recipe, shapes, rows=rows, missing=every):
        if isinstance(item, BlockNotes):
            notes.append(item)
        else:
            batches.append(item)
    pieces = np.concatenate([block.pieces for block in notes])
    bounds = {shard: slice(*recipe.shard_range(shard)) for shard in every}
    records = {shard: ShardRecord(pieces=pieces[bound].tolist(), excluded={}) for shard, bound in bounds.items()}
    for block in notes:
        for row, reason in block.excluded.items():
            shard, place = divmod(row, recipe.shard_words)
            records[shard].excluded[place] = reason
    return _Plan(batches, records)


class _Recomputation:
    """Runs the batches that hold the words asked for; one read after the other, from whatever thread."""

    def __init__(
        self,
        model: Model,
        corpus: Corpus,
        recipe: Recipe,
        rows: Rows,
        batches: Sequence[ReadBatch],
        *,
        edits: Mapping[str, Edit],
        mesh: Mesh,
    ) -> None:
        everywhere = NamedSharding(mesh, PartitionSpec())
        placed = model.params if model.mesh is not None else jax.device_put(model.params, everywhere)
        self._model = replace(model, params=placed)
        self._edits = jax.device_put(dict(edits), everywhere)
        self._corpus, self._recipe, self._rows, self._mesh = corpus, recipe, rows, mesh
        self._batches = batches
        self._batch_of_row: Int32[np.ndarray, " row"] = np.full(recipe.words, -1, np.int32)
        self._place_of_row: Int32[np.ndarray, " row"] = np.zeros(recipe.words, np.int32)
        self._last_row: Int[np.ndarray, " batch"] = np.zeros(len(batches), np.int64)
        first_row = np.zeros(len(batches), np.int64)
        for number, batch in enumerate(batches):
            words = batch.words.reshape(-1)
            places = np.flatnonzero(words >= 0)
            self._batch_of_row[words[places]] = number
            self._place_of_row[words[places]] = places
            first_row[number], self._last_row[number] = words[places].min(), words[places].max()
        self._kept: OrderedDict[int, _Vectors] = OrderedDict()
        self._most_kept = _most_at_once(first_row, self._last_row) * mesh.shape["data"]
        self._lock = threading.Lock()

    def compute(self, wanted: Sequence[Wanted]) -> None:
        """See `Computer`.

        Raises:
            DataError: The model computed something that is not finite; the message names layer, sentence and word.
        """
        with self._lock:
            sorted_words = [_Sorted.of(self._batch_of_row[one.words]) for one in wanted]
            for one, by_batch in zip(wanted, sorted_words, strict=True):
                one.target[by_batch.places_of(-1)] = 0
            needed = np.unique(np.concatenate([by_batch.batches for by_batch in sorted_words]))
            last_row = max((int(one.words.max()) for one in wanted if len(one.words)), default=0)
            with closing(self._run(needed[needed >= 0].tolist(), last_row)) as computed:
                for number, vectors in computed:
                    for one, by_batch in zip(wanted, sorted_words, strict=True):
                        places = by_batch.places_of(number)
                        read = self._place_of_row[one.words[places]]
                        one.target[places] = vectors[one.site][read[:, None], one.layers[None, :]]

    def _run(self, numbers: Sequence[int], last_row: int) -> Generator[tuple[int, _Vectors], None, None]:
        """The vectors of some batches, those first that are there already; keeps what reaches beyond a row."""
        missing = [number for number in numbers if number not in self._kept]
        for number in numbers:
            if number in self._kept:
                self._kept.move_to_end(number)
                yield number, self._kept[number]
        if not missing:
            return
        computed = compute_vectors(
            self._model,
            self._corpus,
            self._recipe,
            iter([self._batches[number] for number in missing]),
            rows=self._rows,
            edits=self._edits,
            mesh=self._mesh,
            tally=Tally(words=0, stored=0, progress=False),
        )
        with closing(computed):
            for number, batch in zip(missing, computed, strict=True):
                assert isinstance(batch, WordVectors)
                if self._last_row[number] > last_row:
                    self._kept[number] = batch.vectors
                    if len(self._kept) > self._most_kept:
                        self._kept.popitem(last=False)
                yield number, batch.vectors


class _Sorted(NamedTuple):
    """Words in the order of the batches that hold them."""

    order: Int[np.ndarray, " word"]
    batches: Int32[np.ndarray, " word"]
    """Of each word in that order."""

    @classmethod
    def of(cls, batches: Int32[np.ndarray, " word"]) -> "_Sorted":
        order = np.argsort(batches, kind="stable")
        return cls(order, batches[order])

    def places_of(self, batch: int) -> Int[np.ndarray, " place"]:
        """Where the words of one batch stand."""
        return self.order[slice(*np.searchsorted(self.batches, [batch, batch + 1]))]


def _most_at_once(first: Int[np.ndarray, " batch"], last: Int[np.ndarray, " batch"]) -> int:
    """How many of the batches, each a stretch of rows, lie over one row at most."""
    begun = np.searchsorted(np.sort(first), first, side="right")
    ended = np.searchsorted(np.sort(last), first, side="left")
    return int((begun - ended).max(initial=1))

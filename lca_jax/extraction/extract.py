"""Runs a model over a corpus and writes one vector a unit, layer and site into a store.

The work is a line of generators: `batches` makes packed rows of a few static shapes, `running` runs them, `sorting`
sorts the vectors into shards, and a writer of the store makes each shard safe. This module sets up the line.

Memory on the host: two or three shards (`shard_words` times the bytes of a word) when written to disk, whatever the
corpus; the whole store when kept in memory. With several devices the rows of a batch are split over them. With several
processes (`jax.distributed`) each one makes its own part of the missing shards, and the first one makes the store
whole. Processes that share one copy of a model run the batches of all their shards together, and each writes its own.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import jax
import pyarrow as pa

from lca_jax.axes import Layers
from lca_jax.errors import SettingsError
from lca_jax.extraction.batches import BlockNotes, plan_batches
from lca_jax.extraction.reading import Neurons, Reading, plan_reading
from lca_jax.extraction.running import compute_vectors
from lca_jax.extraction.sorting import ShardSorter
from lca_jax.gathering.gather import BatchGatherer, finish_gathering, gather_statistics
from lca_jax.gathering.parts import GatheringPlan, plan_gathering
from lca_jax.machine.devices import mesh_of_copies, processes_of
from lca_jax.machine.processes import share_of_team, together, turns_of_process
from lca_jax.machine.progress import Progress
from lca_jax.models.model import Model
from lca_jax.models.stack.taps import Edit
from lca_jax.store.description import warn_of_excluded
from lca_jax.store.folder_writer import FolderWriter, begun_shard_words, find_finished
from lca_jax.store.memory_writer import MemoryWriter
from lca_jax.store.recipe import Pool, Recipe, StoreDtype, WordChoice
from lca_jax.store.statistics import Gathering
from lca_jax.store.store import LABEL_PREFIX, ActivationStore, open_store
from lca_jax.store.units import Units
from lca_jax.store.writer import StoreWriter
from lca_jax.text.corpus import Corpus

_log = logging.getLogger(__name__)


def extract(
    model: Model,
    corpus: Corpus,
    out: str | Path | None = None,
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
    shard_words: int | None = None,
    longest_window: int | None = None,
    statistics: Gathering | None = None,
    progress: bool = False,
) -> ActivationStore:
    """Computes a vector for every word of a corpus, or for every piece or sentence, at the chosen layers and sites.

    Every word is read once, in its sentence; sentences longer than the model takes are cut into overlapping windows.
    Words without a vector (no piece, or longer than a window) keep rows of zeros and are counted by reason. Where the
    units are sentences, and where the corpus has pairs of texts, nothing is cut: a text that fits no window has no
    vector. Pairs are joined as the tokenizer joins two texts, with token types if the model has them.

    A run into a folder that was killed goes on from its last whole shard when it is started again with the same
    arguments, and ends with the same bytes. A folder that is whole already is opened and nothing is computed.

    Args:
        model: A model from `load_model`.
        corpus: The words.
        out: Folder of the store, a local path or a URL such as `gs://bucket/run`; None keeps it in memory.
        sites: Places in the network, in the order of the feature columns.
        layers: Layer numbers for every site alike, or by site; all if None.
        neurons: Indices of the neurons kept, of every layer of every site alike, or by site; all if None.
        pool: Pieces that make a word's vector: `last`, `first`, or the `mean` or `max` of all. With `none` every piece
            is a unit, with the labels of its word. With `cls` and `sentence-mean` every sentence is a unit, with the
            tasks of sentences: its vector is that of its special piece (the tokenizer's `cls` piece, else the first
            one) or the mean over the pieces of its words.
        choice: Which words (or sentences) are read; all if None. The model sees their whole sentences.
        dtype: Type of the stored numbers: `float32`, `bfloat16` or `float16`.
        edits: Scale and shift of neurons inside the model, by site; the vectors are read after the edits.
        row_length: Pieces of a packed row; 128 by default, 256 or 512 where most sentences need it.
        rows_per_batch: Rows computed at once, rounded up to a multiple of the devices; by default the rows of 1,024
            pieces on CPU and of 16,384 on an accelerator.
        shard_words: Units in one shard of the store: a multiple of 256, or less than that. More cost memory, fewer cost
            time. By default those that the folder was begun with, else 16,384, or as few as give shards of 1 GB and
            every process of the job a shard.
        longest_window: Pieces of the longest window; sentences with more are cut into windows that overlap. 512 by
            default, and never more than the model takes. Longer ones need the memory of as many slots.
        statistics: Statistics that are gathered on the devices as well, for `store.statistics()`. A store that is whole
            already and has others, or none, is read for them.
        progress: Whether to show a bar on stderr.

    Returns:
        The whole store.

    Raises:
        CorpusError: The corpus has no words.
        ModelError: The shape of an edit does not fit the model, or the tokenizer has no special piece for `cls`.
        SettingsError: A setting is out of its range, a site, layer or task is unknown, or no word is chosen.
        StoreError: The folder holds something else, or a store made from something else (the message names what
            differs); another process is writing it (the message names which); or it is full, forbidden or out of reach.
        DataError: The model computed something that is not a finite number; the message names layer, sentence and word.
    """
    with together("settings"):
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
            shard_words=begun_shard_words(out) if shard_words is None else shard_words,
            longest_window=longest_window,
        )
        plan = None
        if statistics is not None:
            plan = plan_gathering(reading.recipe, _labels(reading.units, corpus), statistics)
        finished = None if out is None else find_finished(out, reading.recipe)
    if finished is not None:
        _log.info("%s has these activations already", out)
        if statistics is not None and not _has_statistics(finished, statistics):
            gather_statistics(finished, statistics)
        return finished
    store = _write(out, reading, plan, progress=progress)
    if store is not None:
        warn_of_excluded(store.manifest)
    return store or open_store(str(out))


def _write(
    out: str | Path | None, reading: Reading, plan: GatheringPlan | None, *, progress: bool
) -> ActivationStore | None:
    """Computes what is missing and makes the store whole; of several processes the first one returns the store."""
    is_first = out is None or jax.process_index() == 0
    with _begin(out, reading.recipe) as writer:
        with together("reading what is there"):
            shards = share_of_team(writer.missing, processes_of(reading.mesh))
        with together("shards"):
            _fill(writer, reading, shards, plan, progress=progress)
        with together("statistics"):
            if plan is not None and is_first:
                finish_gathering(plan, writer)
        with together("manifest"):
            return writer.finish(reading.corpus, reading.names, reading.units) if is_first else None


def _begin(out: str | Path | None, recipe: Recipe) -> StoreWriter:
    """Returns the writer; of several processes the first one lays out the folder."""
    if out is None:
        if jax.process_count() > 1:
            raise SettingsError("Several processes write one store: give `out`, a folder that all of them reach.")
        return MemoryWriter(recipe)
    with together("laying out the folder"):
        first = FolderWriter(out, recipe) if jax.process_index() == 0 else None
    try:
        with together("opening the folder"):
            return first or FolderWriter(out, recipe, rank=jax.process_index())
    except BaseException:
        if first:
            first.close()
        raise


def _fill(
    writer: StoreWriter, reading: Reading, shards: frozenset[int], plan: GatheringPlan | None, *, progress: bool
) -> None:
    """Computes some shards and writes them; of processes that share the model each writes its own of them."""
    recipe = reading.recipe
    own = turns_of_process(shards, processes_of(reading.mesh))
    stored = recipe.words - sum(last - first for first, last in map(recipe.shard_range, own))
    progress_bar = Progress(total=recipe.words, done=stored, unit=reading.units.unit, bar=progress)
    gatherer = None if plan is None else BatchGatherer(plan, own, mesh_of_copies(reading.mesh))
    items = compute_vectors(
        reading,
        plan_batches(reading, missing=shards),
        progress=progress_bar,
        watch=None if gatherer is None else gatherer.add,
        shards=own,
    )
    with progress_bar, closing(items), ShardSorter(writer, recipe, own, progress_bar, gatherer=gatherer) as sorter:
        for item in items:
            if isinstance(item, BlockNotes):
                progress_bar.count_done(sorter.note(item))
            else:
                progress_bar.count_done(sorter.place(item.words, item.vectors))
                progress_bar.count_slots(item.slots, pieces=item.pieces)


def _labels(units: Units, corpus: Corpus) -> dict[str, pa.Array]:
    """Returns the label column of every task of the units."""
    columns = units.columns(corpus)
    return {
        name.removeprefix(LABEL_PREFIX): column for name, column in columns.items() if name.startswith(LABEL_PREFIX)
    }


def _has_statistics(store: ActivationStore, gathering: Gathering) -> bool:
    """Returns whether a whole store has statistics of these settings."""
    return store.has_statistics and store.statistics().gathering == gathering

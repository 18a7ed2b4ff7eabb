"""Running a model over a corpus: one vector a word, layer and site, into a store.

The work is a line of generators: `batches` makes packed rows of one static shape, `computing` runs them, `filling`
sorts the words into shards, `writer` makes each shard safe. Here the settings are checked, and the line is set up.

Memory on the host: two or three shards (`shard_words` times the bytes of a word) when written to disk, whatever the
corpus; the whole store when kept in memory. With several devices the rows of a batch are split over them; with several
processes (`jax.distributed`) each makes its own part of the missing shards; the first one makes the store whole.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import jax
import numpy as np
import pyarrow as pa
from jax.sharding import Mesh

from lca_jax.errors import CorpusError, ModelError, SettingsError
from lca_jax.extraction.batches import BlockNotes, choose_row_length, plan_batches, plan_shapes
from lca_jax.extraction.choice import WordChoice
from lca_jax.extraction.running import compute_vectors
from lca_jax.extraction.sorting import ShardFiller
from lca_jax.gathering.gather import BatchGatherer, finish_gathering, gather_statistics
from lca_jax.gathering.parts import GatheringPlan, plan_gathering
from lca_jax.machine.devices import data_mesh
from lca_jax.machine.processes import share_of_process, together
from lca_jax.machine.progress import Tally
from lca_jax.models.loading.folders import tokenizer_content
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import check_edits
from lca_jax.models.stack.taps import Edit
from lca_jax.store.folder import CHUNK_WORDS
from lca_jax.store.recipe import Pool, Recipe, SiteShape, StoreDtype
from lca_jax.store.rows import Rows, plan_rows
from lca_jax.store.statistics import Gathering
from lca_jax.store.store import LABEL_PREFIX, ActivationStore, Layers, open_store
from lca_jax.store.writer import FolderWriter, MemoryWriter, StoreWriter, find_finished
from lca_jax.text.corpus import Corpus
from lca_jax.text.pairs import special_pieces_of

Neurons = Sequence[int] | Mapping[str, Sequence[int]] | None
"""Indices of neurons inside their layers, for every site alike or by site; all where nothing is said."""

LONGEST_WINDOW = 512
"""Pieces of the longest window, unless the model's own limit is lower or `row_length` is higher."""

_CPU_BATCH_SLOTS = 1_024
_ACCELERATOR_BATCH_SLOTS = 16_384

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
    shard_words: int = 16_384,
    statistics: Gathering | None = None,
    progress: bool = False,
) -> ActivationStore:
    """Computes a vector for every word of a corpus, or for every piece or sentence, at the chosen layers and sites.

    Every word is read once, in its sentence; sentences longer than the model takes are cut into overlapping windows.
    Words without a vector (no piece, or longer than a window) keep rows of zeros and are counted by reason. Sentences
    of which a vector is asked for, and pairs of texts, are not cut: those that fit no window have none. Pairs are
    joined as the tokenizer joins two texts, with token types where the model has them.

    A run into a folder that was killed goes on from its last whole shard when it is started again with the same
    arguments, and ends with the same bytes. A folder that is whole already is opened and nothing is computed.

    Args:
        model: From `load_model`.
        corpus: The words.
        out: Folder of the store, a local path or a URL such as `gs://bucket/run`; None keeps it in memory.
        sites: Places in the network, in the order of the feature columns.
        layers: Layer numbers for every site alike, or by site; all if None.
        neurons: Indices of the neurons kept, of every layer of every site alike, or by site; all if None.
        pool: Which pieces make a word's vector: `last`, `first`, or the `mean` or `max` of all. `none` gives every
            piece a row, with the labels of its word. `cls` and `sentence-mean` give a row a sentence, whose tasks are
            those of sentences: its special piece (the tokenizer's `cls` piece, else the first) or the mean over the
            pieces of its words.
        choice: Which words (or sentences) are read; all if None. The model sees their whole sentences.
        dtype: Type of the stored numbers: `float32`, `bfloat16` or `float16`.
        edits: Scale and shift of neurons, by site, made inside the model; what is read is read after them.
        row_length: Pieces of a packed row; 128 by default, 256 or 512 where most sentences need it.
        rows_per_batch: Rows computed at once, rounded up to a multiple of the devices; by default the rows of 1,024
            pieces on CPU and of 16,384 on an accelerator.
        shard_words: Rows in one shard of the store: a multiple of 256, or less than that. More cost memory, fewer cost
            time.
        statistics: Gathers these on the devices as well, for `store.statistics()`. A store that is whole already and
            has others, or none, is read for them.
        progress: Shows a bar on stderr.

    Returns:
        The whole store.

    Raises:
        CorpusError: The corpus has no words.
        ModelError: A site, a layer or an edit does not fit the model; it has no special piece for `cls`; or it tells
            the texts of a pair apart in a way that is not supported (XLNet).
        SettingsError: A setting is out of its range, a task is unknown, or no word is chosen.
        StoreError: The folder holds something else, or a store made from something else (the message names what
            differs); another process is writing it (the message names which); or it is full, forbidden or out of reach.
        DataError: The model computed something that is not a finite number; the message names layer, sentence and word.
    """
    with together("settings"):
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
        plan = None if statistics is None else plan_gathering(recipe, _labels(rows, corpus), statistics)
        held = None if out is None else find_finished(out, recipe)
    if held is not None:
        _log.info("%s holds these activations already", out)
        if statistics is not None and not _holds(held, statistics):
            gather_statistics(held, statistics)
        return held
    with _begin(out, recipe) as writer:
        with together("reading what is there"):
            mine = share_of_process(writer.missing)
        with together("shards"):
            _fill(
                writer,
                model,
                corpus,
                recipe,
                rows,
                mine,
                edits=edits or {},
                rows_per_batch=rows_per_batch,
                plan=plan,
                progress=progress,
            )
        with together("statistics"):
            if plan is not None and (out is None or jax.process_index() == 0):
                finish_gathering(plan, writer)
        with together("manifest"):
            store = writer.finish(corpus, names_of(model), rows) if out is None or jax.process_index() == 0 else None
    if store:
        warn_of_excluded(store, rows)
    return store or open_store(str(out))


def settle(
    model: Model,
    corpus: Corpus,
    *,
    sites: Sequence[str],
    layers: Layers,
    neurons: Neurons,
    pool: Pool,
    choice: WordChoice,
    dtype: StoreDtype,
    edits: Mapping[str, Edit],
    row_length: int | None,
    rows_per_batch: int | None,
    shard_words: int,
) -> tuple[Rows, Recipe]:
    """What is read of a corpus, and how; arguments and errors as in `extract`."""
    rows = _plan_rows(model, corpus, pool=pool, choice=choice)
    shapes = _choose_neurons(model, model.config.choose_layers(sites, layers), neurons)
    if shard_words < 1 or (shard_words > CHUNK_WORDS and shard_words % CHUNK_WORDS):
        raise SettingsError(f"`shard_words` must be a multiple of {CHUNK_WORDS}, or less than that, got {shard_words}.")
    for name, asked in (("row_length", row_length), ("rows_per_batch", rows_per_batch)):
        if asked is not None and asked < 1:
            raise SettingsError(f"`{name}` must be 1 or more, got {asked}. Leave it out for the usual number.")
    row_length = row_length or choose_row_length(corpus)
    check_edits(model.config, edits)
    return rows, Recipe(
        model=model.fingerprint,
        corpus=corpus.fingerprint(),
        words=rows.count,
        sites=shapes,
        dtype=dtype,
        pool=pool,
        edits=_edits_fingerprint(edits) if edits else None,
        longest_window=min(model.max_pieces, max(LONGEST_WINDOW, row_length)),
        row_length=row_length,
        shard_words=shard_words,
        tokenizer=hashlib.sha256(tokenizer_content(model.tokenizer).encode()).hexdigest(),
        choice=choice,
    )


def shapes_on(mesh: Mesh, recipe: Recipe, *, rows_per_batch: int | None) -> dict[int, int]:
    """The static shapes of the batches on some devices: rows of a batch for each row length."""
    return plan_shapes(
        row_length=recipe.row_length,
        longest_window=recipe.longest_window,
        rows_per_batch=rows_per_batch or _usual_rows(mesh.devices.flat[0].platform, recipe.row_length),
        devices=mesh.shape["data"],
    )


def names_of(model: Model) -> dict[str, str]:
    """What a manifest calls a model; decides nothing."""
    return {"model": model.name, "tokenizer": type(model.tokenizer).__name__}


def warn_of_excluded(store: ActivationStore, rows: Rows) -> None:
    """Says in the log how many words have no vector, by reason."""
    total = rows.count + sum(rows.left_out.values())
    for reason, count in store.excluded.items():
        _log.warning("%d of %d %ss have no vector: %s", count, total, rows.unit, reason)


def _plan_rows(model: Model, corpus: Corpus, *, pool: Pool, choice: WordChoice) -> Rows:
    """What is read of the corpus."""
    if corpus.word_count == 0:
        raise CorpusError(f"{corpus.name} has no words, so there is nothing to extract. Give a corpus with words.")
    pairs = corpus.second_starts is not None
    special = special_pieces_of(model.tokenizer, pairs=pairs)
    if pairs and model.config.family == "xlnet":
        raise ModelError(
            f"{model.name} tells the two texts of a pair apart inside its attention, which is not supported. "
            "Give single texts, or another model."
        )
    return plan_rows(corpus, model.tokenizer, special, pool=pool, choice=choice)


def _choose_neurons(model: Model, sites: Mapping[str, tuple[int, ...]], neurons: Neurons) -> dict[str, SiteShape]:
    """The layers read at every site, and which of their neurons."""
    if isinstance(neurons, Mapping) and (unknown := sorted(set(neurons) - set(sites))):
        raise SettingsError(f"`neurons` names the site `{unknown[0]}`, which is not read. Sites: {', '.join(sites)}.")
    shapes = {}
    for site, layers in sites.items():
        width = model.width(site)
        asked = neurons.get(site) if isinstance(neurons, Mapping) else neurons
        chosen = None if asked is None else tuple(map(int, asked))
        if chosen is not None and (len(set(chosen)) != len(chosen) or not chosen):
            raise SettingsError(f"`neurons` of `{site}` must be different indices, at least one, got {list(chosen)}.")
        if chosen is not None and not 0 <= min(chosen) <= max(chosen) < width:
            raise SettingsError(f"Neurons of `{site}` run from 0 to {width - 1}, got {min(chosen)} to {max(chosen)}.")
        shapes[site] = SiteShape(layers=layers, width=width if chosen is None else len(chosen), neurons=chosen)
    return shapes


def _begin(out: str | Path | None, recipe: Recipe) -> StoreWriter:
    """The writer; of several processes the first one lays out the folder."""
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
    writer: StoreWriter,
    model: Model,
    corpus: Corpus,
    recipe: Recipe,
    rows: Rows,
    mine: frozenset[int],
    *,
    edits: Mapping[str, Edit],
    rows_per_batch: int | None,
    plan: GatheringPlan | None,
    progress: bool,
) -> None:
    """Computes this process' shards."""
    mesh = model.mesh or data_mesh()
    shapes = shapes_on(mesh, recipe, rows_per_batch=rows_per_batch)
    stored = recipe.words - sum(last - first for first, last in map(recipe.shard_range, mine))
    batches = plan_batches(corpus, model.tokenizer, recipe, shapes, rows=rows, missing=mine)
    tally = Tally(words=recipe.words, stored=stored, progress=progress)
    gatherer = None if plan is None else BatchGatherer(plan, mine, mesh)
    computed = compute_vectors(
        model,
        corpus,
        recipe,
        batches,
        rows=rows,
        edits=edits,
        mesh=mesh,
        tally=tally,
        watch=None if gatherer is None else gatherer.add,
    )
    with tally, closing(computed), ShardFiller(writer, recipe, mine, tally, gatherer=gatherer) as filler:
        for item in computed:
            if isinstance(item, BlockNotes):
                tally.count_words(filler.note(item))
            else:
                tally.count_words(filler.place(item.words, item.vectors))
                tally.count_slots(item.slots, pieces=item.pieces)


def _labels(rows: Rows, corpus: Corpus) -> dict[str, pa.Array]:
    """The label column of every task of the rows."""
    columns = rows.columns(corpus)
    return {
        name.removeprefix(LABEL_PREFIX): column for name, column in columns.items() if name.startswith(LABEL_PREFIX)
    }


def _holds(store: ActivationStore, asked: Gathering) -> bool:
    """Whether a whole store has the statistics asked for."""
    return store.has_statistics and store.statistics().gathering == asked


def _usual_rows(platform: str, row_length: int) -> int:
    slots = _CPU_BATCH_SLOTS if platform == "cpu" else _ACCELERATOR_BATCH_SLOTS
    return max(1, slots // row_length)


def _edits_fingerprint(edits: Mapping[str, Edit]) -> str:
    digest = hashlib.sha256()
    for site, edit in sorted(edits.items()):
        digest.update(f"{site} {np.shape(edit.scale)}".encode())
        for part in edit:
            digest.update(np.asarray(part, np.float32).tobytes())
    return digest.hexdigest()

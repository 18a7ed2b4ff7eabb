"""Converts activation files of NeuroX to stores, and stores to such files, so that studies carry over both ways.

NeuroX (1.0.9) keeps vectors of words in HDF5 (`hdf5_file`) or JSON (`json_file`), and words and labels in text files
(`text_files`). Numbers are carried over as they are: store → HDF5 → store and HDF5 → store → HDF5 keep every bit. JSON
has 8 decimals, so store → JSON rounds; JSON → store → JSON is the same text.

NeuroX's files do not name the model, tokenizer, pooling and layers, hold one site, and cannot mark a word without a
vector: its vector is zeros there, and so a word of zeros is read as excluded.

Memory: one shard of the store and one sentence of the file, besides the words.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import accumulate, islice
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped

from lca_jax.errors import DataError, SettingsError, list_problems
from lca_jax.exchange.neurox.files import WRITERS, NeuroxFiles, layer_file, refuse_other_names
from lca_jax.exchange.neurox.text_files import (
    MatchedText,
    match_text,
    refuse_what_text_cannot_hold,
    words_without_spaces,
    write_text,
)
from lca_jax.machine.files import write_whole
from lca_jax.machine.progress import Progress
from lca_jax.machine.urls import refuse_url
from lca_jax.store.description import warn_of_excluded
from lca_jax.store.folder import CHUNK_WORDS
from lca_jax.store.folder_writer import FolderWriter, find_finished
from lca_jax.store.in_order import read_sentences, sentence_lengths
from lca_jax.store.memory_writer import MemoryWriter
from lca_jax.store.recipe import Pool, Recipe, SiteShape, StoreDtype
from lca_jax.store.store import ActivationStore
from lca_jax.store.writer import ShardRecord, StoreWriter
from lca_jax.text.task_names import name_file_of

ALL_ZERO = "all zeros in the NeuroX file"
"""Reason why a word of a converted store has no vector."""

_log = logging.getLogger(__name__)


def read_neurox(
    path: str | Path,
    out: str | Path | None = None,
    *,
    text: str | Path | None = None,
    labels: Mapping[str, str | Path] | None = None,
    layers: int | None = None,
    layer_numbers: Sequence[int] | None = None,
    pool: Pool = "last",
    dtype: StoreDtype | None = None,
    unlabelled: str | None = None,
    drop_mismatched: bool = False,
    shard_words: int = 16_384,
    progress: bool = False,
) -> ActivationStore:
    """Makes a store, at the site `residual`, from an activation file of NeuroX and the text files beside it.

    Its sentences are those of the file, in the same order. As with `extract`, a run that was killed is continued from
    its last whole shard, and a store that is whole already is opened.

    Args:
        path: `NAME.hdf5` or `NAME.json`; if there is no such file, the files of its layers, `NAME-layer0.hdf5`, ….
        out: Folder of the store, a local path or a URL; None keeps it in memory.
        text: File of the words, one sentence per line with single spaces between words; without it the words are those
            of the activation file, which are NeuroX's pieces glued together (`una##ffa##ble`).
        labels: File of the labels of every task, parallel to the words.
        layers: Number of layers, if the file has them side by side, neuron j in layer `j // width`.
        layer_numbers: The model's own numbers of the layers, which the file does not hold; by default those in the
            names of the layers' files, or counted from 0.
        pool: Pooling of the pieces, which the file does not name; `last` is NeuroX's default, its `average` is `mean`.
        dtype: Type of the stored numbers; None keeps that of the file (float32 for JSON).
        unlabelled: Mark of a word without a label.
        drop_mismatched: Whether to leave out sentences whose text, labels and vectors differ in number, as NeuroX does,
            and count them in `skipped` of the manifest. Otherwise they are an error.
        shard_words: Number of words in a shard, as in `extract`.
        progress: Whether to show a bar on stderr.

    Returns:
        The whole store. Its `pieces` are null.

    Raises:
        CorpusError: Text or labels do not fit the vectors; the message lists every sentence.
        DataError: Numbers are not finite, or too large for `dtype`; the message lists the words of the first such
            shard.
        MissingExtraError: The file is HDF5 and the package `h5py` is not installed.
        SettingsError: A setting does not fit the file.
        StoreError: The file is missing or breaks its layout, or the folder holds something else.
    """
    refuse_url(path)
    path = Path(path)
    if shard_words < 1 or (shard_words > CHUNK_WORDS and shard_words % CHUNK_WORDS):
        raise SettingsError(f"`shard_words` must be a multiple of {CHUNK_WORDS}, or less than that, got {shard_words}.")
    with NeuroxFiles(path, layers=layers, layer_numbers=layer_numbers) as files:
        matched = match_text(
            path,
            files.sentences,
            text=text,
            labels=labels or {},
            unlabelled=unlabelled,
            drop_mismatched=drop_mismatched,
        )
        recipe = Recipe(
            model=files.fingerprint,
            corpus=matched.corpus.fingerprint(),
            words=matched.corpus.word_count,
            sites={"residual": SiteShape(layers=files.layers, width=files.width)},
            dtype=dtype or files.dtype,
            pool=pool,
            edits=None,
            longest_window=0,
            row_length=0,
            shard_words=shard_words,
        )
        if out is not None and (finished := find_finished(out, recipe)) is not None:
            _log.info("%s holds these activations already", out)
            return finished
        writer = MemoryWriter(recipe) if out is None else FolderWriter(out, recipe)
        with writer:
            _fill(writer, recipe, files, matched, progress=progress)
            store = writer.finish(matched.corpus, {"model": f"NeuroX file {path.name}", "tokenizer": "unknown"})
    warn_of_excluded(store.manifest)
    for reason, count in matched.corpus.skipped.items():
        _log.warning("%d left out: %s", count, reason)
    return store


def write_neurox(
    store: ActivationStore,
    path: str | Path,
    *,
    site: str | None = None,
    decompose_layers: bool = False,
    space_mark: str | None = None,
    unlabelled: str | None = None,
    progress: bool = False,
) -> list[Path]:
    """Writes one site of a store as NeuroX's activation file, and its words and labels beside it.

    `NAME.hdf5` (or `.json`) holds the vectors, `NAME.word` the words and `NAME.TASK.label` the labels of each task, as
    NeuroX's `load_activations` and `load_data` read them. The log names what these cannot hold: which words have no
    vector (their vectors are zeros), the model, the numbers of the layers. Numbers of bfloat16 are written as float32,
    which holds them exactly. Files get their names once all are whole.

    Args:
        store: A whole store.
        path: `NAME.hdf5` or `NAME.json`.
        site: Site to write; needed if the store has several.
        decompose_layers: Whether to write one file per layer, `NAME-layer3.hdf5` by the model's own number.
        space_mark: Mark to write for a space inside a word.
        unlabelled: Mark to write for a missing label.
        progress: Whether to show a bar on stderr.

    Returns:
        The files, those of activations first.

    Raises:
        DataError: Words or labels hold spaces, or labels are missing, and no mark was given for that; the message lists
            every place.
        MissingExtraError: The file is HDF5 and the package `h5py` is not installed.
        SettingsError: The name ends in neither, or the store has several sites and none was named.
        StoreError: A file exists already.
    """
    refuse_url(path)
    path = Path(path)
    refuse_other_names(path)
    site = _only_site(store, site)
    refuse_what_text_cannot_hold(store, store.tasks, space_mark=space_mark, unlabelled=unlabelled)
    numbers = store.sites[site]
    vectors = [layer_file(path, number) for number in numbers] if decompose_layers else [path]
    words = path.with_suffix(".word")
    labels = {task: path.with_suffix(f".{name_file_of(task)}.label") for task in store.tasks}
    targets = [*vectors, words, *labels.values()]
    with write_whole(targets) as unfinished:
        renamed = dict(zip(targets, unfinished, strict=True))
        _write_vectors(
            store, site, [renamed[file] for file in vectors], kind=path.suffix, space_mark=space_mark, progress=progress
        )
        write_text(
            store,
            renamed[words],
            {task: renamed[file] for task, file in labels.items()},
            space_mark=space_mark,
            unlabelled=unlabelled,
        )
    _warn_of_losses(store, site, path, are_numbered=decompose_layers or list(numbers) == list(range(len(numbers))))
    return targets


def _fill(writer: StoreWriter, recipe: Recipe, files: NeuroxFiles, matched: MatchedText, *, progress: bool) -> None:
    """Writes the missing shards, each from the sentences that have words in it."""
    bounds = np.array([0, *accumulate(map(len, matched.corpus.sentences))])
    stored = recipe.words - sum(last - first for first, last in map(recipe.shard_range, writer.missing))
    with Progress(total=recipe.words, done=stored, bar=progress) as progress_bar:
        for shard in sorted(writer.missing):
            first, last = recipe.shard_range(shard)
            arrays = writer.new_arrays(shard)
            rows = arrays["residual"]
            begin = int(np.searchsorted(bounds, first, side="right")) - 1
            for sentence in range(begin, int(np.searchsorted(bounds, last))):
                start, end = max(first, bounds[sentence]), min(last, bounds[sentence + 1])
                if start < end:
                    with np.errstate(over="ignore"):  # numbers that become infinite in a smaller type are refused below
                        vectors = files.read(matched.numbers[sentence])
                        rows[start - first : end - first] = vectors[start - bounds[sentence] : end - bounds[sentence]]
            _refuse_non_finite(rows, first, matched, bounds)
            without = np.flatnonzero(~(rows != 0).any(axis=(1, 2)))
            pieces = [None] * (last - first)
            writer.write(shard, arrays, ShardRecord(pieces=pieces, excluded=dict.fromkeys(without.tolist(), ALL_ZERO)))
            progress_bar.count_done(last - first)


def _refuse_non_finite(
    vectors: Shaped[np.ndarray, "word layer neuron"],
    first_word: int,
    matched: MatchedText,
    bounds: Int[np.ndarray, "bound"],
) -> None:
    """Raises an error that names the words of a shard whose vectors are not finite."""
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=(1, 2)))
    problems = []
    for word in (first_word + bad).tolist():
        sentence = int(np.searchsorted(bounds, word, side="right")) - 1
        position = word - int(bounds[sentence])
        form = matched.corpus.sentences[sentence][position]
        problems.append(f"sentence {matched.numbers[sentence] + 1}, word {position + 1} ({form!r})")
    if problems:
        raise DataError(
            f"{matched.corpus.name}: {len(problems)} words have numbers that are not finite, or are too large for "
            f"{vectors.dtype}. Extract them again, or convert to float32 (counted from 1):\n{list_problems(problems)}"
        )


def _only_site(store: ActivationStore, site: str | None) -> str:
    """Returns the site to write, since a file holds one."""
    if site is None and len(store.sites) > 1:
        raise SettingsError(f"A NeuroX file holds one site. Give `site`, one of {', '.join(store.sites)}.")
    chosen = next(iter(store.sites)) if site is None else site
    store.read(chosen)
    return chosen


def _write_vectors(
    store: ActivationStore, site: str, paths: Sequence[Path], *, kind: str, space_mark: str | None, progress: bool
) -> None:
    """Writes every sentence to one file, or each of its layers to the file of that layer."""
    words = iter(words_without_spaces(store, space_mark))
    with ExitStack() as closing, Progress(total=store.word_count, bar=progress) as progress_bar:
        writers = [WRITERS[kind](path) for path in paths]
        for writer in writers:
            closing.callback(writer.close)
        for length, of_sentence in zip(sentence_lengths(store).tolist(), read_sentences(store, site), strict=True):
            is_known = of_sentence.dtype in (np.float32, np.float16)
            vectors = (of_sentence if is_known else of_sentence.astype(np.float32)).swapaxes(0, 1)
            sentence = list(islice(words, length))
            for writer, part in zip(writers, np.split(vectors, len(writers)), strict=True):
                writer.write(sentence, np.ascontiguousarray(part))
            progress_bar.count_done(length)


def _warn_of_losses(store: ActivationStore, site: str, path: Path, *, are_numbered: bool) -> None:
    """Logs what the store holds and its NeuroX file does not."""
    recipe = store.manifest.recipe
    lost = [f"the model ({store.manifest.names['model']}, {recipe.model[:12]}…)", f"the pooling (`{recipe.pool}`)"]
    if not are_numbered:
        lost.append(f"the numbers of the layers ({list(store.sites[site])}, which count from 0 there)")
    if recipe.sites[site].neurons is not None:
        lost.append("which neurons of a layer these are")
    if recipe.edits is not None:
        lost.append("that neurons were edited inside the model")
    if others := [other for other in store.sites if other != site]:
        lost.append(f"the sites {', '.join(others)}")
    if path.suffix == ".json":
        lost.append("digits after the eighth decimal")
    for reason, count in store.excluded.items():
        lost.append(f"that {count} words, which are zeros there, have no vector ({reason})")
    _log.warning("%s does not hold %s", path, "; ".join(lost))

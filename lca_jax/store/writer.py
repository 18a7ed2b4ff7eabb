"""Writing a store, shard by shard, so that a run killed at any moment goes on from its last whole shard.

The order of events is the guarantee. A shard's file is written under another name, synced and renamed; only then is its
record (sizes, checksums, the words' pieces) written the same way into `unfinished/`. The manifest, without which a
folder is no store, comes last. All of a shard's bytes follow from the recipe, so a run that was killed ends with the
same files as one that was not. Shards may be written in any order, and by several processes of one job; a second job is
kept out by `lock`.

Memory: the shards that are being filled or written, about three times their size while one is encoded and synced.
"""

import io
import json
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorstore as ts
from jaxtyping import Shaped

from lca_jax.errors import StoreError
from lca_jax.machine.devices import describe_device
from lca_jax.store.array import LazyArray
from lca_jax.store.folder import (
    create_array,
    find_short_files,
    list_files,
    name_folder,
    open_folder,
    reaching,
    read_file,
    record_file,
    refuse_files,
    remove_half_files,
    remove_subfolder,
    shard_file,
    write_file,
)
from lca_jax.store.lock import hold
from lca_jax.store.recipe import FileRecord, Manifest, Recipe, package_versions
from lca_jax.store.rows import Rows, all_words
from lca_jax.store.statistics import STATISTICS, Statistics
from lca_jax.store.store import (
    ARRAY,
    MANIFEST,
    PROGRESS,
    RECIPE,
    WORDS,
    ActivationStore,
    open_site,
    open_store,
    read_manifest,
)
from lca_jax.text.corpus import Corpus

ShardArrays = Mapping[str, Shaped[np.ndarray, "word layer neuron"]]

_LOCK = f"{PROGRESS}lock-"
_Writer = TypeVar("_Writer", bound="StoreWriter")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """What is kept of a whole shard beside its arrays, until the store is whole."""

    pieces: list[int] | list[None]
    """Number of pieces of each word; None where another program made the vectors, which does not say."""
    excluded: dict[int, str]
    """Why a word of the shard, counted from the shard's first, has no vector."""
    files: dict[str, FileRecord] = field(default_factory=dict)
    """The shard's files, one a site."""

    def to_text(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: bytes) -> "ShardRecord":
        """The inverse of `to_text`."""
        content = json.loads(text)
        return cls(
            pieces=content["pieces"],
            excluded={int(word): reason for word, reason in content["excluded"].items()},
            files={name: FileRecord(**record) for name, record in content["files"].items()},
        )


class StoreWriter(ABC):
    """Takes whole shards, in any order, and makes a store of them; a context, which on leaving lets others write."""

    def __enter__(self: _Writer) -> _Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Lets other processes write; what is written stays. After `finish` it does nothing."""

    @property
    @abstractmethod
    def missing(self) -> frozenset[int]:
        """The shards still to be written."""

    @abstractmethod
    def new_arrays(self, shard: int) -> ShardArrays:
        """Zeros to fill with one shard's vectors."""

    @abstractmethod
    def write(self, shard: int, arrays: ShardArrays, record: ShardRecord, statistics: bytes | None = None) -> None:
        """Keeps one whole shard, and what was gathered of its words; on return it is safe."""

    @property
    @abstractmethod
    def place(self) -> str:
        """How the store is called in messages."""

    @property
    @abstractmethod
    def written(self) -> Mapping[str, LazyArray]:
        """The arrays of all sites, of which whole shards can be read."""

    @abstractmethod
    def record_of(self, shard: int) -> ShardRecord:
        """The record of a whole shard."""

    @abstractmethod
    def statistics_of(self, shard: int) -> bytes | None:
        """What was gathered of a whole shard; None where nothing was."""

    @abstractmethod
    def keep_statistics(self, statistics: Statistics) -> None:
        """Keeps those of the whole store with it."""

    @abstractmethod
    def finish(self, corpus: Corpus, names: Mapping[str, str], rows: Rows | None = None) -> ActivationStore:
        """Makes the store whole, once no shard is missing; `rows` are all words of the corpus if None."""


class MemoryWriter(StoreWriter):
    """Fills arrays that stay in memory; nothing is copied. Whole, they are read-only like a store on disk."""

    def __init__(self, recipe: Recipe) -> None:
        """Reserves memory for the whole store."""
        self._recipe = recipe
        dtype = ts.dtype(recipe.dtype).numpy_dtype
        self._arrays = {
            site: np.zeros((recipe.words, len(shape.layers), shape.width), dtype)
            for site, shape in recipe.sites.items()
        }
        self._records: dict[int, ShardRecord] = {}
        self._gathered: dict[int, bytes | None] = {}
        self._statistics: Statistics | None = None

    def close(self) -> None:  # noqa: D102
        pass

    @property
    def place(self) -> str:  # noqa: D102
        return "memory"

    @property
    def written(self) -> Mapping[str, LazyArray]:  # noqa: D102
        return {site: LazyArray(array) for site, array in self._arrays.items()}

    def record_of(self, shard: int) -> ShardRecord:  # noqa: D102
        return self._records[shard]

    def statistics_of(self, shard: int) -> bytes | None:  # noqa: D102
        return self._gathered[shard]

    def keep_statistics(self, statistics: Statistics) -> None:  # noqa: D102
        self._statistics = statistics

    @property
    def missing(self) -> frozenset[int]:  # noqa: D102
        return frozenset(set(range(self._recipe.shard_count)) - self._records.keys())

    def new_arrays(self, shard: int) -> ShardArrays:  # noqa: D102
        first, last = self._recipe.shard_range(shard)
        return {site: array[first:last] for site, array in self._arrays.items()}

    def write(self, shard: int, arrays: ShardArrays, record: ShardRecord, statistics: bytes | None = None) -> None:  # noqa: ARG002, D102
        self._records[shard] = record
        self._gathered[shard] = statistics

    def finish(self, corpus: Corpus, names: Mapping[str, str], rows: Rows | None = None) -> ActivationStore:  # noqa: D102
        for array in self._arrays.values():
            array.flags.writeable = False
        return store_without_folder(
            self._recipe,
            corpus,
            names,
            rows or all_words(corpus),
            records=self._records,
            arrays=self.written,
            gathered=self._statistics,
        )


class FolderWriter(StoreWriter):
    """Writes shards into a folder; what an earlier run of the same recipe left there is kept."""

    def __init__(self, path: str | Path, recipe: Recipe, *, rank: int = 0) -> None:
        """Begins a store, or goes on with an unfinished one, and keeps others from it until it is closed or finished.

        Args:
            path: A local folder or a URL.
            recipe: What the store is made from.
            rank: Number of this process in its job. The first one lays out the folder before the others come.

        Raises:
            StoreError: The folder holds something else or an unfinished store of another recipe, another process is
                writing it, or it cannot be written.
        """
        self._folder = open_folder(path)
        self._path = path
        self._recipe = recipe
        held = list_files(self._folder)
        self._refuse_whole(MANIFEST in held)
        if RECIPE not in held and (other := [name for name in held if not name.startswith(PROGRESS)]):
            raise StoreError(
                f"{path} holds files that are no activation store ({other[0]}, …). Give an empty or a new folder."
            )
        self._lock = hold(self._folder, _LOCK, rank=rank)
        try:
            self._lay_out(first=rank == 0)
        except BaseException:
            self._lock.release()
            raise

    def _refuse_whole(self, is_whole: bool) -> None:
        if is_whole:
            raise StoreError(f"{name_folder(self._folder)} is whole already. Open it, or give another folder.")

    def _lay_out(self, *, first: bool) -> None:
        place = name_folder(self._folder)
        if first:
            remove_half_files(self._folder)
        self._refuse_whole(read_file(self._folder, MANIFEST) is not None)
        started = read_file(self._folder, RECIPE)
        if started is None:
            write_file(self._folder, RECIPE, json.dumps(self._recipe.as_json()).encode())
        else:
            _read_recipe(started, place=place).refuse_other(self._recipe, place=place)
        self._arrays = {site: create_array(self._folder, site, self._recipe) for site in self._recipe.sites}

    def close(self) -> None:  # noqa: D102
        self._lock.release()

    @property
    def missing(self) -> frozenset[int]:
        """The shards still to be written: those without a record that can be read, or with files that are not whole."""
        return frozenset(set(range(self._recipe.shard_count)) - self._read_records().keys())

    def new_arrays(self, shard: int) -> ShardArrays:  # noqa: D102
        first, last = self._recipe.shard_range(shard)
        dtype = ts.dtype(self._recipe.dtype).numpy_dtype
        return {
            site: np.zeros((last - first, len(shape.layers), shape.width), dtype)
            for site, shape in self._recipe.sites.items()
        }

    def write(self, shard: int, arrays: ShardArrays, record: ShardRecord, statistics: bytes | None = None) -> None:
        """Keeps one whole shard: its files first, then, once they are synced, the record that they are whole."""
        self._lock.check()
        first, last = self._recipe.shard_range(shard)
        for site, array in arrays.items():
            with reaching(self._folder, writing=True), ts.Transaction() as transaction:
                target = self._arrays[site].with_transaction(transaction)[first:last]
                target.write(array, can_reference_source_data_indefinitely=True).result()
        if statistics is not None:
            write_file(self._folder, _statistics_file(shard), statistics)
        files = self._record_files([shard_file(site, shard) for site in arrays])
        kept = ShardRecord(pieces=record.pieces, excluded=record.excluded, files=files)
        write_file(self._folder, _record_file(shard), kept.to_text().encode())

    def finish(self, corpus: Corpus, names: Mapping[str, str], rows: Rows | None = None) -> ActivationStore:
        """Writes the words, then the manifest, then clears away the records.

        Raises:
            StoreError: Shards that were written are no longer there, or the folder cannot be written.
        """
        self._lock.check()
        records = self._read_records()
        if lost := sorted(set(range(self._recipe.shard_count)) - records.keys()):
            raise StoreError(
                f"Shards {lost[:20]} of {name_folder(self._folder)} are not whole, though each was written: something "
                "else changes the folder. Start the same command again: it makes them anew."
            )
        rows = rows or all_words(corpus)
        table = _words_table(corpus, rows, self._recipe, records)
        content = io.BytesIO()
        pq.write_table(table, content, compression="zstd")
        write_file(self._folder, WORDS, content.getvalue())
        files = {name: record for kept in records.values() for name, record in kept.files.items()}
        files |= self._record_files([WORDS, *(f"{site}/{ARRAY}" for site in self._recipe.sites)])
        manifest = _manifest(self._recipe, corpus, names, table, left_out=rows.left_out, files=files)
        write_file(self._folder, MANIFEST, manifest.to_text().encode())
        self._lock.release()
        remove_subfolder(self._folder, PROGRESS)
        return open_store(self._path)

    @property
    def place(self) -> str:  # noqa: D102
        return name_folder(self._folder)

    @property
    def written(self) -> Mapping[str, LazyArray]:  # noqa: D102
        return {site: open_site(self._folder, self._recipe, site) for site in self._arrays}

    def record_of(self, shard: int) -> ShardRecord:  # noqa: D102
        return ShardRecord.from_text(read_file(self._folder, _record_file(shard)) or b"")

    def statistics_of(self, shard: int) -> bytes | None:  # noqa: D102
        return read_file(self._folder, _statistics_file(shard))

    def keep_statistics(self, statistics: Statistics) -> None:  # noqa: D102
        self._lock.check()
        write_file(self._folder, STATISTICS, statistics.to_bytes())

    def _record_files(self, names: list[str]) -> dict[str, FileRecord]:
        """Sizes and checksums of files that were just written."""
        found = {name: record_file(self._folder, name) for name in names}
        lost = [f"{name} is missing" for name, record in found.items() if record is None]
        refuse_files(self._folder, lost)
        return {name: record for name, record in found.items() if record is not None}

    def _read_records(self) -> dict[int, ShardRecord]:
        """The records of whole shards; what a power cut or another hand damaged does not count, and is made anew."""
        held = set(list_files(self._folder, PROGRESS))
        shards = [shard for shard in range(self._recipe.shard_count) if _record_file(shard) in held]
        records = {}
        for shard in shards:
            content = read_file(self._folder, _record_file(shard)) or b""
            try:
                records[shard] = ShardRecord.from_text(content)
            except (ValueError, TypeError, KeyError, AttributeError):
                _log.warning("the record of shard %d cannot be read: it is made anew", shard)
        files = {name: (shard, record) for shard, kept in records.items() for name, record in kept.files.items()}
        for name, problem in find_short_files(self._folder, {name: kept[1] for name, kept in files.items()}).items():
            _log.warning("%s: its shard is made anew", problem)
            records.pop(files[name][0], None)
        return records


def store_without_folder(
    recipe: Recipe,
    corpus: Corpus,
    names: Mapping[str, str],
    rows: Rows,
    *,
    records: Mapping[int, ShardRecord],
    arrays: Mapping[str, LazyArray],
    gathered: Statistics | None = None,
) -> ActivationStore:
    """A whole store that lies nowhere on disk, of the arrays of its sites and the records of all its shards."""
    table = _words_table(corpus, rows, recipe, records)
    manifest = _manifest(recipe, corpus, names, table, left_out=rows.left_out, files={})
    return ActivationStore(manifest=manifest, words=table, arrays=arrays, folder=None, gathered=gathered)


def find_finished(path: str | Path, recipe: Recipe) -> ActivationStore | None:
    """The whole store of this recipe, if the folder holds it already.

    Raises:
        StoreError: The folder holds a whole store of another recipe, or a damaged one.
    """
    folder = open_folder(path)
    manifest = read_manifest(folder)
    if manifest is None:
        return None
    manifest.recipe.refuse_other(recipe, place=name_folder(folder))
    if list_files(folder, PROGRESS):
        remove_subfolder(folder, PROGRESS)
    return open_store(path)


def _read_recipe(text: bytes, *, place: str) -> Recipe:
    try:
        return Recipe.from_json(json.loads(text))
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{place}/{RECIPE} breaks its format ({error!r}), so the unfinished store cannot be gone on with. "
            "Delete the folder and extract again."
        ) from None


def _record_file(shard: int) -> str:
    return f"{PROGRESS}{shard:06d}.json"


def _statistics_file(shard: int) -> str:
    return f"{PROGRESS}{shard:06d}.{STATISTICS}"


def _words_table(corpus: Corpus, rows: Rows, recipe: Recipe, records: Mapping[int, ShardRecord]) -> pa.Table:
    """One row a word (or piece or sentence), in corpus order."""
    pieces = list(chain.from_iterable(records[shard].pieces for shard in range(recipe.shard_count)))
    excluded: list[str | None] = [None] * recipe.words
    for shard, record in records.items():
        for word, reason in record.excluded.items():
            excluded[shard * recipe.shard_words + word] = reason
    columns = rows.columns(corpus)
    labels = {name: columns.pop(name) for name in list(columns) if ":" in name}
    made = {"pieces": pa.array(pieces, pa.int32()), "excluded": pa.array(excluded, pa.string())}
    return pa.table(columns | made | labels)


def _manifest(
    recipe: Recipe,
    corpus: Corpus,
    names: Mapping[str, str],
    table: pa.Table,
    *,
    left_out: Mapping[str, int],
    files: Mapping[str, FileRecord],
) -> Manifest:
    reasons = Counter(reason for reason in table["excluded"].to_pylist() if reason is not None)
    return Manifest(
        recipe=recipe,
        names=dict(names) | {"corpus": corpus.name},
        counts={
            "sentences": corpus.sentence_count,
            "words": recipe.words,
            "vectors": recipe.words - reasons.total(),
        },
        excluded=dict(sorted((reasons + Counter(left_out)).items())),
        skipped=dict(corpus.skipped),
        machine=describe_device(),
        versions=package_versions(),
        files=files,
    )

"""Writes a store into a folder, so that a run killed at any moment goes on from its last whole shard.

The order of events is the guarantee. A shard's file is written under another name, synced and renamed; only then is its
record (sizes, checksums, the words' pieces) written the same way into `unfinished/`. The manifest, without which a
folder is no store, comes last. All bytes of a shard follow from the recipe, so a run that was killed ends with the
same files as one that was not. Several processes of one job write their shards at the same time; `lock` keeps a second
job out.

Memory: the shards that are being filled or written, about three times their size while one is encoded and synced.
"""

import io
import json
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import tensorstore as ts

from lca_jax.errors import StoreError
from lca_jax.machine.folders import (
    list_files,
    name_folder,
    open_folder,
    reaching,
    read_file,
    remove_subfolder,
    write_file,
)
from lca_jax.machine.json_text import parse_json
from lca_jax.machine.versions import STORE_PACKAGES, package_versions
from lca_jax.store.array import LazyArray
from lca_jax.store.folder import (
    create_array,
    find_short_files,
    record_file,
    refuse_files,
    refuse_linked_folders,
    remove_half_files,
    shard_file,
)
from lca_jax.store.lock import hold
from lca_jax.store.manifest import FileRecord
from lca_jax.store.recipe import Recipe
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
from lca_jax.store.units import Units, all_words
from lca_jax.store.writer import ShardArrays, ShardRecord, StoreWriter, make_manifest, words_table
from lca_jax.text.corpus import Corpus

_LOCK = f"{PROGRESS}lock-"
_BEGUN_WITH = "versions"
"""Key beside those of the recipe, until the manifest has the versions."""

_log = logging.getLogger(__name__)


class FolderWriter(StoreWriter):
    """Writes shards into a folder; the shards that an earlier run of the same recipe wrote there are kept."""

    def __init__(self, path: str | Path, recipe: Recipe, *, rank: int = 0) -> None:
        """Begins a store, or goes on with an unfinished one, and keeps others from it until it is closed or finished.

        Args:
            path: A local folder or a URL.
            recipe: What determines the store.
            rank: Number of this process in its job. The first process lays out the folder before the others come.

        Raises:
            StoreError: The folder holds something else or an unfinished store of another recipe, another process is
                writing it, or it cannot be written.
        """
        self._folder = open_folder(path)
        self._path = path
        self._recipe = recipe
        refuse_linked_folders(self._folder)
        present = list_files(self._folder)
        self._refuse_whole(MANIFEST in present)
        if RECIPE not in present and (other := [name for name in present if not name.startswith(PROGRESS)]):
            raise StoreError(
                f"{path} holds files that are not an activation store ({other[0]}, …). Give an empty or a new folder."
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
        begun = read_file(self._folder, RECIPE)
        if begun is None:
            begun_with = {_BEGUN_WITH: package_versions(STORE_PACKAGES)}
            write_file(self._folder, RECIPE, json.dumps({**self._recipe.as_json(), **begun_with}).encode())
        else:
            recipe, made_with = _read_recipe(begun, place=place)
            recipe.refuse_other(self._recipe, place=place, made_with=made_with)
        self._arrays = {site: create_array(self._folder, site, self._recipe) for site in self._recipe.sites}

    def close(self) -> None:  # noqa: D102
        self._lock.release()

    @property
    def missing(self) -> frozenset[int]:
        """The shards still to be written: those without a readable record, or with files that are not whole."""
        return frozenset(set(range(self._recipe.shard_count)) - self._read_records().keys())

    def new_arrays(self, shard: int) -> ShardArrays:  # noqa: D102
        first, last = self._recipe.shard_range(shard)
        dtype = ts.dtype(self._recipe.dtype).numpy_dtype
        return {
            site: np.zeros((last - first, len(shape.layers), shape.width), dtype)
            for site, shape in self._recipe.sites.items()
        }

    def write(self, shard: int, arrays: ShardArrays, record: ShardRecord, statistics: bytes | None = None) -> None:
        """Keeps one whole shard: first its files, then, once they are synced, the record that they are whole."""
        self._lock.check()
        first, last = self._recipe.shard_range(shard)
        for site, array in arrays.items():
            with reaching(self._folder, writing=True, much=True), ts.Transaction() as transaction:
                target = self._arrays[site].with_transaction(transaction)[first:last]
                target.write(array, can_reference_source_data_indefinitely=True).result()
        if statistics is not None:
            write_file(self._folder, _statistics_file(shard), statistics)
        files = self._record_files([shard_file(site, shard) for site in arrays])
        with_files = ShardRecord(pieces=record.pieces, excluded=record.excluded, files=files)
        write_file(self._folder, _record_file(shard), with_files.to_text().encode())

    def finish(self, corpus: Corpus, names: Mapping[str, str], units: Units | None = None) -> ActivationStore:
        """Writes the words, then the manifest, then clears the records away.

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
        units = units or all_words(corpus)
        table = words_table(corpus, units, self._recipe, records)
        content = io.BytesIO()
        pq.write_table(table, content, compression="zstd")
        write_file(self._folder, WORDS, content.getvalue())
        files = {name: record for of_shard in records.values() for name, record in of_shard.files.items()}
        files |= self._record_files([WORDS, *(f"{site}/{ARRAY}" for site in self._recipe.sites)])
        manifest = make_manifest(self._recipe, corpus, names, table, omissions=units.omissions, files=files)
        del table, content  # the labels of a hundred tasks; the store reads its own
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
        """Returns sizes and checksums of files that were just written."""
        found = {name: record_file(self._folder, name) for name in names}
        lost = [f"{name} is missing" for name, record in found.items() if record is None]
        refuse_files(self._folder, lost)
        return {name: record for name, record in found.items() if record is not None}

    def _read_records(self) -> dict[int, ShardRecord]:
        """Returns the records of whole shards.

        A shard whose record or files were damaged, by a power cut or another program, is left out and made anew.
        """
        present = set(list_files(self._folder, PROGRESS))
        shards = [shard for shard in range(self._recipe.shard_count) if _record_file(shard) in present]
        records = {}
        for shard in shards:
            content = read_file(self._folder, _record_file(shard)) or b""
            try:
                records[shard] = ShardRecord.from_text(content)
            except (ValueError, TypeError, KeyError, AttributeError):
                _log.warning("The record of shard %d cannot be read; the shard is made anew.", shard)
        shard_of_file = {name: shard for shard, record in records.items() for name in record.files}
        expected = {name: file for record in records.values() for name, file in record.files.items()}
        for name, problem in find_short_files(self._folder, expected).items():
            _log.warning("%s; its shard is made anew.", problem)
            records.pop(shard_of_file[name], None)
        return records


def find_finished(path: str | Path, recipe: Recipe) -> ActivationStore | None:
    """Returns the whole store of a recipe, if the folder holds it already.

    Raises:
        StoreError: The folder holds a whole store of another recipe, or a damaged one.
    """
    folder = open_folder(path)
    manifest = read_manifest(folder)
    if manifest is None:
        return None
    manifest.recipe.refuse_other(recipe, place=name_folder(folder), made_with=manifest.versions)
    if list_files(folder, PROGRESS):
        remove_subfolder(folder, PROGRESS)
    return open_store(path)


def begun_shard_words(path: str | Path | None) -> int | None:
    """Returns the units of a shard of the store that a folder holds, whole or unfinished; None if it holds none.

    Raises:
        StoreError: What it holds is damaged.
    """
    if path is None:
        return None
    folder = open_folder(path)
    if (manifest := read_manifest(folder)) is not None:
        return manifest.recipe.shard_words
    begun = read_file(folder, RECIPE)
    return None if begun is None else _read_recipe(begun, place=name_folder(folder))[0].shard_words


def _read_recipe(text: bytes, *, place: str) -> tuple[Recipe, Mapping[str, str]]:
    """Returns the recipe of an unfinished store, and the versions of the packages that began it."""
    try:
        content = parse_json(text)
        begun_with = dict(content.pop(_BEGUN_WITH, {}))
        return Recipe.from_json(content), begun_with
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(
            f"{place}/{RECIPE} breaks its format ({error!r}), so the unfinished store cannot be gone on with. "
            "Delete the folder and extract again."
        ) from None


def _record_file(shard: int) -> str:
    return f"{PROGRESS}{shard:06d}.json"


def _statistics_file(shard: int) -> str:
    return f"{PROGRESS}{shard:06d}.{STATISTICS}"

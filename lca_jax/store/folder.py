"""The files of a store in its folder: shards, their records, and what is wrong with them.

The folder is one of `machine.folders`: a local path or a URL.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import tensorstore as ts

from lca_jax.errors import StoreError
from lca_jax.machine.checksums import checksum_of_file
from lca_jax.machine.files import refuse_links
from lca_jax.machine.folders import local_path, name_folder, reaching, read_file
from lca_jax.store.manifest import FileRecord
from lca_jax.store.recipe import Recipe

CHUNK_WORDS = 256
"""Words of one chunk inside a shard. A chunk has one layer, so that one layer is read without the others. At common
widths it has a few hundred kilobytes: enough for the disk's full speed, and few enough to read some sentences."""

_BEING_WRITTEN = ".__lock"
"""Ending that tensorstore gives a local file until it is whole."""


def record_file(folder: ts.KvStore, name: str) -> FileRecord | None:
    """Returns size and checksum of one file, None if there is none; a local file is read in small parts."""
    path = local_path(folder)
    if path is None:
        content = read_file(folder, name)
        return None if content is None else FileRecord.of(content)
    with reaching(folder):
        try:
            file = Path(path) / name
            return FileRecord(size_bytes=file.stat().st_size, sha256=checksum_of_file(file))
        except FileNotFoundError:
            return None


def refuse_linked_folders(folder: ts.KvStore) -> None:
    """Checks that a folder on this machine, which is to be written, has no link to another folder inside.

    Raises:
        StoreError: It has one; the message names it.
    """
    if (path := local_path(folder)) is not None:
        for parent, folders, _ in os.walk(path):
            refuse_links(Path(parent), folders)


def remove_half_files(folder: ts.KvStore) -> None:
    """Deletes the files that a killed process was writing.

    tensorstore writes over such a file, but does not shorten it: the tail of a longer one would stay.
    """
    if (path := local_path(folder)) is not None:
        with reaching(folder, writing=True):
            for half in Path(path).rglob(f"*{_BEING_WRITTEN}"):
                half.unlink(missing_ok=True)


def find_short_files(folder: ts.KvStore, files: Mapping[str, FileRecord]) -> dict[str, str]:
    """Returns what is wrong with files that are missing or too short; reads the last byte of each file."""
    last_bytes = {name: slice(record.size_bytes - 1, record.size_bytes) for name, record in files.items()}
    with reaching(folder):
        reads = {name: folder.read(name, byte_range=last_byte) for name, last_byte in last_bytes.items()}
        problems = {}
        for name, read in reads.items():
            try:
                if read.result().state != "value":
                    problems[name] = f"{name} is missing"
            except ValueError as error:
                if "OUT_OF_RANGE" not in str(error):
                    raise
                problems[name] = f"{name} is shorter than its {files[name].size_bytes} bytes"
    return problems


def verify_files(folder: ts.KvStore, files: Mapping[str, FileRecord]) -> None:
    """Reads every byte and compares the checksums, one file at a time.

    Raises:
        StoreError: Files are missing or altered; the message names each.
    """
    problems = []
    for name, expected in files.items():
        found = record_file(folder, name)
        if found is None:
            problems.append(f"{name} is missing")
        elif found != expected:
            sizes = f"{found.size_bytes} bytes, expected {expected.size_bytes}"
            problems.append(f"{name} was altered ({sizes}; SHA-256 {found.sha256}, expected {expected.sha256})")
    refuse_files(folder, problems)


def refuse_files(folder: ts.KvStore, problems: list[str]) -> None:
    """Raises one `StoreError` for all files with problems, if there are any."""
    if problems:
        raise StoreError(
            f"The store {name_folder(folder)} is damaged: {'; '.join(problems)}. "
            "Restore the files from a copy, or delete the folder and extract again."
        )


def damaged_file(path: str, what: str, *, place: str) -> StoreError:
    """Returns the error for a shard that is not as it was written."""
    return StoreError(f"{path} {what}. Restore the file from a copy, or delete {place} and extract again.")


def open_array(folder: ts.KvStore, site: str) -> ts.TensorStore:
    """Opens the array of one site; a missing shard is an error and not a block of zeros.

    Raises:
        StoreError: There is no such array, or its description is damaged.
    """
    spec = {"driver": "zarr3", "kvstore": (folder / f"{site}/").spec().to_json(), "fill_missing_data_reads": False}
    with reaching(folder):
        return ts.open(spec, read=True).result()


def create_array(folder: ts.KvStore, site: str, recipe: Recipe) -> ts.TensorStore:
    """Opens the array of one site for writing, and describes it in `SITE/zarr.json` if that is not there yet."""
    shape = recipe.sites[site]
    plain = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    sharding = {
        "chunk_shape": [min(CHUNK_WORDS, recipe.shard_words), 1, shape.width],
        "codecs": plain,
        "index_codecs": plain,
        "index_location": "end",
    }
    spec = {
        "driver": "zarr3",
        "kvstore": (folder / f"{site}/").spec().to_json(),
        "metadata": {
            "shape": [recipe.words, len(shape.layers), shape.width],
            "data_type": recipe.dtype,
            "fill_value": 0.0,
            "dimension_names": ["word", "layer", "neuron"],
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": [recipe.shard_words, len(shape.layers), shape.width]},
            },
            "chunk_key_encoding": {"name": "default"},
            "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        },
        "store_data_equal_to_fill_value": True,
    }
    with reaching(folder, writing=True):
        return ts.open(spec, open=True, create=True).result()


def shard_file(site: str, shard: int) -> str:
    """Returns the name of the file of one shard of one site."""
    return f"{site}/c/{shard}/0/0"

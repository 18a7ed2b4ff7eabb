"""The folder a store lives in: a local path or any tensorstore URL, and the few things done with its files.

Every write is whole or not there: tensorstore writes a file under another name, syncs it, and renames it.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import tensorstore as ts

from lca_jax.activations.recipe import FileRecord, Recipe
from lca_jax.errors import SettingsError, StoreError

CHUNK_WORDS = 256
"""Words of one chunk inside a shard. A chunk holds one layer, so that a single layer is read without the others, and is
a few hundred kilobytes at common widths: long enough for the disk's full speed, short enough to read a few
sentences."""


def open_folder(path: str | Path) -> ts.KvStore:
    """The files under a local path, or under a URL such as `gs://bucket/run/` (anything with `://`).

    Raises:
        SettingsError: The URL's scheme is none that tensorstore knows.
    """
    if "://" not in str(path):
        return ts.KvStore.open({"driver": "file", "path": f"{Path(path).absolute()}/"}).result()
    try:
        return ts.KvStore.open(f"{str(path).rstrip('/')}/").result()
    except ValueError as error:
        raise SettingsError(f"{path} cannot be opened as a folder: {error}") from None


def name_folder(folder: ts.KvStore) -> str:
    """How a folder is called in messages: its path, or its URL."""
    return (local_path(folder) or folder.url).rstrip("/")


def local_path(folder: ts.KvStore) -> str | None:
    """The path of a folder on this machine's disk, None for any other."""
    return folder.path if folder.spec().to_json()["driver"] == "file" else None


def read_file(folder: ts.KvStore, name: str) -> bytes | None:
    """The bytes of one file, None if there is no such file."""
    found = folder.read(name).result()
    return found.value if found.state == "value" else None


def record_file(folder: ts.KvStore, name: str) -> FileRecord:
    """Size and checksum of one file; a local one is never whole in memory.

    Raises:
        FileNotFoundError: There is no such file.
    """
    path = local_path(folder)
    if path is None:
        content = read_file(folder, name)
        if content is None:
            raise FileNotFoundError(name)
        return FileRecord.of(content)
    with (Path(path) / name).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileRecord(size_bytes=file.tell(), sha256=digest)


def list_files(folder: ts.KvStore, prefix: str = "") -> list[str]:
    """Names of the files that begin with a prefix, sorted."""
    return sorted(key.decode() for key in folder.list(_beginning_with(prefix)).result())


def remove_subfolder(folder: ts.KvStore, name: str) -> None:
    """Deletes all files under a name that ends in a slash, if there are any."""
    folder.delete_range(_beginning_with(name)).result()
    if (path := local_path(folder)) is not None:
        remains = Path(path) / name
        for left in remains.glob("*"):  # the lock file of a killed process, which tensorstore does not list
            left.unlink()
        if remains.is_dir():
            remains.rmdir()


def check_files(folder: ts.KvStore, files: Mapping[str, FileRecord]) -> None:
    """Sees that every file is there with at least its size, by reading the last byte of each.

    Raises:
        StoreError: Files are missing or shorter; the message names each.
    """
    last_bytes = {name: slice(record.size_bytes - 1, record.size_bytes) for name, record in files.items()}
    reads = {name: folder.read(name, byte_range=last_byte) for name, last_byte in last_bytes.items()}
    problems = []
    for name, read in reads.items():
        try:
            if read.result().state != "value":
                problems.append(f"{name} is missing")
        except ValueError:  # tensorstore's "out of range"
            problems.append(f"{name} is shorter than its {files[name].size_bytes} bytes")
    refuse_files(folder, problems)


def verify_files(folder: ts.KvStore, files: Mapping[str, FileRecord]) -> None:
    """Reads every byte and compares the checksums, one file at a time.

    Raises:
        StoreError: Files are missing or altered; the message names each.
    """
    problems = []
    for name, expected in files.items():
        try:
            found = record_file(folder, name)
        except FileNotFoundError:
            problems.append(f"{name} is missing")
            continue
        if found != expected:
            sizes = f"{found.size_bytes} bytes, expected {expected.size_bytes}"
            problems.append(f"{name} was altered ({sizes}; SHA-256 {found.sha256}, expected {expected.sha256})")
    refuse_files(folder, problems)


def refuse_files(folder: ts.KvStore, problems: list[str]) -> None:
    """Raises one `StoreError` for all files found wrong, if there are any."""
    if problems:
        raise StoreError(
            f"The store {name_folder(folder)} is damaged: {'; '.join(problems)}. "
            "Restore the files from a copy, or delete the folder and extract again."
        )


def open_array(folder: ts.KvStore, site: str) -> ts.TensorStore:
    """The array of one site; a missing shard is an error and not a block of zeros.

    Raises:
        StoreError: There is none, or its description is damaged.
    """
    spec = {"driver": "zarr3", "kvstore": (folder / f"{site}/").spec().to_json(), "fill_missing_data_reads": False}
    try:
        return ts.open(spec, read=True).result()
    except ValueError as error:
        raise StoreError(f"{name_folder(folder)}/{site} cannot be opened as an array: {error}") from None


def create_array(folder: ts.KvStore, site: str, recipe: Recipe) -> ts.TensorStore:
    """The array of one site, opened for writing and described in `SITE/zarr.json` if that is not there yet."""
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
    return ts.open(spec, open=True, create=True).result()


def shard_file(site: str, shard: int) -> str:
    """Name of the file that holds one shard of one site."""
    return f"{site}/c/{shard}/0/0"


def _beginning_with(prefix: str) -> ts.KvStore.KeyRange:
    """All names with a prefix; an empty one means every name."""
    return ts.KvStore.KeyRange(prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)) if prefix else ts.KvStore.KeyRange()

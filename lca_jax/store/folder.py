"""The folder of a store: a local path or any tensorstore URL, and the operations on its files.

Every write is whole or not there: tensorstore writes a file under another name, syncs it, renames it and syncs the
folder; object stores put an object whole. What the disk or the network refuses is a `StoreError` with the place and the
way out.

`gs://` takes the credentials that Google's tools take. `s3://` takes AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
AWS_SESSION_TOKEN, or a profile (AWS_PROFILE, AWS_SHARED_CREDENTIALS_FILE), or the machine's role. A server other than
Amazon's is named by AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, its region by AWS_REGION or AWS_DEFAULT_REGION. A server
that does not answer is asked again for a quarter of an hour before that is an error.
"""

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import tensorstore as ts

from lca_jax.errors import LcaError, SettingsError, StoreError
from lca_jax.machine.checksums import checksum_of_file
from lca_jax.machine.files import real_path, refuse_links, remove_inside
from lca_jax.store.manifest import FileRecord
from lca_jax.store.recipe import Recipe

CHUNK_WORDS = 256
"""Words of one chunk inside a shard. A chunk has one layer, so that one layer is read without the others. At common
widths it has a few hundred kilobytes: enough for the disk's full speed, and few enough to read some sentences."""

_BEING_WRITTEN = ".__lock"
"""Ending that tensorstore gives a local file until it is whole."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def open_folder(path: str | Path) -> ts.KvStore:
    """Opens the folder at a local path, or at a URL such as `gs://bucket/run/` (anything with `://`).

    Raises:
        SettingsError: The path cannot be one, or tensorstore does not know the URL's scheme.
    """
    if "://" not in str(path):
        return ts.KvStore.open({"driver": "file", "path": f"{real_path(path)}/"}).result()
    try:
        spec = ts.KvStore.Spec(f"{str(path).rstrip('/')}/").to_json()
        return ts.KvStore.open(_with_s3_server(spec) if spec["driver"] == "s3" else spec).result()
    except ValueError as error:
        raise SettingsError(f"{path} cannot be opened as a folder: {error}") from None


def name_folder(folder: ts.KvStore) -> str:
    """Returns the name of a folder in messages: its path or its URL."""
    spec = folder.spec().to_json()
    if spec["driver"] == "file":
        return spec["path"].rstrip("/")
    return f"s3://{spec['bucket']}/{spec['path']}".rstrip("/") if spec["driver"] == "s3" else folder.url.rstrip("/")


@contextmanager
def reaching(folder: ts.KvStore, *, writing: bool = False) -> Iterator[None]:
    """Turns an error of the disk or the network into a `StoreError` that names the place and the way out."""
    try:
        yield
    except LcaError:
        raise
    except (ValueError, OSError) as error:
        text = str(error).split(" [", 1)[0]
        again = "Then start the same command again: it goes on from the last whole shard."
        code = _error_code(error)
        if writing and code in _FULL:
            raise StoreError(f"{name_folder(folder)} is full: {text}. Make room there. {again}") from None
        if code in _FORBIDDEN or text.startswith(("PERMISSION_DENIED", "UNAUTHENTICATED")):
            verb = "written" if writing else "read"
            raise StoreError(
                f"{name_folder(folder)} may not be {verb} by this user: {text}. "
                "Have the rights or the credentials put right, or give another folder."
            ) from None
        way_out = f"See that the folder can be reached. {again}" if writing else "See that the folder can be reached."
        verb = "written to" if writing else "read"
        raise StoreError(f"{name_folder(folder)} cannot be {verb}: {text}. {way_out}") from None


def local_path(folder: ts.KvStore) -> str | None:
    """Returns the path of a folder on this machine's disk, None for any other."""
    return folder.path if folder.spec().to_json()["driver"] == "file" else None


def read_file(folder: ts.KvStore, name: str) -> bytes | None:
    """Returns the bytes of one file, None if there is no such file."""
    with reaching(folder):
        found = folder.read(name).result()
    return found.value if found.state == "value" else None


def write_file(folder: ts.KvStore, name: str, content: bytes) -> None:
    """Writes one file; on return it is safe."""
    with reaching(folder, writing=True):
        folder.write(name, content).result()


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


def list_files(folder: ts.KvStore, prefix: str = "") -> list[str]:
    """Returns the names of the files that begin with a prefix, sorted."""
    with reaching(folder):
        return sorted(key.decode() for key in folder.list(_beginning_with(prefix)).result())


def remove_subfolder(folder: ts.KvStore, name: str) -> None:
    """Deletes all files under a name that ends in a slash, if there are any; of a link only the link."""
    with reaching(folder, writing=True):
        if (path := local_path(folder)) is not None:
            remove_inside(Path(path), [name.rstrip("/")])
        else:
            folder.delete_range(_beginning_with(name)).result()


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


def _with_s3_server(spec: dict) -> dict:
    """Adds the server and region that the environment names, which tensorstore takes from its settings alone."""
    names = {
        "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        "aws_region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    }
    found = {
        key: next((os.environ[name] for name in tried if os.environ.get(name)), None) for key, tried in names.items()
    }
    return spec | {key: value for key, value in found.items() if value is not None}


def _error_code(error: ValueError | OSError) -> int | None:
    """Returns the system's number of an error, which tensorstore keeps in its text."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"os_error_code='(\d+)'", str(error))
    return int(found[1]) if found else None


def _beginning_with(prefix: str) -> ts.KvStore.KeyRange:
    """Returns the range of all names with a prefix; an empty prefix means every name."""
    return ts.KvStore.KeyRange(prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)) if prefix else ts.KvStore.KeyRange()

"""Folders at a local path or at a tensorstore URL, and the operations on their files.

Every write is whole or not there: tensorstore writes a file under another name, syncs it, renames it and syncs the
folder; object stores put an object whole. What the disk or the network refuses is a `StoreError` with the place and the
way out.

`gs://` takes the credentials that Google's tools take. `s3://` takes AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
AWS_SESSION_TOKEN, or a profile (AWS_PROFILE, AWS_SHARED_CREDENTIALS_FILE), or the machine's role. A server other than
Amazon's is named by AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, its region by AWS_REGION or AWS_DEFAULT_REGION. A server
that does not answer is asked again for a quarter of an hour before that is an error; the log says so after ten seconds.

`http://` and `https://` are no folders, since web servers neither list nor write; single files are read there.
"""

import errno
import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import tensorstore as ts

from lca_jax.errors import LcaError, SettingsError, StoreError
from lca_jax.machine.files import real_path, remove_inside
from lca_jax.machine.urls import refuse_web, url_of

SILENT_S = 10.0
"""Seconds after which the log says that a server has not answered."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_log = logging.getLogger(__name__)
_told: set[str] = set()
"""Servers of which the log has said that they do not answer."""


def open_folder(path: str | Path, *, of_single_files: bool = False) -> ts.KvStore:
    """Opens the folder at a local path, or at a URL such as `gs://bucket/run/` (`urls` tells which is which).

    Args:
        path: The path or URL.
        of_single_files: Whether nothing but files of known names is read, as web servers can.

    Raises:
        SettingsError: The path cannot be one, tensorstore does not know the URL's scheme, or the URL is that of a web
            server and more than single files is asked of it.
    """
    if not of_single_files:
        refuse_web(path)
    if (url := url_of(path)) is None:
        return ts.KvStore.open({"driver": "file", "path": f"{real_path(path)}/"}).result()
    try:
        spec = ts.KvStore.Spec(f"{url.rstrip('/')}/").to_json()
        return ts.KvStore.open(_with_s3_server(spec) if spec["driver"] == "s3" else spec).result()
    except ValueError as error:
        raise SettingsError(f"{url} cannot be opened as a folder: {error}") from None


def name_folder(folder: ts.KvStore) -> str:
    """Returns the name of a folder in messages: its path or its URL."""
    spec = folder.spec().to_json()
    if spec["driver"] == "file":
        return spec["path"].rstrip("/")
    return f"s3://{spec['bucket']}/{spec['path']}".rstrip("/") if spec["driver"] == "s3" else folder.url.rstrip("/")


@contextmanager
def reaching(folder: ts.KvStore, *, writing: bool = False, much: bool = False) -> Iterator[None]:
    """Turns an error of the disk or the network into a `StoreError` that names the place and the way out.

    Args:
        folder: The folder.
        writing: Whether the block writes.
        much: Whether the block moves so many bytes that it may take long with a server that answers.
    """
    try:
        with nullcontext() if much else _telling_of_silence(folder):
            yield
    except LcaError:
        raise
    except NotImplementedError as error:
        what = "written" if writing else "listed or read"
        raise StoreError(
            f"{name_folder(folder)} is a place that cannot be {what} so: {error}. Give a local folder, or the URL of a "
            "bucket (gs://…, s3://…)."
        ) from None
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


@contextmanager
def _telling_of_silence(folder: ts.KvStore) -> Iterator[None]:
    """Says in the log, once for each server, that it has not answered while the block waits for it."""
    if local_path(folder) is not None:
        yield
        return
    timer = threading.Timer(SILENT_S, _tell_of_silence, [name_folder(folder)])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _tell_of_silence(place: str) -> None:
    server = "/".join(place.split("/", 3)[:3])
    if server not in _told:
        _told.add(server)
        _log.warning(
            "%s has not answered for %.0f s. A server that does not answer is asked again for a quarter of an hour.",
            *(place, SILENT_S),
        )


def local_path(folder: ts.KvStore) -> str | None:
    """Returns the path of a folder on this machine's disk, None for any other."""
    return folder.path if folder.spec().to_json()["driver"] == "file" else None


def read_file(folder: ts.KvStore, name: str) -> bytes | None:
    """Returns the bytes of one file, None if there is no such file."""
    with reaching(folder):
        found = folder.read(name).result()
    return found.value if found.state == "value" else None


def is_file(folder: ts.KvStore, name: str) -> bool:
    """Returns whether there is a file of this name, without reading it."""
    with reaching(folder):
        return bool(folder.list(ts.KvStore.KeyRange(name, f"{name}\0")).result())


def write_file(folder: ts.KvStore, name: str, content: bytes) -> None:
    """Writes one file; on return it is safe."""
    with reaching(folder, writing=True):
        folder.write(name, content).result()


def list_files(folder: ts.KvStore, prefix: str = "") -> list[str]:
    """Returns the names of the files that begin with a prefix, sorted."""
    with reaching(folder):
        return sorted(key.decode() for key in folder.list(_beginning_with(prefix)).result())


def remove_file(folder: ts.KvStore, name: str) -> None:
    """Deletes one file, if it is there; of a link only the link."""
    with reaching(folder, writing=True):
        if (path := local_path(folder)) is not None:
            remove_inside(Path(path), [name])
        else:
            folder.write(name, None).result()


def remove_subfolder(folder: ts.KvStore, name: str) -> None:
    """Deletes all files under a name that ends in a slash, if there are any; of a link only the link."""
    with reaching(folder, writing=True):
        if (path := local_path(folder)) is not None:
            remove_inside(Path(path), [name.rstrip("/")])
        else:
            folder.delete_range(_beginning_with(name)).result()


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

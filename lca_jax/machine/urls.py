"""Tells URLs from paths: `gs://bucket/run` is a place in an object store, and never a folder named `gs:`.

Whoever takes a path from a user either reads and writes URLs (`read_content`, `machine.folders`, `machine.remote`) or
refuses them by name (`refuse_url`, which `files.real_path` and `files.write_whole` call). Settings keep URLs as paths,
in which `pathlib` makes one slash of two; `url_of` undoes that. The module loads no framework.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, BytesIO
from pathlib import Path

from lca_jax.errors import LcaError, SettingsError

_WEB = ("http://", "https://")
"""Schemes of web servers, which hand out files by name, and neither write nor list them."""
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(.*)", re.DOTALL)
"""A scheme of two letters or more, since one letter is a drive of Windows."""


def url_of(path: str | Path) -> str | None:
    """Returns the URL that a text or a path is; None for a path on this machine."""
    found = _URL.fullmatch(str(path))
    if found is None:
        return None
    root = "/" if found[1] == "file" else ""
    return f"{found[1]}://{root}{found[2].lstrip('/')}"


def name_place(path: str | Path) -> str:
    """Returns a path or a URL as it stands in messages."""
    return url_of(path) or str(path)


def refuse_url(path: str | Path, *, error: type[LcaError] = SettingsError, instead: str = "") -> None:
    """Checks that a path is none of an object store.

    Args:
        path: The path.
        error: Kind of the error.
        instead: A sentence that says what does write to object stores.

    Raises:
        LcaError: It is a URL; the message names it and the way out.
    """
    if (url := url_of(path)) is not None:
        raise error(
            f"{url} is a URL, and here only a path on this machine will do. Give a local folder or file, or mount the "
            "bucket (gcsfuse, mountpoint-s3) and give its path; a local folder of such a name has its absolute path."
            + (instead and f" {instead}")
        )


def is_on_the_web(path: str | Path) -> bool:
    """Returns whether a path is a URL of a web server."""
    return (url := url_of(path)) is not None and url.lower().startswith(_WEB)


def refuse_web(path: str | Path) -> None:
    """Checks that a folder, which is to be listed or written, is none of a web server.

    Raises:
        SettingsError: It is at an `http://` or `https://`; the message names it and the way out.
    """
    if is_on_the_web(path):
        raise SettingsError(
            f"{url_of(path)} is on a web server, which neither writes nor lists files: only single files, such as "
            "texts, are read there. Give a local folder, or the URL of a bucket (gs://…, s3://…)."
        )


def read_content(path: str | Path) -> bytes:
    """Returns the bytes of a file, or of the object at a URL.

    Raises:
        OSError: There is none, or it cannot be read.
        StoreError: The object store refuses or cannot be reached.
    """
    if (url := url_of(path)) is None:
        return Path(path).read_bytes()
    from lca_jax.machine.remote import read_object_at  # with it comes tensorstore

    return read_object_at(url)


@contextmanager
def opened(path: str | Path) -> Iterator[BufferedReader]:
    """Opens a file for reading, or the object at a URL, whose bytes are in memory meanwhile.

    Raises:
        OSError: There is none, or it cannot be read.
        StoreError: The object store refuses or cannot be reached.
    """
    if url_of(path) is None:
        with Path(path).open("rb") as file:
            yield file
    else:
        yield BufferedReader(BytesIO(read_content(path)))


def is_there(path: str | Path) -> bool:
    """Returns whether there is a file at a path, or an object at a URL.

    Raises:
        StoreError: The object store refuses or cannot be reached.
    """
    if (url := url_of(path)) is None:
        return Path(path).is_file()
    from lca_jax.machine.remote import is_object_at  # with it comes tensorstore

    return is_object_at(url)

"""Objects and folders at URLs, as plain files while they are needed: fetched for readers, sent by writers.

Libraries that read weights and write checkpoints want files. They get a folder among the temporary ones, which takes
the room of what is fetched or sent; one object at a time is held in memory.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import tensorstore as ts

from lca_jax.errors import StoreError
from lca_jax.machine.folders import is_file, list_files, open_folder, read_file, remove_file, write_file
from lca_jax.machine.urls import is_on_the_web, refuse_web


def read_object_at(url: str) -> bytes:
    """Returns the bytes of one object.

    Raises:
        FileNotFoundError: There is none.
        StoreError: The object store refuses or cannot be reached.
    """
    folder, name = _place_of(url)
    content = read_file(folder, name)
    if content is None:
        raise FileNotFoundError(errno.ENOENT, "there is no such object", url)
    return content


def is_object_at(url: str) -> bool:
    """Returns whether there is an object; it is looked for in a list, and not read, where there are lists.

    Raises:
        StoreError: The object store refuses or cannot be reached.
    """
    folder, name = _place_of(url)
    if is_on_the_web(url):
        return read_file(folder, name) is not None
    return is_file(folder, name)


def write_object_at(url: str, content: bytes) -> None:
    """Writes one object, whole, in place of an older one."""
    refuse_web(url)
    folder, name = _place_of(url)
    write_file(folder, name, content)


@contextmanager
def fetched(url: str, choose: Callable[[list[str]], list[str]] = list) -> Iterator[Path]:
    """Yields a folder with copies of the objects below a URL, for as long as the block runs.

    Args:
        url: The folder's URL.
        choose: Function that returns which of all objects are fetched, by their names in the folder.

    Raises:
        StoreError: There are none, the object store refuses, or a name leads out of the folder.
    """
    folder = open_folder(url)
    names = choose(list_files(folder))
    if not names:
        raise StoreError(f"{url} has none of the files that are looked for. Check the URL.")
    with TemporaryDirectory(prefix="lca-") as place:
        for name in names:
            file = _inside(Path(place), name, url)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(read_file(folder, name) or b"")
        yield Path(place)


@contextmanager
def sent(url: str, *, last: str) -> Iterator[Path]:
    """Yields a folder whose files are sent to a URL when the block ends, one of them last.

    So a reader who begins with the last one finds all others. The folder has the subfolders that the URL has, empty,
    so that new ones get other names; what lies at the URL in subfolders that the block removed is deleted at the end.

    Args:
        url: The folder's URL.
        last: The file that names all others.
    """
    folder = open_folder(url)
    with TemporaryDirectory(prefix="lca-") as place:
        before = list_files(folder)
        for name in before:
            _inside(Path(place), name, url).parent.mkdir(parents=True, exist_ok=True)
        yield Path(place)
        files = [path.relative_to(place).as_posix() for path in Path(place).rglob("*") if path.is_file()]
        for name in sorted(files, key=lambda name: (name == last, name)):
            write_file(folder, name, (Path(place) / name).read_bytes())
        for name in before:
            if "/" in name and not (Path(place) / name.partition("/")[0]).is_dir():
                remove_file(folder, name)


def _place_of(url: str) -> tuple[ts.KvStore, str]:
    """Returns the folder and the name of one object."""
    place, _, name = url.rpartition("/")
    return open_folder(place, of_single_files=True), name


def _inside(folder: Path, name: str, url: str) -> Path:
    """Returns the path of an object's copy; names of objects are chosen by others."""
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\0" in name or name.endswith("/"):
        raise StoreError(f"{url} has an object named {name!r}, which cannot be a file in a folder. Remove it.")
    return folder / name

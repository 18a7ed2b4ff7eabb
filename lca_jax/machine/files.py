"""Writes files whole or not at all: under another name first, synced, and renamed once they are complete.

Everything that the package leaves behind goes through `write_whole`: exports, rankings, results, pages, probe sets,
models. The shards of a store have their own protocol, which survives a kill at any moment (`store`).

Nothing is written or deleted through a link inside a folder of ours: `remove_inside` and `refuse_links` see to that.
The folder itself may be named by a link, as the user chose it.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

from lca_jax.errors import LcaError, SettingsError, StoreError
from lca_jax.machine.urls import refuse_url, url_of


@contextmanager
def write_whole(paths: Sequence[Path], *, overwrite: bool = False) -> Iterator[list[Path]]:
    """Yields for each path another one to write to; the results get their names when the block ends, the first last.

    So a reader that finds the first finds all of them. What is written may be a file or a folder. If the block fails
    nothing is left. A killed process leaves entries named `.NAME.unfinished`, which the next run writes over.

    Args:
        paths: Where the results belong; their parent folders are made.
        overwrite: Whether a file may take the place of an older one. A folder never does, since the file system has no
            single step for that: write a folder under a new name, beside a file that names it.

    Raises:
        StoreError: A path exists already; the message names all that do. Or two paths are the same.
        SettingsError: A path is a URL.
    """
    for path in paths:
        refuse_url(path)
    if len(set(paths)) < len(paths):
        raise StoreError(f"Files must have different names, got {', '.join(str(path) for path in paths)}.")
    if taken := [str(path) for path in paths if path.is_dir() or (path.exists() and not overwrite)]:
        raise StoreError(f"{', '.join(taken)}: there already, and nothing is overwritten. Delete it, or name another.")
    unfinished = [path.with_name(f".{path.name}.unfinished") for path in paths]
    for path in unfinished:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(path)
    try:
        with naming_place(paths[0]):
            yield unfinished
            for path in unfinished:
                _sync(path)
        for path, named in reversed(list(zip(unfinished, paths, strict=True))):
            path.replace(named)
            _sync_folder(named.parent)
    finally:
        for path in unfinished:
            _remove(path)


def write_text_whole(path: Path, text: str) -> None:
    """Writes one UTF-8 text, a file or the object at a URL, in place of an older one.

    Lone surrogates, which UTF-8 cannot hold, become `?`.
    """
    content = text.encode("utf-8", errors="replace")
    if (url := url_of(path)) is not None:
        from lca_jax.machine.remote import write_object_at  # with it comes tensorstore

        write_object_at(url, content)
        return
    with write_whole([path], overwrite=True) as (unfinished,):
        unfinished.write_bytes(content)


@contextmanager
def naming_place(path: Path) -> Iterator[None]:
    """Adds a path to errors of the disk in the block that do not say where they happened, as those of writing do not.

    The libraries that write for us (tensorstore, orbax) tell the system's error as a `ValueError` with its number.

    Raises:
        OSError: The error with the path.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    except ValueError as error:
        found = None if isinstance(error, LcaError) else re.search(r"os_error_code='(\d+)'", str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error


def real_path(path: str | Path, *, error: type[LcaError] = SettingsError) -> Path:
    """Returns the absolute path of a file or folder that need not exist yet, without `..`, and with `~` written out.

    Raises:
        LcaError: The path is a URL, holds a NUL, names the home of nobody, or goes round in links.
    """
    refuse_url(path, error=error)
    try:
        if "\0" in str(path):
            raise ValueError("it holds a NUL character")  # noqa: TRY301 - one message for all causes
        os.fsencode(path)  # a path that the system has no bytes for
        absolute = Path(path).expanduser().absolute()
        return absolute.resolve() if ".." in absolute.parts else absolute
    except (ValueError, RuntimeError, OSError) as problem:
        raise error(f"{str(path)!r} is no path: {problem}. Give another one.") from None


def remove_inside(folder: Path, names: Iterable[str]) -> None:
    """Deletes files and folders inside a folder, if they are there; of a link only the link.

    Args:
        folder: The folder.
        names: Paths in it.

    Raises:
        StoreError: A path leads out of the folder, by `..` or through a link.
    """
    paths = {name: folder / name for name in names}
    for name, path in paths.items():
        if ".." in Path(name).parts or not path.parent.resolve().is_relative_to(folder.resolve()):
            raise StoreError(
                f"{path} is not inside {folder}, since a link on the way leads elsewhere. Nothing is deleted through "
                "links: replace the link by the folder itself."
            )
    for path in paths.values():
        _remove(path)


def refuse_links(folder: Path, names: Iterable[str]) -> None:
    """Checks that none of some entries of a folder, which are to be written, is a link.

    Raises:
        StoreError: One is; the message names it and what it points at.
    """
    for name in names:
        path = folder / name
        if path.is_symlink():
            raise StoreError(
                f"{path} is a link to {path.readlink()}. Nothing is written through links inside a folder: remove the "
                "link, or put what it points at in its place."
            )


def _remove(path: Path) -> None:
    """Deletes a file or a folder, if it is there; of a link only the link."""
    if path.is_dir() and not path.is_symlink():
        rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Brings a file, or all files of a folder, to the disk."""
    if path.is_dir():
        for inside in path.iterdir():
            _sync(inside)
        _sync_folder(path)
    else:
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Brings the names in a folder to the disk, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""A file system without locks, and another process there that takes over a folder while a run goes on in it."""

import re
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

from lca_jax.errors import StoreError
from lca_jax.machine.checksums import checksums_in
from lca_jax.machine.folders import open_folder
from lca_jax.store import lock


def files_of_the_end(patch: pytest.MonkeyPatch, place: str, folder: Path, work: Callable[[], object]) -> dict[str, str]:
    """Has work lose its folder at a function, and checks that it ends with an error and writes nothing more.

    Args:
        patch: Undoes it.
        place: The function, as `module:name` or `module:Class.name`; it is lost at the first call.
        folder: The folder, which the error names.
        work: What writes the folder.

    Returns:
        The checksums of the folder's files.
    """
    _use_heartbeats(patch)
    before = _lose_at(patch, place, folder)
    with pytest.raises(StoreError, match=f"{re.escape(folder.name)} was taken over by another process"):
        work()
    assert _files_in(folder) == before
    return before


def _use_heartbeats(patch: pytest.MonkeyPatch) -> None:
    """Has locks be files with a heartbeat, as in object stores, and the hearts beat fast."""

    def refuse(*_: int) -> None:
        raise OSError(95, "Operation not supported")

    patch.setattr("fcntl.flock", refuse)
    patch.setattr(lock, "BEAT_S", 0.05)
    patch.setattr(lock, "WATCH_S", 1.0)


def _lose_at(patch: pytest.MonkeyPatch, place: str, folder: Path) -> dict[str, str]:
    """Has another process take over a folder when a function is called for the first time.

    Args:
        patch: Undoes it.
        place: The function, as `module:name` or `module:Class.name`.
        folder: The folder.

    Returns:
        The checksums of the folder's files at that moment, once it has come.
    """
    module, _, name = place.partition(":")
    inside, _, name = name.rpartition(".")
    owner = resolve_name(f"{module}:{inside}") if inside else import_module(module)
    function, before = getattr(owner, name), dict[str, str]()

    def lose_and_call(*arguments: Any, **keywords: Any) -> Any:
        if not before:
            _take_over(folder)
            before.update(_files_in(folder))
        return function(*arguments, **keywords)

    patch.setattr(owner, name, lose_and_call)
    return before


def _files_in(folder: Path) -> dict[str, str]:
    """Returns the checksums of what a run has made in a folder: all but its log, and the locks."""
    return {name: sum_ for name, sum_ in checksums_in(folder).items() if not name.startswith((".lock-", "log.txt"))}


def _take_over(folder: Path) -> None:
    """Writes the lock of another process over ours, and waits until our heart finds it."""
    hearts = [thread for thread in threading.enumerate() if thread.name == "store-lock"]
    assert hearts
    open_folder(folder)[".lock-0"] = b'{"host": "elsewhere", "pid": 7, "since": "today"}'
    until = threading.Event()
    for _ in range(600):
        if not all(heart.is_alive() for heart in hearts):
            return
        until.wait(0.05)
    pytest.fail("The heart still beats after 30 s.")

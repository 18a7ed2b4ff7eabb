"""Lets one process write a folder, or one of each rank of a job; a process that comes second is told who holds it.

Stores and run folders are locked in the same way; the file of a lock is removed when it is given up.

On a local path the lock is the operating system's (`flock`), which ends with the process, however it ends: nothing that
a killed run leaves blocks the next. In an object store, and on file systems without locks, it is a file with a
heartbeat: the holder writes it anew every few seconds, and another process that finds it watches whether it changes. So
a killed holder is told from a living one without comparing clocks, at the cost of a wait of fifteen seconds.

A holder that stood still for longer than that (a suspended machine) may find that another has taken its place: it ends
with an error before its next shard.
"""

import json
import os
import socket
import threading
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import tensorstore as ts

from lca_jax.errors import HeldError, StoreError
from lca_jax.machine.folders import list_files, local_path, name_folder, reaching
from lca_jax.machine.json_text import parse_json

BEAT_S = 5.0
"""Seconds between two beats of a holder."""
WATCH_S = 3 * BEAT_S
"""Seconds without a beat after which a holder counts as dead."""


class Lock(ABC):
    """The right to write a folder."""

    @abstractmethod
    def check(self) -> None:
        """Checks that the right still holds.

        Raises:
            StoreError: The folder is not the one that was locked, or another process has taken it over.
        """

    @abstractmethod
    def release(self) -> None:
        """Gives the right up; a second call does nothing."""


class _Unshared(Lock):
    """Nothing is held, so nothing is lost."""

    def check(self) -> None:
        """Does nothing."""

    def release(self) -> None:
        """Does nothing."""


UNSHARED = _Unshared()
"""In the place of a lock, for a folder that is only read, or that nobody else writes."""


def hold(folder: ts.KvStore, prefix: str, *, rank: int, beside_others: bool = False) -> Lock:
    """Takes the lock of one rank of a job.

    The first rank does so before the others, and makes sure that no process of an older job holds a lock.

    Args:
        folder: The folder.
        prefix: Beginning of the names of all ranks' locks.
        rank: Number of this process in its job; 0 if it is alone.
        beside_others: Whether the lock of rank 0 may be taken while others hold theirs, for processes that come and go.

    Raises:
        StoreError: Another process holds a lock; the message says which, on which machine, and since when.
    """
    name_of_rank = f"{prefix}{rank}"
    lock = _take(folder, name_of_rank)
    if rank == 0 and not beside_others:
        names = [name for name in list_files(folder, prefix) if name.removeprefix(prefix).isdigit()]
        others = [name for name in names if name != name_of_rank]
        try:
            with ThreadPoolExecutor(max(len(others), 1)) as threads:
                for other in threads.map(lambda name: _take(folder, name), others):
                    other.release()
        except StoreError:
            lock.release()
            raise
    return lock


def _take(folder: ts.KvStore, name: str) -> Lock:
    path = local_path(folder)
    if path is not None:
        with reaching(folder, writing=True), suppress(_NoLocks, ImportError):
            return _FileLock(folder, Path(path) / name)
    return Heartbeat(folder, name)


class _NoLocks(Exception):  # noqa: N818 - a kind of file system, not a failure
    """The file system has no locks."""


class _FileLock(Lock):
    """A lock of the operating system."""

    def __init__(self, folder: ts.KvStore, path: Path) -> None:
        import fcntl  # Windows does not have it

        self._folder = folder
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            # A link in place of the file would have us write into what it points at.
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(self._file, 10_000, 0)
                os.close(self._file)
                raise HeldError(_name_holder(folder, holder)) from None
            except OSError:
                os.close(self._file)
                raise _NoLocks from None
            if self._is_the_one_at_the_path():
                break
            os.close(self._file)  # a run that ended meanwhile has deleted the file
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(_describe_self()).encode(), 0)

    def check(self) -> None:
        if not self._is_the_one_at_the_path():
            raise StoreError(
                f"{name_folder(self._folder)} is no longer the folder that this run began in: it was removed, or is no "
                "longer mounted there. Bring it back and start the same command again: it goes on from what is whole."
            )

    def release(self) -> None:
        if self._file >= 0:
            with suppress(OSError):  # while it is held, so that nobody holds a file that is no longer there
                if self._is_the_one_at_the_path():
                    self._path.unlink()
            os.close(self._file)
            self._file = -1

    def _is_the_one_at_the_path(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file))
        except OSError:
            return False


class Heartbeat(Lock):
    """A file that changes as long as its writer lives."""

    def __init__(self, folder: ts.KvStore, name: str) -> None:
        """Takes the lock, or waits until its last holder proves to be dead.

        Args:
            folder: The store's folder.
            name: Name of the lock's file.

        Raises:
            StoreError: Another process holds the lock.
        """
        self._folder = folder
        self._name = name
        self._self = _describe_self()
        self._beats = 0
        self._lost = False
        self._stop = threading.Event()
        while (generation := self._write(self._watch())) is None:
            pass  # another process was faster; now it is watched
        self._generation = generation
        self._thread = threading.Thread(target=self._beat, name="store-lock", daemon=True)
        self._thread.start()

    def check(self) -> None:  # noqa: D102
        if self._lost:
            raise StoreError(
                f"{name_folder(self._folder)} was taken over by another process, since this one stood still for longer "
                f"than {WATCH_S:.0f} s. Leave the other one to go on, or stop it and start the same command again."
            )

    def release(self) -> None:  # noqa: D102
        if not self._stop.is_set():
            self._stop.set()
            self._thread.join()
            with (
                suppress(StoreError),
                reaching(self._folder, writing=True),
            ):  # if that fails it counts as dead a little later
                self._folder.write(self._name, None, if_equal=self._generation).result()

    def _watch(self) -> bytes:
        """Waits until the lock is free or has not changed for a while; returns the generation to be replaced."""
        first = self._read()
        until = time.monotonic() + WATCH_S
        while first.value and time.monotonic() < until:
            time.sleep(WATCH_S / 15)
            now = self._read()
            if now.state == "value" and now.stamp.generation != first.stamp.generation:
                raise HeldError(_name_holder(self._folder, now.value))
            if now.state != "value":
                return now.stamp.generation
        return first.stamp.generation

    def _read(self) -> ts.KvStore.ReadResult:
        with reaching(self._folder):
            return self._folder.read(self._name).result()

    def _write(self, replaced: bytes) -> bytes | None:
        """Writes the next beat if nobody else has written since; returns the new generation, or None."""
        self._beats += 1
        content = json.dumps({**self._self, "beat": self._beats}).encode()
        with reaching(self._folder, writing=True):
            return self._folder.write(self._name, content, if_equal=replaced).result().generation or None

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            with suppress(StoreError):  # out of reach for a moment; if that lasts, the next shard says so
                generation = self._write(self._generation)
                if generation is None:
                    self._lost = True
                    return
                self._generation = generation


def _describe_self() -> dict[str, str | int]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _name_holder(folder: ts.KvStore, holder: bytes) -> str:
    try:
        content = parse_json(holder)
        who = f"process {content['pid']} on {content['host']}, since {content['since']}"
    except (ValueError, KeyError, TypeError):
        who = "another process, which has only just begun"
    return (
        f"{name_folder(folder)} is being written by {who}. Wait until that is done, or stop it; "
        "the same command then goes on from what is whole."
    )

"""One process writes a store, or one of each rank of a job; whoever comes second hears who holds it.

On a local path the lock is the operating system's (`flock`), which ends with the process, however it ends: nothing that
a killed run leaves blocks the next. In an object store, and on file systems without locks, it is a file with a
heartbeat: the holder writes it anew every few seconds, and whoever finds it watches whether it changes. A killed holder
is thus told from a living one without comparing clocks, at the cost of a wait of fifteen seconds.

A holder that was stopped for longer than that (a suspended machine) may find that another has taken its place: it ends
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

from lca_jax.errors import StoreError
from lca_jax.store.folder import list_files, local_path, name_folder, reaching

_BEAT_S = 5.0
_WATCH_S = 3 * _BEAT_S


class Lock(ABC):
    """The right to write a store."""

    @abstractmethod
    def check(self) -> None:
        """Sees that the right still holds.

        Raises:
            StoreError: The folder is not the one that was locked, or another process has taken it over.
        """

    @abstractmethod
    def release(self) -> None:
        """Gives the right up; a second time does nothing."""


def hold(folder: ts.KvStore, prefix: str, *, rank: int) -> Lock:
    """Takes the lock of one rank of a job; the first rank does so before the others and sees that no older job is left.

    Args:
        folder: The store's folder.
        prefix: What the names of all ranks' locks begin with.
        rank: Number of this process in its job; 0 if it is alone.

    Raises:
        StoreError: Another process holds it; the message says which, on which machine, and since when.
    """
    own = f"{prefix}{rank}"
    lock = _take(folder, own)
    if rank == 0:
        others = [name for name in list_files(folder, prefix) if name != own and name.removeprefix(prefix).isdigit()]
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
    return _Heartbeat(folder, name)


class _NoLocks(Exception):  # noqa: N818 - no failure, but a kind of file system
    """The file system has no locks."""


class _FileLock(Lock):
    """A lock of the operating system."""

    def __init__(self, folder: ts.KvStore, path: Path) -> None:
        import fcntl  # not everywhere

        self._folder = folder
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(self._file, 10_000, 0)
                os.close(self._file)
                raise StoreError(_say_who_holds(folder, holder)) from None
            except OSError:
                os.close(self._file)
                raise _NoLocks from None
            if self._is_the_one_at_the_path():
                break
            os.close(self._file)  # a run that was finished has deleted it meanwhile
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(_describe_self()).encode(), 0)

    def check(self) -> None:
        if not self._is_the_one_at_the_path():
            raise StoreError(
                f"{name_folder(self._folder)} is no longer the folder that this run began in: it was removed, or what "
                "was mounted there is gone. Bring it back and start the same command again: it goes on from the last "
                "whole shard."
            )

    def release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _is_the_one_at_the_path(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file))
        except OSError:
            return False


class _Heartbeat(Lock):
    """A file that changes as long as its writer lives."""

    def __init__(self, folder: ts.KvStore, name: str) -> None:
        self._folder = folder
        self._name = name
        self._self = _describe_self()
        self._beats = 0
        self._lost = False
        self._stop = threading.Event()
        while (generation := self._write(self._watch())) is None:
            pass  # another one was faster; it is watched in its turn
        self._generation = generation
        self._thread = threading.Thread(target=self._beat, name="store-lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        if self._lost:
            raise StoreError(
                f"{name_folder(self._folder)} was taken over by another process, since this one stood still for longer "
                f"than {_WATCH_S:.0f} s. Leave the other one to go on, or stop it and start the same command again."
            )

    def release(self) -> None:
        if not self._stop.is_set():
            self._stop.set()
            self._thread.join()
            with (
                suppress(StoreError),
                reaching(self._folder, writing=True),
            ):  # else it is taken for dead, a little later
                self._folder.write(self._name, None, if_equal=self._generation).result()

    def _watch(self) -> bytes:
        """Waits until the lock is free or has not changed for a while; returns the state to be replaced."""
        with reaching(self._folder):
            first = self._folder.read(self._name).result()
            until = time.monotonic() + _WATCH_S
            while first.value and time.monotonic() < until:
                time.sleep(_WATCH_S / 15)
                now = self._folder.read(self._name).result()
                if now.state == "value" and now.stamp.generation != first.stamp.generation:
                    raise StoreError(_say_who_holds(self._folder, now.value))
                if now.state != "value":
                    return now.stamp.generation
        return first.stamp.generation

    def _write(self, replaced: bytes) -> bytes | None:
        """Writes the next beat if nobody else has written since; returns the new state."""
        self._beats += 1
        content = json.dumps({**self._self, "beat": self._beats}).encode()
        with reaching(self._folder, writing=True):
            return self._folder.write(self._name, content, if_equal=replaced).result().generation or None

    def _beat(self) -> None:
        while not self._stop.wait(_BEAT_S):
            with suppress(StoreError):  # out of reach for a moment; if it lasts, the next shard says so
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


def _say_who_holds(folder: ts.KvStore, holder: bytes) -> str:
    try:
        known = json.loads(holder)
        who = f"process {known['pid']} on {known['host']}, since {known['since']}"
    except (ValueError, KeyError, TypeError):
        who = "another process, which has only just begun"
    return (
        f"{name_folder(folder)} is being written by {who}. Wait until that is done, or stop it; "
        "the same command then goes on from the last whole shard."
    )

"""Lets several processes work on one survey: they come and go, on machines that share its folder.

A process that joins takes a seat, a lock of its own in the folder, for as long as it works. What only one may do at a
time (to write the settings, to put the answers together) is done under the lock that a process which works alone holds
all the time. All locks end with their process, however it ends: what it leaves is taken up by the others.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from lca_jax.errors import HeldError
from lca_jax.experiment.holding import held_folder
from lca_jax.store.lock import Lock

AGAIN_S = 0.5
"""Seconds until a process looks again at what another one holds."""
_log = logging.getLogger("lca_jax")


@contextmanager
def seated(folder: Path) -> Iterator[tuple[int, Lock]]:
    """Joins those who work in a folder; yields the number of the seat, from 1, and its lock."""
    with ExitStack() as held:
        for seat in count(1):
            try:
                lock = held.enter_context(held_folder(folder, rank=seat))
            except HeldError:
                continue
            yield seat, lock
            return


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[Lock]:
    """Keeps the others who joined from doing the same while the block runs; waits until none of them does.

    Yields the lock under which only one works.
    """
    with ExitStack() as held:
        told = False
        while True:
            try:
                lock = held.enter_context(held_folder(folder, beside_others=True))
                break
            except HeldError as error:
                if not told:
                    _log.info("survey: waiting. %s", error)
                told = True
                time.sleep(AGAIN_S)
        yield lock


def others_are_seated(folder: Path, seat: int) -> bool:
    """Returns whether processes at other seats are at work; called by one at a time."""
    names = (file.name.removeprefix(".lock-") for file in folder.glob(".lock-*"))
    # Where locks are files with a heartbeat, each has another file beside it while it is written.
    for other in sorted({int(name) for name in names if name.isdigit()} - {0, seat}):
        try:
            with held_folder(folder, rank=other):
                pass
        except HeldError:
            return True
    return False

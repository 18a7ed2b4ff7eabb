"""Shows how far a run is: a bar on stderr while it goes on, and one line in the log when it is done.

A run may work in several stages at the same time, each in a thread of its own (the model on its device). `Progress`
counts the seconds in which each stage worked; the rest of the time it waited for the others, since all queues between
stages are short. The stage that waits least sets the pace. These shares go to the log at DEBUG.
"""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

_log = logging.getLogger(__name__)
_Item = TypeVar("_Item")
_SHOWN: ContextVar[bool] = ContextVar("shown", default=False)


@contextmanager
def show_bars(shown: bool) -> Iterator[None]:
    """Shows the bars of `counted` in the block, or none."""
    token = _SHOWN.set(shown)
    try:
        yield
    finally:
        _SHOWN.reset(token)


def counted(items: Sequence[_Item], what: str) -> Iterator[_Item]:
    """Yields items under a bar that says what is done with them and how much is left, where bars are shown."""
    yield from tqdm(items, desc=what, disable=not _SHOWN.get(), leave=False)


@contextmanager
def beside_bars() -> Iterator[None]:
    """Takes the bars away while the block writes to stderr, where they are, and draws them again."""
    with tqdm.external_write_mode(file=sys.stderr):
        yield


class Shown:
    """A bar of work whose parts end in any order, with a note about what has ended."""

    def __init__(self, bar: tqdm) -> None:
        """Wraps a bar that `shown_while` opened."""
        self._bar = bar

    def count(self, ended: int, note: str) -> None:
        """Counts parts that have ended since the last call, and says the note in place of the last one."""
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(ended)


@contextmanager
def shown_while(total: int, what: str) -> Iterator[Shown]:
    """Opens a bar for the block, with how much is left, where bars are shown."""
    with tqdm(total=total, desc=what, disable=not _SHOWN.get(), leave=False) as bar:
        yield Shown(bar)


class Progress:
    """Counts what is done, and the seconds of each stage; a context."""

    def __init__(self, *, total: int, done: int = 0, unit: str = "word", bar: bool = False) -> None:
        """Begins to count.

        Args:
            total: Number of things (words, pieces, sentences) of the whole work.
            done: Number of them that an earlier run has done.
            unit: Name of one of them.
            bar: Whether to show a bar, with the speed and the time left.
        """
        self._to_do = total - done
        self._unit = unit
        self._bar = tqdm(total=total, initial=done, unit=unit, unit_scale=True, disable=not bar)
        self._started = time.perf_counter()
        self._slots = self._pieces = 0
        self._worked_s: dict[str, float] = {}

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if error is None and self._slots:
            self._log_end(time.perf_counter() - self._started)

    @contextmanager
    def working(self, stage: str) -> Iterator[None]:
        """Counts the seconds of the block for a stage; the thread of the stage alone may do so."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.count_work(stage, time.perf_counter() - started)

    def count_work(self, stage: str, seconds: float) -> None:
        """Counts seconds in which a stage worked."""
        self._worked_s[stage] = self._worked_s.get(stage, 0.0) + seconds

    def count_done(self, count: int) -> None:
        """Counts things that are done: stored, or known to have no vector."""
        self._bar.update(count)

    def count_slots(self, slots: int, *, pieces: int) -> None:
        """Counts slots of rows that were computed, and how many of them held a piece."""
        self._slots += slots
        self._pieces += pieces

    def _log_end(self, seconds: float) -> None:
        speed = {
            "count": self._to_do,
            "unit": self._unit,
            "seconds": seconds,
            "per_s": self._to_do / seconds,
        }
        _log.info("%(count)d %(unit)ss in %(seconds).1f s (%(per_s).0f a second)", speed)
        waited = {stage: max(1 - worked / seconds, 0.0) for stage, worked in self._worked_s.items()}
        shares = {
            "packed_share": self._pieces / self._slots,
            "waited": ", ".join(f"{stage} {share:.2f}" for stage, share in waited.items()),
            "waited_share": waited,
        }
        _log.debug(
            "%(packed_share).3f of the computed slots held pieces; share of the time that each stage waited: "
            "%(waited)s",
            shares,
        )

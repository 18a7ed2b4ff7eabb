"""How far a run is and what it waits for: a bar on stderr while it goes on, one line in the log when it is done.

The stages of the line work at the same time, each in a thread of its own (the model on its device). Of each the seconds
are counted in which it worked; the rest of the time it waited for the others, since all queues between them are short.
The stage that waits least is the one that sets the pace.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, get_args

from tqdm import tqdm

_log = logging.getLogger(__name__)

Stage = Literal["tokenizing", "model", "copying", "sorting", "writing"]
"""Text into batches; the forward pass and pooling; from the device to the host; words into shards; shards to disk."""


class Tally:
    """Counts words, slots and the seconds of each stage; a context."""

    def __init__(self, *, words: int, stored: int, progress: bool) -> None:
        """Begins to count.

        Args:
            words: Words of the corpus.
            stored: How many of them an earlier run has stored.
            progress: Whether to show the bar, with words a second and the time left.
        """
        self._to_do = words - stored
        self._bar = tqdm(total=words, initial=stored, unit="word", unit_scale=True, disable=not progress)
        self._started = time.perf_counter()
        self._slots = self._pieces = 0
        self._worked_s: dict[Stage, float] = dict.fromkeys(get_args(Stage), 0.0)

    def __enter__(self) -> "Tally":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if error is None and self._slots:
            seconds = time.perf_counter() - self._started
            waited = {stage: max(1 - worked / seconds, 0.0) for stage, worked in self._worked_s.items()}
            facts = {
                "words": self._to_do,
                "seconds": seconds,
                "words_per_s": self._to_do / seconds,
                "packed_share": self._pieces / self._slots,
                "waited": ", ".join(f"{stage} {share:.2f}" for stage, share in waited.items()),
                "waited_share": waited,
            }
            _log.info(
                "%(words)d words in %(seconds).1f s (%(words_per_s).0f a second); %(packed_share).3f of the computed "
                "slots held pieces; share of the time that each stage waited: %(waited)s",
                facts,
            )

    @contextmanager
    def working(self, stage: Stage) -> Iterator[None]:
        """Counts the seconds of the block for a stage; only the stage's own thread may do so."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.count_work(stage, time.perf_counter() - started)

    def count_work(self, stage: Stage, seconds: float) -> None:
        """Counts seconds in which a stage worked."""
        self._worked_s[stage] += seconds

    def count_words(self, words: int) -> None:
        """Counts words that are settled: stored, or known to have no vector."""
        self._bar.update(words)

    def count_slots(self, slots: int, *, pieces: int) -> None:
        """Counts what was computed, and what of it held a piece."""
        self._slots += slots
        self._pieces += pieces

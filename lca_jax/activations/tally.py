"""How far a run is: a bar on stderr while it goes on, one line in the log when it is done."""

import logging
import time
from types import TracebackType

from tqdm import tqdm

_log = logging.getLogger(__name__)


class Tally:
    """Counts words and slots; a context."""

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

    def __enter__(self) -> "Tally":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if error is None and self._slots:
            seconds = time.perf_counter() - self._started
            _log.info(
                "%d words in %.1f s (%.0f a second); %.3f of the computed slots held pieces",
                self._to_do,
                seconds,
                self._to_do / seconds,
                self._pieces / self._slots,
            )

    def count_words(self, words: int) -> None:
        """Counts words that are settled: stored, or known to have no vector."""
        self._bar.update(words)

    def count_slots(self, slots: int, *, pieces: int) -> None:
        """Counts what was computed, and what of it held a piece."""
        self._slots += slots
        self._pieces += pieces

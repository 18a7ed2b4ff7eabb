"""The memory that Linux counts for this process, now, at its peak, and while something runs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SAMPLE_S = 0.1


def read_bytes(field: str) -> int:
    """Returns a field of `/proc/self/status`: `VmRSS` and its part `RssAnon` for the present, `VmHWM` for the peak."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    for line in lines:
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/self/status must have {field}, as on Linux.")


@contextmanager
def sampled(field: str = "VmRSS") -> Iterator[list[int]]:
    """Yields a list that gets a field at intervals while the block runs."""
    samples: list[int] = [read_bytes(field)]
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(_SAMPLE_S):
            samples.append(read_bytes(field))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()

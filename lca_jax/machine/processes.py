"""What the processes of a job do together: they share out the work, wait for each other, hear of each other's errors.

A process that fails and leaves would keep the others waiting for five minutes at the next milestone, and then take them
down without a word. So errors are kept until all processes have reached the milestone, and then everyone stops.
Alone, a process waits for nobody.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
from jax.experimental import multihost_utils

from lca_jax.errors import StoreError


@contextmanager
def together(milestone: str) -> Iterator[None]:
    """Waits at the end of the block until every process of the job is through with it.

    Args:
        milestone: What the block does, for the message.

    Raises:
        StoreError: The block failed in another process; in this one its own error is raised.
    """
    failed: Exception | None = None
    try:
        yield
    except Exception as error:
        failed = error
    flags = [failed is not None]
    if jax.process_count() > 1:
        flags = multihost_utils.process_allgather(np.array(flags[0])).tolist()
    if failed is not None:
        raise failed
    if any(flags):
        where = ", ".join(str(process) for process, flag in enumerate(flags) if flag)
        raise StoreError(
            f"Stopped, since process {where} of {len(flags)} failed ({milestone}); its own message says why. "
            "Mend that and start the whole job again: it goes on from the last whole shards."
        )


def share_of_process(items: frozenset[int]) -> frozenset[int]:
    """Neighbouring items, a share for every process that differs by one item at most from the others'."""
    index, count = jax.process_index(), jax.process_count()
    ordered = sorted(items)
    return frozenset(ordered[len(ordered) * index // count : len(ordered) * (index + 1) // count])


def all_bytes(own: bytes) -> list[bytes]:
    """What every process of the job gives, in the order of the processes; each holds all of it."""
    sizes = multihost_utils.process_allgather(np.array(len(own), np.int32)).tolist()
    padded = np.frombuffer(own.ljust(max(sizes), b"\0"), np.uint8)
    given = multihost_utils.process_allgather(padded)
    return [row[:size].tobytes() for row, size in zip(given, sizes, strict=True)]

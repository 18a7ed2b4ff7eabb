"""Work that the processes of a job do together: they share it out, wait for each other, and pass errors on.

A process that failed and left would keep the others waiting for five minutes at the next milestone, and then end them
without a message. So an error is kept until all processes have reached the milestone, and then all of them stop. A
process that is alone waits for no other.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import jax
import numpy as np
from jax.experimental import multihost_utils

from lca_jax.errors import StoreError
from lca_jax.machine.json_text import parse_json


@contextmanager
def together(milestone: str) -> Iterator[None]:
    """Waits at the end of the block until every process of the job is through with it.

    Args:
        milestone: Name of the block's work, for the message.

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
    """Returns this process's share of neighbouring items; shares differ by at most one item."""
    return share_of_team(items, (jax.process_index(),))


def share_of_team(items: frozenset[int], team: Sequence[int]) -> frozenset[int]:
    """Returns the share of neighbouring items of processes that work together; shares differ by at most one item.

    Args:
        items: Numbers of the items.
        team: Numbers of the processes: neighbours, and as many as in every other team of the job.
    """
    number, teams = team[0] // len(team), jax.process_count() // len(team)
    ordered = sorted(items)
    return frozenset(ordered[len(ordered) * number // teams : len(ordered) * (number + 1) // teams])


def turns_of_process(items: frozenset[int], team: Sequence[int]) -> frozenset[int]:
    """Returns the items of a team that this process takes: they take turns, one item each."""
    return frozenset(sorted(items)[team.index(jax.process_index()) :: len(team)])


def all_bytes(content: bytes) -> list[bytes]:
    """Returns the bytes that each process of the job gives, in the order of the processes."""
    if jax.process_count() == 1:
        return [content]
    sizes = multihost_utils.process_allgather(np.array(len(content), np.int32)).tolist()
    padded = np.frombuffer(content.ljust(max(sizes), b"\0"), np.uint8)
    gathered = multihost_utils.process_allgather(padded)
    return [of_process[:size].tobytes() for of_process, size in zip(gathered, sizes, strict=True)]


def of_first(content: bytes) -> bytes:
    """Returns the bytes that the first process of the job gives."""
    return all_bytes(content)[0]


def known_to_all(names: Iterable[str]) -> frozenset[str]:
    """Returns the names that every process of the job gives."""
    told = all_bytes(json.dumps(list(names)).encode())
    return frozenset.intersection(*(frozenset(parse_json(content)) for content in told))

"""Lets go of compiled programs before the system refuses a process more mappings of memory.

A compiled program takes some mappings of memory for as long as JAX may call it again, and Linux gives a process 65,530
(`vm.max_map_count`). A program is compiled for each shape, so a survey of a dozen languages, or thirty tasks that label
different words, would end with LLVM's "Cannot allocate memory", however much memory is free.
"""

import gc
import logging
from pathlib import Path

import jax

from lca_jax.machine.processes import of_first

_MAPS = Path("/proc/self/maps")
_MOST = Path("/proc/sys/vm/max_map_count")
_SHARE = 0.6
"""Share of the mappings that may be taken when work begins that compiles more."""
_log = logging.getLogger(__name__)


def count_mappings() -> int:
    """Returns the number of mappings of this process; 0 where the system does not tell it."""
    return _MAPS.read_bytes().count(b"\n") if _MAPS.is_file() else 0


def let_go_of_programs(*, above: int | None = None) -> None:
    """Forgets all compiled programs, if the process has more mappings than that; each is compiled again when needed.

    In a job every process calls it, and the first one decides: programs of several devices are compiled together.

    Args:
        above: Number of mappings; by default three fifths of what the system allows, and never where it does not tell.
    """
    limit = _usual() if above is None else above
    if limit is None:
        return
    taken = count_mappings()
    if of_first(b"go" if taken > limit else b"stay") == b"stay":
        return
    jax.clear_caches()
    gc.collect()  # programs that hold each other in a circle
    _log.info("Compiled programs took %d mappings of memory; they are let go, and compiled again where needed.", taken)


def _usual() -> int | None:
    try:
        return int(_SHARE * int(_MOST.read_text("ascii")))
    except (OSError, ValueError):
        return None

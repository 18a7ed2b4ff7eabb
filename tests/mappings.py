"""How much of its memory map a process of tests fills, and how it is emptied.

A compiled program takes some mappings of memory for as long as JAX may call it again, and Linux gives a process 65,530.
A worker that runs half of this suite compiles more than that, and LLVM then ends it with "Cannot allocate memory",
however much memory is free.
"""

import gc
from pathlib import Path

import jax

ENOUGH = 20_000
"""Mappings at which a worker lets go of its programs, between two files of tests."""
_MAPS = Path("/proc/self/maps")


def count_mappings() -> int:
    """Returns the number of mappings of this process; 0 where the system does not tell it."""
    return len(_MAPS.read_bytes().splitlines()) if _MAPS.is_file() else 0


def let_go_of_programs(*, above: int = ENOUGH) -> None:
    """Forgets all compiled programs, if the process has more mappings than that; most are read again from the cache."""
    if count_mappings() > above:
        jax.clear_caches()
        gc.collect()  # programs that hold each other in a circle

"""Memory that was let go of goes back to the system."""

import sys
from pathlib import Path

import pytest

from lca_jax.machine.heap import return_freed_memory


def own_bytes() -> int:
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text("ascii").splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, as on Linux")
def test_memory_of_small_objects_goes_back() -> None:
    held = [list(range(100)) for _ in range(100_000)]
    above = [list(range(100)) for _ in range(100)]  # the C library gives back what lies at the end by itself
    del held
    kept = own_bytes()
    return_freed_memory()
    assert kept - own_bytes() > 60e6
    assert len(above) == 100

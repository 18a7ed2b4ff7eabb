"""The devices of the tests in this folder, where their compilers are installed."""

import pytest
from jax.sharding import Mesh

from benchmarks.compiled.targets import CompilerMissingError, mesh_of

TPU, GPU, ONE_GPU = "v5e-4", "h100-8", "h100-1"
POD = "v5e-256"
QUICK = {"exec_time_optimization_effort": -1.0}
"""The TPU's compiler tries less to make a program fast, in half of the time; precisions and exchanges are the same."""


def devices(name: str, *, parts: int = 1) -> Mesh:
    """The devices of a target; skips the test where its compiler is not installed."""
    try:
        return mesh_of(name, parts=parts)
    except CompilerMissingError as error:
        pytest.skip(str(error))

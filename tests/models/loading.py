"""Loads a model in a process of its own and prints what that took.

    python -m tests.models.loading FIRST FOLDER DTYPE PARTS

FIRST is a small model of the same family that is loaded before, so that no module is imported while FOLDER is. Linux
counts a process's memory together with what it has mapped of files: the strictest of the ways to count it.
"""

import json
import os
import sys
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax

from lca_jax.models.load import load_model


def read_bytes(field: str) -> int:
    """A size out of what the kernel knows of this process: `VmRSS` now, `VmHWM` at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (size,) = (line.split()[1] for line in lines if line.startswith(f"{field}:"))
    return int(size) * 1024


def main() -> None:
    first, folder, dtype, parts = sys.argv[1:]
    load_model(first, dtype="bfloat16" if dtype == "bfloat16" else "float32", split_over=int(parts))
    before = read_bytes("VmRSS")
    model = load_model(folder, dtype="bfloat16" if dtype == "bfloat16" else "float32", split_over=int(parts))
    jax.block_until_ready(model.params)
    peak = read_bytes("VmHWM") - before
    json.dump({"peak": peak, "model": sum(leaf.nbytes for leaf in jax.tree.leaves(model.params))}, sys.stdout)


if __name__ == "__main__":
    main()

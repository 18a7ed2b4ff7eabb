"""What a GPU alone can show: cuDNN takes the calls of long rows, and extraction with its kernel is right."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

pytestmark = [pytest.mark.gpu, pytest.mark.slow]


def has_gpu() -> bool:
    """Whether this machine has a GPU of NVIDIA's and JAX's plug-in for it."""
    plugins = (f"jax_cuda{version}_plugin" for version in (12, 13))
    return Path("/dev/nvidiactl").exists() and any(map(importlib.util.find_spec, plugins))


@pytest.mark.skipif(not has_gpu(), reason="needs an NVIDIA GPU and pip install 'lca-jax[cuda]'")
def test_extraction_with_the_kernel_is_as_near_to_float32_as_without(tmp_path: Path) -> None:
    """In rows of up to 1,024 slots, in bfloat16."""
    out = tmp_path / "found.json"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    environment |= {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cuda"}
    command = [sys.executable, "-m", "tests.models.on_a_gpu", str(out)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(out.read_text("utf-8"))
    assert found["platform"] == "gpu"
    assert found["asked"] >= 2, "rows of 512 and of 1,024 slots"
    assert found["refused"] == [], found["log"]
    assert found["log"] == []
    distances = found["distances"]
    # As far apart as two independent roundings at most, and neither better than the other; not equal, or no kernel ran.
    assert 0 < distances["kernel_from_ordinary"] < 1.5 * distances["without"]
    assert distances["with_kernel"] < 1.2 * distances["without"] < 0.06

"""Child processes: how they compile, and one script in several that make one JAX runtime, each with some devices."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_HANGING_S = 900
"""Seconds after which processes count as hanging.

A streamed study whose two processes share a model takes 29 s of processor time; on two cores it took 101 s at a load of
22, and once more than 300 s at a load of 28. Processes that exchange numbers after every step wait for each other.
"""
_PREAMBLE = """
import sys
import jax
address, count, number, devices = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", devices)
jax.distributed.initialize(address, count, number)
"""


def compiling() -> dict[str, str]:
    """The part of the environment by which a child compiles as this process does, but for one device."""
    flags = [flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag]
    settings = {name: value for name, value in os.environ.items() if name.startswith("JAX_")}
    return settings | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": " ".join(flags)}


def run_processes(
    script: str, arguments: Sequence[str], *, count: int, devices: int, timeout_s: float = _HANGING_S
) -> list[str]:
    """Runs a script in every process and returns what each printed.

    Args:
        script: Python that finds its arguments in `sys.argv[5:]`, its number in `number`.
        arguments: Of the script.
        count: Processes.
        devices: Virtual devices of each.
        timeout_s: All are killed after that.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | compiling()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _PREAMBLE + script, address, str(count), str(number), str(devices), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for number in range(count)
    ]
    try:
        finished = [process.communicate(timeout=timeout_s) for process in started]
    finally:
        for process in started:
            process.kill()
    for process, (_, errors) in zip(started, finished, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [printed for printed, _ in finished]

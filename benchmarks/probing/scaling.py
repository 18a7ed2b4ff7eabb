"""Measures the seconds of one problem by words, by features and by virtual devices."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np

from benchmarks import harness
from benchmarks.probing import ours
from benchmarks.probing.batches import describe_batch, print_rows, time_fit
from benchmarks.probing.reached import Problem, Solution, pose_problem, solution_of
from benchmarks.probing.words import Split
from lca_jax.probing.objective import ElasticNet


def measure_scaling(
    split: Split, net: ElasticNet, ceiling: harness.Ceiling, *, shares: Sequence[float], devices: Sequence[int]
) -> dict[str, object]:
    """Measures the seconds of one problem by words, features and devices; only `words` has all words and features.

    Args:
        split: Training words and words held out.
        net: One pair of penalties, on X as it is.
        ceiling: Measured limits of this machine.
        shares: Shares of the words and of the features.
        devices: Numbers of virtual devices.
    """
    words, features = split.train.X.shape
    whole = pose_problem(split, net)
    by_words = {int(share * words): split.leading(int(share * words)) for share in shares}
    by_features = {int(share * features): split.with_features(int(share * features)) for share in shares}
    return {
        "words": _time_problems("words", {**_pose_all(by_words, net), str(words): whole}, ceiling),
        "features": _time_problems("features", _pose_all(by_features, net), ceiling),
        "devices": _measure_devices(whole, devices),
    }


def _pose_all(parts: Mapping[int, Split], net: ElasticNet) -> dict[str, Problem]:
    return {str(count): pose_problem(part, net) for count, part in parts.items()}


def _time_problems(axis: str, problems: dict[str, Problem], ceiling: harness.Ceiling) -> dict[str, dict[str, object]]:
    rows: dict[str, dict[str, object]] = {}
    for name, problem in problems.items():
        split = problem.split
        fit = partial(ours.fit, split.train.X, [split.train.y], classes=split.classes)
        timed = time_fit(fit, problem.net)
        reached = problem.measure(f"{name} {axis}", solution_of(timed.probes[0]))
        rows[name] = {**describe_batch(timed, split, ceiling), **reached}
    print_rows(axis, rows)
    return rows


def _measure_devices(problem: Problem, devices: Sequence[int]) -> dict[str, object]:
    """Measures each number of devices in a child process."""
    if jax.default_backend() != "cpu":
        return {"not_run": "only a CPU has virtual devices"}
    rows: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        np.save(Path(scratch) / "X.npy", problem.split.train.X)
        np.save(Path(scratch) / "y.npy", problem.split.train.y)
        for count in devices:
            rows[str(count)] = _run_child(Path(scratch), problem, count)
    print_rows("virtual devices", rows)
    return dict(rows)


def _run_child(folder: Path, problem: Problem, devices: int) -> dict[str, object]:
    child = [sys.executable, "-m", "benchmarks.probing.devices_child", str(folder), str(devices)]
    weights = problem.penalties
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [*child, str(weights["l1"]), str(weights["l2"]), str(problem.net.tolerance)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        raise RuntimeError(f"The child with {devices} devices failed:\n{done.stderr[-2000:]}")
    row = json.loads(done.stdout.splitlines()[-1])
    with np.load(folder / "probe.npz") as solution:
        fitted = Solution(solution["weights"], solution["bias"], row.pop("duality_gap"), row["iterations"])
    return {**row, **problem.measure(f"{devices} devices", fitted)}

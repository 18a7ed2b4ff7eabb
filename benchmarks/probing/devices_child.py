r"""A child process of `scaling`: one problem on the number of virtual devices in XLA_FLAGS, one core for each.

    XLA_FLAGS=--xla_force_host_platform_device_count=N \
        python -m benchmarks.probing.devices_child FOLDER N L1 L2 TOLERANCE

FOLDER holds X.npy and y.npy. The program writes the probe into probe.npz there, and the times to stdout as one line of
JSON.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path


def take_cores(count: int) -> int:
    """Binds this process to at most `count` cores, if the system can, before JAX starts its threads."""
    if not hasattr(os, "sched_setaffinity"):
        return os.cpu_count() or 1
    cores = sorted(os.sched_getaffinity(0))[:count]
    os.sched_setaffinity(0, cores)
    return len(cores)


def main(folder: Path, devices: int, l1: float, l2: float, tolerance: float) -> None:
    cores = take_cores(devices)

    import jax
    import numpy as np

    from benchmarks import harness
    from benchmarks.probing import ours
    from lca_jax.probing.objective import ElasticNet

    if jax.local_device_count() != devices:
        raise SystemExit(f"XLA must have {devices} devices, got {jax.local_device_count()}.")
    X, y = np.load(folder / "X.npy"), np.load(folder / "y.npy")
    classes = tuple(str(number) for number in range(int(y.max()) + 1))
    net = ElasticNet(l1=l1, l2=l2, tolerance=tolerance, standardize=False)
    # A tolerance that zero weights meet compiles the same programs.
    _, first = harness.clock(lambda: ours.fit(X, [y], replace(net, tolerance=1e6), classes=classes))
    (probe,), lap = harness.clock(lambda: ours.fit(X, [y], net, classes=classes))
    np.savez(folder / "probe.npz", weights=probe.weights, bias=probe.bias)
    times = {"seconds": lap.run_s, "cpu_s": lap.cpu_s, "compile_s": first.compile_s + lap.compile_s}
    print(json.dumps({**times, "cores": cores, "iterations": probe.iterations, "duality_gap": probe.duality_gap}))


if __name__ == "__main__":
    folder, devices, l1, l2, tolerance = sys.argv[1:]
    main(Path(folder), int(devices), float(l1), float(l2), float(tolerance))

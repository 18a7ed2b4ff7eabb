"""Runs in an environment with adelie and without the package: solves the problem that `peers.adelie_steps` wrote.

    PYTHON adelie_child.py FOLDER L1 L2 THREADS TOLERANCE…

FOLDER holds X.npy, float32 in column-major order, and y.npy, 0 and 1. The objective is a logistic elastic net,
mean loss + L1 ‖w‖₁ + (L2/2) ‖w‖². For the i-th tolerance the program writes i.npz: `weights`, `bias`, `wall_s`,
`cpu_s`. Each solve starts from zero weights and follows a path of 20 penalties down from the smallest one that leaves
them zero. adelie is made for such paths: on 3,000 words one was twice as fast as the last penalty alone, and ended
nearer to the optimum.
"""

import importlib
import sys
import time
from pathlib import Path

import numpy as np


def main(folder: Path, l1: float, l2: float, threads: int, tolerances: list[float]) -> None:
    adelie = importlib.import_module("adelie")
    X, y = np.load(folder / "X.npy"), np.load(folder / "y.npy")
    for place, tolerance in enumerate(tolerances):
        wall, cpu = time.perf_counter(), time.process_time()
        alpha, penalty = l1 / (l1 + l2), l1 + l2
        highest = max(float(np.abs(X.T @ (y - y.mean())).max()) / len(y) / alpha, penalty)
        state = adelie.grpnet(
            X,
            adelie.glm.binomial(y, dtype=np.float32),
            alpha=alpha,
            lmda_path=np.geomspace(highest, penalty, 20),
            tol=tolerance,
            irls_tol=tolerance,
            early_exit=False,
            progress_bar=False,
            n_threads=threads,
        )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        weights = state.betas.toarray()[-1].astype(np.float32)
        np.savez(folder / "unfinished.npz", weights=weights, bias=state.intercepts[-1], wall_s=wall, cpu_s=cpu)
        (folder / "unfinished.npz").rename(folder / f"{place}.npz")


if __name__ == "__main__":
    folder, l1, l2, threads, *tolerances = sys.argv[1:]
    main(Path(folder), float(l1), float(l2), int(threads), [float(one) for one in tolerances])

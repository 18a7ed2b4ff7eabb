"""Measures X read in blocks against X held: seconds for each word and iteration, and the memory of the process.

    python -m benchmarks.bench_stream --store STORE --task upos --words 200000 --problems 4 6 --out stream.json

Any store that `extract` wrote will do; a wide one is best. Every figure comes from a process of its own, which fits the
task to the words once with 2 and once with 6 iterations (`--iterations`). The difference is 4 iterations without the
work before them (compiling, mean and deviation, the metric). `peak_bytes` is Linux's VmHWM at the end: the most
memory that the process had at any time, imports included. The two ways fit the bias differently, so they end at
different weights; the check is that the certificate of each allows the objective of the other.

The work of an iteration, for n words, d features, k classes and p problems, is 4·n·d·k·p operations in the products.
Held, each of the two products reads X, 4·n·d bytes. Streamed, these bytes come from the store once; at 1 GB/s they hide
behind the products if k·p is more than the machine's GFLOP/s. Hence the figures for 1 and for several problems.

`--by-layer` fits a probe of every layer too: this takes as many operations with X as one probe of all neurons, and
fewer with the metrics, by the number of layers. Every layer is a problem with its own gap, so `objective`,
`duality_gap` and `null_objective` are sums over the layers.
"""

import json
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from benchmarks import harness
from benchmarks.memory import read_bytes

KINDS = ("held", "streamed")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the benchmark."""

    store: Path
    """Folder that `extract` wrote."""
    task: str = "upos"
    """Label column."""
    words: int = 200_000
    """Number of words, held or streamed."""
    problems: tuple[int, ...] = (1, 8)
    """Numbers of bootstrap samples that are solved together."""
    by_layer: bool = False
    """Fit a probe of every layer too."""
    iterations: tuple[int, int] = (2, 6)
    """The smaller and the larger number; take some tens more if an iteration takes less than a second."""
    out: Path | None = None
    """Result file; without it the table is only printed."""
    child: Literal["held", "streamed"] | None = None
    """The way that a child process measures."""


def main(arguments: Sequence[str] | None = None) -> None:
    settings = tyro.cli(Settings, args=arguments, description="X in blocks against X held.")
    if settings.child:
        print(json.dumps(fit(settings)))
        return
    rows: dict[str, dict[str, float]] = {}
    for problems in settings.problems:
        of_all = {kind: run_child(settings, kind, problems, by_layer=False) for kind in KINDS}
        rows |= {f"{kind}, {problems} problems": row for kind, row in compare(of_all).items()}
        if settings.by_layer:
            by_layer = {kind: run_child(settings, kind, problems, by_layer=True) for kind in KINDS}
            for kind, row in by_layer.items():
                row["times_as_long_as_all"] = row["s_per_iteration"] / of_all[kind]["s_per_iteration"]
            rows |= {f"{kind}, {problems} problems by layer": row for kind, row in compare(by_layer).items()}
    harness.print_table("X", rows)
    if settings.out:
        content = {"input": {"store": settings.store.name, "task": settings.task}, "rows": rows}
        harness.write_result(settings.out, "stream", content)


def compare(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Adds to the streamed figures how many times as long they take as the held ones.

    Raises:
        ValueError: The certificate of one does not allow the objective of the other.
    """
    held, streamed = (rows[kind] for kind in KINDS)
    for one, other in ((held, streamed), (streamed, held)):
        rounded = 1e-6 * one["null_objective"]
        least, most = one["objective"] - one["duality_gap"] - rounded, one["null_objective"] + rounded
        if not least <= other["objective"] <= most:
            raise ValueError(f"Held and streamed differ: {held} and {streamed}.")
    streamed["times_as_long_as_held"] = streamed["s_per_iteration"] / held["s_per_iteration"]
    return rows


def run_child(settings: Settings, kind: str, problems: int, *, by_layer: bool) -> dict[str, float]:
    """Returns the figures of one child process."""
    options = ["--store", str(settings.store), "--task", settings.task, "--words", str(settings.words)]
    options += ["--iterations", *map(str, settings.iterations), *(["--by-layer"] if by_layer else [])]
    command = [sys.executable, "-m", "benchmarks.bench_stream", *options, "--problems", str(problems), "--child", kind]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def fit(settings: Settings) -> dict[str, float]:
    """Fits in this process and returns seconds, bytes and the objective of the first problem."""
    import numpy as np

    from lca_jax import ElasticNet, open_store
    from lca_jax.errors import NotConverged
    from lca_jax.probing.batching import fit_on_matrix
    from lca_jax.probing.bootstrap import replicate_labellings
    from lca_jax.probing.labelling import number_labels, take_words, usable_labels
    from lca_jax.probing.matrix.held import hold_matrix
    from lca_jax.probing.matrix.streamed import stream_matrix
    from lca_jax.probing.subsets import plan_matrices, source_of

    store = open_store(settings.store)
    labelling = number_labels(settings.task, usable_labels(store, settings.task))
    words = np.flatnonzero(labelling.numbers >= 0)[: settings.words]
    sentences = store.words["sentence"].to_numpy()[words]
    (one,) = take_words([labelling], words)
    (problems,) = settings.problems
    labellings = replicate_labellings([one], sentences, replicates=problems - 1, seed=0)
    (plan,) = plan_matrices(store.axis(), "layers" if settings.by_layer else None)
    source = source_of(store, words, plan)
    began = time.perf_counter()
    matrix = (hold_matrix if settings.child == "held" else stream_matrix)(source, standardize=True)
    ready = time.perf_counter()
    laps, probes = [], []
    for iterations in (1, *settings.iterations):  # the first compiles
        net = ElasticNet(l1=1e-3, l2=1e-3, max_iterations=iterations)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotConverged)
            probes = fit_on_matrix(matrix, labellings, net, subsets=plan.subsets)
        laps.append(time.perf_counter() - start)
    of_first = probes[: len(plan.subsets)]
    fewer, more = settings.iterations
    seconds = (laps[2] - laps[1]) / (more - fewer)
    return {
        "words": len(words),
        "features": matrix.features,
        "problems": problems,
        "s_per_iteration": seconds,
        "s_per_word_iteration": seconds / len(words),
        "moments_s": ready - began,
        "peak_bytes": read_bytes("VmHWM"),
        "objective": sum(probe.objective for probe in of_first),
        "duality_gap": sum(probe.duality_gap for probe in of_first),
        "null_objective": sum(probe.null_objective for probe in of_first),
    }


if __name__ == "__main__":
    main()

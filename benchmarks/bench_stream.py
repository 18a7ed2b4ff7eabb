"""X read in blocks against X held: seconds a word and iteration, and the memory of the process.

    python -m benchmarks.bench_stream --store STORE --task upos --words 200000 --problems 4 6 --out stream.json

The store is any that `extract` wrote, the wider the better. Every figure is of a process of its own, which fits the
task on so many words, once to 2 and once to 6 iterations (`--iterations`); the difference are 4 iterations without what
comes before them (compiling, mean and deviation, the Gram matrix). `peak_bytes` is Linux's VmHWM at the end: everything
the process ever held at once, imports included. The two fit the bias in different ways, so at the end they stand at
different weights; by their certificates, the optimum of each must be possible for the other.

The work of an iteration, for n words, d features, k classes and p problems: 4·n·d·k·p operations in the products. Held,
each of the two reads X, 4·n·d bytes; streamed, these bytes come out of the store once, and at 1 GB/s they hide behind
the products where k·p is more than what the machine does in GFLOP/s. Hence the figures for 1 and for several problems.

`--by-layer` fits a probe of every layer too: as many operations with X as one of all neurons, and layers times fewer
with the Gram matrices. Every layer is a problem of its own with a gap of its own, so of these `objective`,
`duality_gap` and `null_objective` are sums.
"""

import json
import re
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

KINDS = ("held", "streamed")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured."""

    store: Path
    """Folder that `extract` wrote."""
    task: str = "upos"
    """Label column."""
    words: int = 200_000
    """Words that are held, and that are streamed."""
    problems: tuple[int, ...] = (1, 8)
    """Bootstrap samples solved together."""
    by_layer: bool = False
    """Fit a probe of every layer, too."""
    iterations: tuple[int, int] = (2, 6)
    """Fewer and more; where one takes less than a second, some tens more."""
    out: Path | None = None
    """Result file; without it the table is printed only."""
    child: Literal["held", "streamed"] | None = None
    """Of a child process: what it does."""


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
    """Held and streamed, the second with how many times as long it takes.

    Raises:
        ValueError: They cannot both be right.
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
    """The figures of one process."""
    options = ["--store", str(settings.store), "--task", settings.task, "--words", str(settings.words)]
    options += ["--iterations", *map(str, settings.iterations), *(["--by-layer"] if by_layer else [])]
    command = [sys.executable, "-m", "benchmarks.bench_stream", *options, "--problems", str(problems), "--child", kind]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def fit(settings: Settings) -> dict[str, float]:
    """Fits in this process and tells seconds, bytes and the objective of the last problem."""
    import numpy as np

    from lca_jax import ElasticNet, open_store
    from lca_jax.errors import NotConverged
    from lca_jax.probing.batching import fit_on_design
    from lca_jax.probing.bootstrap import replicate_labellings
    from lca_jax.probing.fit import source_of
    from lca_jax.probing.labelling import number_labels, take_words, usable_labels
    from lca_jax.probing.matrix.held import put_design
    from lca_jax.probing.matrix.streamed import stream_design
    from lca_jax.probing.subsets import plan_matrices

    store = open_store(settings.store)
    labelling = number_labels(settings.task, usable_labels(store, settings.task))
    words = np.flatnonzero(labelling.numbers >= 0)[: settings.words]
    sentences = store.words["sentence"].to_numpy()[words]
    one = take_words(labelling, words)
    (problems,) = settings.problems
    labellings = replicate_labellings([one], sentences, replicates=problems - 1, seed=0)
    (plan,) = plan_matrices(store.axis(), "layers" if settings.by_layer else None)
    source = source_of(store, words, plan)
    began = time.perf_counter()
    design = (put_design if settings.child == "held" else stream_design)(source, standardize=True)
    ready = time.perf_counter()
    laps, probes = [], []
    for iterations in (1, *settings.iterations):  # the first compiles
        net = ElasticNet(l1=1e-3, l2=1e-3, max_iterations=iterations)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotConverged)
            probes = fit_on_design(design, len(words), labellings, net, subsets=plan.subsets)
        laps.append(time.perf_counter() - start)
    of_first = probes[: len(plan.subsets)]
    fewer, more = settings.iterations
    seconds = (laps[2] - laps[1]) / (more - fewer)
    return {
        "words": len(words),
        "features": design.features,
        "problems": problems,
        "s_per_iteration": seconds,
        "s_per_word_iteration": seconds / len(words),
        "moments_s": ready - began,
        "peak_bytes": _peak_bytes(),
        "objective": sum(probe.objective for probe in of_first),
        "duality_gap": sum(probe.duality_gap for probe in of_first),
        "null_objective": sum(probe.null_objective for probe in of_first),
    }


def _peak_bytes() -> int:
    """The most that this process ever held."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    if found is None:
        raise ValueError("Linux tells the peak of a process in /proc/self/status; here it does not.")
    return int(found[1]) * 1024


if __name__ == "__main__":
    main()

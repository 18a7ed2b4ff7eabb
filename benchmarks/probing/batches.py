"""Times batches of problems in one call of the package, and describes their work."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from benchmarks import harness
from benchmarks.probing import ours
from benchmarks.probing.reached import finite
from benchmarks.probing.words import Split
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe import Probe


class TimedFit(NamedTuple):
    """Probes, and the seconds of their fit."""

    probes: list[Probe]
    lap: harness.Lap
    first: harness.Lap | None
    """Seconds of the call that compiled, if there was one."""

    def as_json(self) -> dict[str, object]:
        """Returns the keys that every timed fit has in a result file."""
        return {
            "seconds": self.lap.run_s,
            "cpu_s": self.lap.cpu_s,
            "compile_s": self.lap.compile_s + (self.first.compile_s if self.first else 0.0),
        }


def time_fit(fit: Callable[[ElasticNet], list[Probe]], net: ElasticNet, *, warm_up: bool = True) -> TimedFit:
    """Times one call, after one that compiles: it has a tolerance that zero weights meet.

    Args:
        fit: Function that fits probes with some settings.
        net: Settings.
        warm_up: Whether to make the call that compiles; without it, seconds of tracing are part of the time.
    """
    first = harness.clock(lambda: fit(replace(net, tolerance=1e6)))[1] if warm_up else None
    probes, lap = harness.clock(lambda: fit(net))
    return TimedFit(probes, lap, first)


def describe_batch(timed: TimedFit, split: Split, ceiling: harness.Ceiling) -> dict[str, object]:
    """Returns problems a second, the work and its floor; iterations are those of the problems."""
    iterations = [probe.iterations for probe in timed.probes]
    work = ours.count_work(
        split.train.X, classes=len(split.classes), problem_iterations=sum(iterations), passes=max(iterations)
    )
    return {
        **timed.as_json(),
        "problems": len(iterations),
        "problems_per_s": len(iterations) / timed.lap.run_s,
        "s_per_problem_iteration": timed.lap.run_s / sum(iterations),
        "iterations": {"fewest": min(iterations), "median": statistics.median(iterations), "most": max(iterations)},
        "worst_certificate_share": finite(max(probe.duality_gap / probe.null_objective for probe in timed.probes)),
        "floor_s": ceiling.floor_s(**work),
        "peak_share": work["flop"] / timed.lap.run_s / ceiling.flop_per_s,
    }


def print_rows(title: str, rows: Mapping[str, Mapping[str, object]]) -> None:
    """Prints the simple values of the rows as a table, and why other rows were not run."""
    flat = {
        name: {key: value for key, value in row.items() if not isinstance(value, dict | list)}
        for name, row in rows.items()
    }
    for name, row in flat.items():
        if "not_run" in row:
            print(f"{title} {name} was not run: {row['not_run']}")
    harness.print_table(title, {name: row for name, row in flat.items() if "not_run" not in row})

"""Measures suboptimality against time: how far a competitor gets with each of its budgets.

A budget is a number of epochs or a tolerance. Competitors that work in epochs run once and are measured on the way,
with the clock stopped (`continuing`); the others start anew for every budget. Seconds are wall seconds without those in
which XLA compiled; the time of warming up before the first budget is reported separately. A curve ends at its last
budget, within `ENOUGH` of the reference, or at its time limit.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from benchmarks import harness
from benchmarks.probing.reached import Problem, Solution

TARGET = 1e-4
"""The distance of `seconds_to_target`: the default tolerance of `proximal`."""
ENOUGH = 1e-5


class OutOfTime(Exception):  # noqa: N818 - an end like others, not an error
    """A competitor that runs in another process was ended at its time limit."""


class Step(NamedTuple):
    """The result of a competitor with one budget."""

    budget: str
    fitted: Solution
    lap: harness.Lap | None = None
    """Its own seconds, if it timed itself."""


class Competitor(NamedTuple):
    """A solver with its budgets."""

    steps: Callable[[], Iterator[Step]]
    """Function that yields a step for each budget, computed when it is requested."""
    continuing: bool = False
    """Whether each step goes on from the one before."""
    warm_up: Callable[[], object] | None = None
    """Function that compiles what the steps need."""
    limit_s: float = 30.0
    """Seconds after which no further budget is begun."""


def draw_curve(problem: Problem, name: str, competitor: Competitor) -> dict[str, object]:
    """Runs a competitor through its budgets.

    Returns:
        `points`, each with its `budget`, `seconds`, `cpu_s`, `compile_s` and the keys of `Reached`; `warm_up_s` and
        `warm_up_compile_s`; `seconds_to_target`, None if no point got there; `ended`, the reason why there is no
        further point: `budgets`, `reached` or `time limit`.
    """
    warm = harness.Lap(0.0, 0.0, 0.0)
    if competitor.warm_up:
        _, warm = harness.clock(competitor.warm_up)
    points: list[dict[str, object]] = []
    spent, total, to_target, ended = 0.0, harness.Lap(0.0, 0.0, 0.0), None, "budgets"
    try:
        for step, lap in harness.clock_steps(competitor.steps()):
            step_lap = step.lap or lap
            total = total.plus(step_lap) if competitor.continuing else step_lap
            spent += step_lap.wall_s
            reached = problem.measure(f"{name} {step.budget}", step.fitted)
            seconds = total.run_s
            times = {"seconds": seconds, "cpu_s": total.cpu_s, "compile_s": total.compile_s}
            points.append({"budget": step.budget, **times, **reached})
            if to_target is None and reached["above_reference_share"] <= TARGET:
                to_target = seconds
            if reached["above_reference_share"] <= ENOUGH:
                ended = "reached"
                break
            if spent > competitor.limit_s:
                ended = "time limit"
                break
    except OutOfTime:
        ended = "time limit"
    return {
        "warm_up_s": warm.wall_s,
        "warm_up_compile_s": warm.compile_s,
        "seconds_to_target": to_target,
        "ended": ended,
        "points": points,
    }


def print_curves(title: str, curves: dict[str, dict[str, object]]) -> None:
    """Prints the last point of every curve, or the reason why there is none."""
    rows: dict[str, dict[str, object]] = {}
    for name, curve in curves.items():
        if "not_run" in curve:
            print(f"{name} was not run: {curve['not_run']}")
            continue
        points = curve["points"]
        last = points[-1] if isinstance(points, list) and points else {}
        shown = ("budget", "seconds", "above_reference_share", "certificate_share", "nonzero_fraction")
        rows[name] = {
            "to target": "not reached" if curve["seconds_to_target"] is None else curve["seconds_to_target"],
            "ended": curve["ended"],
            **{f"last {key}" if key == "budget" else key: last.get(key, "") for key in shown},
        }
    harness.print_table(title, rows)

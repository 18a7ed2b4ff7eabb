"""Measures the papers' whole grid of penalties, each pair for the task and its control, in one call.

A problem's certificate is compared with every known point: the weights of all problems of the grid with the same
labels, and those of the incumbent's procedure. All of them are feasible for every pair, so none may be better by more
than the certificate.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

from benchmarks import harness, incumbent, reference
from benchmarks.probing import ours
from benchmarks.probing.batches import describe_batch, print_rows, time_fit
from benchmarks.probing.reached import ROUNDING, Solution, accuracy, finite, solution_of
from benchmarks.probing.widths import BATCH_SIZES
from benchmarks.probing.words import Split
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe import Probe

COMPARED = ((0.0, 0.0), (1e-7, 1e-7), (1e-5, 1e-5), (1e-3, 1e-3), (1e-1, 1e-1))
"""Pairs on which the incumbent's procedure is run."""


def measure_grid(
    split: Split, one: ElasticNet, ceiling: harness.Ceiling, *, values: tuple[float, ...], max_iterations: int
) -> dict[str, object]:
    """Fits every pair of the grid for the task and its control, in one call.

    Args:
        split: Training words and words held out.
        one: Pair of the problem that is timed alone, on X as it is, and the incumbent's epochs.
        ceiling: Measured limits of this machine.
        values: Values of l1 and of l2.
        max_iterations: Maximum number of iterations of every problem.

    Raises:
        ValueError: A known point is better than a certificate allows.
    """
    net = replace(one, l1=values, l2=values, max_iterations=max_iterations)
    labels = [split.train.y, split.train.control]
    fit = partial(ours.fit, split.train.X, classes=split.classes)
    timed = time_fit(partial(fit, labels), net, warm_up=False)
    alone = time_fit(partial(fit, labels[:1]), one)
    incumbents, trained = _train_incumbent(split, net)
    problems = list(check_grid(split, net, timed.probes, trained))
    certificates = [probe.duality_gap / probe.null_objective for probe in timed.probes]
    each_s = timed.lap.run_s / len(timed.probes)
    summary: dict[str, object] = {
        **describe_batch(timed, split, ceiling),
        "max_iterations": max_iterations,
        "converged": sum(probe.converged for probe in timed.probes),
        "worst_certificate_share": finite(max(certificates)),
        "median_certificate_share": finite(statistics.median(certificates)),
        "s_per_problem": each_s,
        "one_alone": {**alone.as_json(), "iterations": alone.probes[0].iterations},
        "s_per_problem_of_one_alone": each_s / alone.lap.run_s,
        "s_per_problem_of_incumbent": {name: each_s / seconds for name, seconds in incumbents.items()},
        "incumbent_s_per_problem": incumbents,
    }
    print_rows("grid", {f"{len(timed.probes)} problems": summary})
    shown = ("objective", "certificate_share", "iterations", "converged", "above_best_known_share", "accuracy")
    harness.print_table(
        "l1, l2",
        {
            f"{row['l1']:g}, {row['l2']:g}{' control' if row['control'] else ''}": {
                **{key: row[key] for key in shown},
                **{f"incumbent {size} above": row.get(f"incumbent_{size}_above_share", "") for size in BATCH_SIZES},
            }
            for row in problems
        },
    )
    return {**summary, "problems_by_pair": problems}


def _train_incumbent(
    split: Split, net: ElasticNet
) -> tuple[dict[str, float], dict[tuple[int, float, float], Solution]]:
    """Returns the incumbent's median seconds by batch size, and its probes of the task by batch size and pair."""
    pairs = [pair for pair in COMPARED if pair in net.pairs] or net.pairs[:1]
    seconds: dict[int, list[float]] = {size: [] for size in BATCH_SIZES}
    trained = {}
    for size, (l1, l2) in product(BATCH_SIZES, pairs):
        run = partial(
            incumbent.train_probe,
            split.train.X,
            split.train.y,
            l1=l1,
            l2=l2,
            squared=True,
            epochs=net.epochs,
            batch_size=size,
            device=incumbent.training_device(),
        )
        probe, lap = harness.clock(run)
        trained[size, l1, l2] = Solution(*probe)
        seconds[size].append(lap.wall_s)
    return {f"incumbent {size}": statistics.median(taken) for size, taken in seconds.items()}, trained


def check_grid(
    split: Split, net: ElasticNet, probes: Sequence[Probe], trained: Mapping[tuple[int, float, float], Solution]
) -> Iterator[dict[str, object]]:
    """Compares every problem with the best point known for it.

    Raises:
        ValueError: A problem is further from that point than its certificate allows.
    """
    pairs = net.pairs
    for control in (False, True):
        labels = split.train.control if control else split.train.y
        unseen = split.unseen.control if control else split.unseen.y
        of_labels = probes[len(pairs) * control : len(pairs) * (control + 1)]
        points = [(labels, probe.weights, probe.bias) for probe in of_labels]
        others = {} if control else trained
        points += [(labels, one.weights, one.bias) for one in others.values()]
        parts = reference.measure_parts(split.train.X, points)
        for place, (probe, (l1, l2)) in enumerate(zip(of_labels, pairs, strict=True)):
            reached = [one.objective(l1=l1, l2=l2, squared=True) for one in parts]
            above = reached[place] - min(reached)
            if not above <= probe.duality_gap + ROUNDING * probe.null_objective:
                raise ValueError(
                    f"l1={l1:g}, l2={l2:g}{', control' if control else ''}: {above:.3e} above a known point, "
                    f"but certified to {probe.duality_gap:.3e}."
                )
            compared = {
                f"incumbent_{size}_above_share": (reached[len(of_labels) + number] - reached[place])
                / probe.null_objective
                for number, (size, *pair) in enumerate(others)
                if pair == [l1, l2]
            }
            yield {
                "l1": l1,
                "l2": l2,
                "control": control,
                "objective": reached[place],
                "certificate_share": finite(probe.duality_gap / probe.null_objective),
                "above_best_known_share": above / probe.null_objective,
                "iterations": probe.iterations,
                "converged": probe.converged,
                "nonzero_fraction": probe.nonzero_fraction,
                "accuracy": accuracy(split.unseen, solution_of(probe), labels=unseen),
                **compared,
            }

"""Measures one probe: how far every solver gets in which time, and how stopping early changes the ranking.

    python -m benchmarks.bench_probe --corpus en_ewt-ud-train.conllu.gz --adelie-python ENV/bin/python --out probe.json

X are the activations of real words, standardised once for all competitors (`--raw` leaves them as they are; NeuroX
trains on those). Every competitor starts with X and y in host memory and ends with weights there. A time means nothing
without the objective that was reached, so `probing.reached` measures every competitor's weights again in float64. There
are four parts, which `--parts` chooses from:

`rounds`. Whole runs at their default settings, in turn, on both objectives:

    neurox        mean cross-entropy + l1 ‖W‖₁ + l2 ‖W‖_F          what NeuroX's code trains
    elastic_net   mean cross-entropy + l1 ‖W‖₁ + (l2/2) ‖W‖²_F     the package's default

    lca_jax              the exact solver, to a duality gap of 1e-4 of the objective at zero weights
    lca_jax adam         the papers' schedule in the package: proximal Adam, 10 epochs, batches of 512
    incumbent 32, 512    NeuroX's procedure, 10 epochs, in batches of 32 (its default) and 512
    neurox               NeuroX's own code at its defaults, if it is installed; on its own objective only

`curves`. Suboptimality against time on the elastic net, all classes: `proximal` by tolerance; `adam` with the proximal
step and as published, the incumbent's procedure and scikit-learn's SAGA by epoch. `seconds_to_target` is the time to
within 1e-4 of the objective at zero weights; it is null if a solver (SAGA within `--saga-limit-s`) does not get there.

`binary`. The same for one class against the rest (the most frequent one, or `--target`), as an elastic net and without
l2, where skglm, celer and adelie solve the same problem; `probing.peers` derives how. celer only without l2.

`ranking`. Neurons ranked by the weights of `proximal`, of `adam` with the proximal step, as published (with a second
order of the words too) and of the incumbent's procedure, by pairs of penalties: the share of the first 1, 5 and 20 %
that are also the first of a probe solved ten times tighter than `proximal`, and the selectivity of each (accuracy less
that of the control task, both on words held out). Two random rankings have a share of f in common in the first f.

`probing.ours` counts the work: 17 columns are 8.5 operations for every byte of X, so memory bounds the products on a
machine that does more operations than that in the time of a byte. The incumbent's ten epochs are 37 GFLOP at 20,000 ×
2,688 × 17.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from benchmarks import harness, incumbent
from benchmarks.probing import ours
from benchmarks.probing.agreement import measure_agreement
from benchmarks.probing.program import Parts, ProbingSettings, measure_parts
from benchmarks.probing.reached import Problem, Solution, pose_problem
from benchmarks.probing.solvers import Budgets, fit_one, measure_binary, measure_curves
from benchmarks.probing.words import Split
from lca_jax.probing.objective import Penalty

PENALTIES: tuple[Penalty, ...] = ("neurox", "elastic_net")

Part = Literal["rounds", "curves", "binary", "ranking"]


@dataclass(frozen=True, kw_only=True)
class Settings(ProbingSettings):
    """Settings of the benchmark."""

    parts: tuple[Part, ...] = ("rounds", "curves", "binary", "ranking")
    """The parts that are run."""
    ranking_l1: tuple[float, ...] = (1e-4, 1e-3)
    """Values of l1 of the rankings that are compared."""
    ranking_l2: tuple[float, ...] = (1e-3,)
    """Values of l2 of the rankings that are compared."""
    target: str | None = None
    """The class of the part `binary`; the most frequent one by default."""
    repetitions: int = 3
    """Number of timed rounds."""
    limit_s: float = 30.0
    """Seconds after which a curve gets no further budget."""
    saga_limit_s: float = 180.0
    """The same limit for scikit-learn's SAGA on all classes."""
    adelie_python: Path | None = None
    """Python interpreter of an environment with adelie."""

    @property
    def budgets(self) -> Budgets:
        """The budgets of the curves."""
        budgets = Budgets(limit_s=self.limit_s, saga_limit_s=self.saga_limit_s, adelie_python=self.adelie_python)
        if not self.quick:
            return budgets
        return replace(budgets, tolerances=(0.1, 1e-4), epochs=(1, 2), peer_tolerances=(1e-2, 1e-4))


def main(arguments: Sequence[str] | None = None) -> None:
    description = "One probe against the incumbent and other solvers."
    settings = tyro.cli(Settings, args=arguments, description=description, config=(tyro.conf.OmitArgPrefixes,))
    if settings.quick:
        settings = replace(settings, source=settings.few_words, repetitions=1, limit_s=5.0, saga_limit_s=5.0)
    content = measure(settings)
    if settings.out:
        harness.write_result(settings.out, "probe", content)


def measure(settings: Settings) -> dict[str, object]:
    """Runs the chosen parts, prints their tables and returns the content of the result file."""

    def make(split: Split, ceiling: harness.Ceiling) -> Parts:
        net, budgets = settings.net, settings.budgets
        return {
            "rounds": lambda: {penalty: measure_rounds(split, penalty, settings, ceiling) for penalty in PENALTIES},
            "curves": lambda: measure_curves(split, net, budgets),
            "binary": lambda: measure_binary(split, net, budgets, target=settings.target),
            "ranking": lambda: measure_agreement(split, replace(net, l1=settings.ranking_l1, l2=settings.ranking_l2)),
        }

    content = measure_parts(settings, settings.parts, make)
    if "rounds" in content:
        content["objectives"] = content.pop("rounds")
    return content


def measure_rounds(split: Split, penalty: Penalty, settings: Settings, ceiling: harness.Ceiling) -> dict[str, object]:
    """Times the whole runs of all competitors on one objective."""
    problem = pose_problem(split, replace(settings.net, penalty=penalty))
    timings, fitted = harness.time_interleaved(_whole_runs(problem), repetitions=settings.repetitions)
    rows: dict[str, dict[str, object]] = {
        name: timings[name].as_json() | dict(problem.measure(name, one)) for name, one in fitted.items()
    }
    iterations = fitted["lca_jax"].iterations or 0
    work = ours.count_work(split.train.X, classes=len(split.classes), problem_iterations=iterations, passes=iterations)
    own_s = timings["lca_jax"].median_s
    rows["lca_jax"]["peak_share"] = work["flop"] / own_s / ceiling.flop_per_s
    shown = ("median_s", "spread", "cpu_median_s", "compile_s", "above_reference_share", "certificate_share")
    shown += ("iterations", "nonzero_fraction", "held_out_accuracy")
    harness.print_table(
        f"{penalty}, {len(split.train.y)} words", {name: {key: row[key] for key in shown} for name, row in rows.items()}
    )
    return {
        **problem.describe(),
        "work": {**work, "floor_s": ceiling.floor_s(**work)},
        "competitors": rows,
        "times_as_long_as_lca_jax": {name: one.median_s / own_s for name, one in timings.items() if name != "lca_jax"},
    }


def _whole_runs(problem: Problem) -> dict[str, Callable[[], Solution]]:
    train = problem.split.train

    def by_incumbent(batch_size: int) -> Solution:
        return Solution(
            *incumbent.train_probe(
                train.X,
                train.y,
                squared=problem.squared,
                batch_size=batch_size,
                epochs=problem.net.epochs,
                device=incumbent.training_device(),
                **problem.penalties,
            )
        )

    competitors: dict[str, Callable[[], Solution]] = {
        "lca_jax": lambda: fit_one(problem, problem.net),
        "lca_jax adam": lambda: fit_one(problem, replace(problem.net, solver="adam")),
        "incumbent 32": lambda: by_incumbent(32),
        "incumbent 512": lambda: by_incumbent(512),
    }
    if incumbent.has_neurox() and not problem.squared:
        competitors["neurox"] = lambda: Solution(*incumbent.neurox_train_probe(train.X, train.y, **problem.penalties))
    return competitors


if __name__ == "__main__":
    main()

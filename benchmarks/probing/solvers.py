"""Draws the curves of every solver of one probe: on all classes, and on one class against the rest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from benchmarks import incumbent
from benchmarks.probing import ours, peers
from benchmarks.probing.curves import Competitor, Step, draw_curve, print_curves
from benchmarks.probing.reached import Problem, Solution, pose_problem, solution_of
from benchmarks.probing.words import Split, Words, tell_from_rest
from lca_jax.probing.objective import ElasticNet


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """The budgets of each solver."""

    tolerances: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 1e-2, 1e-3, 1e-4, 1e-5)
    """Tolerances of `proximal`."""
    epochs: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100)
    """Numbers of epochs of `adam`, the incumbent's procedure and SAGA."""
    peer_tolerances: tuple[float, ...] = tuple(10.0**-power for power in range(1, 9))
    """Tolerances of skglm, celer and adelie, each in its own meaning."""
    limit_s: float
    """Seconds after which a curve gets no further budget."""
    saga_limit_s: float
    """The same limit for SAGA on all classes."""
    adelie_python: Path | None
    """Python interpreter of an environment with adelie."""


def measure_curves(split: Split, net: ElasticNet, budgets: Budgets) -> dict[str, object]:
    """Measures suboptimality against time on all classes, on the elastic net."""
    problem = pose_problem(split, net)
    competitors = _package_and_incumbent(problem, budgets)
    competitors["scikit-learn saga"] = _saga(problem, budgets)._replace(limit_s=budgets.saga_limit_s)
    return {**problem.describe(), "solvers": _draw(problem, "all classes, elastic net", competitors)}


def measure_binary(split: Split, net: ElasticNet, budgets: Budgets, *, target: str | None) -> dict[str, object]:
    """Measures suboptimality against time on one class against the rest, on the elastic net and without its l2."""
    binary = tell_from_rest(split, target)
    by_objective: dict[str, object] = {"target": binary.classes[1]}
    for name, objective in (("elastic_net", net), ("lasso", replace(net, l2=0.0))):
        problem = pose_problem(binary, objective)
        competitors = _package_and_incumbent(problem, budgets)
        competitors["scikit-learn saga"] = _saga(problem, budgets)
        others, missing = _binary_peers(problem, budgets)
        drawn = _draw(problem, f"{binary.classes[1]} against the rest, {name}", {**competitors, **others}, missing)
        by_objective[name] = {**problem.describe(), "solvers": drawn}
    return by_objective


def fit_one(problem: Problem, net: ElasticNet) -> Solution:
    """Fits one probe with the package."""
    split = problem.split
    (probe,) = ours.fit(split.train.X, [split.train.y], net, classes=split.classes)
    return solution_of(probe)


def _package_and_incumbent(problem: Problem, budgets: Budgets) -> dict[str, Competitor]:
    net, train, limit = problem.net, problem.split.train, budgets.limit_s

    def by_tolerance() -> Iterator[Step]:
        for tolerance in budgets.tolerances:
            yield Step(f"tolerance {tolerance:g}", fit_one(problem, replace(net, tolerance=tolerance)))

    def by_epochs(adam: ElasticNet) -> Iterator[Step]:
        for epochs in budgets.epochs:
            yield Step(f"{epochs} epochs", fit_one(problem, replace(adam, epochs=epochs)))

    def by_incumbent(batch_size: int) -> Competitor:
        trained = partial(
            incumbent.probe_epochs,
            train.X,
            train.y,
            squared=problem.squared,
            batch_size=batch_size,
            device=incumbent.training_device(),
            **problem.penalties,
        )

        def steps() -> Iterator[Step]:
            for epoch, probe in enumerate(islice(trained(), budgets.epochs[-1]), start=1):
                if epoch in budgets.epochs:
                    yield Step(f"{epoch} epochs", Solution(*probe))

        return Competitor(steps, continuing=True, warm_up=lambda: next(trained()), limit_s=limit)

    adam = replace(net, solver="adam", epochs=1)
    published = replace(adam, proximal_step=False)
    return {
        # A tolerance that zero weights meet compiles the same program at little cost.
        "proximal": Competitor(
            by_tolerance, warm_up=lambda: fit_one(problem, replace(net, tolerance=1e6)), limit_s=limit
        ),
        "adam with proximal step": Competitor(
            partial(by_epochs, adam), warm_up=lambda: fit_one(problem, adam), limit_s=limit
        ),
        "adam as published": Competitor(
            partial(by_epochs, published), warm_up=lambda: fit_one(problem, published), limit_s=limit
        ),
        "incumbent 32": by_incumbent(32),
        "incumbent 512": by_incumbent(512),
    }


def _saga(problem: Problem, budgets: Budgets) -> Competitor:
    train = problem.split.train
    few = _few(train)
    run = partial(peers.saga_steps, **problem.penalties)
    return Competitor(
        partial(run, train.X, train.y, epochs=budgets.epochs),
        continuing=True,
        warm_up=lambda: list(run(few.X, few.y, epochs=(1,))),
        limit_s=budgets.limit_s,
    )


def _few(words: Words) -> Words:
    """Returns about 200 of the words, enough to load and compile."""
    return Words(*(part[:: max(1, len(words.y) // 200)] for part in words))


def _binary_peers(problem: Problem, budgets: Budgets) -> tuple[dict[str, Competitor], dict[str, str]]:
    """Returns the competitors that are installed, and why the others are missing."""
    train, weights = problem.split.train, problem.penalties
    few = _few(train)
    competitors, missing = {}, {}
    if peers.is_installed("skglm"):
        run = partial(peers.skglm_steps, **weights)
        competitors["skglm"] = Competitor(
            partial(run, train.X, train.y, tolerances=budgets.peer_tolerances),
            warm_up=lambda: list(run(few.X, few.y, tolerances=(1e-1,))),
            limit_s=budgets.limit_s,
        )
    else:
        missing["skglm"] = "skglm is not installed"
    if weights["l2"] > 0:
        missing["celer"] = "celer has no l2"
    elif peers.is_installed("celer"):
        run_celer = partial(peers.celer_steps, train.X, train.y, l1=weights["l1"], tolerances=budgets.peer_tolerances)
        competitors["celer"] = Competitor(run_celer, limit_s=budgets.limit_s)
    else:
        missing["celer"] = "celer is not installed"
    if budgets.adelie_python:
        run_adelie = partial(peers.adelie_steps, budgets.adelie_python, train.X, train.y, **weights)
        competitors["adelie"] = Competitor(
            partial(run_adelie, tolerances=budgets.peer_tolerances, limit_s=budgets.limit_s), limit_s=budgets.limit_s
        )
    else:
        missing["adelie"] = "no environment with adelie was given (--adelie-python)"
    return competitors, missing


def _draw(
    problem: Problem, title: str, competitors: Mapping[str, Competitor], missing: Mapping[str, str] | None = None
) -> dict[str, dict[str, object]]:
    curves = {name: draw_curve(problem, name, one) for name, one in competitors.items()}
    curves |= {name: {"not_run": reason} for name, reason in (missing or {}).items()}
    print_curves(f"{title}, {len(problem.split.train.y)} words", curves)
    return curves

"""Measures how stopping early changes the ranking: neurons in common with a tightly solved probe, and selectivity."""

from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Float32, Int

from benchmarks import harness, incumbent
from benchmarks.probing import ours
from benchmarks.probing.reached import Solution, accuracy, solution_of
from benchmarks.probing.words import Split
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.weight_mass import mass_order

TIGHT = 1e-5
"""Tolerance of the probe that rankings are compared with."""
FRACTIONS = (0.01, 0.05, 0.2)


def measure_agreement(split: Split, net: ElasticNet) -> dict[str, object]:
    """Compares each solver's ranking with that of a tightly solved probe, and measures its selectivity.

    Args:
        split: Training words and words held out.
        net: Pairs of penalties, and the settings of the solvers, on X as it is.
    """
    trainers = {
        "tight": partial(_fit_pairs, split, replace(net, tolerance=TIGHT)),
        "proximal": partial(_fit_pairs, split, net),
        "adam with proximal step": partial(_fit_pairs, split, replace(net, solver="adam")),
        "adam as published": partial(_fit_pairs, split, replace(net, solver="adam", proximal_step=False)),
        "adam, another order": partial(_fit_pairs, split, replace(net, solver="adam", proximal_step=False, seed=1)),
        "incumbent 32": partial(_train_pairs, split, net),
    }
    fitted = {name: train() for name, train in trainers.items()}
    by_pair: list[dict[str, object]] = []
    for place, (l1, l2) in enumerate(net.pairs):
        rows = {name: _rank(split, pairs[place], fitted["tight"][place][0]) for name, pairs in fitted.items()}
        by_pair.append({"l1": l1, "l2": l2, "solvers": rows})
        harness.print_table(f"ranking, l1 = {l1:g}, l2 = {l2:g}", rows)
    return {"reference_tolerance": TIGHT, "fractions": list(FRACTIONS), "pairs": by_pair}


def common_share(
    first: Float32[np.ndarray, "feature class"], second: Float32[np.ndarray, "feature class"], *, fraction: float
) -> float:
    """Returns the share of the first `fraction` of the neurons that the rankings of two probes have in common."""
    count = max(1, round(fraction * len(first)))
    tops = [mass_order(weights).order[:count] for weights in (first, second)]
    return float(np.isin(tops[0], tops[1]).mean())


def _fit_pairs(split: Split, net: ElasticNet) -> list[tuple[Solution, Solution]]:
    """Fits, for each pair, the probe of the task and that of its control, all in one call."""
    train = split.train
    probes = ours.fit(train.X, [train.y, train.control], net, classes=split.classes)
    pairs = len(net.pairs)
    return [(solution_of(probes[place]), solution_of(probes[pairs + place])) for place in range(pairs)]


def _train_pairs(split: Split, net: ElasticNet) -> list[tuple[Solution, Solution]]:
    """Trains the same probes by the incumbent's procedure, one by one."""

    def train(labels: Int[np.ndarray, " word"], l1: float, l2: float) -> Solution:
        device = incumbent.training_device()
        return Solution(
            *incumbent.train_probe(split.train.X, labels, l1=l1, l2=l2, squared=True, epochs=net.epochs, device=device)
        )

    return [(train(split.train.y, *pair), train(split.train.control, *pair)) for pair in net.pairs]


def _rank(split: Split, fitted: tuple[Solution, Solution], tight: Solution) -> dict[str, object]:
    """Returns a row of the table of rankings."""
    real, control = fitted
    real_accuracy = accuracy(split.unseen, real)
    control_accuracy = accuracy(split.unseen, control, labels=split.unseen.control)
    shares = {
        f"common_{fraction:g}": common_share(real.weights, tight.weights, fraction=fraction) for fraction in FRACTIONS
    }
    return {
        **shares,
        "neurons_with_weight": int((real.weights != 0).any(axis=1).sum()),
        "nonzero_fraction": float((real.weights != 0).mean()),
        "accuracy": real_accuracy,
        "control_accuracy": control_accuracy,
        "selectivity": real_accuracy - control_accuracy,
    }

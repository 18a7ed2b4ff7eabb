"""What stopping early does to the ranking: neurons in common with a tightly solved probe, and selectivity."""

from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Float32, Int

from benchmarks import harness, incumbent
from benchmarks.probing import ours
from benchmarks.probing.reached import Fitted, accuracy, fitted_of
from benchmarks.probing.words import Split
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.weight_mass import mass_order

TIGHT = 1e-5
"""Tolerance of the probe to which rankings are compared."""
FRACTIONS = (0.01, 0.05, 0.2)


def measure_agreement(split: Split, net: ElasticNet) -> dict[str, object]:
    """What each solver's ranking has in common with that of a tightly solved probe, and its selectivity.

    Args:
        split: The words.
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
    held: list[dict[str, object]] = []
    for place, (l1, l2) in enumerate(net.pairs):
        rows = {name: _rank(split, pairs[place], fitted["tight"][place][0]) for name, pairs in fitted.items()}
        held.append({"l1": l1, "l2": l2, "solvers": rows})
        harness.print_table(f"ranking, l1 = {l1:g}, l2 = {l2:g}", rows)
    return {"reference_tolerance": TIGHT, "fractions": list(FRACTIONS), "pairs": held}


def common_share(
    first: Float32[np.ndarray, "feature class"], second: Float32[np.ndarray, "feature class"], *, fraction: float
) -> float:
    """Of the first `fraction` of the neurons in the ranking of one probe's weights, the share that are the other's."""
    count = max(1, round(fraction * len(first)))
    tops = [mass_order(weights).order[:count] for weights in (first, second)]
    return float(np.isin(tops[0], tops[1]).mean())


def _fit_pairs(split: Split, net: ElasticNet) -> list[tuple[Fitted, Fitted]]:
    """For each pair the probe of the task and that of its control, all in one call."""
    train = split.train
    probes = ours.fit(train.X, [train.y, train.control], net, classes=split.classes)
    pairs = len(net.pairs)
    return [(fitted_of(probes[place]), fitted_of(probes[pairs + place])) for place in range(pairs)]


def _train_pairs(split: Split, net: ElasticNet) -> list[tuple[Fitted, Fitted]]:
    """The same by the incumbent's procedure, one by one."""

    def train(labels: Int[np.ndarray, " word"], l1: float, l2: float) -> Fitted:
        device = incumbent.training_device()
        return Fitted(
            *incumbent.train_probe(
                split.train.X, labels, l1=l1, l2=l2, penalty="elastic_net", epochs=net.epochs, device=device
            )
        )

    return [(train(split.train.y, *pair), train(split.train.control, *pair)) for pair in net.pairs]


def _rank(split: Split, fitted: tuple[Fitted, Fitted], tight: Fitted) -> dict[str, object]:
    """A row of the ranking's table."""
    real, control = fitted
    reached = accuracy(split.unseen, real)
    by_chance = accuracy(split.unseen, control, labels=split.unseen.control)
    shares = {
        f"common_{fraction:g}": common_share(real.weights, tight.weights, fraction=fraction) for fraction in FRACTIONS
    }
    return {
        **shares,
        "neurons_with_weight": int((real.weights != 0).any(axis=1).sum()),
        "nonzero_fraction": float((real.weights != 0).mean()),
        "accuracy": reached,
        "control_accuracy": by_chance,
        "selectivity": reached - by_chance,
    }

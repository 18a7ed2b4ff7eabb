"""Measures how far each competitor's weights are from the optimum of a problem.

`reference` measures all weights again in float64: the objective, and its distance above the reference solution, which
is the package's solver at a tolerance of 1e-6. A lower bound of the optimum, computed in float64 from the weights of
the reference by weak duality, shows how good the reference is. It is an error, and there is no result, if the
certificate of a probe is smaller than its measured distance, or if an objective is below the lower bound.
"""

import math
from dataclasses import replace
from typing import NamedTuple, TypedDict

import numpy as np
from jaxtyping import Float, Float32, Int

from benchmarks import reference
from benchmarks.probing.ours import fit
from benchmarks.probing.words import Split, Words
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe import Probe

REFERENCE_TOLERANCE = 1e-6
MAX_ITERATIONS = 600
"""Maximum number of iterations of the exact solver on one problem. Without l2 the reference may need more to reach its
tolerance; the result file has its gap."""
ROUNDING = 1e-6
"""Rounding of an objective in float32, as a share of the objective at zero weights: the finest certificate."""


class Penalties(TypedDict):
    """Weights of the two terms of the penalty."""

    l1: float
    l2: float


class Solution(NamedTuple):
    """The weights that a competitor ends with; the last two fields are None if it does not report them."""

    weights: Float32[np.ndarray, "feature class"]
    bias: Float32[np.ndarray, " class"]
    certificate: float | None = None
    iterations: int | None = None


class Reached(TypedDict):
    """The keys that every competitor's row has; shares are of the objective at zero weights."""

    objective: float
    above_reference_share: float
    certificate_share: float | None
    iterations: int | None
    nonzero_fraction: float
    held_out_accuracy: float


class Problem(NamedTuple):
    """Words, an objective on them, and two bounds of its optimum."""

    split: Split
    net: ElasticNet
    """The objective, with one pair of penalties, on X as it is; also the settings of the package's solvers."""
    null: float
    """The objective at zero weights and the best bias."""
    optimum: float
    """The objective of the reference."""
    lower_bound: float

    @property
    def penalties(self) -> Penalties:
        """The two weights, as keywords."""
        ((l1, l2),) = self.net.pairs
        return {"l1": l1, "l2": l2}

    @property
    def squared(self) -> bool:
        """Whether the second term is that of the elastic net."""
        return self.net.penalty == "elastic_net"

    def measure(self, name: str, fitted: Solution) -> Reached:
        """Measures how far a competitor is from the optimum.

        Args:
            name: Name of the competitor, for the error.
            fitted: Weights of the competitor.

        Raises:
            ValueError: The distance is larger than the certificate, or the objective is below the lower bound.
        """
        train = self.split.train
        reached = reference.measure_objective(
            train.X, train.y, fitted.weights, fitted.bias, squared=self.squared, **self.penalties
        )
        above = reached - self.optimum
        if fitted.certificate is not None and above > fitted.certificate + ROUNDING * self.null:
            raise ValueError(f"{name}: {above:.3e} above the reference, but certified to {fitted.certificate:.3e}.")
        if reached < self.lower_bound - 1e-9 * self.null:
            raise ValueError(f"{name}: {reached:.9f} is below the optimum's lower bound {self.lower_bound:.9f}.")
        certificate = fitted.certificate
        return {
            "objective": reached,
            "above_reference_share": above / self.null,
            "certificate_share": None if certificate is None else finite(certificate / self.null),
            "iterations": fitted.iterations,
            "nonzero_fraction": float((fitted.weights != 0).mean()),
            "held_out_accuracy": accuracy(self.split.unseen, fitted),
        }

    def describe(self) -> dict[str, object]:
        """Returns the keys `null_objective` and `reference` of a result file."""
        gap = self.optimum - self.lower_bound
        return {
            **self.penalties,
            "null_objective": self.null,
            "reference": {
                "objective": self.optimum,
                "lower_bound": self.lower_bound,
                "gap_share": gap / self.null,
            },
        }


def pose_problem(split: Split, net: ElasticNet) -> Problem:
    """Makes a problem and solves it for the reference.

    Args:
        split: Training words and words held out.
        net: Objective, with one pair of penalties, and settings of the solvers compared on it; the reference has the
            same settings except the tolerance.
    """
    net = replace(net, standardize=False)
    ((l1, l2),) = net.pairs
    train, squared = split.train, net.penalty == "elastic_net"
    tight = replace(net, solver="proximal", tolerance=REFERENCE_TOLERANCE)
    (best,) = fit(train.X, [train.y], tight, classes=split.classes)
    settings = {"l1": l1, "l2": l2, "squared": squared}
    return Problem(
        split=split,
        net=net,
        null=reference.null_objective(train.y),
        optimum=reference.measure_objective(train.X, train.y, best.weights, best.bias, **settings),
        lower_bound=reference.lower_bound(train.X, train.y, best.weights, best.bias, **settings),
    )


def solution_of(probe: Probe) -> Solution:
    """Returns a probe of the package as a solution; Adam's certificate is computed as that of the exact solver."""
    return Solution(probe.weights, probe.bias, probe.duality_gap, probe.iterations)


def accuracy(words: Words, fitted: Solution, *, labels: Int[np.ndarray, " word"] | None = None) -> float:
    """Returns the share of words whose class is predicted, by the labels of the words unless others are given."""
    scores: Float[np.ndarray, "word class"] = words.X @ fitted.weights + fitted.bias
    return float((scores.argmax(axis=1) == (words.y if labels is None else labels)).mean())


def finite(value: float) -> float | None:
    """Returns the value, or None if it is not finite, since JSON has no number for that."""
    return value if math.isfinite(value) else None

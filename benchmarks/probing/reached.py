"""One problem, what a competitor ends with on it, and how far that is from the optimum: measured, never believed.

Everyone's weights are measured again by `reference` in float64: the objective, and how far it lies above the
reference, which is the package's solver at a tolerance of 1e-6. A lower bound of the optimum, computed in float64 from
the reference's weights by weak duality, says how good the reference is. The certificate of a probe must not be smaller
than the distance measured, and nobody may get below the lower bound: either is an error, and there is no result.
"""

import math
from dataclasses import replace
from typing import Any, NamedTuple, TypedDict

import numpy as np
from jaxtyping import Float, Float32, Int

from benchmarks import reference
from benchmarks.probing.ours import fit
from benchmarks.probing.words import Split, Words
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe import Probe

REFERENCE_TOLERANCE = 1e-6
MAX_ITERATIONS = 600
"""Of the exact solver wherever one problem is measured. Without l2 the reference may need more for its tolerance; the
result file has the gap that it kept."""
ROUNDING = 1e-6
"""Of an objective in float32, as a share of the objective at zero weights: no certificate is finer than that."""


class Penalties(TypedDict):
    """Weights of the two terms of the penalty."""

    l1: float
    l2: float


class Fitted(NamedTuple):
    """What a competitor ends with; the last two are None where it does not say."""

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
    """Words, an objective on them, and its optimum bracketed."""

    split: Split
    net: ElasticNet
    """The objective, one pair, on X as it is; also what the package's solvers are started with."""
    null: float
    """Objective at zero weights and the best bias."""
    optimum: float
    """Objective of the reference."""
    lower_bound: float

    @property
    def penalties(self) -> Penalties:
        """As keywords."""
        ((l1, l2),) = self.net.pairs
        return {"l1": l1, "l2": l2}

    def measure(self, name: str, fitted: Fitted) -> Reached:
        """How far a competitor came.

        Args:
            name: Of the competitor, for the error.
            fitted: Its weights.

        Raises:
            ValueError: It is further from the optimum than it is certified to be, or below the optimum's lower bound.
        """
        train = self.split.train
        reached = reference.measure_objective(
            train.X, train.y, fitted.weights, fitted.bias, penalty=self.net.penalty, **self.penalties
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
        """The keys `null_objective` and `reference` of a result file."""
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
    """Solves a problem for the reference.

    Args:
        split: The words.
        net: The objective, with one pair of penalties, and the settings of the solvers compared on it; the reference
            takes them too, but for the tolerance.
    """
    net = replace(net, standardize=False)
    ((l1, l2),) = net.pairs
    train = split.train
    tight = replace(net, solver="proximal", tolerance=REFERENCE_TOLERANCE)
    (best,) = fit(train.X, [train.y], tight, classes=split.classes)
    settings: Any = {"l1": l1, "l2": l2, "penalty": net.penalty}
    return Problem(
        split=split,
        net=net,
        null=reference.null_objective(train.y),
        optimum=reference.measure_objective(train.X, train.y, best.weights, best.bias, **settings),
        lower_bound=reference.lower_bound(train.X, train.y, best.weights, best.bias, **settings),
    )


def fitted_of(probe: Probe) -> Fitted:
    """A probe of the package as a competitor's end; Adam's certificate is measured as the exact solver's is."""
    return Fitted(probe.weights, probe.bias, probe.duality_gap, probe.iterations)


def accuracy(words: Words, fitted: Fitted, *, labels: Int[np.ndarray, " word"] | None = None) -> float:
    """Share of words whose class is predicted; of the words' own labels unless others are given."""
    scores: Float[np.ndarray, "word class"] = words.X @ fitted.weights + fitted.bias
    return float((scores.argmax(axis=1) == (words.y if labels is None else labels)).mean())


def finite(value: float) -> float | None:
    """None for what JSON has no number for."""
    return value if math.isfinite(value) else None

"""Convex problems that share one matrix: the question on the host, its place on the devices, the answer of a solver.

A problem is one convex fit: labels on some of the words, how much each word counts, one (l1, l2), some of the features.
What labels are is the loss's business: class numbers or numbers; all problems of a batch have the same loss. Problems
are batched with the class axis padded to the widest; a class that a problem does not have gets share 0 and bias −∞ and
costs its column only. All arrays of a problem are (problem, word) or smaller; X belongs to the matrix.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num


class Start(NamedTuple):
    """The point from which a problem starts."""

    weights: Float[np.ndarray, "layer class feature"]
    """In the scale of the features that the matrix has."""
    bias: Float[np.ndarray, "layer class"]
    curvature: Float[np.ndarray, " layer"] | None = None
    """As in `Answer`; None where none is known."""


class Question(NamedTuple):
    """One problem on the host."""

    labels: Num[np.ndarray, " word"]
    """What the loss compares predictions with; `Loss.labelled` tells which words belong to the problem."""
    weights: Float[np.ndarray, " word"] | None
    """How much each word counts, in any unit: finite, ≥ 0, more than 0 for some word. None where all count the same."""
    classes: int
    """Length of the class axis: the number of classes, or 1 for numbers."""
    l1: float
    l2: float
    keep: Bool[np.ndarray, " feature"]
    """Features it may use; the weights of the others stay zero."""
    parent: int | None = None
    """Place of the question at whose solution it starts; None for a start at zero weights, or at `start`."""
    start: Start | None = None
    """Where it starts if no other question says so; a solver that has no use for it begins at zero weights."""


class Problems(NamedTuple):
    """Problems of one loss on the devices; class axis padded to the widest."""

    labels: Num[Array, "problem word"]
    """As in `Question`; `Loss.mask_label` for padding and for words that count nothing."""
    weights: Float[Array, "problem word"] | None
    """How much each word counts, in any unit; None where every word of every problem counts the same."""
    shares: Float[Array, "problem class"]
    """Mean of the targets: the share of each class in the weight of the problem's words, 0 for classes that the problem
    does not have; for numbers their mean."""
    l1: Float[Array, " problem"]
    l2: Float[Array, " problem"]
    keep: Bool[Array, "problem feature"]
    """Features that the problem may use; the weights of the others stay zero."""
    total: Float[Array, " problem"] | None
    """Sum of the weights over all words of each problem, of which these may be a part; None where a part, like a
    mini-batch, counts as if it were all."""


class Answer(NamedTuple):
    """The solution of one question on the host; one per layer where the matrix has layers."""

    weights: Float[np.ndarray, "layer class feature"]
    bias: Float[np.ndarray, "layer class"]
    objective: Float[np.ndarray, " layer"]
    duality_gap: Float[np.ndarray, " layer"]
    null_objective: float
    """F at zero weights and the best bias."""
    iterations: Int[np.ndarray, " layer"]
    converged: Bool[np.ndarray, " layer"]
    curvature: Float[np.ndarray, " layer"] | None = None
    """Curvature of the loss in the metric of the words, as the solver found it: a neighbour begins its search there."""

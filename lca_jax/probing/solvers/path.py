"""Starts along a penalty grid: each problem begins at the solution of its next stronger neighbours.

Along a grid solutions move little where one of the two terms of the penalty rules, and by a part of their way from zero
where it does not. So a problem waits for its two neighbours, the next larger l1 with the same l2 and the next larger l2
with the same l1, and starts from the one at which its own objective is lower. That costs no product: the objective at
another l1 and l2 follows from the objective and the two terms. The first problem of a grid starts from zero.

A result depends on its grid in this way, within its certificate, and on nothing else that is solved beside it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lca_jax.probing.penalties.penalty import Penalty
from lca_jax.probing.problems import Answer, Question

Pair = tuple[float, float]


class Start(NamedTuple):
    """The point from which a problem starts."""

    weights: Float[np.ndarray, "layer class feature"]
    bias: Float[np.ndarray, "layer class"]
    curvature: Float[np.ndarray, " layer"]


def neighbours(pairs: Sequence[Pair]) -> list[tuple[int, ...]]:
    """Returns for every (l1, l2) the places of the pairs that are next stronger along one axis; fewer at the rim.

    Pairs may come in any order, and need not fill their grid; a pair that occurs twice starts from the first.
    """
    place = {pair: number for number, pair in reversed(list(enumerate(pairs)))}
    neighbours_of: list[tuple[int, ...]] = []
    for number, (l1, l2) in enumerate(pairs):
        if place[l1, l2] != number:
            neighbours_of.append((place[l1, l2],))
            continue
        stronger_l1 = min((other for other, beside in place if beside == l2 and other > l1), default=None)
        stronger_l2 = min((beside for other, beside in place if other == l1 and beside > l2), default=None)
        along_l1 = () if stronger_l1 is None else (place[stronger_l1, l2],)
        along_l2 = () if stronger_l2 is None else (place[l1, stronger_l2],)
        neighbours_of.append(along_l1 + along_l2)
    return neighbours_of


def best_start(question: Question, parents: Sequence[tuple[Question, Answer]], penalty: Penalty) -> Start:
    """Returns weights, bias and curvature of the parent that is best for a question, in each layer.

    Args:
        question: The question to be solved.
        parents: One or more solved neighbours, which differ from the question in l1 and l2 only.
        penalty: The penalty of all of them.
    """
    objectives = np.stack([_objective_at(question, *parent, penalty) for parent in parents])
    chosen = objectives.argmin(axis=0)
    layers = np.arange(len(chosen))
    weights = np.stack([answer.weights for _, answer in parents])[chosen, layers]
    bias = np.stack([answer.bias for _, answer in parents])[chosen, layers]
    curvature = np.stack([answer.curvature for _, answer in parents if answer.curvature is not None])[chosen, layers]
    return Start(weights, bias, curvature)


def _objective_at(
    question: Question, parent: Question, answer: Answer, penalty: Penalty
) -> Float[np.ndarray, " layer"]:
    """Returns the objective of a question at the answer to another, in float64."""
    first, second = map(np.asarray, penalty.terms(answer.weights.astype(np.float64)))
    return answer.objective + (question.l1 - parent.l1) * first + (question.l2 - parent.l2) * second

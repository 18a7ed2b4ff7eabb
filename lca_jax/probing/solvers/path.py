"""Where each penalty of a grid starts: from the solution of its next stronger neighbours.

Along a grid solutions move little where one of the two penalties rules, and by a part of their way from zero where it
does not. So a problem waits for its two neighbours, the next larger l1 with the same l2 and the next larger l2 with the
same l1, and starts from the one at which its own objective is lower. That costs no product: an objective at other
penalties follows from the loss and the two norms, which are known. The first problem of a grid starts from zero.

A result depends on its grid in this way, within its certificate, and on nothing else that is solved beside it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lca_jax.probing.problems import Answer, Question

Pair = tuple[float, float]


class Start(NamedTuple):
    """Where a problem starts."""

    weights: Float[np.ndarray, "layer class feature"]
    bias: Float[np.ndarray, "layer class"]
    curvature: Float[np.ndarray, " layer"]


def neighbours(pairs: Sequence[Pair]) -> list[tuple[int, ...]]:
    """For every (l1, l2), the places of the pairs that are next stronger along one axis; fewer at the rim.

    Pairs may stand in any order, and need not fill their grid; a pair that stands twice starts from the first.
    """
    place = {pair: number for number, pair in reversed(list(enumerate(pairs)))}
    found: list[tuple[int, ...]] = []
    for number, (l1, l2) in enumerate(pairs):
        if place[l1, l2] != number:
            found.append((place[l1, l2],))
            continue
        stronger_l1 = min((other for other, beside in place if beside == l2 and other > l1), default=None)
        stronger_l2 = min((beside for other, beside in place if other == l1 and beside > l2), default=None)
        along_l1 = () if stronger_l1 is None else (place[stronger_l1, l2],)
        along_l2 = () if stronger_l2 is None else (place[l1, stronger_l2],)
        found.append(along_l1 + along_l2)
    return found


def best_start(question: Question, parents: Sequence[tuple[Question, Answer]], *, squared: bool) -> Start:
    """Weights, bias and curvature of the parent that is best for a question, in each layer.

    Args:
        question: What is to be solved.
        parents: One or more solved neighbours: the same but for their penalties.
        squared: True for the elastic net, False for the `neurox` penalty.
    """
    objectives = np.stack([_objective_at(question, *parent, squared=squared) for parent in parents])
    chosen = objectives.argmin(axis=0)
    layers = np.arange(len(chosen))
    weights = np.stack([answer.weights for _, answer in parents])[chosen, layers]
    bias = np.stack([answer.bias for _, answer in parents])[chosen, layers]
    curvature = np.stack([answer.curvature for _, answer in parents if answer.curvature is not None])[chosen, layers]
    return Start(weights, bias, curvature)


def _objective_at(question: Question, of: Question, answer: Answer, *, squared: bool) -> Float[np.ndarray, " layer"]:
    """The objective of a question at the answer to another."""
    magnitude = np.abs(answer.weights).sum(axis=(1, 2), dtype=np.float64)
    squares = (answer.weights.astype(np.float64) ** 2).sum(axis=(1, 2))
    second = squares / 2 if squared else np.sqrt(squares)
    return answer.objective + (question.l1 - of.l1) * magnitude + (question.l2 - of.l2) * second

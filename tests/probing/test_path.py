"""Starts along a penalty grid."""

import numpy as np
import pytest

from lca_jax import ElasticNet
from lca_jax.probing.choices import penalty_named
from lca_jax.probing.objective import PenaltyName
from lca_jax.probing.problems import Answer, Question
from lca_jax.probing.solvers.path import best_start, neighbours
from tests.probing.planted import SHAPES, TIGHT, assert_same_weights, problems_of


def test_neighbours_are_the_next_stronger_along_each_axis() -> None:
    pairs = [(0.1, 0.0), (1.0, 0.0), (0.1, 0.5), (1.0, 0.5), (0.1, 0.2)]
    assert neighbours(pairs) == [(1, 4), (3,), (3,), (), (2,)]


def test_neighbours_of_any_order_and_of_pairs_that_stand_twice() -> None:
    assert neighbours([(1.0, 1.0)]) == [()]
    assert neighbours([(1.0, 1.0), (2.0, 3.0)]) == [(), ()]
    assert neighbours([(1.0, 1.0), (1.0, 1.0), (2.0, 1.0)]) == [(2,), (0,), ()]


def question(l1: float, l2: float) -> Question:
    return Question(labels=np.zeros(3, np.int32), weights=None, classes=2, l1=l1, l2=l2, keep=np.ones(2, bool))


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("elastic_net", [2.0, 6.0], [2.0, 9.0]),
        ("neurox", [2.0, 6.0], [2.0, 18**0.5]),
        ("group_lasso", [2.0, 6.0], [2.0, 9.0]),
    ],
)
def test_the_start_is_the_parent_with_the_lower_objective_in_each_layer(
    name: PenaltyName, first: list[float], second: list[float]
) -> None:
    """By hand: both parents have loss 1, and the given terms of the penalty in layer 0, the reverse in layer 1."""
    few = np.array([[[2.0, 0.0], [0.0, 0.0]], [[3.0, 3.0], [0.0, 0.0]]], np.float32)
    many = few[::-1].copy()
    asked, l1, l2 = question(0.1, 0.2), 0.5, 0.7
    penalty = l1 * np.array(first) + l2 * np.array(second)

    def answer(weights: np.ndarray, penalty: np.ndarray, curvature: float) -> Answer:
        return Answer(
            weights=weights,
            bias=np.full((2, 2), curvature, np.float32),
            objective=1 + penalty,
            duality_gap=np.zeros(2),
            null_objective=1.0,
            iterations=np.ones(2, np.int64),
            converged=np.ones(2, bool),
            curvature=np.full(2, curvature),
        )

    parents = [(question(l1, l2), answer(few, penalty, 0.25)), (question(l1, l2), answer(many, penalty[::-1], 0.5))]
    start = best_start(asked, parents, penalty_named(name))
    np.testing.assert_array_equal(start.weights, np.stack([few[0], many[1]]))
    np.testing.assert_array_equal(start.curvature, [0.25, 0.5])
    np.testing.assert_array_equal(start.bias[:, 0], [0.25, 0.5])


@pytest.mark.slow
def test_a_grid_takes_fewer_iterations_than_its_pairs_alone_and_finds_the_same() -> None:
    X, y = SHAPES["usual"]
    values = (1e-2, 3e-3, 1e-3)
    together = problems_of(X, y, ElasticNet(l1=values, l2=values, tolerance=TIGHT))
    iterations = 0
    for found in together:
        (alone,) = problems_of(X, y, ElasticNet(l1=found.l1, l2=found.l2, tolerance=TIGHT))
        assert found.objective == pytest.approx(alone.objective, abs=2 * TIGHT)
        assert_same_weights(found.weights, alone.weights)
        iterations += alone.iterations
    assert sum(probe.iterations for probe in together) < 0.8 * iterations

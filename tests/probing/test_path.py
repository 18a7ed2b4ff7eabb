"""Starts along a penalty grid."""

import pytest

from lca_jax import ElasticNet
from lca_jax.probing.problems import Start
from lca_jax.probing.solvers.path import next_stronger
from tests.probing.planted import SHAPES, TIGHT, assert_same_weights, problems_of


def test_the_start_is_the_next_stronger_l2_of_the_same_l1() -> None:
    pairs = [(0.1, 0.0), (1.0, 0.0), (0.1, 0.5), (1.0, 0.5), (0.1, 0.2)]
    assert next_stronger(pairs) == [4, 3, None, None, 2]


def test_pairs_of_any_order_and_pairs_that_stand_twice() -> None:
    assert next_stronger([(1.0, 1.0)]) == [None]
    assert next_stronger([(1.0, 1.0), (2.0, 3.0)]) == [None, None]
    assert next_stronger([(1.0, 1.0), (1.0, 1.0), (1.0, 2.0)]) == [2, 0, None]


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
    assert sum(probe.iterations for probe in together) < 0.9 * iterations


def test_a_start_near_the_solution_takes_few_iterations_and_finds_the_same() -> None:
    X, y = SHAPES["usual"]
    settings = ElasticNet(l1=1e-3, l2=1e-3, tolerance=TIGHT)
    (cold,) = problems_of(X, y, settings)
    (near,) = problems_of(X, y, ElasticNet(l1=1.2e-3, l2=1e-3, tolerance=TIGHT))
    start = Start(near.weights.T[None], near.bias[None])
    (warm,) = problems_of(X, y, settings, start=start)
    assert warm.converged
    assert warm.iterations < 0.8 * cold.iterations
    assert warm.objective == pytest.approx(cold.objective, abs=2 * TIGHT)
    assert_same_weights(warm.weights, cold.weights)

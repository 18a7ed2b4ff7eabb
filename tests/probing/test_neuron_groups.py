"""The group lasso over groups of neurons: against a plain solver, its certificate and its operator."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from lca_jax import ElasticNet, correlated_groups, fit_probes, index_groups
from lca_jax.errors import SettingsError
from lca_jax.probing.fit import fit_problems
from lca_jax.probing.labelling import Labelling
from lca_jax.probing.penalties.neuron_groups import NeuronGroupLasso
from lca_jax.probing.probe import Probe
from tests.probing.planted import SHAPES, TIGHT, assert_same_weights
from tests.stores import planted_store

X, Y = SHAPES["usual"]
STANDARD = (X.astype(np.float64) - X.mean(axis=0, dtype=np.float64)) / X.std(axis=0, dtype=np.float64)
# Groups of one to five neurons, whose columns are not neighbours.
GROUPS = np.array([0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4] * 50)[: X.shape[1]]
GROUPS = np.unique(
    np.random.default_rng(2).permutation(GROUPS + 5 * (np.arange(len(GROUPS)) // 15)), return_inverse=True
)[1]
SIZES = np.bincount(GROUPS)
OF_GROUP = [np.flatnonzero(number == GROUPS) for number in range(len(SIZES))]
L1, L2 = 0.13, 5e-3


def norms(W: np.ndarray) -> np.ndarray:
    """Norm of the weights of each group."""
    return np.array([np.linalg.norm(W[OF_GROUP[group]]) for group in range(len(SIZES))])


def measure(W: np.ndarray, b: np.ndarray, l1: float, l2: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Objective, gradient and bias gradient in float64."""
    scores = STANDARD @ W + b
    logs = scores - scores.max(axis=1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    residual = (np.exp(logs) - np.eye(W.shape[1])[Y]) / len(Y)
    value = -logs[np.arange(len(Y)), Y].mean() + l1 * (np.sqrt(SIZES) * norms(W)).sum() + l2 / 2 * (W**2).sum()
    return float(value), STANDARD.T @ residual, residual.sum(axis=0)


def solve_plainly(l1: float, l2: float) -> tuple[float, np.ndarray]:
    """Proximal steps with momentum and restarts in float64, group by group."""
    extended = np.concatenate([STANDARD, np.ones((len(Y), 1))], axis=1)
    length = 2 / np.linalg.eigvalsh(extended.T @ extended / len(Y)).max()
    W, b = np.zeros((X.shape[1], Y.max() + 1)), np.zeros(Y.max() + 1)
    V, c, t, last = W, b, 1.0, np.inf
    for _ in range(20_000):
        _, gradient, bias_gradient = measure(V, c, l1, l2)
        at = V - length * gradient
        share = np.maximum(1 - length * l1 * np.sqrt(SIZES) / np.maximum(norms(at), 1e-300), 0)
        U, d = at * share[GROUPS][:, None] / (1 + length * l2), c - length * bias_gradient
        value, next_t = measure(U, d, l1, l2)[0], (1 + np.sqrt(1 + 4 * t * t)) / 2
        change = max(np.abs(U - W).max(), np.abs(d - b).max())
        if value > last + 1e-13:
            V, c, t, last = W, b, 1.0, np.inf
            continue
        V, c = U + (t - 1) / next_t * (U - W), d + (t - 1) / next_t * (d - b)
        W, b, t, last = U, d, next_t, value
        if change < 1e-8:
            break
    return measure(W, b, l1, l2)[0], W


def fit(groups: np.ndarray | None = GROUPS, **options: Any) -> Probe:
    net = ElasticNet(**{"l1": L1, "l2": L2, "penalty": "group_lasso", "tolerance": TIGHT, **options})
    labelling = Labelling(task="y", control=False, classes=tuple("abcd"), numbers=Y.astype(np.int32))
    return fit_problems(X, [labelling], net, groups=groups)[0]


@pytest.mark.parametrize(("l1", "l2"), [(L1, L2), (1.2 * L1, L2), (L1, 0.0)])
def test_agrees_with_a_plain_solver(l1: float, l2: float) -> None:
    best, W = solve_plainly(l1, l2)
    probe = fit(l1=l1, l2=l2)
    reached, *_ = measure(probe.weights.astype(np.float64), probe.bias.astype(np.float64), l1, l2)
    assert probe.converged
    assert probe.objective == pytest.approx(reached, abs=2e-6)
    assert -1e-9 <= reached - best <= probe.duality_gap
    assert_same_weights(probe.weights, W)
    inside = np.array([(probe.weights[OF_GROUP[group]] != 0).mean() for group in range(len(SIZES))])
    # All neurons of a group are in for all classes, or all are out.
    assert set(inside) == {0.0, 1.0}
    assert ((inside > 0) == (norms(W) > 0)).all()


@pytest.mark.filterwarnings("ignore::lca_jax.NotConverged")
@pytest.mark.parametrize("l2", [L2, 0.0])
def test_the_certificate_is_never_smaller_than_the_true_gap(l2: float) -> None:
    best, _ = solve_plainly(L1, l2)
    for iterations in (1, 3, 8, 20):
        probe = fit(l2=l2, max_iterations=iterations)
        reached, *_ = measure(probe.weights.astype(np.float64), probe.bias.astype(np.float64), L1, l2)
        assert reached - best <= probe.duality_gap + 1e-7


def test_the_proximal_operator_beats_its_surroundings() -> None:
    rng = np.random.default_rng(0)
    penalty = NeuronGroupLasso((0, 1, 1, 2, 2, 2))
    at = rng.normal(size=(1, 2, 6))
    length, l1, l2 = 0.5, 0.9, 0.3
    arrays = (jnp.asarray([value], jnp.float32) for value in (length, l1, l2))
    found = np.asarray(penalty.proximal(jnp.asarray(at, jnp.float32), *arrays)).astype(np.float64)

    def value(U: np.ndarray) -> float:
        first, second = penalty.terms(U)
        return float(((U - at) ** 2).sum() / (2 * length) + l1 * first[0] + l2 * second[0])

    lowest = value(found)
    for size in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(200):
            assert value(found + size * rng.normal(size=at.shape)) >= lowest - 1e-6
    for group in ([0], [1, 2], [3, 4, 5]):  # leaving a group out, and taking it in as it is
        for factor in (0.0, 0.9, 1.1):
            other = found.copy()
            other[:, :, group] *= factor
            assert value(other) >= lowest - 1e-6
    first, second = penalty.terms(at)
    jax_terms = penalty.terms(jnp.asarray(at, jnp.float32))
    np.testing.assert_allclose([first, second], jax_terms, rtol=1e-5)
    by_hand = sum(np.sqrt(len(group)) * np.linalg.norm(at[0][:, group]) for group in ([0], [1, 2], [3, 4, 5]))
    assert first[0] == pytest.approx(by_hand)


def test_groups_of_one_neuron_are_the_group_lasso() -> None:
    alone, plain = fit(np.arange(X.shape[1])), fit(None)
    assert alone.objective == pytest.approx(plain.objective, rel=1e-5)
    assert_same_weights(alone.weights, plain.weights)


def test_a_store_is_fitted_by_groups_and_what_has_no_use_is_refused() -> None:
    store = planted_store()
    net = ElasticNet(l1=2e-2, l2=1e-3, penalty="group_lasso")
    for groups in (index_groups(store.axis()), correlated_groups(store, threshold=0.3)):
        probe = fit_probes(store, net, groups=groups).one("upos")
        assert probe.converged
        used = (probe.weights != 0).all(axis=1)
        assert ((probe.weights != 0).any(axis=1) == used).all()
        for group in range(groups.groups.size):
            assert len(set(used[groups.group_of_column == group])) == 1
        assert used[[3, 10, 11, 17]].all()
        assert not used.all()
    groups = index_groups(store.axis())
    cases: list[tuple[ElasticNet, Any, str]] = [
        (ElasticNet(), {}, "are for the penalty `group_lasso`, got `elastic_net`"),
        (net, {"subsets": "layers"}, "groups of neurons lie across layers"),
        (ElasticNet(penalty="group_lasso", solver="adam"), {}, "coordinate_proximal"),
    ]
    for settings, options, message in cases:
        with pytest.raises(SettingsError, match=message):
            fit_probes(store, settings, groups=groups, **options)
    with pytest.raises(SettingsError, match="These groups divide the"):
        fit_probes(store, net, groups=index_groups(planted_store(layers=3, width=18).axis()))

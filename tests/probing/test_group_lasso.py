"""The group lasso over classes: against an independent solver, its conditions of optimality, and its special cases."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lca_jax import ElasticNet, NotConverged, fit_elastic_net, fit_probes, rank_neurons
from lca_jax.probing.batching import fit_on_matrix
from lca_jax.probing.labelling import Labelling
from lca_jax.probing.matrix.held import hold_matrix
from lca_jax.probing.matrix.source import MatrixSource
from lca_jax.probing.matrix.streamed import stream_matrix
from lca_jax.probing.probe import Probe
from tests.probing.planted import SHAPES, TIGHT, assert_same_weights
from tests.stores import planted_store

X, Y = SHAPES["usual"]
STANDARD = (X.astype(np.float64) - X.mean(axis=0, dtype=np.float64)) / X.std(axis=0, dtype=np.float64)
L1, L2 = 0.1, 5e-3
COUNTS = np.arange(len(Y)) % 3
NET = ElasticNet(l1=L1, l2=L2, penalty="group_lasso", tolerance=TIGHT)


def measure(W: np.ndarray, b: np.ndarray, l1: float, l2: float, counts: Any = None) -> tuple[float, np.ndarray, Any]:
    """Objective, gradient and bias gradient of the loss in float64."""
    share = np.full(len(Y), 1 / len(Y)) if counts is None else counts / counts.sum()
    scores = STANDARD @ W + b
    logs = scores - scores.max(axis=1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    residual = (np.exp(logs) - np.eye(W.shape[1])[Y]) * share[:, None]
    loss = -(logs[np.arange(len(Y)), Y] * share).sum()
    value = loss + l1 * np.linalg.norm(W, axis=1).sum() + l2 / 2 * (W**2).sum()
    return float(value), STANDARD.T @ residual, residual.sum(axis=0)


def solve_plainly(l1: float, l2: float, counts: Any = None, keep: Any = True) -> tuple[float, np.ndarray]:
    """FISTA with restarts in float64: steps of one over a bound of the curvature, weights and bias together."""
    share = np.full(len(Y), 1 / len(Y)) if counts is None else counts / counts.sum()
    extended = np.concatenate([STANDARD, np.ones((len(Y), 1))], axis=1)
    length = 2 / np.linalg.eigvalsh(extended.T @ (share[:, None] * extended)).max()
    allowed = np.broadcast_to(keep, STANDARD.shape[1:])[:, None]
    W, b = np.zeros((X.shape[1], Y.max() + 1)), np.zeros(Y.max() + 1)
    V, c, t, last = W, b, 1.0, np.inf
    for _ in range(50_000):
        _, gradient, bias_gradient = measure(V, c, l1, l2, counts)
        at = (V - length * gradient) * allowed
        norm = np.linalg.norm(at, axis=1, keepdims=True)
        U = at * np.maximum(1 - length * l1 / np.maximum(norm, 1e-300), 0) / (1 + length * l2)
        d = c - length * bias_gradient
        value, next_t = measure(U, d, l1, l2, counts)[0], (1 + np.sqrt(1 + 4 * t * t)) / 2
        change = max(np.abs(U - W).max(), np.abs(d - b).max())
        if value > last + 1e-13:  # more than rounding
            V, c, t, last = W, b, 1.0, np.inf
            continue
        V, c = U + (t - 1) / next_t * (U - W), d + (t - 1) / next_t * (d - b)
        W, b, t, last = U, d, next_t, value
        if change < 1e-9:
            break
    return measure(W, b, l1, l2, counts)[0], W


def labelling(counts: np.ndarray | None = None) -> Labelling:
    return Labelling(task="y", control=False, classes=tuple("abcd"), numbers=Y.astype(np.int32), weights=counts)


def neurons(W: np.ndarray) -> list[int]:
    """Neurons that have a weight, for any class."""
    return np.flatnonzero(W.any(axis=1)).tolist()


def fit(**options: Any) -> Probe:
    return fit_elastic_net(X, Y, penalty="group_lasso", **{"l1": L1, "l2": L2, "tolerance": TIGHT, **options})


@pytest.mark.parametrize(("l1", "l2"), [(L1, L2), (6e-2, L2), (L1, 0.0)])
@pytest.mark.parametrize("counts", [None, COUNTS])
def test_agrees_with_a_plain_solver(l1: float, l2: float, counts: np.ndarray | None) -> None:
    best, W = solve_plainly(l1, l2, counts)
    probe = fit(l1=l1, l2=l2, sample_weight=counts)
    reached, *_ = measure(probe.weights.astype(np.float64), probe.bias.astype(np.float64), l1, l2, counts)
    assert probe.converged
    assert probe.objective == pytest.approx(reached, abs=2e-6)
    assert -1e-9 <= reached - best <= probe.duality_gap
    assert_same_weights(probe.weights, W)
    assert neurons(probe.weights) == neurons(W)
    # In for all classes or out for all of them, and some are out.
    assert ((probe.weights != 0).sum(axis=1) % 4 == 0).all()
    assert 0 < len(neurons(W)) < X.shape[1]


@pytest.mark.parametrize("l2", [L2, 0.0])
def test_the_certificate_is_never_smaller_than_the_true_gap(l2: float) -> None:
    best, _ = solve_plainly(L1, l2)
    for iterations in (1, 3, 8, 20):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotConverged)
            probe = fit(l2=l2, max_iterations=iterations)
        reached, *_ = measure(probe.weights.astype(np.float64), probe.bias.astype(np.float64), L1, l2)
        assert reached - best <= probe.duality_gap + 1e-7


def test_optimality_conditions() -> None:
    """The gradient of a group is −(l1 W_j/‖W_j‖ + l2 W_j) where it has weights, and of norm at most l1 elsewhere."""
    probe = fit()
    _, gradient, bias_gradient = measure(probe.weights.astype(np.float64), probe.bias.astype(np.float64), L1, L2)
    inside = probe.weights.any(axis=1)
    W = probe.weights[inside]
    unit = W / np.linalg.norm(W, axis=1, keepdims=True)
    assert np.abs(gradient[inside] + L1 * unit + L2 * W).max() < 0.03 * L1
    assert np.linalg.norm(gradient[~inside], axis=1).max() < 1.01 * L1
    assert np.abs(bias_gradient).max() < 1e-5


def test_without_l1_and_with_one_column_it_is_the_elastic_net() -> None:
    cases: list[dict[str, Any]] = [{"l1": 0.0, "l2": 1e-2}, {"l1": 0.3, "l2": 2e-2, "regression": True}]
    for options in cases:
        y = STANDARD[:, 3] * 2 + STANDARD[:, 5] if "regression" in options else Y
        names = ("group_lasso", "elastic_net")
        both = [fit_elastic_net(X, y, penalty=name, tolerance=TIGHT, **options) for name in names]
        assert both[0].objective == pytest.approx(both[1].objective, rel=1e-5)
        assert_same_weights(both[0].weights, both[1].weights)
        assert neurons(both[0].weights) == neurons(both[1].weights)


@pytest.mark.slow
def test_grids_subsets_and_blocks_find_the_same() -> None:
    net = replace(NET, l1=(L1, 6e-2), l2=(L2, 5e-2))
    keep = np.ones((2, X.shape[1]), bool)
    keep[1, ::3] = False
    source = MatrixSource.of(X)
    whole = hold_matrix(source, standardize=True)
    blocks = stream_matrix(source, standardize=True, block_bytes=X.nbytes / 2)
    options = {"keep": keep, "subsets": (None, None)}
    labellings = [labelling(), labelling(COUNTS.astype(float))]
    plain = {
        (pair, number // 8, number % 2): solve_plainly(*pair, None if number < 8 else COUNTS, keep[number % 2])
        for pair in net.pairs[::3]
        for number in (0, 1, 8, 9)
    }
    for matrix in (whole, blocks):
        probes = fit_on_matrix(matrix, labellings, net, **options)
        assert len(probes) == 16
        for number, probe in enumerate(probes):
            mask = keep[number % 2]
            known = plain.get(((probe.l1, probe.l2), number // 8, number % 2))
            if known is not None:
                best, W = known
                assert probe.objective == pytest.approx(best, abs=probe.duality_gap + 2e-6)
                assert_same_weights(probe.weights, W)
            assert probe.converged
            assert probe.iterations < 200, "a gap that is down to its rounding is measured"
            assert not probe.weights[~mask].any()


def test_adam_comes_near_with_and_without_a_proximal_step() -> None:
    best, _ = solve_plainly(L1, L2)
    for proximal_step in (True, False):
        net = replace(NET, solver="adam", epochs=80, batch_size=60, learning_rate=1e-2, proximal_step=proximal_step)
        (probe,) = fit_on_matrix(hold_matrix(MatrixSource.of(X), standardize=True), [labelling()], net)
        assert -1e-6 <= probe.objective - best <= probe.duality_gap
        assert probe.objective == pytest.approx(best, rel=0.03)
        zeros = (~probe.weights.any(axis=1)).sum()
        assert zeros > 0 if proximal_step else zeros == 0


@pytest.mark.slow
def test_neurons_that_are_out_rank_last_and_layers_and_choice_work() -> None:
    store = planted_store()
    net = ElasticNet(l1=(2e-2, 5e-2), l2=1e-3, penalty="group_lasso")
    probes = fit_probes(store, net)
    assert probes.unpenalized
    chosen = probes.select(planted_store(seed=1))
    probe = chosen.one("upos")
    columns = neurons(probe.weights)
    assert set(columns) >= {3, 10, 11, 17}
    assert len(columns) < 24
    ranking = rank_neurons(chosen, "upos")
    axis = store.axis()
    order = [str(neuron) for neuron in ranking.neurons]
    expected = {str(axis.neuron(column)) for column in columns}
    assert set(order[: len(columns)]) == expected
    for stream in (False, True):
        layers = fit_probes(store, replace(net, l1=2e-2), subsets="layers", stream=stream)
        assert all(probe.converged for probe in layers)

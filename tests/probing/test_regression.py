"""Probes that predict numbers, against scikit-learn's elastic net and ridge, which have the same objective."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet as SklearnElasticNet
from sklearn.linear_model import Ridge

from lca_jax import ElasticNet, fit_elastic_net, fit_probes, load_probes, rank_neurons
from lca_jax.errors import DataError, SettingsError
from lca_jax.probing.metrics import determination
from tests.probing.planted import TIGHT, planted
from tests.stores import store_of

X, _ = planted(300, 12, [0.4, 0.3, 0.2, 0.1], noise=2.0)
STANDARD = (X - X.mean(axis=0)) / X.std(axis=0)
SLOPES = np.zeros(12)
SLOPES[[2, 5, 9]] = [1.5, -2.0, 0.5]
Y = STANDARD @ SLOPES + 7 + np.random.default_rng(1).normal(size=300)


@pytest.mark.parametrize("l1", [0.0, 0.05, 0.3])
def test_agrees_with_the_elastic_net_of_scikit_learn(l1: float) -> None:
    l2 = 0.02
    probe = fit_elastic_net(X, Y, l1=l1, l2=l2, tolerance=TIGHT, regression=True)
    if l1:
        peer = SklearnElasticNet(alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), tol=1e-10, max_iter=100_000)
    else:
        peer = Ridge(alpha=l2 * len(Y))
    peer.fit(STANDARD.astype(np.float64), Y)
    expected = np.asarray(peer.coef_)
    assert probe.converged
    assert np.linalg.norm(probe.weights[:, 0] - expected) <= 0.01 * np.linalg.norm(expected)
    error = STANDARD @ probe.weights[:, 0] + probe.bias[0] - Y
    reached = (error**2).mean() / 2 + l1 * np.abs(probe.weights).sum() + l2 / 2 * (probe.weights**2).sum()
    best = ((STANDARD @ expected + peer.intercept_ - Y) ** 2).mean() / 2
    best += l1 * np.abs(expected).sum() + l2 / 2 * (expected**2).sum()
    assert probe.objective == pytest.approx(reached, rel=1e-4)
    assert reached - best <= probe.duality_gap
    assert probe.null_objective == pytest.approx(Y.var() / 2, rel=1e-4)
    np.testing.assert_allclose(probe.predict_numbers(X), peer.predict(STANDARD), atol=0.03)


def test_weights_are_repetitions_and_the_certificate_holds_from_the_start() -> None:
    counts = np.arange(300) % 3
    rows = np.repeat(np.arange(300), counts)
    standard = STANDARD.astype(np.float32)
    weighted = fit_elastic_net(
        standard, Y, sample_weight=counts, l1=0.05, l2=0.05, standardize=False, regression=True, tolerance=TIGHT
    )
    peer = SklearnElasticNet(alpha=0.1, l1_ratio=0.5, tol=1e-10, max_iter=100_000)
    peer.fit(standard[rows].astype(np.float64), Y[rows])  # in float32 it does not reach its own tolerance
    assert np.linalg.norm(weighted.weights[:, 0] - peer.coef_) <= 0.01 * np.linalg.norm(peer.coef_)
    with pytest.warns(match="reached 3 iterations"):
        early = fit_elastic_net(
            standard, Y, sample_weight=counts, l1=0.05, l2=0.05, standardize=False, regression=True, max_iterations=3
        )
    assert early.objective - weighted.objective <= early.duality_gap


def number_store(seed: int, words: int = 240):
    """A number that neuron 3 of layer 1 carries, and a class beside it."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(words, 2, 8)).astype(np.float32)
    numbers = 3 * vectors[:, 1, 3] + 0.3 * rng.normal(size=words)
    forms = [[f"w{word % 60}" for word in range(start, start + 4)] for start in range(0, words, 4)]
    labels: list[list[str | None]] = [
        [f"{number:.4f}" for number in numbers[start : start + 4]] for start in range(0, words, 4)
    ]
    classes: list[list[str | None]] = [["high" if float(str(n)) > 0 else "low" for n in row] for row in labels]
    return store_of(vectors, forms, {"height": labels, "side": classes})


@pytest.mark.slow
def test_numbers_and_classes_share_a_fit_a_choice_and_a_ranking(tmp_path) -> None:
    train, dev = number_store(0), number_store(1)
    net = ElasticNet(l1=(1e-2, 1.0), l2=1e-3)
    probes = fit_probes(train, net, regression=["height"])
    assert {probe.task for probe in probes if probe.regression} == {"height"}
    best = probes.select(dev)
    chosen = best.one("height")
    assert chosen.l1 == 1e-2
    X, numbers = dev.matrix(), np.array(dev.labels("height"), float)
    fit = determination(chosen.predict_numbers(X), numbers)
    assert fit > 0.98
    assert next(row for row in best.search if row.task == "height" and row.chosen).accuracy == pytest.approx(fit)
    assert str(rank_neurons(best, "height").neurons[0]) == "1:3"
    assert (best.one("side").predict(X) == (numbers > 0).astype(int) * -1 + 1).mean() > 0.9
    control = best.one("height", control=True)
    assert determination(control.predict_numbers(X), numbers) < 0.3
    best.save(tmp_path)
    loaded = load_probes(tmp_path).one("height")
    assert loaded.regression
    np.testing.assert_array_equal(loaded.weights, chosen.weights)


def test_adam_regresses_too() -> None:
    net = ElasticNet(l1=1e-3, l2=1e-3, solver="adam", epochs=60, batch_size=16, learning_rate=1e-2)
    (probe, _) = fit_probes(number_store(0), net, tasks=["height"], regression=["height"])
    exact = fit_probes(number_store(0), replace(net, solver="proximal"), tasks=["height"], regression=["height"])
    assert 0 <= probe.objective - exact.one("height").objective <= probe.duality_gap + 1e-5
    assert probe.objective == pytest.approx(exact.one("height").objective, rel=0.1)


def test_what_is_no_number_is_named() -> None:
    store = number_store(0)
    with pytest.raises(DataError, match=r"(?s)`side` must be finite numbers.*word 1: '(high|low)'.*more"):
        fit_probes(store, tasks=["side"], regression=["side"])
    with pytest.raises(SettingsError, match=r"`regression` names \['depth'\], which are not among the tasks"):
        fit_probes(store, regression=["depth"])
    with pytest.raises(DataError, match="at least two different numbers; all words have 2"):
        fit_elastic_net(X, np.full(300, 2.0), regression=True)
    with pytest.raises(DataError, match="word 4 has nan"):
        fit_elastic_net(X, np.where(np.arange(300) == 4, np.nan, Y), regression=True)
    probe = fit_elastic_net(X, Y, regression=True)
    with pytest.raises(SettingsError, match="predicts numbers, not classes: use predict_numbers"):
        probe.predict(X)
    with pytest.raises(SettingsError, match="tells classes apart: use predict"):
        fit_elastic_net(X, Y > 7).predict_numbers(X)


def test_determination_by_hand() -> None:
    assert determination(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0])) == 1
    assert determination(np.array([2.0, 2.0, 2.0]), np.array([1.0, 2.0, 3.0])) == 0
    assert determination(np.array([[5.0, 5.0]]), np.array([5.0, 5.0])) == 1
    assert determination(np.array([4.0, 5.0]), np.array([5.0, 5.0])) == -np.inf

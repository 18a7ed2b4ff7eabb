"""The information curve against SciPy's normal distribution, and against information that is known."""

import numpy as np
import pytest

import lca_jax as lca
from lca_jax.errors import DataError, SettingsError
from tests.gaussian_words import correlated_words, mean_bits
from tests.stores import planted_store


def test_bits_are_entropy_plus_the_mean_posterior() -> None:
    (X, gold), (H, held) = correlated_words(300, seed=0), correlated_words(120, seed=1)
    train, test = (X, gold.tolist()), (H, held.tolist())
    ranking = lca.rank(train, method="gaussian", count=6)
    curve = lca.information_curve(ranking, train, test, sizes=(1, 2, 3, 6))
    shares = np.bincount(held) / len(held)
    assert curve.entropy == pytest.approx(-(shares * np.log2(shares)).sum())
    for point in curve.points:
        columns = ranking.top(point.neurons)
        bits = curve.entropy + mean_bits(X[:, columns], gold, H[:, columns], held, "class")
        assert point.bits == pytest.approx(bits, abs=1e-6)
        assert point.share == pytest.approx(point.bound / curve.entropy)
    assert [point.bound for point in curve.points] == np.maximum.accumulate(
        [max(point.bits, 0) for point in curve.points]
    ).tolist()
    assert "Information of the first neurons" in repr(curve)
    assert list(curve.table()) == ["neurons", "bits", "bound", "share", "accuracy", "best_accuracy"]


def test_neurons_that_decide_the_class_tell_all_of_its_entropy_and_noise_tells_none() -> None:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 4, 800)
    X = rng.normal(size=(800, 3)).astype(np.float32)
    X[:, 1] += 40 * gold
    words = [(X[part], gold[part].tolist()) for part in (slice(500), slice(500, 800))]
    sure = lca.information_curve(lca.rank(words[0], method="anova"), *words, sizes=(1, 3))
    assert sure.points[0].share == pytest.approx(1, abs=1e-3)
    assert sure.points[1].best_accuracy == 1
    noise = lca.rank((X[:, [0, 2]], gold.tolist()), method="anova")
    nothing = lca.information_curve(noise, *[(x[:, [0, 2]], y) for x, y in words], sizes=(1, 2))
    assert nothing.points[1].bound < 0.02


def test_what_cannot_be_measured_is_said() -> None:
    store = planted_store()
    ranking = lca.rank(store, method="mutual_information")
    train, test = lca.divide_words(store, parts=2)
    with pytest.raises(SettingsError, match=r"`sizes` must grow, from 1 to 24 at most, got \[2, 2\]"):
        lca.information_curve(ranking, train, test, sizes=(2, 2))
    with pytest.raises(SettingsError, match="also made the Gaussians"):
        lca.information_curve(ranking, train, train, sizes=(1, 2))
    one = lca.rank((train.X, train.gold.tolist()), method="anova")
    with pytest.raises(DataError, match="Information needs two classes of `y`"):
        lca.information_curve(one, (train.X, [0] * len(train.X)), (test.X, [0] * len(test.X)), sizes=(1,))

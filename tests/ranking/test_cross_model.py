"""MaxCorr, MinCorr, LinReg and universal neurons: NumPy in float64, scikit-learn, and planted copies."""

import numpy as np
import pytest

import lca_jax as lca
from lca_jax.errors import SettingsError
from lca_jax.ranking.cross_model import CrossModelRanking
from lca_jax.ranking.linear_regression import RIDGES, RegressionRanking
from tests.models_of_one_corpus import CONSTANT, mixed, noisy_copy, plain_correlation


def by_column(ranking: lca.Ranking) -> np.ndarray:
    scores = np.empty(len(ranking.columns))
    scores[ranking.columns] = ranking.scores
    return scores


@pytest.mark.parametrize(("method", "pool"), [("max_corr", np.max), ("min_corr", np.min)])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("of", [0, 2])
def test_scores_and_partners_are_those_of_numpy(method: str, pool: np.ufunc, signed: bool, of: int) -> None:
    models = [mixed(0), mixed(1, layers=2), mixed(2)]
    ranking = lca.rank(models, method=method, of=of, signed=signed)
    assert isinstance(ranking, CrossModelRanking)
    plain = [plain_correlation(models[of], models[other]) for other in range(3) if other != of]
    size = [r if signed else np.abs(r) for r in plain]
    np.testing.assert_allclose(by_column(ranking), pool([r.max(axis=1) for r in size], axis=0), atol=2e-6)
    varies = np.arange(30) != CONSTANT
    for partners, of_pair, r in zip(ranking.partners, size, plain, strict=True):
        found = r[np.arange(30), partners.columns]
        np.testing.assert_allclose(partners.correlation, found, atol=2e-6)
        np.testing.assert_array_equal(partners.columns[varies], of_pair.argmax(axis=1)[varies])
    assert ranking.scores[-1] == 0
    assert [partners.model for partners in ranking.partners] == [other for other in range(3) if other != of]


@pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0])
def test_a_permuted_flipped_scaled_and_noised_copy_is_found(sigma: float) -> None:
    X = mixed(0, words=4000)
    copy, place, signs = noisy_copy(X, sigma=sigma)
    ranking = lca.rank([X, copy, mixed(5, words=4000)], method="max_corr")
    assert isinstance(ranking, CrossModelRanking)
    varies = np.arange(30) != CONSTANT
    np.testing.assert_array_equal(ranking.partners[0].columns[varies], place[varies])
    expected = signs / np.sqrt(1 + sigma**2)
    np.testing.assert_allclose(ranking.partners[0].correlation[varies], expected[varies], atol=0.04 * sigma + 1e-5)
    # The third model is a stranger, so no neuron is in all models.
    assert lca.rank([X, copy, mixed(5, words=4000)], method="min_corr").scores[0] < 0.1
    first = ranking.neurons[0]
    found, stranger = ranking.partners_of(first)
    assert found.model == "array 2"
    assert found.neuron.index == place[ranking.columns[0]]
    assert abs(stranger.correlation) < 0.1


def test_a_rotated_copy_has_no_neuron_of_its_own_but_is_predicted() -> None:
    X = mixed(0, words=3000, layers=1, width=40)
    turned = X[:, 0] @ np.linalg.qr(np.random.default_rng(3).normal(size=(40, 40)))[0].astype(np.float32)
    moments = lca.correlate_models([X, turned.astype(np.float32)], held_out=0.2)
    varies = np.arange(40) != CONSTANT
    assert np.median(by_column(lca.rank(moments, method="max_corr"))[varies]) < 0.9
    assert by_column(lca.rank(moments, method="lin_reg", ridges=(1e-6,)))[varies].min() > 0.99


def test_the_null_tells_strangers_from_relatives() -> None:
    X = mixed(0, words=2000)
    strangers = lca.rank([X, mixed(9, words=2000)], method="max_corr")
    assert isinstance(strangers, CrossModelRanking)
    assert strangers.chance is not None
    assert strangers.above_chance is not None
    # One of twenty neurons exceeds chance where nothing is common; within its binomial noise.
    assert strangers.above_chance <= 5
    assert np.median(strangers.null) == pytest.approx(np.median(strangers.scores), rel=0.15)
    relatives = lca.rank([X, noisy_copy(X, sigma=3.0)[0]], method="max_corr")
    assert isinstance(relatives, CrossModelRanking)
    assert relatives.above_chance == 29
    assert f"29 are above {relatives.chance:.3g}" in repr(relatives)
    assert set(relatives.table()) >= {"partner in array 2", "correlation with array 2"}


def test_linear_regression_is_that_of_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, Y = mixed(0, words=300), mixed(1, words=300)
    Y[:, 1] += 0.5 * X[:, 2]
    moments = lca.correlate_models([X, Y], held_out=0.2, seed=1)
    ranking = lca.rank(moments, method="lin_reg")
    assert isinstance(ranking, RegressionRanking)
    (found,) = ranking.regressions
    # Which words are in which part: by a column that numbers them.
    order = np.random.default_rng(1)
    for _ in range(2):
        order.permutation(30)
    words = order.permutation(300)
    choose, measure = words[:60], words[60:120]
    fit = np.setdiff1d(np.arange(300), words[:120])
    flat = X.reshape(300, -1).astype(np.float64)
    best, r2, in_sample = (np.full(30, -np.inf) for _ in range(3))
    for layer in range(3):
        Z = Y[:, layer].astype(np.float64)
        Z = Z / np.where(Z[fit].std(axis=0) > 1e-9, Z[fit].std(axis=0), 1) / np.sqrt(len(fit))
        for ridge in RIDGES:
            said = linear_model.Ridge(alpha=ridge).fit(Z[fit], flat[fit]).predict(Z)

            def score(part: np.ndarray, said: np.ndarray = said) -> np.ndarray:
                total = ((flat[part] - flat[part].mean(axis=0)) ** 2).sum(axis=0)
                left = ((flat[part] - said[part]) ** 2).sum(axis=0)
                return np.where(total > 1e-9, 1 - left / np.where(total > 1e-9, total, 1), 0)

            better = score(choose) > best + 1e-6
            best, r2 = np.where(better, score(choose), best), np.where(better, score(measure), r2)
            in_sample = np.where(better, score(fit), in_sample)
    np.testing.assert_allclose(found.r2, r2, atol=2e-4)
    np.testing.assert_allclose(found.in_sample, in_sample, atol=2e-4)
    np.testing.assert_allclose(by_column(ranking), found.r2)
    assert (found.layers[20:] == 1).mean() > 0.8
    assert ranking.table()["layer of array 2"][0] == "array 1"


def test_in_sample_is_no_measure_where_neurons_are_as_many_as_words() -> None:
    rng = np.random.default_rng(0)
    X, Y = (rng.normal(size=(160, 90)).astype(np.float32) for _ in range(2))
    ranking = lca.rank([X, Y], method="lin_reg", ridges=(1e-4,))
    assert isinstance(ranking, RegressionRanking)
    assert np.median(ranking.regressions[0].in_sample) > 0.85
    assert np.median(ranking.scores) < -1
    assert np.median(lca.rank([X, Y], method="lin_reg", ridges=(1e-4, 1.0, 100.0)).scores) > -0.5


def test_universal_neurons_are_single_neurons_of_the_others() -> None:
    X = mixed(0, words=3000)
    shared = [3, 11, 25]
    others = []
    for seed in (11, 12):
        Y = mixed(seed, words=3000).reshape(3000, -1)
        # The whole of the first model, turned; and three of its neurons as neurons.
        turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(30, 30)))[0]
        flat = X.reshape(3000, -1).astype(np.float64)
        scaled = (flat - flat.mean(axis=0)) / np.where(flat.std(axis=0) > 1e-9, flat.std(axis=0), 1)
        Y = np.concatenate([(scaled @ turn).astype(np.float32), Y], axis=1)
        Y[:, [40, 41, 42]] = -X.reshape(3000, -1)[:, shared]
        others.append(Y)
    found = lca.universal_neurons(lca.correlate_models([X, *others]), of=0, least=0.3)
    assert np.flatnonzero(found.universal).tolist() == shared
    assert (found.mutual[shared] == 1).all()
    np.testing.assert_allclose(found.correlation[shared], 1, atol=1e-5)
    assert (found.partners[1].columns[shared] == [40, 41, 42]).all()
    assert found.table()["universal"] == [1, 1, 1]
    assert "3 of 30 neurons of array 1 are universal" in repr(found)


@pytest.mark.usefixtures("as_users_run_it")
def test_what_cannot_be_ranked_is_refused() -> None:
    X, Y = mixed(0), mixed(1)
    with pytest.raises(SettingsError, match=r"`of` must be the number of one of two or more models.*got 2 of 2"):
        lca.rank([X, Y], method="max_corr", of=2)
    with pytest.raises(SettingsError, match="got 0 of 1"):
        lca.rank([X], method="min_corr")
    with pytest.raises(SettingsError, match=r"cannot read a value of type ndarray\. Give several models"):
        lca.rank(X, method="max_corr")  # type: ignore
    with pytest.raises(SettingsError, match=r"cannot read a value of type CrossMoments\. Give one model"):
        lca.rank(lca.correlate_models([X, Y]), method="variance")
    with pytest.raises(SettingsError, match="measured on sentences that it was not fitted to"):
        lca.rank(lca.correlate_models([X, Y]), method="lin_reg")
    with pytest.raises(SettingsError, match="`ridges` must be above 0"):
        lca.rank([X, Y], method="lin_reg", ridges=(0.0,))
    with pytest.raises(SettingsError, match=r"`least` must be in \(0, 1\]"):
        lca.universal_neurons(lca.correlate_models([X, Y]), least=0.0)
    with pytest.raises(SettingsError, match="Of several models"):
        lca.rank(X, method="maxcorr")  # type: ignore

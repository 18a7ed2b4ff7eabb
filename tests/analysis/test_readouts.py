"""Every probe of sets of neurons, against scikit-learn, SciPy and plain loops."""

import numpy as np
import pytest
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from lca_jax.analysis.parts import to_train
from lca_jax.analysis.readouts.kinds import READOUTS, readout_named
from lca_jax.analysis.readouts.majority import best_thresholds
from lca_jax.errors import DataError, SettingsError
from lca_jax.probing.gaussian import gather_gaussians, log_posteriors
from lca_jax.probing.objective import ElasticNet
from lca_jax.ranking.words import read_words

RNG = np.random.default_rng(0)
NET = ElasticNet(l1=0.0, l2=1e-2, tolerance=1e-5)


def drawn(words: int) -> tuple[np.ndarray, np.ndarray]:
    """Words of three classes, unlike in means and spreads, in six correlated neurons."""
    rng = np.random.default_rng(words)
    gold = rng.choice(3, words, p=[0.5, 0.3, 0.2])
    X = rng.normal(size=(words, 6)) * (1 + 0.5 * gold[:, None]) @ np.random.default_rng(5).normal(size=(6, 6))
    X[np.arange(words), gold] += 2.5
    return X.astype(np.float32), gold


TRAIN, TEST = drawn(300), drawn(200)
WORDS = read_words((TRAIN[0], [str(label) for label in TRAIN[1].tolist()]))
ORDER = np.array([4, 0, 2, 1, 5, 3])
SIZES = (2, 4, 6)


@pytest.mark.parametrize("shared", [False, True])
def test_posteriors_are_those_of_scipys_densities_on_the_submatrix(shared: bool) -> None:
    X, gold = TRAIN[0][:, ORDER], TRAIN[1].astype(np.int32)
    gaussians = gather_gaussians(X, gold, classes=4, shared=shared)  # the fourth class has no word
    found = log_posteriors(gaussians, TEST[0][:, ORDER], SIZES)
    assert np.isneginf(found[:, :, 3]).all()
    wide = X.astype(np.float64)
    within = sum(((wide[gold == c] - wide[gold == c].mean(axis=0)) ** 2).sum(axis=0) for c in range(3)) / len(X)
    scatters = [np.cov(wide[gold == c].T, bias=True) * (gold == c).sum() for c in range(3)]
    for place, size in enumerate(SIZES):
        joint = []
        for c in range(3):
            scatter, words = (np.sum(scatters, axis=0), len(X)) if shared else (scatters[c], (gold == c).sum())
            covariance = ((np.diag(within) + scatter) / (words + 2 * size + 4))[:size, :size]
            mean = wide[gold == c].mean(axis=0)[:size]
            density = stats.multivariate_normal(mean, covariance).logpdf(TEST[0][:, ORDER[:size]])
            joint.append(np.log((gold == c).mean()) + density)
        expected = np.array(joint) - np.logaddexp.reduce(joint, axis=0)
        np.testing.assert_allclose(found[place, :, :3], expected.T, atol=1e-6)


def test_the_shared_gaussian_is_a_discriminant_analysis_up_to_its_prior() -> None:
    found = READOUTS["shared_gaussian"].on_sets(to_train(WORDS, NET), TEST[0], ORDER, SIZES)
    for place, size in enumerate(SIZES):
        columns = ORDER[:size]
        expected = LinearDiscriminantAnalysis().fit(TRAIN[0][:, columns], TRAIN[1]).predict(TEST[0][:, columns])
        assert (found[place] == expected).mean() > 0.97


def test_gaussians_of_a_rare_class_and_of_a_constant_neuron_are_finite() -> None:
    X, gold = TRAIN[0].copy(), np.zeros(len(TRAIN[0]), np.int32)
    X[:, 2], gold[0] = 1.0, 1
    found = log_posteriors(gather_gaussians(X, gold, classes=2, shared=False), TEST[0], (1, 6))
    assert np.isfinite(found).all()
    with pytest.raises(DataError, match="none of these has one"):
        gather_gaussians(X, gold - 5, classes=2, shared=True)


def test_thresholds_have_the_largest_youdens_j() -> None:
    values = np.round(RNG.normal(size=60), 1)
    gold = RNG.integers(0, 3, 60)
    inside = gold == np.arange(3)[:, None]
    thresholds, sides = best_thresholds(values, inside)

    def j(members: np.ndarray, threshold: float, side: int) -> float:
        votes = (values > threshold) == (side > 0)
        return float(votes[members].mean() - votes[~members].mean())

    for members, threshold, side in zip(inside, thresholds, sides, strict=True):
        best = max(j(members, cut + 0.05, way) for cut in np.unique(values) for way in (-1, 1))
        assert j(members, threshold, side) == pytest.approx(best)
    constant, _ = best_thresholds(np.ones(60), inside)
    assert np.isposinf(constant).all()


def test_the_majority_is_counted_by_a_plain_loop() -> None:
    found = READOUTS["majority"].on_sets(to_train(WORDS, NET), TEST[0], ORDER, SIZES)
    frequent = np.argsort(-np.bincount(TRAIN[1]), kind="stable")
    cuts = {column: best_thresholds(TRAIN[0][:, column], TRAIN[1] == np.arange(3)[:, None]) for column in range(6)}
    for place, size in enumerate(SIZES):
        for word in range(len(TEST[0])):
            votes = [
                sum((TEST[0][word, c] > cuts[c][0][k]) == (cuts[c][1][k] > 0) for c in ORDER[:size]) for k in range(3)
            ]
            best = max(votes)
            assert found[place, word] == next(k for k in frequent if votes[k] == best)


def test_one_vs_rest_is_that_of_scikit_learn() -> None:
    found = READOUTS["one_vs_rest"].on_sets(to_train(WORDS, NET), TEST[0], ORDER, SIZES)
    for place, size in enumerate(SIZES):
        X, margins = TRAIN[0][:, ORDER[:size]].astype(np.float64), []
        mean, scale = X.mean(axis=0), X.std(axis=0)
        for c in range(3):
            # Two columns of weights w and -w have the margin 2w, so their l2 is half that of one column of margins.
            peer = LogisticRegression(C=2 / (NET.pairs[0][1] * len(X)), tol=1e-8, max_iter=5000)
            peer.fit((X - mean) / scale, TRAIN[1] == c)
            margins.append(peer.decision_function((TEST[0][:, ORDER[:size]] - mean) / scale))
        assert (found[place] == np.argmax(margins, axis=0)).mean() > 0.98


@pytest.mark.parametrize("name", ["linear", "one_vs_rest"])
def test_with_nothing_masked_a_probe_is_that_of_all_neurons(name: str) -> None:
    training, readout = to_train(WORDS, NET), READOUTS[name]
    assert readout.masked is not None
    keep = np.stack([np.ones(6, bool), np.arange(6) < 3])
    found = readout.masked(training, TEST[0], keep)
    (whole,) = readout.on_sets(training, TEST[0], np.arange(6), [6])
    assert (found[0] == whole).mean() > 0.99
    # A masked neuron has its training mean, so replacing the others by it changes nothing.
    filled = np.where(keep[1], TEST[0], TRAIN[0].mean(axis=0)).astype(np.float32)
    assert (found[1] == readout.masked(training, filled, keep[:1])[0]).mean() > 0.99


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"There is no probe 'mlp' for sets of neurons\. Probes: linear, one_vs_rest"
    ):
        readout_named("mlp")
    with pytest.raises(SettingsError, match="one pair of penalties, got 15"):
        to_train(WORDS, ElasticNet())

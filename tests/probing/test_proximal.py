"""The exact solver and its certificate, against scikit-learn and the conditions of optimality in plain NumPy."""

import re
import warnings

import jax
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from lca_jax import ElasticNet, NotConverged, fit_elastic_net
from lca_jax.errors import DataError, SettingsError
from lca_jax.machine.progress import show_bars
from lca_jax.probing.objective import sklearn_parameters
from lca_jax.probing.problems import Answer
from lca_jax.probing.solvers.proximal import Certificates
from tests.compilations import count_programs
from tests.probing.planted import SHAPES, TIGHT, assert_same_weights, objective, problems_of


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_saga(shape: str) -> None:
    X, y = SHAPES[shape]
    X = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32)  # saga crawls on features of different loudness
    l1, l2 = 2e-3, 5e-3
    ours = fit_elastic_net(X, y, l1=l1, l2=l2, standardize=False, tolerance=TIGHT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        saga = LogisticRegression(solver="saga", tol=1e-9, max_iter=20_000)
        saga.set_params(**sklearn_parameters(l1, l2, words=len(y)))
        saga.fit(X.astype(np.float64), y)
    two = len(saga.classes_) == 2
    # With two classes scikit-learn fits one vector of log-odds; the symmetric pair has half of it with either sign.
    W = np.concatenate([-saga.coef_, saga.coef_]).T / 2 if two else saga.coef_.T
    intercept = np.asarray(saga.intercept_)
    b = np.concatenate([-intercept, intercept]) / 2 if two else intercept
    found = objective(ours.weights, ours.bias, X, y, l1, l2)
    assert found == pytest.approx(ours.objective, abs=2e-6)
    reference = objective(W, b, X, y, l1, l2)
    if not two:
        # Two classes are another objective there: half of the penalty for the same log-odds.
        assert found == pytest.approx(reference, abs=TIGHT)
        # F grows by at least l2/2 ‖ΔW‖² from its minimum, so the certificate bounds the weights too.
        assert np.linalg.norm(ours.weights - W) <= np.sqrt(2 * ours.duality_gap / l2)
        assert np.linalg.norm(ours.weights - W) <= 0.02 * np.linalg.norm(W)
    assert found <= reference + TIGHT


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("penalty", ["elastic_net", "neurox"])
def test_the_certificate_is_never_smaller_than_the_true_gap(shape: str, penalty: str) -> None:
    X, y = SHAPES[shape]
    best = fit_elastic_net(X, y, l1=2e-3, l2=5e-3, penalty=penalty, tolerance=2e-5)
    for iterations in (1, 3, 8, 20):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotConverged)
            probe = fit_elastic_net(X, y, l1=2e-3, l2=5e-3, penalty=penalty, max_iterations=iterations, tolerance=2e-5)
        standard = (X.astype(np.float64) - probe.mean) / probe.scale
        reached = objective(probe.weights, probe.bias, standard, y, 2e-3, 5e-3, neurox=penalty == "neurox")
        assert reached - best.objective <= probe.duality_gap + 1e-7
        assert probe.iterations <= iterations


@pytest.mark.parametrize("shape", SHAPES)
def test_optimality_conditions(shape: str) -> None:
    """The gradient of the loss is -(l1 sign(w) + l2 w) where w is not zero, and within l1 where it is."""
    X, y = SHAPES[shape]
    l1, l2 = 2e-3, 5e-3
    probe = fit_elastic_net(X, y, l1=l1, l2=l2, tolerance=TIGHT)
    standard = (X.astype(np.float64) - probe.mean) / probe.scale
    scores = standard @ probe.weights + probe.bias
    Q = np.exp(scores - scores.max(axis=1, keepdims=True))
    Q /= Q.sum(axis=1, keepdims=True)
    residual = (Q - np.eye(len(probe.classes))[y]) / len(y)
    gradient = standard.T @ residual
    held = probe.weights != 0
    # A gap of 1e-5 leaves the gradient within a few hundredths of l1 of its condition.
    assert np.abs(gradient + l1 * np.sign(probe.weights) + l2 * probe.weights)[held].max() < 0.1 * l1
    assert np.abs(gradient)[~held].max(initial=0) < 1.05 * l1
    assert np.abs(residual.sum(axis=0)).max() < 1e-5
    assert held.any()


def test_a_problem_alone_equals_the_problem_in_a_batch() -> None:
    X, y = SHAPES["usual"]
    grid = problems_of(X, y, ElasticNet(l1=(1e-4, 1e-3, 1e-2), l2=(1e-3, 1e-2), tolerance=TIGHT))
    assert [(probe.l1, probe.l2) for probe in grid][:2] == [(1e-4, 1e-3), (1e-4, 1e-2)]
    for probe in (grid[0], grid[5]):
        alone = problems_of(X, y, ElasticNet(l1=probe.l1, l2=probe.l2, tolerance=TIGHT))[0]
        assert_same_weights(alone.weights, probe.weights)
        assert alone.objective == pytest.approx(probe.objective, abs=TIGHT)


def test_a_masked_word_is_a_removed_word() -> None:
    X, y = SHAPES["usual"]
    settings = ElasticNet(l1=1e-3, l2=1e-2, standardize=False, tolerance=TIGHT)
    masked = y.copy()
    masked[200:] = -1
    with_mask = problems_of(X, masked, settings)[0]
    without = problems_of(X[:200], y[:200], settings)[0]
    assert with_mask.words == without.words == 200
    assert with_mask.objective == pytest.approx(without.objective, abs=2 * TIGHT)
    assert_same_weights(with_mask.weights, without.weights)


def test_doubled_words_change_nothing() -> None:
    X, y = SHAPES["usual"]
    settings = ElasticNet(l1=1e-3, l2=1e-2, tolerance=TIGHT)
    once, twice = problems_of(X, y, settings)[0], problems_of(np.tile(X, (2, 1)), np.tile(y, 2), settings)[0]
    assert twice.objective == pytest.approx(once.objective, abs=2 * TIGHT)
    assert_same_weights(twice.weights, once.weights)


def test_permuted_features_permute_the_weights() -> None:
    X, y = SHAPES["usual"]
    order = np.random.default_rng(1).permutation(X.shape[1])
    settings = ElasticNet(l1=1e-3, l2=1e-2, tolerance=TIGHT)
    plain, permuted = problems_of(X, y, settings)[0], problems_of(X[:, order], y, settings)[0]
    assert_same_weights(permuted.weights, plain.weights[order])


def test_a_feature_subset_is_a_smaller_matrix() -> None:
    X, y = SHAPES["usual"]
    keep = np.zeros((2, X.shape[1]), bool)
    keep[0, :5] = keep[1, 3:9] = True
    settings = ElasticNet(l1=1e-3, l2=1e-2, tolerance=TIGHT)
    first, second = problems_of(X, y, settings, keep=keep)
    assert not first.weights[5:].any()
    assert not second.weights[~keep[1]].any()
    alone = problems_of(X[:, :5], y, settings)[0]
    assert first.objective == pytest.approx(alone.objective, abs=2 * TIGHT)
    assert_same_weights(first.weights[:5], alone.weights)


def test_standardised_weights_do_not_depend_on_loudness() -> None:
    X, y = SHAPES["usual"]
    loud = X * np.geomspace(0.01, 100, X.shape[1]).astype(np.float32) + 3
    plain = fit_elastic_net(X, y, tolerance=TIGHT)
    scaled = fit_elastic_net(loud, y, tolerance=TIGHT)
    assert_same_weights(plain.weights, scaled.weights)
    scores = X @ plain.raw_weights + plain.raw_bias
    np.testing.assert_array_equal(scores.argmax(axis=1), plain.predict(X))


def test_a_penalty_above_all_gradients_gives_zero_weights() -> None:
    X, y = SHAPES["usual"]
    probe = fit_elastic_net(X, y, l1=10.0, l2=1e-3)
    shares = np.bincount(y) / len(y)
    assert not probe.weights.any()
    assert probe.converged
    assert probe.objective == pytest.approx(-(shares * np.log(shares)).sum(), abs=1e-5)
    np.testing.assert_allclose(probe.bias - probe.bias.mean(), np.log(shares) - np.log(shares).mean(), atol=1e-4)


def test_a_constant_feature_gets_no_weight() -> None:
    X, y = SHAPES["usual"]
    probe = fit_elastic_net(np.concatenate([X, np.full((len(X), 1), 7, np.float32)], axis=1), y)
    assert not probe.weights[-1].any()
    assert probe.scale[-1] == np.inf


def test_too_few_iterations_warn_and_say_the_gap() -> None:
    X, y = SHAPES["separable"]
    with pytest.warns(NotConverged, match=r"1 of 1 problem reached 3 iterations.*Raise max_iterations"):
        probe = fit_elastic_net(X, y, l1=1e-5, l2=1e-6, max_iterations=3)
    assert not probe.converged
    assert probe.iterations == 3
    assert probe.duality_gap > 1e-4 * probe.null_objective


def test_l1_alone_is_certified_too() -> None:
    X, y = SHAPES["usual"]
    probe = fit_elastic_net(X, y, l1=1e-2, l2=0.0)
    assert probe.converged


def test_bad_input_is_named() -> None:
    X, y = SHAPES["usual"]
    broken = X.copy()
    broken[17, 3] = np.nan
    with pytest.raises(DataError, match="word 17, feature 3"):
        fit_elastic_net(broken, y)
    with pytest.raises(DataError, match=r"one class only \('0'\)"):
        fit_elastic_net(X, np.zeros(len(X), int))
    with pytest.raises(DataError, match="300 words, `y` has 299 labels"):
        fit_elastic_net(X, y[:-1])
    with pytest.raises(SettingsError, match="`l1` must be one or more finite numbers"):
        ElasticNet(l1=-1e-3)
    with pytest.raises(DataError, match="no labelled word"):
        fit_elastic_net(X[:0], y[:0])


def test_the_grid_compiles_once_whatever_its_penalties() -> None:
    X, y = SHAPES["usual"]
    problems_of(X, y, ElasticNet(l1=(1e-3, 1e-2), l2=(1e-3, 1e-2)))
    with count_programs() as programs:
        problems_of(X, y, ElasticNet(l1=(2e-3, 3e-2), l2=(1e-4, 1e-1)))
        assert not programs
        jax.jit(lambda number: number + 1)(1.0)
        assert len(programs) == 1, "what is compiled is counted"


def test_without_any_penalty_the_certificate_is_the_objective_and_the_reason_is_said() -> None:
    """Separable classes have no finite optimum; others one that no duality gap shows without a penalty."""
    X, y = SHAPES["separable"]
    probe = fit_elastic_net(X, y, l1=0.0, l2=0.0, tolerance=1e-3)
    assert probe.converged
    assert probe.objective <= probe.duality_gap <= 1e-3 * probe.null_objective
    X, y = SHAPES["usual"]
    with pytest.warns(NotConverged, match="Without any penalty separable classes have no finite optimum"):
        probe = fit_elastic_net(X, y, l1=0.0, l2=0.0, max_iterations=50)
    assert not probe.converged
    assert probe.duality_gap >= probe.objective
    assert probe.objective < 0.9 * probe.null_objective


def test_a_fit_shows_what_is_certified_and_the_largest_gap(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ElasticNet(l1=(1e-5, 1e-4, 1e-3), l2=(1e-4, 1e-3), tolerance=TIGHT)
    with show_bars(True):
        probes = problems_of(*SHAPES["usual"], settings)
    drawn = capsys.readouterr().err
    assert f"fit: problems:   0%|          | 0/{len(probes)} " in drawn
    certified, gap = re.findall(r"(\d+) certified, largest gap ([\d.e-]+)\]", drawn)[-1]
    assert 1 <= int(certified) <= len(probes)
    assert float(gap) <= 1.05 * TIGHT
    problems_of(*SHAPES["usual"], settings)
    assert not capsys.readouterr().err


def test_what_is_not_certified_is_not_counted_as_certified() -> None:
    def answer(*gaps: float, null: float = 2.0) -> Answer:
        few = np.zeros(len(gaps))
        gap = np.array(gaps)
        return Answer(few, few, few, gap, null_objective=null, iterations=few, converged=gap <= 2e-4)

    said = []
    certificates = Certificates()
    for one in (answer(0.0, null=0.0), answer(1e-4, 2e-4), answer(1e-4, 4e-3), answer(1e-4)):
        certificates.add(one)
        said.append(str(certificates))
    assert said[:2] == ["1 certified, largest gap 0.0e+00", "2 certified, largest gap 1.0e-04"]
    assert said[2:] == ["2 certified, largest gap 2.0e-03", "3 certified, largest gap 2.0e-03"]

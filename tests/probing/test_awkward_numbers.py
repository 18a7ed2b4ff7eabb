"""Numbers at the edges of float32, and data that hardly hold a question: refused by name, or solved."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from lca_jax import ElasticNet, fit_elastic_net, fit_probes
from lca_jax.errors import DataError, NotConverged, SettingsError
from lca_jax.probing.fit import fit_problems
from lca_jax.probing.labelling import Labelling, number_labels, read_numbers
from tests.stores import planted_store, store_of

RNG = np.random.default_rng(3)
X = RNG.normal(size=(300, 6)).astype(np.float32)
Y = np.where(X[:, 0] + 0.5 * RNG.normal(size=300) > 0, "a", "b")


@pytest.mark.slow
@pytest.mark.parametrize("penalty", ["elastic_net", "neurox", "group_lasso"])
@pytest.mark.parametrize("size", [1e-30, 1e6, 1e12])
def test_penalties_of_any_allowed_size_have_an_answer(penalty: str, size: float) -> None:
    for l1, l2 in ((size, 0.0), (0.1, size), (size, size)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotConverged)  # with next to no penalty no bound is near in float32
            probe = fit_elastic_net(X, Y, l1=l1, l2=l2, penalty=penalty)
        assert np.isfinite([probe.objective, probe.duality_gap]).all()
        assert np.isfinite(probe.weights).all()
        assert probe.duality_gap <= 1.01e-4 * probe.null_objective or not probe.converged
        if size > 1:
            assert np.abs(probe.weights).max() < 1e-5


@pytest.mark.parametrize("size", [1e13, 1e39, float("inf"), float("nan"), -1.0])
def test_other_penalties_are_refused(size: float) -> None:
    for settings in ({"l1": size}, {"l2": (1e-3, size)}):
        with pytest.raises(SettingsError, match="must be"):
            ElasticNet(**settings)  # pyright: ignore[reportArgumentType] - numbers, by name


@pytest.mark.parametrize("largest", [1e-12, 1.0, 1e6, 1e11])
def test_numbers_of_any_allowed_size_are_predicted(largest: float) -> None:
    y = largest * (X[:, 0] + 0.1 * X[:, 1])
    probe = fit_elastic_net(X, y, l1=0.0, l2=1e-6, regression=True)
    assert np.isfinite([probe.objective, probe.duality_gap]).all()
    assert np.corrcoef(probe.predict_numbers(X), y)[0, 1] > 0.999


@pytest.mark.parametrize("value", [1e30, 2e12, float("inf"), float("nan")])
def test_numbers_too_large_for_float32_are_refused(value: float) -> None:
    y = X[:, 0].copy()
    y[7] = value
    with pytest.raises(DataError, match=r"word 7 has .*another unit"):
        fit_elastic_net(X, y, regression=True)
    with pytest.raises(DataError, match=r"(?s)word 2: .*another unit"):
        read_numbers("depth", ["1.5", str(value)])


def test_weights_of_words_must_be_of_like_size() -> None:
    weights = np.ones(300)
    weights[::2] = 1e-5
    probe = fit_elastic_net(X, Y, sample_weight=weights, l1=1e-3, l2=1e-3)
    assert probe.duality_gap <= 1.01e-4 * probe.null_objective
    weights[::2] = 1e-12
    with pytest.raises(DataError, match=r"within a factor of 1e\+06 of each other.*from 1e-12 to 1"):
        fit_elastic_net(X, Y, sample_weight=weights)
    weights[::2] = 0
    assert np.isfinite(fit_elastic_net(X, Y, sample_weight=weights, l1=1e-3, l2=1e-3).objective)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("offset", [0.0, -3.0, 1e6, 1e12])
def test_a_constant_neuron_has_no_weight_and_no_effect(offset: float, *, standardize: bool) -> None:
    """In float32 the mean of 300 equal numbers of 1e6 is off by a tenth: a column of tenths, which acts as a bias."""
    constant = np.full((300, 2), offset, np.float32)
    constant[:, 1] = np.nextafter(np.float32(offset), np.float32(np.inf)) if offset else 0
    for l1, l2 in ((1e-3, 1e-3), (0.0, 1e-3)):
        with_it = fit_elastic_net(np.hstack([X, constant]), Y, l1=l1, l2=l2, standardize=standardize)
        without = fit_elastic_net(X, Y, l1=l1, l2=l2, standardize=standardize)
        assert (with_it.weights[6:] == 0).all()
        assert (with_it.raw_weights[6:] == 0).all()
        assert with_it.objective == pytest.approx(without.objective, rel=1e-5)
        assert with_it.converged
        assert (with_it.predict(np.hstack([X, constant])) == without.predict(X)).all()


def test_labels_that_training_lacks_count_as_errors() -> None:
    numbers = number_labels("t", ["a", "c", None], classes=("a", "b")).numbers
    assert numbers.tolist() == [0, -2, -1]


def test_one_word_a_class() -> None:
    """Each of a hundred words has a class of its own: every probe is certified, and the weak penalty knows them all."""
    words = RNG.normal(size=(100, 128)).astype(np.float32)
    names = [f"c{number:03d}" for number in range(100)]
    strong = fit_elastic_net(words, names, l1=1.0, l2=1.0)
    assert (strong.weights == 0).all()
    assert strong.objective == pytest.approx(np.log(100), rel=1e-5)
    weak = fit_elastic_net(words, names, l1=0.0, l2=1e-4)
    assert weak.converged
    assert (weak.predict(words) == np.arange(100)).all()


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "l1"), [(600, 1e-4), (600, 0.0)])
def test_hundreds_of_classes_are_certified(classes: int, l1: float) -> None:
    """The optimum is below the objective by no more than the gap: see a solve to a tenth of it."""
    generator = np.random.default_rng(5)
    means = generator.normal(size=(classes, 16)).astype(np.float32)
    words = np.repeat(means, 4, axis=0) + 0.5 * generator.normal(size=(4 * classes, 16)).astype(np.float32)
    names = np.repeat(np.arange(classes), 4)
    probe = fit_elastic_net(words, names, l1=l1, l2=1e-3, tolerance=1e-3)
    nearer = fit_elastic_net(words, names, l1=l1, l2=1e-3, tolerance=1e-4)
    assert probe.converged
    assert nearer.converged
    assert nearer.objective <= probe.objective <= nearer.objective + probe.duality_gap + 1e-6


@pytest.mark.slow
def test_five_thousand_classes() -> None:
    generator = np.random.default_rng(5)
    means = generator.normal(size=(5000, 16)).astype(np.float32)
    words = means + 0.01 * generator.normal(size=(5000, 16)).astype(np.float32)
    probe = fit_elastic_net(words, np.arange(5000), l1=1e-5, l2=1e-6, max_iterations=20, tolerance=0.5)
    assert len(probe.classes) == 5000
    assert np.isfinite([probe.objective, probe.duality_gap]).all()
    assert 0 < probe.objective < probe.null_objective == pytest.approx(np.log(5000), rel=1e-4)


@pytest.mark.slow
def test_a_dev_part_without_labels_is_refused() -> None:
    train = planted_store(words=200)
    probes = fit_probes(train, ElasticNet(l1=(1e-3, 1e-2), l2=1e-3), tasks=["upos"])
    forms = [["a", "b", "c"]] * 4
    vectors = RNG.normal(size=(12, 3, 8)).astype(np.float32)
    dev = store_of(vectors, forms, {"upos": [[None] * 3] * 4})
    with pytest.raises(DataError, match="No word of memory has both a label for `upos` and a vector"):
        probes.select(dev)


def test_a_handful_of_words_is_certified() -> None:
    """The metric, of other words, lets their first step be so long that exp overflows: it must be refused."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(1_200, 64))
    X = (signal @ rng.normal(size=(64, 800)) / 8 + 0.7 * rng.normal(size=(1_200, 800))).astype(np.float32)
    task = Labelling(
        task="y",
        control=False,
        classes=tuple("abcdefghijklmnopq"),
        numbers=signal[:, :17].argmax(axis=1).astype(np.int32),
    )
    few = []
    for count in (2, 3, 5, 8):
        counts = np.zeros(1_200, np.float32)
        counts[3 * rng.permutation(400)[:count] + 1] = 1  # the metric has every third word
        few.append(replace(task, weights=counts))
    for probe in fit_problems(X, few, ElasticNet(l1=3e-4, l2=1e-3)):
        assert probe.converged
        assert probe.objective < 0.02 * probe.null_objective
        assert np.abs(probe.weights).max() < 1

"""Many problems in one solve: word weights, neuron subsets, mixed tasks and samples, each as if solved alone."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from lca_jax import ElasticNet, NotConverged, ProbeSet, fit_elastic_net, fit_probes
from lca_jax.errors import DataError, SettingsError
from lca_jax.probing.batching import group_by_width
from lca_jax.probing.bootstrap import draw_sentences, replicate_labellings
from lca_jax.probing.fit import fit_problems
from lca_jax.probing.labelling import Labelling, number_labels, tell_from_rest
from lca_jax.probing.objective import SolverName, sklearn_parameters
from lca_jax.probing.probe import Probe
from lca_jax.probing.subsets import plan_matrices
from tests.compilations import count_programs
from tests.probing.planted import SHAPES, TIGHT, assert_same_weights, planted
from tests.stores import planted_store, store_of, store_of_sites

X, Y = SHAPES["usual"]
WORDS, FEATURES = X.shape


def labelling_of(y: np.ndarray, *, weights: np.ndarray | None = None, control: bool = False) -> Labelling:
    classes = tuple("abcdefgh"[: y.max() + 1])
    return Labelling(task="t", control=control, classes=classes, numbers=y.astype(np.int32), weights=weights)


class Optimality:
    """The objective and its conditions of optimality with word weights, in float64 and without the package's code."""

    def __init__(self, probe: Probe, X: np.ndarray, y: np.ndarray, weights: np.ndarray) -> None:
        """`y` are class numbers, negative for words that do not count; `X` has the probe's own features."""
        real = (y >= 0) & (weights > 0)
        share = weights[real].astype(np.float64) / weights[real].sum()
        present = np.unique(y[real])
        standard = (X[real].astype(np.float64) - probe.mean) / probe.scale
        W, b = probe.weights[:, present].astype(np.float64), probe.bias[present].astype(np.float64)
        scores = standard @ W + b
        scores -= scores.max(axis=1, keepdims=True)
        logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        hits = y[real][:, None] == present
        residual = (np.exp(logs) - hits) * share[:, None]
        gradient = standard.T @ residual
        self.objective = float(
            -(logs * hits * share[:, None]).sum() + probe.l1 * np.abs(W).sum() + probe.l2 / 2 * (W**2).sum()
        )
        held = W != 0
        on_held = np.abs(gradient + probe.l1 * np.sign(W) + probe.l2 * W)[held]
        on_zero = np.abs(gradient)[~held] - probe.l1
        self.weight_violation = float(max(on_held.max(initial=0), on_zero.max(initial=0)))
        self.bias_violation = float(np.abs(residual.sum(axis=0)).max())


def assert_optimal(probe: Probe, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> None:
    """The probe is that of its own small matrix and labels, without a second solve (compiling takes longer)."""
    found = Optimality(probe, X, y, np.ones(len(y)) if weights is None else weights)
    assert probe.converged
    assert found.objective == pytest.approx(probe.objective, abs=2e-6)
    # A gap of 3e-6 bounds the gradient's distance from its condition by a few thousandths, and leaves a tenth of that.
    assert found.weight_violation < 3e-4
    assert found.bias_violation < 1e-5


WEIGHTINGS = {
    "spread": np.random.default_rng(1).gamma(0.5, size=WORDS),
    "counts": np.random.default_rng(2).poisson(1.0, WORDS).astype(float),
    "mostly zero": np.where(np.arange(WORDS) % 5 == 0, 1.0, 0.0),
    "in another unit": np.random.default_rng(1).gamma(0.5, size=WORDS) * 1e-12,
}


@pytest.mark.parametrize("kind", WEIGHTINGS)
def test_optimality_conditions_with_weights(kind: str) -> None:
    weights = WEIGHTINGS[kind]
    probe = fit_elastic_net(X, Y, sample_weight=weights, l1=2e-3, l2=5e-3, tolerance=TIGHT)
    assert_optimal(probe, X, Y, weights)
    assert probe.words == (weights > 0).sum()
    np.testing.assert_allclose(probe.mean, X.mean(axis=0), rtol=1e-4, atol=1e-4)  # of the words as they are


def test_weighted_fit_agrees_with_weighted_saga() -> None:
    standard = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32)
    weights, l1, l2 = WEIGHTINGS["spread"], 2e-3, 5e-3
    ours = fit_elastic_net(standard, Y, sample_weight=weights, l1=l1, l2=l2, standardize=False, tolerance=TIGHT)
    saga = LogisticRegression(solver="saga", tol=1e-9, max_iter=20_000)
    saga.set_params(**sklearn_parameters(l1, l2, words=float(weights.sum())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        saga.fit(standard.astype(np.float64), Y, sample_weight=weights)
    assert np.linalg.norm(ours.weights - saga.coef_.T) <= np.sqrt(2 * ours.duality_gap / l2)
    assert np.linalg.norm(ours.weights - saga.coef_.T) <= 0.02 * np.linalg.norm(saga.coef_)


@pytest.mark.parametrize("penalty", ["elastic_net", "neurox"])
def test_the_weighted_certificate_is_never_smaller_than_the_true_gap(penalty: str) -> None:
    options = {"sample_weight": WEIGHTINGS["counts"], "l1": 2e-3, "l2": 5e-3, "penalty": penalty, "tolerance": 2e-5}
    best = fit_elastic_net(X, Y, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConverged)
        probe = fit_elastic_net(X, Y, max_iterations=6, **options)
    assert not probe.converged
    assert probe.objective - best.objective <= probe.duality_gap + 1e-7


@pytest.mark.parametrize("solver", ["proximal", "adam"])
def test_weight_two_is_a_word_given_twice_and_weight_zero_one_removed(solver: SolverName) -> None:
    weights = np.random.default_rng(3).integers(0, 3, WORDS)
    repeated = np.repeat(np.arange(WORDS), weights)
    # One step an epoch for both, so that Adam sees the same words in each.
    options = ElasticNet(
        l1=1e-3, l2=1e-2, standardize=False, tolerance=TIGHT, solver=solver, batch_size=1000, epochs=30
    )
    weighted = fit_problems(X, [labelling_of(Y, weights=weights.astype(float))], options)[0]
    plain = fit_problems(X[repeated], [labelling_of(Y[repeated])], options)[0]
    # Features are centred by the mean of the words given, so Adam's bias takes another way to about the same place.
    assert weighted.objective == pytest.approx(plain.objective, abs=2 * TIGHT if solver == "proximal" else 1e-3)
    assert_same_weights(weighted.weights, plain.weights)


def many_problems(count: int) -> tuple[list[Labelling], ElasticNet, np.ndarray]:
    """Tasks of two to four classes on different words, some weighted; four pairs and two subsets each."""
    rng = np.random.default_rng(5)
    labellings = []
    for number in range(count // 8):
        y = np.minimum(Y, 1 + number % 3)
        y = np.where(rng.random(WORDS) < 0.2, -1, y)
        weights = rng.gamma(1.0, size=WORDS) if number % 2 else None
        labellings.append(labelling_of(y, weights=weights, control=number % 5 == 0))
    keep = np.ones((2, FEATURES), bool)
    keep[1, ::3] = False
    return labellings, ElasticNet(l1=(1e-3, 5e-3), l2=(1e-3, 1e-2), tolerance=TIGHT), keep


def read_alone(probe: Probe, keep: np.ndarray) -> Probe:
    """A masked probe as the one of its own features."""
    return replace(probe, weights=probe.weights[keep], mean=probe.mean[keep], scale=probe.scale[keep])


@pytest.mark.slow
def test_a_problem_alone_equals_the_same_problem_in_a_batch_of_two_hundred() -> None:
    labellings, grid, keep = many_problems(200)
    together = fit_problems(X, labellings, grid, keep=keep)
    assert len(together) == 200
    for number, pair, subset in ((0, 0, 1), (1, 3, 0), (2, 1, 1), (23, 2, 0)):
        labelling, (l1, l2) = labellings[number], grid.pairs[pair]
        found = together[number * 8 + pair * 2 + subset]
        assert (found.classes, found.l1, found.l2) == (labelling.classes, l1, l2)
        assert_optimal(read_alone(found, keep[subset]), X[:, keep[subset]], labelling.numbers, labelling.weights)
        assert not found.weights[~keep[subset]].any()
        if number > 1:
            continue
        alone = fit_problems(X, [labelling], replace(grid, l1=l1, l2=l2), keep=keep[[subset]])[0]
        assert alone.objective == pytest.approx(found.objective, abs=2 * TIGHT)
        assert_same_weights(found.weights, alone.weights)
        assert found.bias.shape == (len(labelling.classes),)


def test_another_problem_in_the_batch_changes_nothing() -> None:
    grid = ElasticNet(l1=1e-3, l2=1e-2)
    first = labelling_of(Y)
    hard = labelling_of(np.random.default_rng(0).permutation(Y), weights=WEIGHTINGS["spread"])
    easy = labelling_of(np.minimum(Y, 2), weights=WEIGHTINGS["counts"])
    beside_hard, beside_easy = (fit_problems(X, [first, other], grid)[0] for other in (hard, easy))
    np.testing.assert_array_equal(beside_hard.weights, beside_easy.weights)
    assert beside_hard.iterations == beside_easy.iterations


@given(widths=st.lists(st.integers(2, 80), min_size=1, max_size=60))
@settings(deadline=None)
def test_groups_hold_every_problem_once_and_like_widths(widths: list[int]) -> None:
    groups = list(group_by_width(widths))
    assert sorted(place for group in groups for place in group) == list(range(len(widths)))
    for group in groups:
        of_group = [widths[place] for place in group]
        assert max(of_group) <= 1.5 * min(of_group)
        assert group == sorted(group)


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_any_mask_and_weighting_reaches_its_optimum(data: st.DataObject) -> None:
    """One shape for all examples, so that they compile once: a hundred words, eight features, three classes."""
    features, labels = planted(100, 8, [0.5, 0.3, 0.2], noise=1.5, seed=data.draw(st.integers(0, 5)))
    seed = data.draw(st.integers(0, 2**20))
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(100) < data.draw(st.floats(0, 0.6)), -1, labels)
    y[:3] = [0, 1, 2]
    weights = rng.gamma(data.draw(st.sampled_from([0.2, 1.0, 5.0])), size=100)
    weights[weights < 1e-5 * weights.max()] = 0  # weights of words that count must lie within a factor of a million
    weights[rng.random(100) < data.draw(st.floats(0, 0.6))] = 0
    weights[:2] = 1
    keep = rng.random((1, 8)) < data.draw(st.floats(0.1, 1))
    keep[0, data.draw(st.integers(0, 7))] = True
    pair = data.draw(st.sampled_from([(1e-3, 1e-2), (1e-2, 1e-3), (5e-2, 0.1), (0.0, 1e-2)]))
    options = ElasticNet(l1=pair[0], l2=pair[1], tolerance=1e-5)
    probe = fit_problems(features, [labelling_of(y, weights=weights)], options, keep=keep)[0]
    assert probe.converged
    assert not probe.weights[~keep[0]].any()
    found = Optimality(read_alone(probe, keep[0]), features[:, keep[0]], y, weights)
    assert found.objective == pytest.approx(probe.objective, abs=1e-5)
    # F grows by at least l2/2 ‖ΔW‖² from its minimum, and the loss's gradient by at most features/4 times ‖ΔW‖.
    away = np.sqrt(2 * (probe.duality_gap + 1e-6) / pair[1])
    assert found.weight_violation <= (keep.sum() + 1) * away


def two_sites(*, words: int = 240) -> Any:
    """Three layers of eight residual neurons, two of four attention neurons, two of eight `mlp` neurons."""
    source = planted_store(words=words)
    rng = np.random.default_rng(9)
    classes = source.labels("upos")
    vectors: dict[Any, np.ndarray] = {"residual": source.read("residual")[:]}
    vectors["attention"] = rng.normal(size=(words, 2, 4)).astype(np.float32)
    vectors["attention"][:, 1, 2] += 2.0 * np.array([label == "VERB" for label in classes])
    vectors["mlp"] = rng.normal(size=(words, 2, 8)).astype(np.float32) * 3 + 1
    forms, sentences = source.forms(), [range(start, start + 4) for start in range(0, words, 4)]
    labels = {"upos": [[classes[word] for word in sentence] for sentence in sentences]}
    return store_of_sites(vectors, [[forms[word] for word in sentence] for sentence in sentences], labels)


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["proximal", "adam"])
def test_the_probe_of_a_layer_is_the_probe_of_its_small_matrix(solver: SolverName) -> None:
    store = two_sites()
    net = ElasticNet(l1=2e-3, l2=1e-2, tolerance=TIGHT, solver=solver, epochs=3, batch_size=100)
    probes = fit_probes(store, net, subsets="layers")
    axis = store.axis()
    assert set(probes.subsets) == set(axis.layer_names)
    assert len(probes) == 7 * 2
    real = number_labels("upos", store.labels("upos"))
    for place, block in enumerate(axis.blocks):
        probe = probes.one("upos", subset=block.name)
        columns = np.flatnonzero(axis.block_of_column == place)
        assert probe.columns is not None
        np.testing.assert_array_equal(probe.columns, columns)
        matrix = np.ascontiguousarray(store.matrix()[:, columns])
        if solver == "proximal":
            assert_optimal(probe, matrix, real.numbers)
        if place == 1:
            alone = fit_problems(matrix, [real], net)[0]
            assert probe.objective == pytest.approx(alone.objective, abs=1e-5)
            assert_same_weights(probe.weights, alone.weights)
            assert (probe.predict(store.matrix()) == alone.predict(matrix)).mean() > 0.98


def test_named_subsets_are_columns_of_the_axis() -> None:
    store = planted_store()
    mask = np.zeros(24, bool)
    mask[[3, 10, 11, 17]] = True
    net = ElasticNet(l1=1e-3, l2=1e-2, tolerance=TIGHT)
    probes = fit_probes(store, net, subsets={"planted": mask, "two": [17, 3]})
    planted_probe, two = probes.one("upos", subset="planted"), probes.one("upos", subset="two")
    assert two.columns is not None
    assert two.columns.tolist() == [3, 17]
    matrix = store.matrix()
    real = number_labels("upos", store.labels("upos"))
    assert_optimal(planted_probe, matrix[:, mask], real.numbers)
    assert_optimal(two, matrix[:, [3, 17]], real.numbers)
    scores = (matrix[:, [3, 17]] - two.mean) / two.scale @ two.weights + two.bias
    np.testing.assert_array_equal(two.predict(matrix), scores.argmax(axis=1))
    spread = planted_probe.weights_among(24)
    np.testing.assert_array_equal(spread[mask], planted_probe.weights)
    assert not spread[~mask].any()
    with pytest.raises(SettingsError, match="Subsets: 'planted', 'two'"):
        probes.one("upos")
    with pytest.raises(SettingsError, match="two, up to column 17; the activations have 8 columns"):
        two.predict(matrix[:, :8])


def test_subsets_that_are_none_are_refused() -> None:
    axis = planted_store().axis()
    wrong: dict[str, Any] = {
        "`subsets` must name at least one": {},
        "'a' has no neuron": {"a": []},
        "'a' must have one value for each of 24 neurons": {"a": np.ones(5, bool)},
        r"whole numbers from 0 to 23.*got \[24\]": {"a": [24]},
        r"whole numbers from 0 to 23.*got \[-1\]": {"a": [-1]},
    }
    for message, subsets in wrong.items():
        with pytest.raises(SettingsError, match=message):
            plan_matrices(axis, subsets)


@pytest.mark.slow
def test_one_class_against_the_rest_is_a_task_of_two_classes() -> None:
    store = planted_store()
    net = ElasticNet(l1=(1e-3, 1e-2), l2=1e-2, tolerance=TIGHT)
    probes = fit_probes(store, net, one_vs_rest=True)
    assert probes.targets == ("ADJ", "NOUN", "VERB")
    assert len(probes) == 3 * 2 * 2
    noun = probes.of("upos", target="NOUN")[0]
    assert noun.classes == ("not NOUN", "NOUN")
    is_noun = np.array(store.labels("upos")) == "NOUN"
    assert_optimal(noun, store.matrix(), is_noun.astype(int))
    np.testing.assert_allclose(noun.weights[:, 0], -noun.weights[:, 1], atol=1e-5)
    control = probes.of("upos", target="NOUN", control=True)[0]
    assert control.null_objective != noun.null_objective
    dev = planted_store(seed=1)
    chosen = probes.select(dev)
    assert len(chosen) == 3 * 2
    row = next(row for row in chosen.search if row.target == "NOUN" and row.chosen)
    gold = np.array(dev.labels("upos")) == "NOUN"
    assert row.accuracy == pytest.approx((chosen.one("upos", target="NOUN").predict(dev.matrix()) == gold).mean())
    unseen = Labelling(task="t", control=False, classes=("a", "b"), numbers=np.array([0, 1, -1, -2], np.int32))
    assert tell_from_rest(unseen, "b").numbers.tolist() == [0, 1, -1, 0]


@pytest.fixture(scope="module")
def sampled() -> ProbeSet:
    return fit_probes(planted_store(), ElasticNet(l1=1e-3, l2=1e-2, tolerance=TIGHT), replicates=3)


def test_a_bootstrap_sample_draws_whole_sentences(sampled: ProbeSet) -> None:
    sentences = np.repeat(np.arange(60), 4)
    drawn = draw_sentences(sentences, seed=0, replicate=2)
    assert (drawn.reshape(60, 4) == drawn.reshape(60, 4)[:, :1]).all()
    assert drawn.sum() == 240
    assert not np.array_equal(drawn, draw_sentences(sentences, seed=0, replicate=3))
    assert not np.array_equal(drawn, draw_sentences(sentences, seed=1, replicate=2))
    # The chance that a sentence is left out is (1 - 1/n)^n.
    assert np.mean(draw_sentences(np.arange(20_000), seed=0, replicate=1) == 0) == pytest.approx(np.exp(-1), abs=0.01)
    assert sampled.replicates == 3
    assert len(sampled) == 2 * 4
    store = planted_store()
    probe = sampled.one("upos", replicate=2)
    assert_optimal(probe, store.matrix(), number_labels("upos", store.labels("upos")).numbers, drawn)
    assert probe.words == (drawn > 0).sum()
    np.testing.assert_array_equal(probe.mean, sampled.one("upos").mean)


def test_samples_of_one_seed_are_the_same_however_many_there_are() -> None:
    sentences, tasks = np.repeat(np.arange(60), 5), [labelling_of(Y), labelling_of(Y, control=True)]
    few, many = (replicate_labellings(tasks, sentences, replicates=count, seed=7) for count in (1, 3))
    assert [(labelling.replicate, labelling.control) for labelling in few] == [
        (number, control) for number in (0, 1) for control in (False, True)
    ]
    for one, other in zip(few, many, strict=False):
        assert one.replicate == other.replicate
        np.testing.assert_array_equal(one.weights, other.weights)
    assert many[2].weights is many[3].weights  # one sample for all tasks, which can then be compared in it
    with pytest.raises(SettingsError, match="`replicates` must be 0 or more, got -1"):
        fit_probes(planted_store(), replicates=-1)


def test_a_sample_without_a_class_keeps_the_class_and_one_without_words_is_refused() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(12, 1, 4)).astype(np.float32)
    sentences = [[f"w{word}"] for word in range(12)]
    rare: list[list[str | None]] = [["b" if word == 0 else "a"] for word in range(12)]
    net = ElasticNet(l1=1e-2, l2=1e-2)
    probes = fit_probes(store_of(vectors, sentences, {"t": rare}), net, replicates=8)
    without = [probe for probe in probes if not probe.control and np.isneginf(probe.bias[1])]
    assert without
    for probe in without:
        assert probe.converged
        assert (probe.classes, probe.objective) == (("a", "b"), 0.0)
        assert not probe.weights.any()
        assert (probe.predict(vectors[:, 0]) == 0).all()
    once: list[list[str | None]] = [["a" if word == 0 else "b" if word == 1 else None] for word in range(12)]
    everywhere: list[list[str | None]] = [["a" if word % 2 else "b"] for word in range(12)]
    with pytest.raises(DataError, match=r"Bootstrap sample \d of the task `t` drew no labelled word"):
        fit_probes(store_of(vectors, sentences, {"t": once, "u": everywhere}), net, replicates=8)


def test_tasks_of_different_widths_equal_those_solved_alone() -> None:
    """Two, three and four classes, of which the last two share a batch."""
    net = ElasticNet(l1=1e-3, l2=1e-2, tolerance=TIGHT)
    labellings = [labelling_of(np.minimum(Y, widest)) for widest in (3, 1, 2)]
    together = fit_problems(X, labellings, net)
    assert [len(probe.classes) for probe in together] == [4, 2, 3]
    for probe, labelling in zip(together, labellings, strict=True):
        assert_optimal(probe, X, labelling.numbers)
        assert np.isfinite(probe.bias).all()
    alone = fit_problems(X, labellings[2:], net)[0]
    assert together[2].objective == pytest.approx(alone.objective, abs=2 * TIGHT)
    assert_same_weights(together[2].weights, alone.weights)


def test_weights_and_masks_compile_nothing_new() -> None:
    net = ElasticNet(l1=1e-3, l2=1e-2)
    fit_problems(X, [labelling_of(Y, weights=WEIGHTINGS["spread"])], net)
    keep = np.arange(FEATURES)[None, :] < 5
    with count_programs() as programs:
        fit_problems(X, [labelling_of(Y, weights=WEIGHTINGS["counts"])], replace(net, l1=3e-3), keep=keep)
    assert not programs


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.r_[1.0, -0.5, np.ones(WORDS - 2)], r"word 1 of the task `y` has -0\.5 \(1 such words\)"),
        (np.r_[np.nan, np.ones(WORDS - 1)], "word 0 of the task `y` has nan"),
        (np.r_[np.ones(WORDS - 1), np.inf], f"word {WORDS - 1} of the task `y` has inf"),
        (np.zeros(WORDS), "All labelled words of the task `y` have weight 0"),
        (np.where(Y == 0, 1.0, 0.0), r"one class only \('0'\)"),
        (np.ones(3), "300 words, `sample_weight` has 3"),
    ],
)
def test_bad_weights_are_named(weights: Sequence[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_elastic_net(X, Y, sample_weight=weights)


def test_a_class_of_one_word_and_duplicate_words_are_fitted() -> None:
    y = Y.copy()
    y[y == 3] = 2
    y[0] = 3
    single = fit_elastic_net(np.concatenate([X, X]), np.concatenate([y, np.where(y == 3, 2, y)]), l1=1e-3, l2=1e-2)
    assert single.converged
    assert np.isfinite(single.bias).all()
    contradicting = fit_elastic_net(np.concatenate([X, X]), np.concatenate([Y, (Y + 1) % 4]), l1=1e-3, l2=1e-2)
    assert contradicting.converged


def test_activations_that_are_not_finite_are_named() -> None:
    source = two_sites()
    vectors = {site: source.read(site)[:].copy() for site in source.sites}
    vectors["mlp"][6, 1, 3] = np.nan
    vectors["mlp"][9, 1, 3] = np.inf
    forms, labels = source.forms(), source.labels("upos")
    broken = store_of_sites(
        vectors,
        [forms[start : start + 4] for start in range(0, 240, 4)],
        {"upos": [labels[start : start + 4] for start in range(0, 240, 4)]},
    )
    place = (
        rf"mlp layer 1, neuron 3 of '{forms[6]}', word 3 of sentence 2 in memory, is nan \(2 such values in 2 of 240"
    )
    net = ElasticNet(l1=1e-2, l2=1e-2)
    column = source.axis().size - 5
    for subsets in (None, "layers", {"some": [1, column]}):
        with pytest.raises(DataError, match=place):
            fit_probes(broken, net, subsets=subsets)
    probes = fit_probes(source, net)
    with pytest.raises(DataError, match=place):
        probes.select(broken)
    huge = X.copy()
    huge[3, 2] = 1e30
    with pytest.raises(DataError, match=r"feature 2 are too large for float32: its largest value is 1\.0e\+30"):
        fit_elastic_net(huge, Y)


def test_a_store_without_a_labelled_word_is_refused() -> None:
    vectors = np.zeros((4, 1, 2), np.float32)
    unlabelled: list[list[str | None]] = [[None] * 4]
    with pytest.raises(DataError, match="task `t` has no labelled word with a vector"):
        fit_probes(store_of(vectors, [list("abcd")], {"t": unlabelled}))
    with pytest.raises(SettingsError, match="no label column"):
        fit_probes(store_of(vectors, [list("abcd")], {}))
    rng = np.random.default_rng(0)
    train = store_of(rng.normal(size=(8, 1, 2)).astype(np.float32), [list("abcdefgh")], {"t": [list("xyxyxyxy")]})
    probes = fit_probes(train, ElasticNet(l1=(1e-2, 1e-1), l2=1e-1))
    with pytest.raises(DataError, match=r"No word of memory has both a label for `t` and a vector"):
        probes.select(store_of(vectors, [list("abcd")], {"t": unlabelled}))


def test_a_neuron_that_hardly_varies_in_its_layer_is_not_scaled_up(caplog: pytest.LogCaptureFixture) -> None:
    """Rounding noise of deviation 7e-9 beside neighbours of deviation 1 gets no weight; a quiet layer keeps its own."""
    store = planted_store()
    vectors = store.read("residual")[:].copy()
    rng = np.random.default_rng(0)
    vectors[:, 0, 5] = 7e-9 * rng.normal(size=len(vectors))
    vectors[:, 1, 6] = 3.0
    vectors[:, 2] *= 1e-7
    sentences = [store.forms()[start : start + 4] for start in range(0, len(vectors), 4)]
    labels = [store.labels("upos")[start : start + 4] for start in range(0, len(vectors), 4)]
    quiet = store_of(vectors, sentences, {"upos": labels})
    settings = ElasticNet(l1=1e-3, l2=1e-3)
    with caplog.at_level("INFO", logger="lca_jax"):
        whole = fit_probes(quiet, settings)
        layers = fit_probes(quiet, settings, subsets="layers")
    assert "of 24 neurons 1 are constant and 1 vary by less than 1e-05 of the median of their layer" in caplog.text
    weights = whole.one("upos").weights
    assert not weights[[5, 8 + 6]].any()
    assert weights[17].any(), "the planted neuron of the quiet layer is found"
    assert not layers.one("upos", subset="residual 0").weights[5].any()
    assert layers.one("upos", subset="residual 2").weights[1].any()

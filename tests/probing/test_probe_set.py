"""Fitting from a store, choosing a penalty, saving and loading."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lca_jax import ElasticNet, ProbeSet, fit_probes, load_probes, rank_neurons
from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import DataError, SettingsError, StoreError
from lca_jax.probing.labelling import control_task_of, number_labels
from lca_jax.probing.measuring import measured_words
from lca_jax.probing.metrics import accuracy_interval, class_accuracy
from lca_jax.probing.probe import predict_masked
from lca_jax.probing.weight_mass import mass_order
from tests.probing.random_probes import probe_set
from tests.stores import CLASSES, as_sentences, kept_accuracy, planted_store, store_of

LAST = LayerBlock("mlp", 2, 3)
GRID = ElasticNet(l1=(1e-3, 1e-2), l2=(1e-3, 1e-2))


@pytest.fixture(scope="module")
def fitted() -> ProbeSet:
    return fit_probes(planted_store(), GRID)


def test_every_pair_is_fitted_on_the_task_and_on_its_control(fitted: ProbeSet) -> None:
    assert fitted.tasks == ("upos",)
    assert [(probe.l1, probe.l2, probe.control) for probe in fitted] == [
        (l1, l2, control) for control in (False, True) for l1, l2 in GRID.pairs
    ]
    assert all(probe.converged and probe.classes == CLASSES for probe in fitted)
    assert all(probe.duality_gap <= 1e-4 * probe.null_objective for probe in fitted)


def test_the_control_probe_learns_word_types(fitted: ProbeSet) -> None:
    store = planted_store()
    control = control_task_of(store, "upos", seed=0)
    assert control is not None
    words = measured_words(store, fitted.axis, "upos", CLASSES, control=control)
    expected = [control.label(form) for form in store.forms()]
    assert [CLASSES[number] for number in words.gold] == expected
    probe = fitted.of("upos", control=True)[0]
    chance = np.bincount(words.gold).max() / len(words.gold)
    assert (probe.predict(words.X) == words.gold).mean() > chance


def test_tasks_of_sentences_have_no_control(fitted: ProbeSet) -> None:
    """The same vectors and labels give the same probes, without those of word types that sentences have not."""
    sentences = as_sentences(planted_store())
    assert control_task_of(sentences, "upos", seed=0) is None
    found = fit_probes(sentences, GRID)
    assert [(probe.l1, probe.l2) for probe in found] == list(GRID.pairs)
    for probe, known in zip(found, fitted.of("upos"), strict=True):
        assert not probe.control
        assert probe.objective == pytest.approx(known.objective, abs=2 * known.duality_gap + 2 * probe.duality_gap)
    selected = found.select(as_sentences(planted_store(seed=1)))
    assert len(selected) == 1
    with pytest.raises(SettingsError, match=r"There are no control tasks\.$"):
        selected.one("upos", control=True)


def test_the_score_is_the_papers(fitted: ProbeSet) -> None:
    dev = planted_store(seed=1)
    selected = fitted.select(dev, fraction=0.25)
    words = measured_words(dev, fitted.axis, "upos", CLASSES)
    X, gold = words.X, words.gold
    reference = float((fitted.unpenalized[0].predict(X) == gold).mean())
    for row, probe in zip(selected.search, fitted.of("upos"), strict=True):
        order = mass_order(probe.weights).order
        top, bottom, whole = (kept_accuracy(probe, X, gold, part) for part in (order[:6], order[-6:], order))
        assert (row.top, row.bottom, row.accuracy) == pytest.approx((top, bottom, whole))
        assert row.score == pytest.approx(0.5 * (top - bottom) - 0.5 * (reference - whole))
    chosen = [row for row in selected.search if row.chosen]
    assert len(chosen) == 1
    assert chosen[0].score == max(row.score for row in selected.search)
    assert (selected.one("upos").l1, selected.one("upos").l2) == (chosen[0].l1, chosen[0].l2)
    assert selected.one("upos", control=True).l1 == chosen[0].l1
    by_accuracy = fitted.select(dev, by="accuracy")
    best = max(row.accuracy for row in by_accuracy.search)
    assert next(row.accuracy for row in by_accuracy.search if row.chosen) == best


def test_saved_probes_come_back_bit_for_bit(fitted: ProbeSet, tmp_path: Path) -> None:
    selected = fitted.select(planted_store(seed=1))
    selected.save(tmp_path / "probes")
    again = load_probes(tmp_path / "probes")
    assert again.search == selected.search
    assert again.settings.pairs == selected.settings.pairs
    assert again.axis == selected.axis
    for before, after in zip(selected, again, strict=True):
        for name in ("weights", "bias", "mean", "scale"):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
        assert (after.l1, after.objective, after.duality_gap, after.converged) == (
            before.l1,
            before.objective,
            before.duality_gap,
            before.converged,
        )
    selected.save(tmp_path / "probes")  # replaces
    with pytest.raises(StoreError, match="holds no probes"):
        load_probes(tmp_path)


@pytest.mark.slow
def test_each_subset_chooses_its_own_penalty_and_its_samples_follow(tmp_path: Path) -> None:
    store, dev = planted_store(), planted_store(seed=1)
    fitted = fit_probes(store, ElasticNet(l1=(1e-3, 1e-1), l2=1e-2), subsets="layers", replicates=1)
    assert fitted.subsets == ("residual 0", "residual 1", "residual 2")
    assert len(fitted) == 3 * 2 * 2 * 2
    selected = fitted.select(dev, fraction=0.5)
    assert len(selected) == 3 * 2 * 2
    for subset in fitted.subsets:
        best = max((row for row in selected.search if row.subset == subset), key=lambda row: row.score)
        assert best.chosen
        for control in (False, True):
            for replicate in (0, 1):
                probe = selected.one("upos", subset=subset, control=control, replicate=replicate)
                assert (probe.l1, probe.l2) == (best.l1, best.l2)
        top = selected.one("upos", subset=subset)
        without = next(probe for probe in fitted.unpenalized if probe.subset == subset)
        gold = measured_words(dev, fitted.axis, "upos", CLASSES).gold
        order = mass_order(top.weights).order
        layer = dev.matrix()[:, top.columns]
        halves = [kept_accuracy(top, layer, gold, part) for part in (order[:4], order[-4:], order)]
        reference = (without.predict(dev.matrix()) == gold).mean()
        assert best.score == pytest.approx(0.5 * (halves[0] - halves[1]) - 0.5 * (reference - halves[2]))
    ranking = rank_neurons(selected, "upos", subset="residual 1", replicate=1)
    assert set(ranking.top(2).tolist()) == {10, 11}
    assert (ranking.scores[8:] == 0).all()
    predicted = selected.predict(dev.matrix())
    for probe, row in zip(selected, predicted, strict=True):
        np.testing.assert_array_equal(row, probe.predict(dev.matrix()))
    with pytest.raises(SettingsError, match="read 24 neurons, the activations have 8"):
        selected.predict(dev.matrix()[:, :8])
    selected.save(tmp_path)
    for before, after in zip(selected, load_probes(tmp_path), strict=True):
        for name in ("subset", "replicate", "target", "task", "control", "l1"):
            assert getattr(before, name) == getattr(after, name)
        np.testing.assert_array_equal(after.columns, before.columns)
        np.testing.assert_array_equal(after.weights, before.weights)


def test_raw_probes_mask_to_zero_activation() -> None:
    store = planted_store()
    probe = fit_probes(store, ElasticNet(l1=1e-3, l2=1e-2, standardize=False)).one("upos")
    assert not probe.mean.any()
    assert (probe.scale == 1).all()
    words = measured_words(store, store.axis(), "upos", CLASSES)
    X, gold = words.X, words.gold
    keep = np.zeros((1, 1, X.shape[1]), bool)
    keep[0, 0, :12] = True
    blanked = np.where(keep[0, 0], X, 0)
    expected = (blanked @ probe.weights + probe.bias).argmax(axis=1)
    np.testing.assert_array_equal(predict_masked([probe], X, keep=keep)[0, 0], expected)
    assert (probe.predict(X) == gold).mean() > 0.8


def test_unlabelled_words_are_masked_and_unseen_labels_are_errors() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 1, 6)).astype(np.float32)
    labels: list[str | None] = ["a" if value > 0 else "b" for value in X[:, 0, 0]]
    labels[5] = labels[17] = None
    train = store_of(X, [[f"w{i}" for i in range(60)]], {"t": [labels]})
    probes = fit_probes(train, ElasticNet(l1=1e-3, l2=1e-2))
    assert probes.one("t").words == 58
    labels[0] = "c"
    test = store_of(X, [[f"w{i}" for i in range(60)]], {"t": [labels]})
    words = measured_words(test, probes.axis, "t", probes.one("t").classes)
    assert words.gold[0] == -2
    assert len(words.gold) == 58
    assert not (probes.one("t").predict(words.X) == words.gold)[0]


def test_errors_name_what_is_wrong(fitted: ProbeSet) -> None:
    store = planted_store()
    with pytest.raises(SettingsError, match=r"'nope'.*Its tasks: upos"):
        fit_probes(store, GRID, tasks=["nope"])
    with pytest.raises(SettingsError, match="4 probes"):
        fitted.one("upos")
    with pytest.raises(SettingsError, match="Tasks: upos"):
        fitted.of("xpos")
    with pytest.raises(SettingsError, match=r"`fraction` must be in \(0, 0.5\], got 20"):
        fitted.select(store, fraction=20.0)
    with pytest.raises(SettingsError, match="Extract the same sites and layers"):
        fitted.select(planted_store(layers=4))
    with pytest.raises(DataError, match="one class only"):
        fit_probes(store_of(np.ones((4, 1, 2), np.float32), [["a", "b", "c", "d"]], {"t": [["x"] * 4]}))


def test_class_accuracy_and_interval() -> None:
    gold = np.array([0, 0, 1, 1, 1, -2])
    predicted = np.array([0, 1, 1, 1, 0, 0])
    assert class_accuracy(predicted, gold, classes=3) == [0.5, pytest.approx(2 / 3), None]
    assert number_labels("t", ["b", None, "a"]).numbers.tolist() == [1, -1, 0]
    right = np.random.default_rng(0).random(4000) < 0.8
    low, high = accuracy_interval(right, np.arange(4000))
    # Words as sentences of one: the interval of a proportion, ± 1.96 √(p (1 - p) / n).
    assert (low, high) == pytest.approx((right.mean() - 0.0124, right.mean() + 0.0124), abs=0.002)
    wide_low, wide_high = accuracy_interval(np.repeat(right[:400], 10), np.repeat(np.arange(400), 10))
    assert wide_high - wide_low > 2 * (high - low)
    assert accuracy_interval(right, np.arange(4000)) == (low, high)


def test_probes_describe_themselves() -> None:
    probes = probe_set(seed=1)
    first, names, *problems = repr(probes).splitlines()
    assert first == "2 probes of upos on 6 neurons (residual 0)"
    assert names.split() == [
        "task", "control", "subset", "l1", "l2", "words", "objective", "duality_gap", "iterations", "converged",
    ]  # fmt: skip
    assert [problem.split()[:5] for problem in problems] == [
        ["upos", "False", "-", "0.1", "0.001"],
        ["upos", "False", "two", "0.1", "0.001"],
    ]
    table = probes.table()
    assert {len(values) for values in table.values()} == {2}
    assert (table["target"], table["replicate"], table["subset"]) == ([None, None], [0, 0], [None, "two"])
    assert probes._repr_html_().count("<tr>") == 3
    assert "(residual 0 to mlp 2)" in repr(replace(probes, axis=NeuronAxis(blocks=(*probes.axis.blocks, LAST))))
    probe = replace(probes.probes[1], control=True, replicate=2, classes=("<a>", "b"))
    first, facts, names, *_ = repr(probe).splitlines()
    assert [first, facts] == [
        "Probe of 2 classes for upos (control task), bootstrap sample 2, 2 features of two, 10 words",
        f"l1=0.1, l2=0.001: objective {probe.objective:.4g}, duality gap inf, converged after 3 iterations",
    ]
    assert names.split() == ["class", "bias", "nonzero", "mass"]
    assert probe.table()["mass"] == pytest.approx(np.abs(probe.weights).sum(axis=0).tolist())
    assert "&lt;a&gt;" in probe._repr_html_()
    regression = replace(probe, classes=(), control=False, replicate=0, weights=probe.weights[:, :1], bias=np.ones(1))
    assert repr(regression).startswith("Regression for upos, 2 features of two, 10 words\n")
    assert regression.table()["class"] == [None]

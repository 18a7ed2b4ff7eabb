"""Scores of probes beside plain loops, and plain arrays through every step."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score

import lca_jax as lca
from lca_jax.errors import DataError, SettingsError
from lca_jax.probing.arrays import array_axis
from lca_jax.probing.measuring import measured_words
from tests.stores import planted_store

SETTINGS = lca.ElasticNet(l1=1e-3, l2=1e-2, max_iterations=300)


def drawn(words: int, *, seed: int, classes: int = 3, features: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Classes that show in the first columns, under noise."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, words)
    X = rng.normal(size=(words, features)).astype(np.float32)
    X[np.arange(words), y] += 2.5
    return X, y


def test_a_selected_set_is_evaluated_by_name_or_by_its_only_task() -> None:
    train, test = planted_store(seed=0), planted_store(seed=1)
    task = train.tasks[0]
    best = lca.fit_probes(train, SETTINGS, tasks=[task])
    score = best.evaluate(test, task)
    probe = best.one(task)
    gold = test.labels(task)
    measured = [place for place, label in enumerate(gold) if label is not None and test.usable[place]]
    predicted = [probe.classes[number] for number in probe.predict(test.matrix()[measured])]
    gold = [gold[place] for place in measured]
    assert score.words == len(measured)
    assert score.accuracy == pytest.approx(np.mean([one == other for one, other in zip(predicted, gold, strict=True)]))
    np.testing.assert_array_equal(score.confusion, confusion_matrix(gold, predicted, labels=list(probe.classes)))
    assert score.macro_f1.value == pytest.approx(f1_score(gold, predicted, average="macro"))
    assert best.evaluate(test).accuracy == lca.evaluate(best, test).accuracy == score.accuracy
    assert {"most_frequent_class", "word_type_majority", "control"} == set(score.rivals)
    assert all(name in repr(score) for name in ("most frequent class", "word type majority", "selectivity", "macro F1"))


def test_labels_that_training_lacks_are_counted_and_are_errors() -> None:
    X, y = drawn(300, seed=0)
    fit = lca.fit_elastic_net(X, y)
    held_X, held_y = drawn(100, seed=1)
    plain = lca.evaluate(fit, (held_X, held_y))
    changed = held_y.copy()
    changed[:20] = 7
    score = lca.evaluate(fit, (held_X, changed), train=(X, y))
    assert (plain.unseen_labels, score.unseen_labels) == ({}, {"7": 20})
    assert score.accuracy < plain.accuracy
    assert "20 with labels that training lacks" in repr(score)
    most = str(np.bincount(y).argmax())
    assert score.most_frequent_class == most
    assert score.rivals["most_frequent_class"].accuracy == pytest.approx((changed.astype(str) == most).mean())
    assert (plain.rivals, plain.selectivity, plain.beats_baselines) == ({}, None, False)
    assert "no baseline" in repr(plain)


@pytest.mark.slow
def test_plain_arrays_go_through_every_step() -> None:
    train, dev, test = (drawn(words, seed=seed) for seed, words in enumerate((600, 300, 300)))
    fit = lca.fit_elastic_net(*train, l1=1e-2, l2=1e-3)
    ranking = lca.rank_neurons(fit)
    assert set(ranking.columns[:3].tolist()) == {0, 1, 2}
    assert str(ranking.neurons[0]).startswith("array 0:")
    assert len(ranking.columns) == 12
    masked = lca.keep_curve(fit, ranking, test, fractions=(0.25, 1.0))
    assert masked.points[-1].top == pytest.approx(lca.evaluate(fit, test).accuracy)
    assert masked.points[0].top > masked.points[0].bottom + 0.3
    retrained = lca.keep_curve(fit, ranking, test, fractions=(0.25,), mode="retrain", training=train)
    assert retrained.points[0].top > 0.85
    minimal = lca.minimal_neurons(train, dev, ranking, fit, drop=0.02)
    assert 1 <= len(minimal.columns) <= 4
    assert minimal.control is None
    with pytest.raises(SettingsError, match="Training again needs the training words"):
        lca.keep_curve(fit, ranking, test, mode="retrain")


def test_arrays_that_do_not_fit_are_refused() -> None:
    X, y = drawn(60, seed=0)
    fit = lca.fit_elastic_net(X, y)
    with pytest.raises(SettingsError, match="the matrix has 5 columns"):
        lca.evaluate(fit, (X[:, :5], y))
    with pytest.raises(DataError, match=r"one label for each word, got \(60, 12\) and \(59,\)"):
        lca.evaluate(fit, (X, y[:-1]))
    broken = X.copy()
    broken[3, 4] = np.nan
    with pytest.raises(DataError, match="word 3 has nan in column 4"):
        lca.evaluate(fit, (broken, y))
    measured = measured_words((X, y), array_axis(12), "y", fit.classes)
    with pytest.raises(SettingsError, match=r"read from plain arrays.*Give the arrays themselves"):
        lca.evaluate(fit, measured)
    numbers = lca.fit_elastic_net(X, y.astype(float), regression=True)
    with pytest.raises(SettingsError, match="predicts numbers"):
        lca.evaluate(numbers, (X, y))

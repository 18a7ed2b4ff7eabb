"""A probe beside what it must beat: against plain loops, and on results that are good, useless, and undefined."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from lca_jax import ElasticNet, ProbeSet, fit_probes
from lca_jax.errors import DataError, SettingsError
from lca_jax.probing.baselines import learn_baselines, word_type_majority
from lca_jax.probing.comparison import compare_probe
from lca_jax.probing.metrics import (
    accuracy_interval,
    confusion_counts,
    mean_intervals,
    recall_intervals,
)
from tests.stores import CLASSES, as_sentences, planted_store, store_of

SETTINGS = ElasticNet(l1=1e-2, l2=1e-3)


@pytest.fixture(scope="module")
def probes() -> ProbeSet:
    return fit_probes(planted_store(), SETTINGS)


def noise_store(*, seed: int, labels: tuple[str, ...] = ("A", "B"), words: int = 200):
    """Words whose vectors say nothing of their labels; three of four words have the first label."""
    rng = np.random.default_rng(seed)
    chances = [0.75] + [0.25 / (len(labels) - 1)] * (len(labels) - 1)
    drawn: list[str | None] = [str(rng.choice(labels, p=chances)) for _ in range(words)]
    forms = [f"w{rng.integers(0, 30)}" for _ in range(words)]
    sentences = [forms[start : start + 4] for start in range(0, words, 4)]
    by_sentence = [drawn[start : start + 4] for start in range(0, words, 4)]
    return store_of(rng.normal(size=(words, 2, 4)).astype(np.float32), sentences, {"t": by_sentence})


def test_a_comparison_equals_plain_counting(probes: ProbeSet) -> None:
    train, test = planted_store(), planted_store(seed=2)
    found = compare_probe(probes, "upos", test)
    forms, labels = test.forms(), test.labels("upos")
    predicted = [CLASSES[number] for number in probes.one("upos").predict(test.matrix())]
    right = [said == label for said, label in zip(predicted, labels, strict=True)]
    assert found.accuracy == pytest.approx(np.mean(right))
    low, high = found.interval
    assert low < found.accuracy < high
    most = min(Counter(train.labels("upos")).items(), key=lambda item: (-item[1], str(item[0])))[0]
    assert found.most_frequent_class == most
    assert found.rivals["most_frequent_class"].accuracy == pytest.approx(np.mean([label == most for label in labels]))
    of_type: dict[str, Counter] = {}
    for form, label in zip(train.forms(), train.labels("upos"), strict=True):
        of_type.setdefault(form, Counter())[label] += 1
    by_type = [
        min(of_type[form].items(), key=lambda item: (-item[1], item[0]))[0] if form in of_type else most
        for form in forms
    ]
    majority = np.mean([said == label for said, label in zip(by_type, labels, strict=True)])
    assert found.rivals["word_type_majority"].accuracy == pytest.approx(majority)
    for rival in found.rivals.values():
        assert rival.lead == pytest.approx(found.accuracy - rival.accuracy)
        assert rival.interval[0] <= rival.lead <= rival.interval[1]
    assert found.selectivity == found.rivals["control"].lead
    for name in CLASSES:
        of_class = [one for one, label in zip(right, labels, strict=True) if label == name]
        score = found.by_class[name]
        assert (score.words, score.recall) == (len(of_class), pytest.approx(np.mean(of_class)))
        assert score.interval is not None
        assert score.interval[0] <= np.mean(of_class) <= score.interval[1]
    pairs = Counter(zip(labels, predicted, strict=True))
    for row, gold in enumerate(CLASSES):
        for column, said in enumerate(CLASSES):
            assert found.confusion[row, column] == pairs[gold, said]
    unseen = [one for one, form in zip(right, forms, strict=True) if form not in of_type]
    assert found.unseen_words is not None
    assert found.unseen_words.words == len(unseen)
    assert found.unseen_labels == {}
    assert "accuracy 0." in repr(found)


def test_planted_neurons_beat_their_baselines_and_noise_does_not(probes: ProbeSet) -> None:
    # In the planted store a word's type gives its class away, so only the first baseline can be beaten there.
    planted = compare_probe(probes, "upos", planted_store(seed=2))
    assert planted.rivals["most_frequent_class"].beaten
    assert not planted.rivals["word_type_majority"].beaten
    assert not planted.beats_baselines
    noise = fit_probes(noise_store(seed=0), SETTINGS)
    found = compare_probe(noise, "t", noise_store(seed=1))
    assert not found.rivals["most_frequent_class"].beaten
    assert "does not beat its baselines" in repr(found)


def test_labels_that_training_lacks_are_counted_by_label() -> None:
    noise = fit_probes(noise_store(seed=0), SETTINGS)
    test = noise_store(seed=1, labels=("A", "B", "C", "D"))
    found = compare_probe(noise, "t", test)
    counts = Counter(test.labels("t"))
    assert found.unseen_labels == {name: counts[name] for name in sorted("CD", key=lambda name: -counts[name])}
    assert found.confusion.sum() == found.words - counts["C"] - counts["D"]
    assert f"{counts['C'] + counts['D']} with labels that training lacks" in repr(found)
    none = compare_probe(noise, "t", noise_store(seed=1, labels=("E", "F")))
    assert none.accuracy == 0
    assert none.by_class["A"].recall is none.by_class["A"].interval is None


def test_sentences_have_the_first_baseline_alone() -> None:
    train = as_sentences(planted_store())
    found = compare_probe(fit_probes(train, SETTINGS), "upos", as_sentences(planted_store(seed=2)))
    assert set(found.rivals) == {"most_frequent_class"}
    assert found.selectivity is found.unseen_words is None
    assert found.beats_baselines


def test_what_is_missing_is_said(probes: ProbeSet) -> None:
    with pytest.raises(SettingsError, match="store=train_store"):
        compare_probe(replace(probes, store=None), "upos", planted_store())
    with pytest.raises(DataError, match="at least one labelled training word"):
        learn_baselines(["a"], [None])


def test_baselines_by_hand() -> None:
    found = learn_baselines(["a", "a", "a", "b", "c"], ["N", "N", "V", "V", None])
    # N and V are equally frequent, and N sorts first; c has no label.
    assert found.most_frequent == "N"
    assert found.of_types(["a", "b", "z", "c"]) == ["N", "V", "N", "N"]
    train = (["a", "a", "a", "b", "c"], ["N", "N", "V", "V", None])
    assert word_type_majority(*train, ["a", "b", "z", "c", "z"], ["N", "N", "N", "V", None]) == pytest.approx(0.5)
    with pytest.raises(DataError, match="at least one labelled test word"):
        word_type_majority(*train, ["a"], [None])


def test_rows_are_resampled_alike() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 400)) < 0.7
    sentences = np.repeat(np.arange(100), 4)
    values = np.stack([one, other, one.astype(float) - other, one.astype(float) - one])
    ends = mean_intervals(values.astype(float), sentences, least=(0, 0, -1, -1))
    assert tuple(ends[0]) == accuracy_interval(one, sentences)
    # Two that agree on 100 sentences may differ on others: Tango's interval.
    assert ends[3] == pytest.approx([-0.0370, 0.0370], abs=1e-4)
    # The half width of a mean of 100 independent sentences, 1.96 standard errors, to the noise of 2,000 resamples.
    means = values[2].reshape(100, 4).mean(axis=1)
    assert (ends[2, 1] - ends[2, 0]) / 2 == pytest.approx(1.96 * means.std(ddof=1) / 10, rel=0.1)


def test_recall_intervals_by_hand() -> None:
    gold = np.array([0] * 10 + [1] * 10 + [-2])
    predicted = np.array([0] * 5 + [1] * 5 + [0] * 10 + [0])
    alone = np.arange(21)
    half, nothing, absent = recall_intervals(predicted, gold, alone, classes=3)
    assert absent is None
    # Wilson 1927 for 0 of 10, and for half of 9: the variance over 10 sentences is divided by 9.
    assert half == pytest.approx((0.2265, 0.7735), abs=1e-3)
    assert nothing == pytest.approx((0.0, 0.2775), abs=1e-3)
    # Five sentences of two words that are right or wrong together are worth five words, not ten.
    pairs = np.concatenate([np.repeat(np.arange(5), 2), 10 + np.arange(11)])
    right = np.array([True, True, False, False, True, True, False, False, True, True])
    together = recall_intervals(np.where(right, 0, 1), gold[:10], pairs[:10], classes=1)[0]
    apart = recall_intervals(np.where(right, 0, 1), gold[:10], alone[:10], classes=1)[0]
    assert together is not None
    assert apart is not None
    assert together[1] - together[0] > 1.2 * (apart[1] - apart[0])


def test_confusions_by_hand() -> None:
    gold, predicted = np.array([0, 0, 1, 1, -2]), np.array([0, 1, 1, 1, 2])
    assert confusion_counts(predicted, gold, classes=3).tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]

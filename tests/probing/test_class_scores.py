"""Scores by class and of entities: against scikit-learn, a loop over resampled sentences, and examples by hand."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, recall_score

from lca_jax import ElasticNet, fit_probes
from lca_jax.probing.class_scores import class_scores
from lca_jax.probing.comparison import compare_probe
from lca_jax.probing.spans import Span, entity_score, marks_spans, read_spans
from tests.stores import store_of

TYPES = ("PER", "LOC")


def drawn_words(seed: int, words: int = 400, classes: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    gold = rng.choice(classes, words, p=[0.6, 0.3, 0.08, 0.02]).astype(np.int32)
    predicted = np.where(rng.random(words) < 0.7, gold, rng.integers(0, classes, words)).astype(np.int32)
    return predicted, gold, np.sort(rng.integers(0, 60, words))


def test_scores_equal_those_of_scikit_learn() -> None:
    predicted, gold, sentences = drawn_words(0)
    found = class_scores(predicted, gold, sentences, classes=4)
    assert found.macro_f1.value == pytest.approx(f1_score(gold, predicted, average="macro"))
    assert found.balanced_accuracy.value == pytest.approx(balanced_accuracy_score(gold, predicted))


def test_their_intervals_are_those_of_resampled_sentences() -> None:
    predicted, gold, sentences = drawn_words(1)
    found = class_scores(predicted, gold, sentences, classes=4, seed=3)
    rng = np.random.default_rng(8)
    numbers = np.unique(sentences)
    by_sentence = [np.flatnonzero(sentences == number) for number in numbers]
    drawn = []
    for _ in range(500):
        words = np.concatenate([by_sentence[place] for place in rng.integers(0, len(numbers), len(numbers))])
        recalls = recall_score(gold[words], predicted[words], labels=np.unique(gold[words]), average="macro")
        drawn.append((f1_score(gold[words], predicted[words], average="macro"), recalls))
    # Two bootstraps of 500 and 2,000 samples: the ends differ by their own error, here about 0.01.
    for score, values in zip(found, np.array(drawn).T, strict=True):
        assert [score.low, score.high] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.02)


def test_f1_by_hand() -> None:
    gold, predicted = np.array([0, 0, 1, 1, -2], np.int32), np.array([0, 1, 1, 1, 2], np.int32)
    # F1 is 2/3 of class 0, 4/5 of class 1, and 0 of class 2, which was said once and never right.
    found = class_scores(predicted, gold, np.arange(5), classes=4)
    assert found.macro_f1.value == pytest.approx((2 / 3 + 4 / 5) / 3)


def test_a_constant_is_right_about_one_class_only_and_unseen_labels_are_no_class() -> None:
    gold = np.array([0] * 90 + [1] * 8 + [-2] * 2, np.int32)
    found = class_scores(np.zeros(100, np.int32), gold, np.arange(100), classes=3)
    assert found.balanced_accuracy.value == 0.5
    # Class 1 is never said, class 2 neither said nor gold; class 0 was said for 100 words and is right for 90.
    assert found.macro_f1.value == pytest.approx((180 / 190 + 0) / 2)


@pytest.mark.parametrize(
    ("labels", "spans"),
    [
        ("B-PER I-PER O B-LOC", [("PER", 0, 2), ("LOC", 3, 4)]),
        ("I-PER I-PER I-LOC O I-LOC", [("PER", 0, 2), ("LOC", 2, 3), ("LOC", 4, 5)]),
        ("B-PER B-PER I-LOC", [("PER", 0, 1), ("PER", 1, 2), ("LOC", 2, 3)]),
        ("S-PER B-LOC I-LOC E-LOC I-LOC", [("PER", 0, 1), ("LOC", 1, 4), ("LOC", 4, 5)]),
        ("U-PER U-PER B-LOC L-LOC", [("PER", 0, 1), ("PER", 1, 2), ("LOC", 2, 4)]),
        ("O O", []),
        ("I-PER E-PER E-PER", [("PER", 0, 2), ("PER", 2, 3)]),
        ("B-A-B I-A-B", [("A-B", 0, 2)]),
    ],
)
def test_spans_are_read_as_by_the_conll_scorer(labels: str, spans: list[tuple[str, int, int]]) -> None:
    assert read_spans(labels.split()) == [Span(*span) for span in spans]


def test_a_word_without_a_label_ends_a_span() -> None:
    assert read_spans(["B-PER", None, "I-PER"]) == [Span("PER", 0, 1), Span("PER", 2, 3)]


@pytest.mark.parametrize("scheme", ["IOB2", "BIOES"])
def test_written_spans_are_read_back(scheme: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        labels: list[str | None] = []
        spans: list[Span] = []
        while len(labels) < 12:
            size, kind = int(rng.integers(1, 4)), str(rng.choice(TYPES))
            if rng.random() < 0.4:
                labels.append("O")
                continue
            spans.append(Span(kind, len(labels), len(labels) + size))
            marks = ["B"] + ["I"] * (size - 1)
            if scheme == "BIOES":
                marks = ["S"] if size == 1 else [*marks[:-1], "E"]
            labels += [f"{mark}-{kind}" for mark in marks]
        assert read_spans(labels) == spans


def test_entities_are_counted_by_sentence() -> None:
    gold = ["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "O", "O", "I-PER"]
    said = ["B-PER", "I-PER", "O", "B-PER", "I-LOC", "O", "B-PER", "I-PER"]
    found = entity_score(said, gold, np.array([0, 0, 0, 0, 1, 1, 2, 2]))
    # Found: PER 0-2 and LOC 4-5. Missed: LOC 3-4 (its type is wrong) and PER 7-8 (its ends are).
    assert (found.gold, found.predicted, found.right) == (4, 4, 2)
    assert found.f1.value == found.precision.value == found.recall.value == 0.5
    assert 0 <= found.f1.low <= 0.5 <= found.f1.high <= 1
    nothing = entity_score(["O"] * 8, gold, np.arange(8))
    assert (nothing.f1.value, nothing.precision.value, nothing.predicted) == (0, 0, 0)


def test_labels_of_spans_are_told_from_others() -> None:
    assert marks_spans(["O", "B-PER", "I-PER"])
    assert marks_spans(["O", "S-A", "B-A", "I-A", "E-A"])
    for classes in (["O"], ["B-PER", "I-PER"], ["O", "NOUN"], ["O", "X-PER"], ["O", "B-"]):
        assert not marks_spans(classes)


def test_a_comparison_scores_entities_and_seen_and_unseen_words() -> None:
    rng = np.random.default_rng(2)
    sentences = [[f"w{rng.integers(0, 30)}" for _ in range(5)] for _ in range(60)]
    labels = [["B-PER", "I-PER", "O", str(rng.choice(["B-LOC", "O"])), "O"] for _ in sentences]
    number = {"O": 0, "B-PER": 1, "I-PER": 2, "B-LOC": 3}
    flat = np.array([number[label] for sentence in labels for label in sentence])
    X = (np.eye(4)[flat] @ rng.normal(size=(4, 8)) + rng.normal(size=(300, 8))).reshape(300, 2, 4).astype(np.float32)
    cut = 200
    train = store_of(X[:cut], sentences[:40], {"ner": labels[:40]})
    test = store_of(X[cut:], sentences[40:], {"ner": labels[40:]})
    probes = fit_probes(train, ElasticNet(l1=1e-3, l2=1e-2))
    found = compare_probe(probes, "ner", test)
    said = [probes.one("ner").classes[place] for place in found.predicted]
    gold = [label for sentence in labels[40:] for label in sentence]
    counts = np.zeros(3)
    for start in range(0, 100, 5):
        true, got = (set(read_spans(part[start : start + 5])) for part in (gold, said))
        counts += len(true), len(got), len(true & got)
    assert found.entities is not None
    assert found.entities.f1.value == pytest.approx(2 * counts[2] / (counts[0] + counts[1]))
    assert found.seen_words is not None
    assert found.unseen_words is not None
    known = {form for sentence in sentences[:40] for form in sentence}
    right = found.predicted == np.array([probes.one("ner").classes.index(label) for label in gold])
    seen = np.array([form in known for sentence in sentences[40:] for form in sentence])
    assert found.seen_words.words + found.unseen_words.words == 100
    assert found.seen_words.accuracy == pytest.approx(right[seen].mean())

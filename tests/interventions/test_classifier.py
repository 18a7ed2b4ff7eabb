"""The classifier of a tuned model without some of its neurons: against `classify`, plain loops and a closed form."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from scipy import stats

from lca_jax import AblationCurve, Corpus, Tuning, ablation_curve, classify, load_model, tune
from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import DataError, ModelError
from lca_jax.interventions.classifier_accuracy import ClassifierAccuracy
from lca_jax.interventions.edits import ablate
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Batch, forward
from lca_jax.models.stack.taps import Edit
from lca_jax.ranking.ranking import rank_by_scores
from tests.compilations import count_programs
from tests.tiny_bert import write_bert
from tests.training.texts import lettered

WIDTH = 32
AXIS = NeuronAxis(blocks=tuple(LayerBlock("residual", layer, WIDTH) for layer in range(3)))
RANKING = rank_by_scores("task", AXIS, np.random.default_rng(0).normal(size=AXIS.size))
LAST_FIRST = rank_by_scores("last", AXIS, (AXIS.block_of_column == 2).astype(np.float64))
NOTHING = np.zeros(0, np.int64)
NO_EDIT = {"residual": Edit(np.ones((3, WIDTH), np.float32), np.zeros((3, WIDTH), np.float32))}
LONGEST = 13
"""Pieces of the longest text: ten letters and the special pieces of a pair."""


KINDS: dict[str, dict[str, Any]] = {
    "sentence": {"task": "has", "pool": "cls"},
    "pair": {"task": "has", "pool": "sentence-mean", "pairs": True},
    "word": {"task": "half", "pool": "last"},
}


class Tuned(NamedTuple):
    model: Model
    corpus: Corpus
    """Texts that the model has not seen."""
    curve: AblationCurve


@pytest.fixture(scope="module", params=list(KINDS))
def tuned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """A tuned model as it is opened again, and what it loses."""
    kind = KINDS[request.param]
    folder = tmp_path_factory.mktemp("tuned")
    settings = Tuning(epochs=4, batch=16, rate=3e-3, pool=kind["pool"])
    train, test = (lettered(count, seed=seed, pairs="pairs" in kind) for seed, count in enumerate((160, 50)))
    tune(load_model(write_bert(folder / "bert")), train, task=kind["task"], out=folder / "out", settings=settings)
    model = load_model(folder / "out")
    rankings = {"drawn": RANKING, "last": LAST_FIRST}
    curve = ablation_curve(
        model, rankings, test, (20, WIDTH), sets=("top", "bottom"), fill="zero", measure="classifier", slots=64
    )
    return Tuned(model, test, curve)


def states_of(model: Model, pieces: np.ndarray, types: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The last states of one text, alone in its row."""
    ids, positions, segments, of_types = (
        np.pad(part, (0, LONGEST - len(pieces))).astype(np.int32)[None]
        for part in (pieces, np.arange(len(pieces)), np.ones(len(pieces)), types)
    )
    edits = ablate(model, columns, axis=AXIS, fill=0.0) if len(columns) else NO_EDIT
    states = run(model.graph, model.params, Batch(ids, positions, segments, of_types), edits)
    return np.asarray(states["residual"][0, 0, : len(pieces)])


@partial(jax.jit, static_argnames="graph")
def run(graph: Any, params: Any, batch: Batch, edits: Any) -> Any:
    return forward(graph, params, batch, edits, reads={"residual": (2,)})


def right_by_hand(model: Model, corpus: Corpus, columns: np.ndarray) -> list[np.ndarray]:
    """Which units of each sentence are right, one text after the other."""
    head = model.classifier
    assert head is not None
    kernel, bias = np.asarray(head.params["kernel"], np.float64), np.asarray(head.params["bias"], np.float64)
    right = []
    for number, words in enumerate(corpus.sentences):
        second = None if corpus.second_starts is None else corpus.second_starts[number]
        texts = [list(words)] if second is None else [list(words[:second]), list(words[second:])]
        found = model.tokenizer(*texts, is_split_into_words=True)
        ids, types = (np.array(found[name], np.int32) for name in ("input_ids", "token_type_ids"))
        states = states_of(model, ids, types, columns)
        of_words = np.flatnonzero(~np.isin(ids, model.tokenizer.all_special_ids))
        if head.task == "half":  # every letter is one piece
            vectors, gold = states[of_words], corpus.labels["half"][number]
        else:
            vectors = states[of_words].mean(axis=0, keepdims=True) if head.pool == "sentence-mean" else states[:1]
            gold = (corpus.sentence_labels["has"][number],)
        said = (vectors.astype(np.float64) @ kernel + bias).argmax(axis=1)
        right.append(np.array([head.classes[one] for one in said]) == np.array(gold))
    return right


def test_the_accuracy_is_that_of_classify_and_of_a_plain_loop(tuned: Tuned) -> None:
    model, corpus, curve = tuned
    assert curve.whole == classify(model, corpus).accuracy
    assert curve.whole > 0.6
    assert curve.whole == np.concatenate(right_by_hand(model, corpus, NOTHING)).mean()
    assert curve.sentences == corpus.sentence_count
    for point, columns in (
        (curve.at("drawn", "top", 20), RANKING.top(20)),
        (curve.at("drawn", "bottom", 20), RANKING.bottom(20, seed=0)),
    ):
        assert point.value == np.concatenate(right_by_hand(model, corpus, columns)).mean()
    assert "accuracy of the classifier on" in repr(curve)


def test_without_its_last_states_one_class_is_left(tuned: Tuned) -> None:
    model, corpus, curve = tuned
    assert model.classifier is not None
    task = model.classifier.task
    constant = model.classifier.classes[int(np.argmax(np.asarray(model.classifier.params["bias"])))]
    gold = corpus.sentence_labels[task] if task == "has" else [label for one in corpus.labels[task] for label in one]
    assert curve.at("last", "top", WIDTH).value == np.mean([label == constant for label in gold])


def test_intervals_are_those_of_a_paired_bootstrap_over_sentences(tuned: Tuned) -> None:
    model, corpus, curve = tuned
    plain, edited = (right_by_hand(model, corpus, columns) for columns in (NOTHING, RANKING.top(20)))
    hits = [np.array([one.sum() for one in of], np.float64) for of in (plain, edited)]
    units = np.array([len(one) for one in plain], np.float64)

    def change(plain: np.ndarray, edited: np.ndarray, units: np.ndarray, axis: int = -1) -> np.ndarray:
        return (edited.sum(axis) - plain.sum(axis)) / units.sum(axis)

    theirs = stats.bootstrap(
        (*hits, units), change, paired=True, n_resamples=4000, method="percentile",
        random_state=1,  # pyright: ignore[reportCallIssue] - the name that older versions of SciPy know too
    ).confidence_interval  # fmt: skip
    point = curve.at("drawn", "top", 20)
    width = point.change_high - point.change_low
    np.testing.assert_allclose([point.change_low, point.change_high], theirs, rtol=0, atol=0.1 * width)


@pytest.mark.parametrize("tuned", ["word"], indirect=True)
def test_a_curve_is_one_program_and_batches_of_other_sizes_change_nothing(tuned: Tuned) -> None:
    model, corpus, curve = tuned
    measure = ClassifierAccuracy.of(model, corpus, slots=1)
    assert len(measure.batches) > 1
    with count_programs(afresh=True) as programs:
        narrow = ablation_curve(
            model, {"drawn": RANKING}, None, (20, WIDTH), sets=("top", "bottom"), fill="zero", measure=measure
        )
    assert len([name for name in programs if "score_edits" in name]) == 1
    assert narrow.whole == curve.whole
    assert narrow.at("drawn", "top", 20).value == curve.at("drawn", "top", 20).value
    assert narrow.at("drawn", "bottom", 20).value == curve.at("drawn", "bottom", 20).value


@pytest.mark.parametrize("tuned", ["sentence"], indirect=True)
def test_what_cannot_be_measured_is_said(tuned: Tuned, tmp_path: Path) -> None:
    model, corpus, _ = tuned
    settings: dict[str, Any] = {"counts": (5,), "measure": "classifier"}
    with pytest.raises(ModelError, match=r"has no classifier\. Tune it first"):
        ablation_curve(load_model(write_bert(tmp_path)), RANKING, corpus, **settings)
    words = Corpus.from_words([["a", "b"]], {"half": [["first", "first"]]}, name="words")
    with pytest.raises(DataError, match="needs labels `has` of sentences, and words has none"):
        ablation_curve(model, RANKING, words, **settings)
    other = Corpus.from_words([["a", "b"]], sentence_labels={"has": ["perhaps"]}, name="other")
    with pytest.raises(DataError, match="1 of a class that training does not have"):
        ablation_curve(model, RANKING, other, **settings)

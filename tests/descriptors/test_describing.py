"""Descriptions of planted neurons: tags, signs, families of tests, consistency, gold, scores, files, refusals."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from lca_jax.axes import Neuron
from lca_jax.descriptors.agreement import jaccard, measure_overlap
from lca_jax.descriptors.describing import Descriptions, describe_neurons
from lca_jax.descriptors.export import EXPLANATIONS, read_explanations, write_descriptions
from lca_jax.descriptors.finding import PhraseChoice, find_descriptors
from lca_jax.descriptors.gold import names_labels
from lca_jax.descriptors.inventory import Descriptors
from lca_jax.descriptors.scoring import score_descriptions
from lca_jax.descriptors.texts import Texts
from lca_jax.errors import DataError, SettingsError, StoreError
from lca_jax.store.store import ActivationStore
from tests.descriptors.planted_texts import CONCEPTS, Namer, of_model, planted
from tests.stores import store_of


@pytest.fixture(scope="module")
def pieces() -> tuple[ActivationStore, Descriptors, Descriptions, dict]:
    store, texts, labels = planted()
    found = find_descriptors(Namer(), texts, choice=PhraseChoice(fewest=10))
    return store, found, describe_neurons(store, found, permutations=99), dict(labels)


def test_planted_neurons_are_described_and_noise_is_not(pieces: tuple) -> None:
    _, _, told, _ = pieces
    for number, concept in enumerate(CONCEPTS):
        for sign, index in ((1, number), (-1, 4 + number)):
            one = told[Neuron("residual", 0, index)]
            assert [tag.name for tag in one.tags] == [concept]
            assert np.sign(one.tags[0].r) == sign
            assert one.tags[0].low < one.tags[0].r < one.tags[0].high
            assert one.consistency == 1.0
    assert sorted(told.described) == list(range(8))
    assert told["residual", 0, 20].tags == ()
    assert told.consistency == 1.0
    assert told.null_consistency < 0.4
    assert "8 of 48 neurons have a description" in repr(told)


def test_tags_have_the_scores_of_numpy_and_scikit_learn(pieces: tuple) -> None:
    store, _, told, labels = pieces
    values = store.matrix()[told.half_a][:, 5]
    label = labels["topic"]["phone"][told.half_a]
    (tag,) = told["residual", 0, 5].tags
    assert tag.r == pytest.approx(np.corrcoef(values, label)[0, 1], abs=1e-5)
    assert tag.auc == pytest.approx(roc_auc_score(label, -values), abs=1e-5)
    z = np.arctanh(tag.r) + 1.959964 / np.sqrt(told.half_a.sum() - 3) * np.array([-1, 1])
    np.testing.assert_allclose([tag.low, tag.high], np.tanh(z), atol=1e-6)


def test_contexts_come_from_all_quantiles_of_the_half_that_made_nothing(pieces: tuple) -> None:
    store, found, told, _ = pieces
    one = told["residual", 0, 2]
    values = {
        text: store.matrix()[number, 2] for number, text in enumerate(found.texts.texts) if not told.half_a[number]
    }
    shown = [values[context.text] for context in one.contexts]
    assert shown == sorted(shown, reverse=True)
    assert (shown[0], shown[-1]) == (max(values.values()), min(values.values()))
    assert [context.quantile for context in one.contexts] == pytest.approx(np.linspace(1, 0, 10), abs=0.01)


def test_labels_agree_with_planted_descriptions_and_nulls_do_not(pieces: tuple) -> None:
    _, _, told, labels = pieces
    against = told.score_against(labels, permutations=10)
    assert against.neurons == against.described == 8
    assert against.gold_per_neuron == 1.0
    assert against.rates.precision_1 == against.rates.recall_2 == against.rates.mrr == 1.0
    assert against.ceiling.precision_2 == 0.5  # one descriptor names each gold label
    assert against.other_neurons.recall_2 < 0.5
    assert against.permuted_gold < 8
    assert "8 neurons have 1.00 gold labels each" in repr(against)
    with pytest.raises(DataError, match="'camera' of 'topic' has 3 values for 240 texts"):
        told.score_against({"topic": {"camera": np.ones(3, bool)}})
    with pytest.raises(DataError, match=r"No neuron has a correlation of 0\.999"):
        told.score_against(labels, gold=0.999)


def test_a_descriptor_names_the_label_whose_odds_it_doubles() -> None:
    label = np.zeros((400, 3), np.float32)
    label[:100, 0] = label[100:200, 1] = label[:50, 2] = 1
    occurs = np.zeros((400, 3), bool)
    occurs[:80, 0] = True  # of the first label, and of a part of the third
    occurs[::2, 1] = True  # of half of everything
    occurs[100:102, 2] = True  # of the second label, but too rare to be sure of
    named = names_labels(occurs, label, np.array([0, 0, 1]))
    np.testing.assert_array_equal(named, [[True, False, True], [False] * 3, [False] * 3])
    # In one group, the surer of two labels is named alone.
    together = names_labels(occurs, label, np.array([0, 0, 0]))
    assert together[0].sum() == 1


def test_overlap_is_jaccard_and_its_null_is_that_of_other_neurons() -> None:
    first = np.array([[0, 2], [4, -1], [-1, -1], [6, 8]])
    second = np.array([[2, 0], [4, 6], [-1, -1], [10, -1]])
    np.testing.assert_array_equal(jaccard(first, second), [1, 0.5, np.nan, 0])
    overlap = measure_overlap(first, second)
    assert overlap.mean == 0.5
    assert overlap.low <= 0.5 <= overlap.high
    rng = np.random.default_rng(0)
    same = rng.integers(0, 50, (300, 1))
    assert measure_overlap(same, same).mean == 1.0
    # 300 neurons that all agree: the lower end of Wilson's interval.
    assert measure_overlap(same, same).low == pytest.approx(1 - 1.959964**2 / (300 + 1.959964**2), abs=1e-6)
    assert measure_overlap(same, same).other_neurons == pytest.approx(1 / 50, abs=0.015)


@pytest.mark.parametrize("scorer", ["simulation", "detection"])
def test_descriptions_tell_planted_neurons(pieces: tuple, scorer: str) -> None:
    _, _, told, _ = pieces
    scores = score_descriptions(told, scorer=scorer, judge=Namer())
    assert sorted(scores.columns) == list(range(8))
    assert np.mean(scores.balanced_accuracy) > 0.75
    assert np.mean(scores.auc) > 0.8
    assert scores.null_auc < 0.65


def test_a_simulation_has_the_rates_of_scikit_learn(pieces: tuple) -> None:
    store, found, told, _ = pieces
    scores = score_descriptions(told)
    place = int(np.flatnonzero(scores.columns == 5)[0])
    values = -store.matrix()[~told.half_a][:, 5]
    activating = values > np.quantile(values, 0.8)
    presence = found.presence[~told.half_a][:, found.names.index("phone")]
    assert scores.auc[place] == pytest.approx(roc_auc_score(activating, presence), abs=1e-6)
    assert scores.correlation[place] == pytest.approx(np.corrcoef(values, presence)[0, 1], abs=1e-5)
    # All texts of the highest score are called alike here: the share of them that is called is split evenly.
    called = presence * activating.sum() / presence.sum()
    expected = balanced_accuracy_score(activating, np.ones(len(values), bool))
    assert expected == 0.5
    assert scores.balanced_accuracy[place] == pytest.approx(
        (called[activating].mean() + 1 - called[~activating].mean()) / 2, abs=1e-6
    )


def test_fuzzing_marks_the_described_word_or_another() -> None:
    rng = np.random.default_rng(0)
    words = tuple(str(word) for word in rng.choice([*CONCEPTS, "thing"], 300))
    vectors = rng.normal(size=(300, 1, 4)).astype(np.float32)
    for number, concept in enumerate(CONCEPTS):
        vectors[:, 0, number] += 3 * np.array([word == concept for word in words])
    store = store_of(vectors, [[word] for word in words], {"none": [[None]] * 300})
    texts = Texts(texts=tuple(f"one {word} is here" for word in words), words=words)
    told = describe_neurons(store, find_descriptors(Namer(), texts), permutations=19)

    class Judge(Namer):
        def log_probabilities(self, prompts: Sequence[str], answers: Sequence[str]) -> np.ndarray:
            rows = []
            for prompt in prompts:
                kinds = prompt.rsplit("Kinds: ", 1)[1].split("\n")[0].split(", ")
                marked = prompt.rsplit("«", 1)[1].split("»")[0]
                rows.append([np.log(0.9 if (answer == " yes") == (marked in kinds) else 0.1) for answer in answers])
            return np.array(rows, np.float32)

    scores = score_descriptions(told, scorer="fuzzing", judge=Judge(), examples=10)
    assert len(scores.columns) == 4
    assert scores.balanced_accuracy.mean() > 0.9
    assert scores.null_balanced_accuracy == pytest.approx(0.5, abs=0.05)


def test_descriptions_are_written_for_other_programs(pieces: tuple, tmp_path: Path) -> None:
    _, _, told, _ = pieces
    paths = write_descriptions(told, tmp_path, model="planted", contexts=4)
    table = pq.read_table(paths[0]).to_pylist()
    assert {(row["index"], row["descriptor"], row["r"] > 0) for row in table} == {
        (4 * low + number, concept, not low) for number, concept in enumerate(CONCEPTS) for low in (0, 1)
    }
    lines = [[json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()] for path in paths[1:]]
    assert [len(of_file) for of_file in lines] == [8, 8, 32]
    assert {line["description"] for line in lines[1]} == {*CONCEPTS, *(f"not {concept}" for concept in CONCEPTS)}
    read = read_explanations(tmp_path)
    assert len(read) == 8
    assert set(read.values()) == {line["description"] for line in lines[1]}
    assert {neuron.index for neuron in read} == {int(line["index"]) for line in lines[1]}
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_descriptions(told, tmp_path, model="planted", contexts=4)] == before


def test_explanations_that_are_nested_too_deeply_are_damaged(tmp_path: Path) -> None:
    (tmp_path / EXPLANATIONS).write_bytes(gzip.compress(b"[" * 100_000))
    with pytest.raises(StoreError, match=r"cannot be read: .*nested too deeply.*Start `lca describe` again"):
        read_explanations(tmp_path)


def test_a_model_is_not_explained_by_its_own_states(pieces: tuple) -> None:
    store, found, _, _ = pieces
    circular = replace(found, origin=dict(found.origin) | {"presence": "carried", "embedder": "explained"})
    with pytest.raises(SettingsError, match="the very model whose neurons are described"):
        describe_neurons(of_model(store, "explained"), circular)
    describe_neurons(of_model(store, "another"), circular, permutations=19)
    written = replace(found, origin=dict(found.origin) | {"embedder": "explained"})  # names phrases alone
    describe_neurons(of_model(store, "explained"), written, permutations=19)


def test_bad_settings_are_refused(pieces: tuple) -> None:
    store, found, told, _ = pieces
    with pytest.raises(SettingsError, match="needs at least 19 permutations"):
        describe_neurons(store, found, permutations=10)
    with pytest.raises(SettingsError, match="`top` must be at least 1"):
        describe_neurons(store, found, top=0)
    with pytest.raises(SettingsError, match="give a model of texts as `embedder`"):
        score_descriptions(told, scorer="embedding")
    with pytest.raises(SettingsError, match="needs a generator with `log_probabilities`"):
        score_descriptions(told, scorer="detection")
    with pytest.raises(SettingsError, match="Fuzzing marks words"):
        score_descriptions(told, scorer="fuzzing", judge=Namer())
    with pytest.raises(SettingsError, match="even number"):
        score_descriptions(told, scorer="detection", judge=Namer(), examples=3)
    one = replace(found, texts=replace(found.texts, documents=(0,) * 240))
    with pytest.raises(DataError, match="All texts are of one document"):
        describe_neurons(store, one)

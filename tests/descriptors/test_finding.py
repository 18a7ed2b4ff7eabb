"""Descriptors from texts: phrases, echoes, clusters against a plain loop, stopped runs, saved inventories."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lca_jax.descriptors.clusters import cluster_phrases, number_clusters
from lca_jax.descriptors.finding import PhraseChoice, find_descriptors
from lca_jax.descriptors.inventory import load_descriptors
from lca_jax.descriptors.phrases import cut_phrases, normalise
from lca_jax.descriptors.presence import by_words, carried_over
from lca_jax.descriptors.prompts import GRAMMAR, TOPICS, Prompt
from lca_jax.descriptors.texts import Texts, texts_of_store
from lca_jax.descriptors.writing import PART
from lca_jax.errors import DataError, SettingsError, StoreError
from tests.descriptors.planted_texts import CONCEPTS, Namer, masks, planted
from tests.stores import planted_store


def test_the_concepts_of_the_texts_are_found_with_their_texts() -> None:
    _, texts, labels = planted()
    found = find_descriptors(Namer(), texts, choice=PhraseChoice(fewest=10))
    assert set(found.names) == set(CONCEPTS)
    for concept in CONCEPTS:
        column = found.names.index(concept)
        np.testing.assert_array_equal(found.occurrence[:, column], labels["topic"][concept])
        assert found.texts_of(concept) == [
            t for t, has in zip(texts.texts, labels["topic"][concept], strict=True) if has
        ]
    assert found.origin["phrases_too_rare"] > 100
    assert "camera" in repr(found)


def test_phrases_are_cut_and_echoes_left_out() -> None:
    answers = {
        "topics": [["The Battery life; hotel, positive", "a, 12, battery life ; one two three four five"], ["hotel"]]
    }
    phrases = cut_phrases(answers, ["it is dead", "near a hotel"], prompts=[TOPICS])
    assert phrases.of_text[0] == {"battery life": 1.0, "positive": 0.5}
    assert phrases.of_text[1] == {"hotel": 1.0}  # its text holds the word: no echo
    assert phrases.left_out == {"echo": 1, "empty": 2, "long": 1}
    assert normalise(" of the 'Tools' ") == "tools"


def test_a_prompt_asks_about_the_last_text() -> None:
    asked = GRAMMAR.fill("He left\nearly .", "left")
    assert asked.endswith("Sentence: He left early . Word: left Kind:")
    assert asked.startswith("Sentence: The children were playing in the garden. Word: playing Kind: verb, present")
    with pytest.raises(SettingsError, match="asks about words"):
        GRAMMAR.fill("He left")
    with pytest.raises(SettingsError, match=r"must hold \{text\}"):
        Prompt(name="none", examples=(), question="Say something:")


def test_clusters_are_those_of_a_plain_loop_over_averages() -> None:
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(5, 8))[rng.integers(0, 5, 30)] + 0.4 * rng.normal(size=(30, 8))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    groups = [[number] for number in range(30)]
    while True:
        means = {(a, b): (unit[groups[a]] @ unit[groups[b]].T).mean() for a in range(len(groups)) for b in range(a)}
        a, b = max(means, key=lambda pair: means[pair])
        if means[a, b] < 0.5:
            break
        groups[b] += groups.pop(a)
    numbers = number_clusters(unit, cosine=0.5)
    assert {frozenset(group) for group in groups} == {
        frozenset(np.flatnonzero(numbers == number).tolist()) for number in set(numbers)
    }
    assert 3 < len(groups) < 20


def test_a_cluster_is_named_by_its_central_phrase() -> None:
    around = np.array([[3.0, 0, 0], [3, 0.5, 0], [3, -0.5, 0], [0, 0, 3], [-6, 0, -3]])
    counts = {"player": 4, "dvd player": 5, "players": 5, "price": 30, "other": 2}
    clusters = cluster_phrases(counts, around, cosine=0.8)
    assert [cluster.name for cluster in clusters] == ["price", "player", "other"]
    assert clusters[1].phrases == ("player", "dvd player", "players")


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    _, texts, _ = planted(3 * PART)

    class Stopped(Namer):
        def write(self, prompts: Sequence[str], *, samples: int, seed: int) -> list[list[str]]:
            if self.calls == 2:
                raise KeyboardInterrupt
            return super().write(prompts, samples=samples, seed=seed)

    whole = find_descriptors(Namer(), texts, choice=PhraseChoice(fewest=10))
    with pytest.raises(KeyboardInterrupt):
        find_descriptors(Stopped(), texts, choice=PhraseChoice(fewest=10), out=tmp_path)
    rest = Namer()
    again = find_descriptors(rest, texts, choice=PhraseChoice(fewest=10), out=tmp_path)
    assert rest.calls == 1
    assert again.names == whole.names
    np.testing.assert_array_equal(again.written, whole.written)
    with pytest.raises(StoreError, match="phrases of another samples, seed"):
        find_descriptors(Namer(), texts, samples=3, seed=1, out=tmp_path)
    part = next((tmp_path / "answers").iterdir())
    part.write_text(json.dumps([["one"]]))
    with pytest.raises(StoreError, match=f"{part.name} must give 2 texts for each of {PART} prompts"):
        find_descriptors(Namer(), texts, out=tmp_path)


def test_an_inventory_is_read_as_it_was_saved_and_refused_when_altered(tmp_path: Path) -> None:
    _, texts, _ = planted()
    found = find_descriptors(Namer(), texts, choice=PhraseChoice(fewest=10), out=tmp_path)
    read = load_descriptors(tmp_path)
    assert (read.names, read.phrases, read.texts, read.origin) == (
        found.names,
        found.phrases,
        found.texts,
        found.origin,
    )
    for kind in ("presence", "occurrence", "written"):
        np.testing.assert_array_equal(getattr(read, kind), getattr(found, kind))
    file = tmp_path / "presence.parquet"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(StoreError, match=r"presence\.parquet was altered"):
        load_descriptors(tmp_path)
    with pytest.raises(StoreError, match="no descriptors were saved there"):
        load_descriptors(tmp_path / "none")


def test_the_generator_reads_a_part_and_words_score_all() -> None:
    _, texts, labels = planted()
    found = find_descriptors(Namer(), texts, read=60, presence="words", choice=PhraseChoice(fewest=5))
    assert (~np.isnan(found.written[:, 0])).sum() == 60
    for concept in CONCEPTS:
        np.testing.assert_array_equal(found.presence[:, found.names.index(concept)], labels["topic"][concept])
    with pytest.raises(SettingsError, match="some texts are not read"):
        find_descriptors(Namer(), texts, read=60)


def test_what_is_carried_over_is_a_ridge_regression_on_other_documents() -> None:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    occurs = masks(100).astype(np.float32)
    vectors = (occurs @ rng.normal(size=(4, 12)) + 0.3 * rng.normal(size=(100, 12))).astype(np.float32)
    documents = np.arange(100) // 4
    carried = carried_over(occurs, vectors, documents, strength=0.5)
    unit = vectors - vectors.mean(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    unit /= unit.std()
    held = documents % 5 == 2
    fit = Ridge(alpha=0.5 * (~held).sum()).fit(unit[~held], occurs[~held])
    np.testing.assert_allclose(carried[held], fit.predict(unit[held]), atol=2e-4)


def test_words_are_found_whole_and_in_the_plural() -> None:
    from lca_jax.descriptors.clusters import PhraseCluster

    clusters = [PhraseCluster("battery", ("battery", "battery life")), PhraseCluster("art", ("art",))]
    texts = ["Two batteries!", "the battery life", "a smart part", "Art."]
    np.testing.assert_array_equal(by_words(clusters, texts), [[1, 0], [1, 0], [0, 0], [0, 1]])


def test_texts_of_a_store_are_its_words_in_their_sentences() -> None:
    store = planted_store()
    texts = texts_of_store(store, count=50, seed=1)
    assert texts.words is not None
    assert texts.units is not None
    forms = store.forms()
    for text, word, unit, document in zip(texts.texts, texts.words, texts.units, texts.document_numbers, strict=True):
        assert forms[unit] == word
        assert text.split() == forms[4 * document : 4 * document + 4]
    np.testing.assert_array_equal(texts.read(store), store.matrix(np.array(texts.units)))
    assert set(texts.document_numbers[texts.halves(seed=0)]).isdisjoint(texts.document_numbers[~texts.halves(seed=0)])
    with pytest.raises(DataError, match="Text 0 is 'other', but unit"):
        replace(texts, words=("other", *texts.words[1:])).read(store)


def test_bad_settings_are_refused_before_anything_is_written() -> None:
    _, texts, _ = planted(12)
    namer = Namer()
    with pytest.raises(SettingsError, match="give a model of texts as `embedder`"):
        find_descriptors(namer, texts, presence="carried")
    with pytest.raises(SettingsError, match="must be one of written, words"):
        find_descriptors(namer, texts, presence="guessed")
    with pytest.raises(SettingsError, match="each with a name of its own"):
        find_descriptors(namer, texts, prompts=[TOPICS, TOPICS])
    assert namer.calls == 0
    with pytest.raises(DataError, match="No phrase was written of 50 texts"):
        find_descriptors(namer, texts, choice=PhraseChoice(fewest=50))
    with pytest.raises(DataError, match="12 texts, 1 words"):
        Texts(texts=texts.texts, words=("one",))

"""`longest_window` of runs, studies and surveys: long sentences are read whole, and other vectors are other results."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lca_jax import Corpus, ElasticNet, Experiment, Study, open_store, run, study, write_conllu
from lca_jax.cli.main import main
from lca_jax.errors import SettingsError, StoreError
from lca_jax.experiment.config import read_experiment
from lca_jax.experiment.inputs import Inputs
from lca_jax.experiment.survey_settings import Survey
from lca_jax.extraction.recompute import recompute
from tests.tiny_bert import write_bert

PIECES = 1_024
"""Pieces that the model takes; the long sentences have more than 512."""


def long_settings(folder: Path) -> dict[str, Any]:
    """Texts with one long sentence each, and a model that takes it whole."""
    generator = np.random.default_rng(0)
    words = {"the": "DET", "a": "DET", "cat": "NOUN", "sat": "VERB"}
    settings: dict[str, Any] = {
        "model": str(write_bert(folder / "bert", max_position_embeddings=PIECES, num_hidden_layers=1))
    }
    for part in ("train", "dev", "test"):
        sentences = [[str(word) for word in generator.choice(list(words), length)] for length in (700, 6, 7, 5, 8)]
        labels = [[words[word] for word in sentence] for sentence in sentences]
        settings[part] = write_conllu(Corpus.from_words(sentences, {"upos": labels}), folder / f"{part}.conllu")
    return {**settings, "probe": ElasticNet(l1=1e-2, l2=1e-2)}


def keys_of(folder: Path) -> dict[str, str]:
    return {name: step["key"] for name, step in json.loads((folder / "steps.json").read_text("utf-8")).items()}


def test_a_run_reads_long_sentences_whole_and_makes_other_vectors_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = long_settings(tmp_path) | {"ranking": "mass", "replicates": 0}
    cut = Experiment(**settings, out=tmp_path / "run")
    run(cut, until="extract")
    cut_store, cut_keys = open_store(cut.out / "activations/train"), keys_of(cut.out)
    cut_vectors = cut_store.matrix()
    assert cut_store.manifest.recipe.longest_window == 512

    # As many as the model takes: what is asked for beyond that changes nothing.
    whole = replace(cut, longest_window=PIECES)
    run(whole, until="extract")
    store, keys = open_store(cut.out / "activations/train"), keys_of(cut.out)
    assert store.manifest.recipe.longest_window == PIECES
    assert not set(keys.values()) & set(cut_keys.values())
    vectors, is_long = store.matrix(), np.arange(store.word_count) < 700
    np.testing.assert_allclose(vectors[~is_long], cut_vectors[~is_long], rtol=0, atol=1e-5)
    assert np.abs(vectors[is_long] - cut_vectors[is_long]).max() > 1e-3
    inputs = Inputs(whole, None)
    np.testing.assert_array_equal(
        recompute(inputs.model, inputs.corpora["train"], shard_words=16_384, longest_window=PIECES).matrix(), vectors
    )

    # The steps one by one take it from the folder, and a finished one is not done again.
    assert read_experiment(cut.out).longest_window == PIECES
    caplog.clear()
    main(["extract", str(cut.out), "--quiet"])
    run(replace(cut, longest_window=9_999), until="extract")
    assert keys_of(cut.out) == keys
    assert "extract train: finished before, skipped" in caplog.text
    assert "done again" not in caplog.text
    run(replace(cut, longest_window=512), until="extract")
    assert keys_of(cut.out) == cut_keys
    assert "--longest-window 1024" in whole.command()


def test_a_study_reads_long_sentences_whole_and_refuses_the_stores_of_cut_ones(tmp_path: Path) -> None:
    settings = {name: value for name, value in long_settings(tmp_path).items() if name != "test"}
    cut = Study(**settings, out=tmp_path / "study")
    study(cut)
    with pytest.raises(StoreError, match="longest_window"):
        study(replace(cut, longest_window=PIECES))
    assert open_store(cut.out / "activations/train").manifest.recipe.longest_window == 512
    stored = study(replace(cut, longest_window=PIECES, out=tmp_path / "stored"))
    computed = study(replace(cut, longest_window=PIECES, out=tmp_path / "computed", stored=False, shard_words=16_384))
    by_cut = study(cut)
    weights = [probes.one("upos").weights for probes in (stored, computed, by_cut)]
    np.testing.assert_allclose(weights[0], weights[1], rtol=0, atol=1e-6)
    assert np.abs(weights[0] - weights[2]).max() > 1e-4


def test_a_survey_reads_all_corpora_of_a_model_alike(tmp_path: Path) -> None:
    of: dict[str, Any] = {
        "models": {"m": {"model": "M", "longest_window": PIECES}},
        "corpora": {"a": "A", "b": "B"},
        "out": tmp_path,
    }
    parts = {part: Path(part) for part in ("train", "test")}
    assert Survey(**of).experiment("m", "a", parts).longest_window == PIECES
    assert Survey(**of, run={"longest_window": 700}).experiment("m", "b", parts).longest_window == PIECES
    with pytest.raises(SettingsError, match=r"`longest_window` cannot be a setting of `corpora\.a` alone"):
        Survey(**{**of, "corpora": {"a": {"file": "A", "longest_window": 700}, "b": "B"}})
    with pytest.raises(SettingsError, match="`longest_window` must be 1 or more, got 0"):
        Study(model="M", train=Path("A"), out=tmp_path, longest_window=0)
    with pytest.raises(SettingsError, match="`longest_window` must be 1 or more, got -1"):
        Survey(**{**of, "models": {"m": "M"}}, run={"longest_window": -1})

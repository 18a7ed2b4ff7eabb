"""The benchmark of reliability, end to end on a tiny model."""

import json
from pathlib import Path

import pytest

from benchmarks import reliability
from tests.experiment.files import write_conllu
from tests.tiny_bert import write_bert


@pytest.mark.slow
def test_rankings_of_two_halves_are_measured(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    model, corpus = write_bert(tmp_path / "bert"), write_conllu(tmp_path / "train.conllu", 160, seed=0)
    options = ["--words", "240", "--replicates", "2", "--sizes", "2", "5", "--l1", "1e-2", "--l2", "1e-2"]
    reliability.main(["--model", str(model), "--corpus", str(corpus), "--out", str(out), *options])
    result = json.loads(out.read_text("utf-8"))
    assert result["benchmark"] == "reliability"
    assert result["samples"] == {"number": 2, "kind": "bootstrap"}
    assert all(200 < words <= 250 for words in result["words"])
    assert result["largest_gap"] <= 1e-4
    neurons = result["neurons"]
    for name, of_method in result["rankings"].items():
        assert of_method["of"] < neurons if name.startswith("index") else of_method["of"] == neurons
        for share, chance in of_method["chance"].items():
            assert 0 <= of_method["overlap"][share] <= 1
            assert 0 < chance <= 0.25
        for of_half in of_method["retrained"]:
            assert set(of_half) == {"2", "5"}
            # Words decide the labels of this corpus, so two neurons tell more than the most frequent class does.
            assert of_half["5"] >= of_half["2"] - 0.1
    assert result["accuracy"][0]["l2"] == pytest.approx(1, abs=0.1)

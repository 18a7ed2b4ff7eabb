"""The benchmark of all methods, end to end on a tiny model."""

import json
from pathlib import Path

import pytest

from benchmarks import methods
from lca_jax.ranking.methods import METHODS
from tests.experiment.files import write_conllu
from tests.tiny_bert import write_bert


@pytest.mark.slow
def test_every_method_has_a_row(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    model, corpus = write_bert(tmp_path / "bert"), write_conllu(tmp_path / "train.conllu", 160, seed=0)
    options = ["--words", "240", "--replicates", "2", "--share", "0.1", "--l1", "1e-2", "--l2", "1e-2"]
    methods.main(["--model", str(model), "--corpus", str(corpus), "--out", str(out), *options])
    result = json.loads(out.read_text("utf-8"))
    assert result["benchmark"] == "methods"
    assert [point["method"] for point in result["points"]] == [*METHODS, *methods.VARIANTS, "random"]
    assert result["largest_gap"] <= 1e-4
    for point in result["points"]:
        assert 0 <= point["overlap"] <= 1
        assert point["low"] <= point["accuracy"] <= point["high"]
    assert max(point["accuracy"] for point in result["points"]) > result["constant"]

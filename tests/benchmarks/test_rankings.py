"""The benchmark of all rankings, end to end on a tiny model."""

import json
from pathlib import Path

import pytest

from benchmarks import bench_rankings
from lca_jax.ranking.methods import METHODS
from tests.experiment.files import write_conllu
from tests.tiny_bert import write_bert


@pytest.mark.slow
def test_every_ranking_is_timed_and_checked(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    model, corpus = write_bert(tmp_path / "bert"), write_conllu(tmp_path / "train.conllu", 160, seed=0)
    options = ["--words", "400", "--count", "3", "--repetitions", "1", "--checked", "5"]
    bench_rankings.main(["--model", str(model), "--corpus", str(corpus), "--out", str(out), *options])
    result = json.loads(out.read_text("utf-8"))
    assert result["benchmark"] == "rankings"
    assert list(result["rankings"]) == [name for name in METHODS if name != "gaussian"]
    for row in result["rankings"].values():
        assert row["median_s"] > 0
        assert row["error"] <= 1e-4
    assert result["gaussian"]["error_bits"] < 1e-2
    assert result["rankings"]["average_precision"]["scaled"]

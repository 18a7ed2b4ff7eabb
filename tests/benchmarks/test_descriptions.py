"""The benchmark of descriptions, end to end on a tiny model, by rules of spelling."""

import json
from pathlib import Path

import pytest

from benchmarks import descriptions
from lca_jax import demo_corpus_file
from tests.tiny_bert import write_bert


@pytest.mark.slow
def test_descriptions_of_words_are_compared_with_labels(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    options = [
        "--words",
        "600",
        "--samples",
        "1",
        "--permutations",
        "19",
        "--effect",
        "0.1",
        "--gold",
        "0.15",
        "--tasks",
        "upos",
    ]
    model = write_bert(tmp_path / "bert")
    paths = ["--explained", model, "--work", tmp_path / "work", "--out", out, "--treebank", demo_corpus_file("train")]
    descriptions.main([*map(str, paths), *options])
    result = json.loads(out.read_text("utf-8"))
    assert str(tmp_path) not in json.dumps(result)
    rows = result["words"]["rows"]["all labels"]
    assert set(rows) == {"written", "other documents' texts", "labels"}
    assert len({row["neurons"] for row in rows.values()}) == 1
    assert rows["labels"]["neurons"] > 0
    # A label names itself, so the best choice among labels is right of every neuron; other documents' words name less.
    assert rows["labels"]["R@2 ceiling"] >= rows["other documents' texts"]["R@2 ceiling"]
    assert rows["labels"]["R@2 ceiling"] > 0.5
    assert rows["labels"]["described"] >= rows["other documents' texts"]["described"]
    assert 0 < result["words"]["units"] < 600

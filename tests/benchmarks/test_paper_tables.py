"""The papers' tables, end to end on a tiny model."""

import json
from pathlib import Path

import pytest

from benchmarks import paper_tables
from tests.experiment.files import write_conllu
from tests.tiny_bert import write_bert


@pytest.mark.slow
def test_every_table_is_measured_with_its_interval(tmp_path: Path) -> None:
    corpus, out = write_conllu(tmp_path / "words.conllu", 160, seed=0), tmp_path / "result.json"
    given = ["--model", str(write_bert(tmp_path / "bert")), "--upos", str(corpus), "--work", str(tmp_path / "work")]
    given += ["--out", str(out), "--words", "200", "100", "150", "--draws", "2", "--halves", "2", "--share", "0.1"]
    paper_tables.main(given)
    found = json.loads(out.read_text("utf-8"))["tasks"]["upos"]
    accuracy = found["accuracy"]["all"][0]
    masked = found["masked"]["0.2"]
    assert masked["accuracy"]["all"][0] == pytest.approx(accuracy)
    for at in (*found["masked"].values(), *found["retrained"].values()):
        for name, (value, low, high) in at["leads"].items():
            one, other = name.split(" over ")
            assert value == pytest.approx(at["accuracy"][one][0] - at["accuracy"][other][0])
            assert low - 1e-9 <= value <= high + 1e-9
    minimal = found["minimal"]
    assert minimal["selectivity_gained"][0] == pytest.approx(minimal["selectivity"][0] - minimal["selectivity_all"][0])
    control = found["accuracy"]["control"]
    assert minimal["selectivity_all"][0] == pytest.approx(control[1])
    for depth in (found["depth"], found["raw"]):
        assert sum(depth["layers"]) == pytest.approx(1)
        assert depth["lower_half"][1] <= depth["lower_half"][0] <= depth["lower_half"][2]
    assert found["layers"]["lead_of_all"][-1] == [0, 0, 0]
    assert found["copies"]["0.3"] <= found["copies"]["0.9"] <= found["neurons"]
    assert set(found["classes"]["neurons"]) == set(found["classes"]["words"])

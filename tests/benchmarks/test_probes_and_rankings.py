"""Probes crossed with rankings, information and overlaps: judgements by hand, and the program on a tiny model."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import harness, probes_and_rankings
from benchmarks.claimed_rankings import agree_most_and_least, gained_by_the_worse_probe, told_by_tens
from benchmarks.claimed_results import Results
from benchmarks.concepts import over_properties
from tests.tiny_bert import write_bert

WORDS = {"cat": ("NN", "Sing"), "cats": ("NNS", "Plur"), "sat": ("VBD", None), "the": ("DT", None), "a": ("DT", None)}


def write_treebank(path: Path) -> Path:
    """Sentences with tags and numbers; both cases of a noun are word types of their own."""
    generator, lines = np.random.default_rng(0), []
    for _ in range(220):
        for place, form in enumerate(generator.choice(list(WORDS), 5).tolist(), 1):
            tag, number = WORDS[form]
            feats = "_" if number is None else f"Number={number}"
            lines.append(f"{place}\t{form}\t_\t{tag[:2]}\t{tag}\t{feats}\t_\t_\t_\t_")
        lines.append("")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_better_probe_and_the_better_ranking_are_told_apart() -> None:
    accuracy = {
        "linear": {"linear": [0.8], "linear, reversed": [0.7], "gaussian": [0.9], "gaussian, reversed": [0.4]},
        "gaussian": {"linear": [0.6], "linear, reversed": [0.2], "gaussian": [0.65], "gaussian, reversed": [0.1]},
    }
    told = probes_and_rankings.judgement(accuracy, 0)
    assert told["better"] == "linear"
    assert told["gain_of_worse_probe"] == pytest.approx((0.9 + 0.65 - 0.8 - 0.6) / 2)
    assert told["misjudged"]  # by its own probe the linear ranking wins, by both it loses
    assert told["good_probe_bad_order"]  # .7 of the better probe's ranking reversed is above .65


def test_an_interval_is_over_properties_each_with_the_mean_of_its_layers() -> None:
    found = over_properties(["a", "a", "b"], [0.0, 0.2, 0.3])
    assert (found["value"], found["properties"]) == (pytest.approx(0.2), 2)
    assert found["high"] - found["value"] == pytest.approx(12.706 * 0.1, rel=1e-3)


def test_what_was_measured_is_kept_and_claims_that_were_not_have_no_figures(tmp_path: Path) -> None:
    calls: list[int] = []
    for _ in range(2):
        assert harness.kept(tmp_path / "work/number-1.json", lambda: calls.append(1) or {"a": 1}) == {"a": 1}
    assert len(calls) == 1
    (tmp_path / "x-2026-01-01-probes-and-rankings.json").write_text('{"information": {}}', encoding="utf-8")
    for read in (gained_by_the_worse_probe, told_by_tens, agree_most_and_least):
        assert read(Results(tmp_path)) == []
    thirty_five = {"35": {"of_all": {"value": 0.8, "low": 0.7, "high": 0.9}}}
    newer = json.dumps({"information": {"6": thirty_five}})
    (tmp_path / "x-2026-01-02-probes-and-rankings.json").write_text(newer, encoding="utf-8")
    (figure,) = told_by_tens(Results(tmp_path))
    assert figure.of == "layer 6"
    assert figure[1:] == pytest.approx((0.3, 0.2, 0.4))


@pytest.mark.slow
def test_every_part_is_measured_and_read_by_its_claim(tmp_path: Path) -> None:
    out = tmp_path / "x-2026-01-01-probes-and-rankings.json"
    files = ["--model", str(write_bert(tmp_path / "bert")), "--corpus", str(write_treebank(tmp_path / "t.conllu"))]
    options = ["--words", "400", "200", "300", "--properties", "upos", "feats:Number", "--least-types", "1"]
    options += ["--layers", "1", "--sizes", "2", "4", "--concept-words", "40"]
    probes_and_rankings.main([*files, "--work", str(tmp_path / "work"), "--out", str(out), *options])
    result = json.loads(out.read_text("utf-8"))
    rows = result["crossings"]["configurations"]
    assert [(row["property"], row["layer"]) for row in rows] == [("upos", 1), ("feats:Number", 1)]
    for row in rows:
        assert len(row["accuracy"]["linear"]) == len(row["accuracy"]["gaussian"]) == 7
        bound = row["information"]["bound"]
        assert bound == sorted(bound)
        assert 0 < bound[-1] <= row["information"]["entropy"] + 1e-9
    concepts = result["overlaps"]["concepts"]
    assert {one["concept"] for one in concepts} == {"NN", "NNS", "VBD", "DT"}
    results = Results(tmp_path)
    assert [figure.of for figure in gained_by_the_worse_probe(results)] == ["2 neurons", "4 neurons"]
    assert len(agree_most_and_least(results)) == 3
    assert len(list((tmp_path / "work").glob("*.json"))) == 3

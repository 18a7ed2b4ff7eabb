"""The study of fine-tuning, end to end on a tiny model."""

import json
from pathlib import Path

import pytest

from benchmarks import fine_tuning
from tests.experiment.files import write_conllu
from tests.tiny_bert import write_bert
from tests.training.texts import write_sentiment


@pytest.mark.slow
def test_a_tiny_model_is_tuned_and_probed_before_and_after(tmp_path: Path) -> None:
    files = [
        option
        for seed, (part, count) in enumerate((("train", 96), ("dev", 40), ("test", 40)))
        for option in (f"--{part}", str(write_sentiment(tmp_path / f"{part}.tsv", count, seed=seed)))
    ]
    corpus, out = write_conllu(tmp_path / "words.conllu", 160, seed=0), tmp_path / "result.json"
    options = ["--words", "200", "--halves", "4", "--seeds", "0", "1", "--l1", "1e-2", "--l2", "1e-2"]
    options += ["--tuning.epochs", "6", "--tuning.batch", "16", "--tuning.rate", "3e-3", "--share", "0.2"]
    given = ["--model", str(write_bert(tmp_path / "bert")), "--corpus", str(corpus), "--work", str(tmp_path / "work")]
    fine_tuning.main([*given, *files, "--out", str(out), *options])
    result = json.loads(out.read_text("utf-8"))
    assert result["benchmark"] == "fine_tuning"
    for tuning in result["tunings"]:
        assert tuning["accuracy"]["test"] > 0.6
        assert len(tuning["losses"]) == tuning["steps"] == 36
    salient = result["neurons"]["salient"]
    for state in (result["before"], *result["after"].values()):
        assert sum(state["layers"]) == pytest.approx(salient)
        assert state["centre"]["low"] <= state["centre"]["value"] <= state["centre"]["high"]
        assert state["accuracy"]["all"] > 0.5
    for shift in result["shifts"].values():
        assert 0 <= shift["overlap"] <= 1
    assert result["claim"] in ("holds", "fails", "within noise")


@pytest.mark.parametrize(
    ("verdicts", "claim"),
    [
        (["lower", "lower"], "holds"),
        (["lower", "within noise"], "within noise"),
        (["within noise"], "within noise"),
        (["higher", "within noise"], "fails"),
        (["higher", "lower"], "within noise"),
    ],
)
def test_the_claim_holds_only_if_every_seed_says_so(verdicts: list[str], claim: str) -> None:
    assert fine_tuning.verdict_of(verdicts) == claim

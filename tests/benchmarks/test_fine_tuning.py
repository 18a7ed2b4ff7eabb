"""The study of fine-tuning, end to end on a tiny model, and its rule for the papers' claim."""

import gzip
import json
from itertools import combinations
from pathlib import Path

import pytest

from benchmarks import fine_tuning, relocated, tuned_texts
from tests.experiment.files import write_conllu
from tests.tiny_bert import write_bert
from tests.training.texts import LETTERS, write_sentiment


def _write_sentiment(folder: Path) -> Path:
    """The three parts of SST-2, with the demo's letters for words."""
    folder.mkdir()
    for seed, (part, count) in enumerate((("train", 96), ("dev", 40), ("test", 40))):
        plain = write_sentiment(folder / part, count, seed=seed)
        (folder / f"sst2-{part}.tsv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    return folder


@pytest.mark.slow
def test_a_tiny_model_is_tuned_and_probed_before_and_after(tmp_path: Path) -> None:
    corpus, out = write_conllu(tmp_path / "words.conllu", 160, seed=0), tmp_path / "result.json"
    options = [
        "--words",
        "200",
        "--halves",
        "2",
        "--sentiment-seeds",
        "0",
        "1",
        "--tasks",
        "upos",
        "--l1",
        "1e-2",
        "--l2",
        "1e-2",
        "--torch-seeds",
    ]
    options += ["0", "--tuning.epochs", "6", "--tuning.batch", "16", "--tuning.rate", "3e-3", "--share", "0.2"]
    given = ["--model", str(write_bert(tmp_path / "bert")), "--corpus", str(corpus), "--work", str(tmp_path / "work")]
    given += ["--sentiment", str(_write_sentiment(tmp_path / "texts")), "--out", str(out), *options]
    fine_tuning.main(given)
    result = json.loads(out.read_text("utf-8"))
    assert result["benchmark"] == "fine_tuning"
    for tuning in result["tunings"]:
        assert tuning["accuracy"]["test"] > 0.6
        assert tuning["steps"] == len(tuning["losses"]) or tuning["steps"] < 36
    assert result["torch"][0]["accuracy"]["test"] > 0.6
    salient = result["neurons"]["salient"]
    for state in (result["before"], *result["after"]["sentiment"].values()):
        for of_ranking in state["upos"]["rankings"].values():
            assert sum(of_ranking["layers"]) == pytest.approx(salient)
            centre = of_ranking["centre"]
            assert centre["low"] <= centre["value"] <= centre["high"]
        accuracy = state["upos"]["accuracy"]
        assert accuracy["all"] > 0.5
        assert accuracy["up_to_layer"][-1] == pytest.approx(accuracy["all"], abs=0.05)
    bagged = result["shifts"]["upos"]["sentiment"]["bagged"]
    assert 0 <= bagged["seeds"]["0"]["overlap"] <= 1
    first, second = (bagged["seeds"][seed]["value"] for seed in "01")
    assert bagged["over_seeds"]["value"] == pytest.approx((first + second) / 2)

    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").glob("*.json")}
    fine_tuning.main(given)  # every piece is there: nothing is made again
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "work").glob("*.json")} == kept
    assert json.loads(out.read_text("utf-8"))["shifts"] == result["shifts"]


def test_parts_of_pairs_share_no_pair(tmp_path: Path) -> None:
    rows = [{"sentence_good": f"{a} {b} x.", "sentence_bad": f"{b} {a} y."} for a in LETTERS for b in LETTERS]
    file = tmp_path / "pairs.jsonl.gz"
    file.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    parts = tuned_texts.acceptability(file, 40)
    assert [part.sentence_count for part in parts] == [40, 32, 32]
    for part in parts:
        assert part.sentence_labels["acceptability"] == ("good", "bad") * (part.sentence_count // 2)
    found = [{sentence[:2] for sentence in part.sentences[::2]} for part in parts]
    for one, other in combinations(found, 2):
        assert not one & other
    assert parts.train.sentences[0][3] == "."


@pytest.mark.parametrize(
    ("low", "high", "claim"),
    [(-0.4, -0.1, "holds"), (-0.4, 0.1, "within noise"), (0.1, 0.4, "fails"), (None, None, "within noise")],
)
def test_the_claim_is_judged_by_the_interval_of_the_move(low: float | None, high: float | None, claim: str) -> None:
    assert relocated.verdict_of({"value": -0.2, "low": low, "high": high}) == claim


def test_words_and_seeds_add_their_noise() -> None:
    both = relocated.with_words({"value": 1.0, "low": 0.7, "high": 1.3}, 0.4)
    assert both["low"] == pytest.approx(0.5)
    assert both["high"] == pytest.approx(1.5)
    alone = {"value": 1.0, "low": None, "high": None}
    assert relocated.with_words(alone, 0.4) == alone


def test_the_interval_over_seeds_is_students() -> None:
    found = relocated.interval_over_seeds([-0.5, -0.3, -0.4])
    assert found["value"] == pytest.approx(-0.4)
    assert found["high"] == pytest.approx(-0.4 + 4.30265 * 0.1 / 3**0.5, abs=1e-5)
    assert relocated.interval_over_seeds([-0.5]) == {"value": -0.5, "low": None, "high": None}

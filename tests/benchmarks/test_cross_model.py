"""The benchmark of cross-model rankings, end to end on small settings."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench_cross_model


def test_cross_model_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "cross.json"
    small = ["--words", "300", "--layers", "2", "--width", "20", "--repetitions", "1"]
    bench_cross_model.main([*small, "--out", str(out)])
    held = json.loads(out.read_text("utf-8"))
    assert held["benchmark"] == "cross_model"
    assert held["input"] == {"words": 300, "models": 3, "neurons": 40, "drawn": 256}
    peak = max(held["ceiling"]["flop_per_s"], held["ceiling"]["flop_per_s_after"])
    # Three pairs of 40 with 40 columns over 300 words.
    assert held["floor_s"] == pytest.approx(3 * 2 * 300 * 40 * 40 / peak)
    for row in held["competitors"].values():
        assert row["largest_difference"] <= bench_cross_model.LARGEST_DIFFERENCE
    assert "share of the matrix peak" in capsys.readouterr().out


def test_a_wrong_score_is_no_result() -> None:
    vectors = [np.random.default_rng(seed).normal(size=(50, 70)).astype(np.float32) for seed in range(2)]
    scores = bench_cross_model._numpy(vectors)
    assert bench_cross_model._check("numpy", vectors, scores) < 1e-6
    with pytest.raises(ValueError, match=r"numpy: scores may differ from float64 by 1e-05, got 1\.00e-01"):
        bench_cross_model._check("numpy", vectors, [scores[0] + 0.1, scores[1]])

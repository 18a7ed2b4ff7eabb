"""The measurement of attention runs here on small shapes, where JAX computes the kernel of GPUs by other means."""

import json
from pathlib import Path

from benchmarks import bench_attention


def test_both_ways_are_tried_and_timed(tmp_path: Path) -> None:
    out = tmp_path / "attention.json"
    bench_attention.main(["--quick", "--repetitions", "1", "--out", str(out)])
    result = json.loads(out.read_text("utf-8"))
    assert (result["benchmark"], result["kernel"]) == ("attention", "cudnn")
    assert list(result["rows"]) == ["BERT-base, 128 slots", "Llama 7B, 128 slots", "Llama 3 8B, 128 slots"]
    for row in result["rows"].values():
        assert row["gain"] > 0
        assert "refused" not in row


def test_a_kernel_that_is_not_there_is_named_as_refused(tmp_path: Path) -> None:
    out = tmp_path / "attention.json"
    bench_attention.main(["--slots", "128", "--repetitions", "1", "--out", str(out)])
    rows = json.loads(out.read_text("utf-8"))["rows"]
    assert all("cuDNN" in row["refused"] for row in rows.values())

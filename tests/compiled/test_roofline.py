"""The performance model: its arithmetic by hand, and the program end to end on a described GPU."""

import json
from pathlib import Path

import pytest

from benchmarks import fused_attention
from benchmarks.compiled.bounds import Counts, Device, bound, gaps
from benchmarks.roofline import main, worst_gaps
from tests.compiled.targets import devices

DEVICE = Device(100.0, 10.0, 50.0, 5.0, 1000.0, "made up")


def test_the_slower_of_computing_and_reading_counts_and_exchanges_add_up() -> None:
    by_products = bound(Counts(100.0, 20.0, 0.0, 50.0, 5.0, 999.0), DEVICE)
    assert (by_products["seconds"], by_products["limit"]) == (1.0 + 2.0 + 1.0, "products")
    assert by_products["peak_share"] == 0.75
    assert by_products["fits"]
    by_memory = bound(Counts(100.0, 0.0, 0.0, 500.0, 0.0, 1001.0), DEVICE)
    assert (by_memory["seconds"], by_memory["limit"], by_memory["fits"]) == (10.0, "memory", False)
    assert bound(Counts(100.0, 0.0, 0.0, 50.0, 50.0, 1.0), DEVICE)["limit"] == "exchange"


def test_float32_in_passes_and_the_gap_to_a_floor() -> None:
    floor, made = Counts(0.0, 0.0, 50.0, 50.0, 0.0, 1.0), Counts(0.0, 50.0, 0.0, 100.0, 10.0, 1.0)
    found = gaps(made, floor, DEVICE)
    assert found["floor_s"] == 3.0  # six passes
    assert found["gap"] == pytest.approx((5.0 + 2.0) / 3.0)
    assert found["products_gap"] == pytest.approx(2.0 / 3.0)
    assert found["memory_gap"] == pytest.approx(1.0 / 3.0)
    assert found["exchange_gap"] == pytest.approx(2.0 / 3.0)


def test_a_block_more_costs_what_the_second_costs() -> None:
    one, two = Counts(10.0, 0.0, 2.0, 5.0, 1.0, 100.0), Counts(12.0, 1.0, 2.0, 6.0, 1.0, 130.0)
    assert one.plus_blocks(two, 4) == (16.0, 3.0, 2.0, 8.0, 1.0, 190.0)


def test_the_worst_gaps_are_named_with_what_they_lose_most_by() -> None:
    floor = Counts(0.0, 0.0, 50.0, 50.0, 0.0, 1.0)
    made = {
        "near": floor,
        "units": Counts(0.0, 50.0, 0.0, 50.0, 0.0, 1.0),
        "exchange": Counts(0.0, 0.0, 50.0, 50.0, 100.0, 1.0),
        "memory": Counts(0.0, 0.0, 50.0, 500.0, 0.0, 1.0),
    }
    rows = {name: gaps(counts, floor, DEVICE) for name, counts in made.items()}
    worst = worst_gaps({**rows, "does not fit": {"fits": False}})
    assert [(one["row"], one["most"]) for one in worst] == [
        ("exchange", "exchange"),
        ("memory", "memory"),
        ("units", "products"),
    ]
    assert worst[0]["gap"] == pytest.approx((3.0 + 20.0) / 3.0)


@pytest.mark.compilers
@pytest.mark.slow
def test_the_program_end_to_end(tmp_path: Path) -> None:
    devices("h100-1")
    main(["--target", "h100-1", "--quick", "--out", str(tmp_path / "roofline.json")])
    result = json.loads((tmp_path / "roofline.json").read_text("utf-8"))
    assert result["measured"] is False
    assert len(result["rows"]) == 2
    assert {one["row"] for one in result["worst_gaps"]} == set(result["rows"])
    assert all(0 < row["seconds"] < 1 and 0 < row["peak_share"] <= 1 for row in result["rows"].values())


def test_a_kernel_meets_the_tiles_that_have_a_score() -> None:
    assert [fused_attention.tiles_of_row(slots, causal=False) for slots in (128, 512, 2_048)] == [1, 1, 16]
    assert fused_attention.tiles_of_row(2_048, causal=True) == 4 + 3 + 2 + 1


@pytest.mark.compilers
@pytest.mark.slow
def test_attention_on_paper(tmp_path: Path) -> None:
    """On a described GPU; for a TPU, the compiler is told to write its schedules before anything else uses it."""
    devices("h100-1")
    fused_attention.main(["--target", "h100-1", "--slots", "128", "--out", str(tmp_path / "attention.json")])
    rows = json.loads((tmp_path / "attention.json").read_text("utf-8"))["rows"]
    assert len(rows) == 3
    assert all(row["ordinary_ns"] > row["kernel_ns"] > 0 and row["layer_gain"] > 1 for row in rows.values())

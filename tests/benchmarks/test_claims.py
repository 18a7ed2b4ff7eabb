"""The table of the papers' claims: the committed file is what the program makes, and its verdicts follow its rule."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import claims
from benchmarks.claimed_results import Claim, Figure, Results, claim, over_halves

RESULTS = Path(claims.__file__).parent / "results"
ABOVE, BELOW, AROUND = Figure("a", 0.2, 0.1, 0.3), Figure("b", -0.2, -0.3, -0.1), Figure("c", 0.1, -0.1, 0.3)


def test_the_committed_claims_are_those_of_the_committed_results() -> None:
    committed = json.loads((RESULTS / "claims.json").read_text("utf-8"))
    assert committed == claims.collect(RESULTS), "Run `python -m benchmarks.claims`, and put its table into the README."


def test_the_readme_of_the_project_counts_the_verdicts() -> None:
    readme = " ".join((RESULTS.parents[1] / "README.md").read_text("utf-8").split())
    assert claims.summary_of(claims.collect(RESULTS)) in readme


def test_figures_keep_all_their_digits() -> None:
    """A zero is left out before the point alone: 40.1 is not 4.1."""
    figure = {"of": "x", "value": -40.118, "low": -100.5, "high": 0.25}
    row = {"paper": "P", "section": "1", "claim": "c", "tested_by": "t", "figures": [figure], "verdict": "within noise"}
    assert "x -40.118 (-100.500 to +.250)" in claims.table_of({"rows": [row]})[-1]


def test_the_readme_has_the_table() -> None:
    readme = (RESULTS.parent / "README.md").read_text("utf-8")
    missing = [line for line in claims.table_of(claims.collect(RESULTS)) if line not in readme]
    assert not missing


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        ([], "not measured yet"),
        ([ABOVE, ABOVE], "holds"),
        ([ABOVE, AROUND], "within noise"),
        ([ABOVE, AROUND, BELOW], "fails"),
        ([Figure("d", 0.1, 0.0, 0.3)], "within noise"),
    ],
)
def test_a_verdict_follows_the_intervals(figures: list[Figure], verdict: str) -> None:
    made = claim("paper", "section", "says", "by", lambda _: figures)
    assert claims.row_of(made, Results(RESULTS))["verdict"] == verdict


def test_what_cannot_be_tested_is_not_judged_by_its_figures() -> None:
    made: Claim = claim("paper", "section", "says", "by", lambda _: [BELOW], reason="no such model")
    row = claims.row_of(made, Results(RESULTS))
    assert row["verdict"] == "cannot be tested here"
    assert row["figures"] == [{"of": "b", "value": -0.2, "low": -0.3, "high": -0.1}]


def test_the_newest_file_is_read_and_named(tmp_path: Path) -> None:
    for name in ("z-2026-11-25-some", "a-2026-11-29-some", "a-2026-11-29-some-other"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"name": name}), encoding="utf-8")
    results = Results(tmp_path)
    assert results.newest("none") is None
    assert results.newest("some") == {"name": "a-2026-11-29-some"}
    assert results.used == {"a-2026-11-29-some.json"}


def test_figures_are_turned_and_compared() -> None:
    assert AROUND.turned() == Figure("c", -0.1, -0.3, 0.1)
    assert BELOW.size() == Figure("b", 0.2, 0.1, 0.3)
    assert ABOVE.above(0.2)[1:] == pytest.approx((0.0, -0.1, 0.1))
    between = Figure("x", 1.0, 0.7, 1.3).less(Figure("y", 0.5, 0.1, 0.9), "x and y")
    assert between[1:] == pytest.approx((0.5, 0.0, 1.0))
    generator = np.random.default_rng(0)
    halves = generator.normal(0.4, 0.1, 20)
    found = over_halves("z", 0.4, halves.tolist())
    assert found.low < 0.4 < found.high

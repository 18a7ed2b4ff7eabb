"""Shares of variance against closed forms and regression on dummies; the study, end to end on a tiny model."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import factors
from benchmarks.variance import share_by_factor, variance_shares
from tests.experiment.files import write_conllu
from tests.tiny_bert import write_bert


def test_shares_of_planted_effects_are_those_of_the_closed_form() -> None:
    a, b = np.array([-1.0, 1.0]), np.array([-2.0, 0.0, 2.0])
    both = np.outer([-1.0, 1.0], [1.0, -2.0, 1.0])  # whose rows and columns sum to 0
    noise = np.array([-3.0, 3.0])
    values = 7 + a[:, None, None] + b[None, :, None] + both[:, :, None] + noise
    # The mean squares are 1, 8/3, 2 and 9.
    shares = variance_shares(values, ["a", "b", "pair"])
    whole = 1 + 8 / 3 + 2 + 9
    assert shares["a",] == pytest.approx(1 / whole)
    assert shares["b",] == pytest.approx(8 / 3 / whole)
    assert shares["a", "b"] == pytest.approx(2 / whole)
    assert shares["pair",] == pytest.approx(9 / whole)
    assert sum(shares.values()) == pytest.approx(1)
    assert share_by_factor(values, ["a", "b", "pair"], chance="pair") == pytest.approx(
        {"a": 1 / whole, "b": 8 / 3 / whole, "interactions": 2 / whole, "chance": 9 / whole}
    )


def test_shares_are_those_of_least_squares_on_dummies() -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, 4))
    names = ["a", "b", "c"]
    places = np.indices(values.shape).reshape(3, -1)

    def explained(terms: list[tuple[int, ...]]) -> float:
        columns = [np.ones(values.size)]
        for term in terms:
            cell: Any = np.ravel_multi_index([places[axis] for axis in term], [values.shape[axis] for axis in term])
            columns += list((cell[None] == np.unique(cell)[:, None]).astype(float))
        design = np.stack(columns, axis=1)
        fitted = design @ np.linalg.lstsq(design, values.ravel(), rcond=None)[0]
        return float(((fitted - values.mean()) ** 2).sum() / ((values - values.mean()) ** 2).sum())

    shares = variance_shares(values, names)
    for size in (1, 2):
        for term in combinations(range(3), size):
            smaller = [one for less in range(1, size) for one in combinations(term, less)]
            expected = explained([*smaller, term]) - (explained(smaller) if smaller else 0)
            assert shares[tuple(names[axis] for axis in term)] == pytest.approx(expected, abs=1e-10)


def test_a_constant_has_no_shares_and_gaps_are_refused() -> None:
    assert set(variance_shares(np.ones((2, 2)), ["a", "b"]).values()) == {0.0}
    with pytest.raises(ValueError, match="no gaps"):
        variance_shares(np.array([[1.0, np.nan]]), ["a", "b"])


@pytest.mark.slow
def test_the_study_measures_every_cell(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    model, corpus = write_bert(tmp_path / "bert"), write_conllu(tmp_path / "train.conllu", 200, seed=0)
    options = ["--words", "60", "120", "--pairs", "2", "--measured", "100", "--replicates", "2", "--seeds", "1"]
    options += ["--tasks", "upos", "--l1", "1e-3", "1e-2", "--l2", "1e-2", "--ranking-l2", "0"]
    factors.main(["--model", str(model), "--corpus", str(corpus), "--out", str(out), *options])
    result = json.loads(out.read_text("utf-8"))
    # Six merges of two certified probes and two of each other optimiser, for two sizes and two pairs.
    assert len(result["rows"]) == (6 * 2 + 2 * len(factors.ADAM)) * 2 * 2
    assert len(result["defaults"]) == 4
    assert {tuple(pair) for row in result["defaults"] for pair in row["penalties"]} <= {(1e-3, 1e-2), (1e-2, 1e-2)}
    assert result["largest_gap"] <= 1e-4
    for row in result["rows"]:
        assert all(0 <= value <= 1 for value in (*row["overlap"].values(), *row["retrained"].values()))
    for cell in {(row["words"], row["pair"]) for row in result["rows"]}:
        own = [row for row in result["rows"] if (row["words"], row["pair"]) == cell and row["merge"] == "mass"]
        assert sum(row["chosen"][0] for row in own if row["optimiser"] == factors.CERTIFIED) == 1
    for shares in result["shares"].values():
        # An outcome that is the same in every cell has no variance to share.
        assert sum(shares.values()) == pytest.approx(1 if any(shares.values()) else 0, abs=1e-9)
        assert "l2" not in shares  # of which one was tried
    for shares in result["scores"].values():
        assert sum(shares.values()) == pytest.approx(1, abs=1e-6)

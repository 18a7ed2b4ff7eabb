"""Overlap of methods and votes, against sets and loops written out."""

import numpy as np
import pytest

import lca_jax as lca
from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.ranking.ranking import Ranking, rank_by_scores

AXIS = NeuronAxis(blocks=(LayerBlock("residual", 0, 140),))
RNG = np.random.default_rng(0)
BASE = RNG.normal(size=140)


def ranking_of(scores: np.ndarray) -> Ranking:
    return rank_by_scores("t", AXIS, scores)


RANKINGS = {
    name: ranking_of(BASE + spread * RNG.normal(size=140))
    for name, spread in zip("abcd", (0.2, 0.5, 1, 9), strict=True)
}


def borda(rankings: list[Ranking], count: int) -> set[int]:
    points = dict.fromkeys(range(140), 0)
    for ranking in rankings:
        for place, column in enumerate(ranking.columns.tolist()[:100]):
            points[column] += 100 - place
    return set(sorted(points, key=lambda column: (-points[column], column))[:count])


def iou(one: set[int], other: set[int]) -> float:
    return len(one & other) / len(one | other)


@pytest.mark.parametrize("count", [10, 50])
def test_overlaps_and_votes_are_those_of_sets(count: int) -> None:
    found = lca.method_overlap(RANKINGS, neurons=count)
    tops = {name: set(ranking.top(count).tolist()) for name, ranking in RANKINGS.items()}
    for row, name in enumerate(RANKINGS):
        others = [other for other in RANKINGS if other != name]
        for column, other in enumerate(RANKINGS):
            assert found.pairwise[row, column] == pytest.approx(iou(tops[name], tops[other]))
        assert found.average[row] == pytest.approx(np.mean([iou(tops[name], tops[other]) for other in others]))
        expected = iou(tops[name], borda([RANKINGS[other] for other in others], count))
        assert found.votes[row] == pytest.approx(expected)
    assert found.table()["method"] == list("abcd")
    assert f"first {count} neurons of 4 methods" in repr(found)


def test_chance_is_that_of_random_sets() -> None:
    drawn = [iou(set(RNG.permutation(140)[:50]), set(RNG.permutation(140)[:50])) for _ in range(4000)]
    found = lca.method_overlap(RANKINGS, neurons=50).chance
    assert found == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / 4000**0.5)


def test_subsets_of_the_others_vote() -> None:
    table = lca.consensus_votes(RANKINGS, ["a", "d"], neurons=20)
    assert table["voters"] == ["b", "c", "b, c"]
    for voters, a in zip(table["voters"], table["a"], strict=True):
        chosen = borda([RANKINGS[name] for name in str(voters).split(", ")], 20)
        assert a == pytest.approx(iou(set(RANKINGS["a"].top(20).tolist()), chosen))
    assert all(float(str(a)) > float(str(d)) for a, d in zip(table["a"], table["d"], strict=True))


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(SettingsError, match="2 methods or more, got 1"):
        lca.method_overlap({"a": RANKINGS["a"]})
    with pytest.raises(SettingsError, match="`neurons` must be in 1 to 100, got 101"):
        lca.method_overlap(RANKINGS, neurons=101)
    with pytest.raises(SettingsError, match="other than 'a' must vote"):
        lca.neuron_vote(RANKINGS, "a", voters=["a", "b"])
    with pytest.raises(SettingsError, match=r"There is no ranking of z\. Rankings: a, b, c, d"):
        lca.neuron_vote(RANKINGS, "a", voters=["z"])
    with pytest.raises(SettingsError, match="No method is left to vote"):
        lca.consensus_votes(RANKINGS, list("abcd"))

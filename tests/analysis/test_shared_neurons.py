"""Neurons that rankings of several corpora share: chance by counting and brute force, planted ones and their rate."""

from collections.abc import Iterable
from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from lca_jax import map_by_neurons, shared_neurons
from lca_jax.analysis.overlap import chances_of_common
from lca_jax.analysis.shared_by_all import chances_of_common_to_all
from lca_jax.analysis.shared_neurons import chances_of_layers
from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.ranking.ranking import Ranking, rank_by_scores

AXIS = NeuronAxis(blocks=(LayerBlock("residual", 0, 200), LayerBlock("residual", 1, 200)))
SMALL = NeuronAxis(blocks=(LayerBlock("residual", 0, 4), LayerBlock("residual", 1, 3)))
NOISE = 0.5


def language(truth: np.ndarray, rng: np.random.Generator, *, divisions: int = 5) -> tuple[Ranking, list[Ranking]]:
    """A ranking of all words and those of halves: the errors of two halves are those of all words, plus and minus."""
    whole, halves = truth + NOISE * rng.normal(size=len(truth)), []
    for _ in range(divisions):
        apart = NOISE * rng.normal(size=len(truth))
        halves += [rank_by_scores("t", AXIS, whole + apart), rank_by_scores("t", AXIS, whole - apart)]
    return rank_by_scores("t", AXIS, whole), halves


def languages(truths: Iterable[np.ndarray], rng: np.random.Generator) -> tuple[dict, dict]:
    made = {name: language(truth, rng) for name, truth in zip("abcdef", truths, strict=False)}
    return {name: of_all for name, (of_all, _) in made.items()}, {name: halves for name, (_, halves) in made.items()}


@pytest.mark.parametrize(("one", "other", "total"), [(3, 3, 8), (2, 5, 8), (5, 2, 6), (0, 3, 5), (4, 4, 4)])
def test_common_neurons_of_two_sets_by_brute_force(one: int, other: int, total: int) -> None:
    fixed = set(range(one))
    counts = np.bincount([len(fixed & set(drawn)) for drawn in combinations(range(total), other)], minlength=one + 1)
    np.testing.assert_allclose(chances_of_common(one, total, other), counts / counts.sum(), atol=1e-12)
    np.testing.assert_allclose(
        chances_of_common(one, total, other), stats.hypergeom.pmf(np.arange(one + 1), total, one, other), atol=1e-12
    )


def test_common_neurons_of_the_same_layers_by_brute_force() -> None:
    one, other = np.array([1, 1, 0, 0, 1, 0, 0.0]), np.array([0, 1, 0, 1, 1, 1, 0.0])
    drawn = [
        len({0, 1} & set(first)) + len({4} & set(second))
        for first, second in product(combinations(range(4), 2), combinations(range(4, 7), 2))
    ]
    expected = np.bincount(drawn, minlength=4) / len(drawn)
    np.testing.assert_allclose(chances_of_layers(one, other, SMALL), expected, atol=1e-12)


def test_common_neurons_of_three_sets_by_brute_force() -> None:
    sets = [set(drawn) for drawn in combinations(range(6), 3)]
    common = [len(one & other & third) for one, other, third in product(sets, repeat=3)]
    np.testing.assert_allclose(
        chances_of_common_to_all(3, 6, 3), np.bincount(common, minlength=4) / len(common), atol=1e-12
    )


def test_overlaps_are_those_of_sets_and_planted_neurons_are_found() -> None:
    """Twenty neurons lead in all three; each language has twenty of its own."""
    truths = [np.zeros(400) for _ in range(3)]
    for number, truth in enumerate(truths):
        truth[:20] = 8
        truth[100 + 20 * number : 120 + 20 * number] = 8
    rankings, halves = languages(truths, np.random.default_rng(0))
    found = shared_neurons(rankings, halves, shares=(0.1,))
    for point in found.points:
        tops = [set(rankings[name].top(40).tolist()) for name in point.pair]
        assert point.overlap == len(tops[0] & tops[1]) / 40 == 0.5
        one, other = (halves[name] for name in point.pair)
        crossed = [len(set(one[h].top(40).tolist()) & set(other[h ^ 1].top(40).tolist())) / 40 for h in range(len(one))]
        assert point.overlap_of_halves == pytest.approx(np.mean(crossed)) == pytest.approx(0.5)
        assert point.ceiling == 1
        assert point.verdict == "less than reliability allows"
        assert point.of_ceiling == pytest.approx((0.5 - 0.1) / (1 - 0.1))
    (all_of_them,) = found.of_all
    assert sorted(all_of_them.columns) == list(range(20))
    assert all_of_them.expected == pytest.approx(400 * 0.1**3)
    assert all_of_them.p < 1e-9
    assert np.isnan(found.matrix(0.1)[0, 0])
    assert found.matrix(0.1, "ceiling")[0, 1] == 1
    assert len(found.table()["verdict"]) == 3


def test_verdicts_are_right_at_their_rate() -> None:
    """One order with other words is seldom told apart, another order mostly, and nothing is shared by none."""
    rng = np.random.default_rng(1)
    same, apart, none = [], [], []
    for _ in range(60):
        truth = rng.normal(size=400)
        half = np.sqrt(0.5) * (truth + rng.normal(size=400))
        for said, truths in ((same, [truth, truth]), (apart, [truth, half]), (none, rng.normal(size=(2, 400)))):
            (point,) = shared_neurons(*languages(truths, rng), shares=(0.2,)).points
            said.append(point.verdict)
    assert same.count("as far as reliability allows") >= 55
    assert "no more than chance" not in same
    assert apart.count("less than reliability allows") >= 40
    assert none.count("no more than chance") >= 54


def test_a_liking_for_the_same_layer_is_no_sharing() -> None:
    rng = np.random.default_rng(2)
    truths = [np.concatenate([rng.normal(size=200) + 5, rng.normal(size=200)]) for _ in range(2)]
    (point,) = shared_neurons(*languages(truths, rng), shares=(0.2,)).points
    assert point.chance_of_layers == pytest.approx(0.4)  # 80 of the 200 neurons of a layer
    assert point.overlap > 0.27  # above what random sets of all layers exceed once in forty times
    assert point.verdict == "no more than chance"


def test_a_map_joins_what_shares_neurons_and_says_how_surely() -> None:
    rng = np.random.default_rng(3)
    families = rng.normal(size=(2, 400))
    truths = [family + 0.3 * rng.normal(size=400) for family in families for _ in range(2)]
    _, halves = languages(truths, rng)
    found = map_by_neurons(halves, share=0.2)
    assert [set(join.members) for join in found.joins[:2]] in ([{"a", "b"}, {"c", "d"}], [{"c", "d"}, {"a", "b"}])
    assert [join.support for join in found.joins] == [1, 1, 1]
    assert set(found.joins[-1].members) == set("abcd")
    assert set(found.leaves()[:2]) in ({"a", "b"}, {"c", "d"})
    heights = [join.height for join in found.joins]
    assert heights == sorted(heights)
    unlike = map_by_neurons(languages(rng.normal(size=(4, 400)), rng)[1], share=0.2)
    assert min(join.support for join in unlike.joins) < 1
    with pytest.raises(SettingsError, match="A tree needs three or more, got 2"):
        map_by_neurons({name: halves[name] for name in "ab"})


def test_what_cannot_be_compared_is_refused() -> None:
    rankings, halves = languages(np.zeros((2, 400)) + np.arange(400), np.random.default_rng(4))
    with pytest.raises(SettingsError, match="Sharing is between two rankings or more, got 1"):
        shared_neurons({"a": rankings["a"]}, halves)
    with pytest.raises(SettingsError, match="b: there are no rankings of half-samples"):
        shared_neurons(rankings, {"a": halves["a"]})
    with pytest.raises(SettingsError, match="as many half-samples, 4 or more, got a 10, b 2"):
        shared_neurons(rankings, {"a": halves["a"], "b": halves["b"][:2]})
    with pytest.raises(SettingsError, match="must order the same neurons"):
        shared_neurons({**rankings, "c": rank_by_scores("t", SMALL, np.arange(7.0))}, halves)

"""Keep and remove curves, crossings and the matrix of methods, on planted neurons and against plain loops."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from scipy import stats

import lca_jax as lca
from lca_jax.analysis.crossing import holm
from lca_jax.analysis.readouts.kinds import READOUTS
from lca_jax.errors import DataError, SettingsError
from lca_jax.probing.measuring import MeasuredWords
from lca_jax.ranking.ranking import Ranking, rank_by_scores
from tests.analysis.planted_copies import CARRIERS, LAYERS, WIDTH, copied_store

NET = lca.ElasticNet(l1=1e-3, l2=1e-2)


@pytest.fixture(scope="module")
def parts() -> tuple[MeasuredWords, ...]:
    return lca.divide_words(copied_store(), parts=3, seed=1)


@pytest.fixture(scope="module")
def ranking(parts: tuple[MeasuredWords, ...]) -> Ranking:
    return lca.rank(parts[0], method="anova")


def test_parts_have_all_words_and_no_common_sentence(parts: tuple[MeasuredWords, ...]) -> None:
    units = np.concatenate([part.units for part in parts])
    assert sorted(units.tolist()) == list(range(480))
    sentences = [set(part.sentences.tolist()) for part in parts]
    assert len(set().union(*sentences)) == sum(map(len, sentences)) == 120
    assert all(abs(len(part.X) - 160) <= 4 for part in parts)
    with pytest.raises(DataError, match="3 parts need as many sentences, and there are 2"):
        lca.divide_words((np.ones((2, 3)), ["a", "b"]), parts=3)
    with pytest.raises(SettingsError, match="must be 2 or more, got 1"):
        lca.divide_words(parts[0], parts=1)


@pytest.mark.parametrize("readout", list(READOUTS))
@pytest.mark.parametrize("mode", ["mask", "retrain"])
def test_planted_neurons_are_worth_more_than_random_ones(
    parts: tuple[MeasuredWords, ...], ranking: Ranking, readout: str, mode: Literal["mask", "retrain"]
) -> None:
    train, _, test = parts
    options: dict[str, Any] = {"readout": readout, "mode": mode, "sizes": (3, 9), "draws": 3, "settings": NET}
    kept = lca.validity_curve(ranking, train, test, **options)
    without = lca.validity_curve(ranking, train, test, remove=True, **options)
    assert kept.points[1].top > kept.points[1].random + 0.1
    assert kept.points[1].top > (kept.points[1].bottom or 0) + 0.2
    # The nine planted neurons are all that tell the classes: without them a probe guesses.
    assert without.points[1].top < kept.constant + 0.15
    assert without.points[1].bottom == pytest.approx(kept.whole, abs=0.1)
    assert kept.whole == pytest.approx(without.whole)
    for point in kept.points:
        assert point.top_low <= point.top <= point.top_high
        assert point.random_low <= point.random <= point.random_high
    assert f"{len(test.X)} words of" in kept.measured_on
    assert "most frequent class" in repr(kept)


def test_a_point_is_the_accuracy_of_its_own_probe(parts: tuple[MeasuredWords, ...], ranking: Ranking) -> None:
    train, _, test = parts
    curve = lca.validity_curve(ranking, train, test, readout="shared_gaussian", sizes=(9,), draws=2, remove=True)
    left = np.setdiff1d(np.arange(LAYERS * WIDTH), ranking.top(9))
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    peer = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.05).fit(train.X[:, left], train.gold)
    assert curve.points[0].top == pytest.approx(np.mean(peer.predict(test.X[:, left]) == test.gold), abs=0.08)
    frequent = np.bincount(train.gold).argmax()
    assert curve.constant == (test.gold == frequent).mean()


def test_the_bottom_is_of_weighted_neurons(parts: tuple[MeasuredWords, ...]) -> None:
    train, _, test = parts
    scores = np.zeros(LAYERS * WIDTH)
    scores[:5] = [5, 4, 3, 2, 1]
    ranking = rank_by_scores("t", train.axis, scores)
    curve = lca.validity_curve(ranking, train, test, readout="gaussian", sizes=(2, 5, 6), draws=2)
    assert curve.weighted == 5
    assert curve.points[1].bottom == curve.points[1].top  # the same five neurons
    assert curve.points[2].bottom is None
    last = rank_by_scores("t", train.axis, np.where(np.isin(np.arange(LAYERS * WIDTH), [3, 4]), 1.0, 0.0))
    assert (
        curve.points[0].bottom
        == lca.validity_curve(last, train, test, readout="gaussian", sizes=(2,), draws=2).points[0].top
    )


def test_words_that_made_it_are_refused(parts: tuple[MeasuredWords, ...], ranking: Ranking) -> None:
    train, other, test = parts
    with pytest.raises(SettingsError, match="sentences to measure on also made the probe"):
        lca.validity_curve(ranking, train, train, sizes=(3,))
    with pytest.raises(SettingsError, match=r"also made the ranking.*divide_words"):
        lca.validity_curve(ranking, train, test, ranked_on=test, sizes=(3,))
    curve = lca.validity_curve(ranking, other, test, ranked_on=train, readout="majority", sizes=(3,))
    assert curve.units.tolist() == test.units.tolist()
    with pytest.raises(SettingsError, match=r"must each be in 1 to 60, got \[61\]"):
        lca.validity_curve(ranking, train, test, sizes=(61,))
    with pytest.raises(SettingsError, match=r"must each be in 1 to 59, got \[60\]"):
        lca.validity_curve(ranking, train, test, sizes=(60,), remove=True)
    with pytest.raises(SettingsError, match="`draws` must be 2 or more"):
        lca.validity_curve(ranking, train, test, sizes=(3,), draws=1)


def test_a_crossing_measures_every_ranking_by_every_readout(parts: tuple[MeasuredWords, ...], ranking: Ranking) -> None:
    train, _, test = parts
    readouts = ("gaussian", "majority")
    found = lca.cross_readouts({"anova": ranking}, train, test, readouts=readouts, sizes=(3, 9))
    assert found.orders == ("anova", "anova, reversed", "random")
    for place, readout in enumerate(readouts):
        curve = lca.validity_curve(ranking, train, test, readout=readout, sizes=(3, 9), draws=2)
        np.testing.assert_array_equal(found.accuracy[place, 0], [point.top for point in curve.points])
        np.testing.assert_array_equal(found.accuracy[place, 1], [point.bottom for point in curve.points])
    assert set(found.table()) == {"order", "gaussian 3", "gaussian 9", "majority 3", "majority 9"}
    with pytest.raises(SettingsError, match="also made the probe"):
        lca.cross_readouts({"anova": ranking}, train, train, sizes=(3,))


def test_signed_ranks_are_scipys_and_corrected_for_all_pairs(
    parts: tuple[MeasuredWords, ...], ranking: Ranking
) -> None:
    train, _, test = parts
    one = lca.cross_readouts({"anova": ranking}, train, test, readouts=("gaussian",), sizes=(3,))
    rng = np.random.default_rng(0)
    several = [replace(one, accuracy=one.accuracy + 0.02 * rng.normal(size=(1, 3, 1))) for _ in range(12)]
    table = lca.signed_rank_tests(several, size=3)
    values = {order: np.array([each.accuracy[0, at, 0] for each in several]) for at, order in enumerate(one.orders)}
    for better, worse, p in zip(table["better"], table["worse"], table["p"], strict=True):
        pair = [values[str(name).removeprefix("gaussian on ")] for name in (better, worse)]
        expected: Any = stats.wilcoxon(pair[0] - pair[1])
        assert p == pytest.approx(expected.pvalue)
        assert np.median(pair[0] - pair[1]) >= 0
    assert table["better"][0] == "gaussian on anova"
    assert table["holm"] == holm(np.array(table["p"])).tolist()
    assert table["least"][0] == 2.0**-11
    same = lca.signed_rank_tests([one, replace(one, accuracy=np.ones_like(one.accuracy))], size=3)
    assert all(0 < float(str(p)) <= 1 for p in same["holm"])
    with pytest.raises(SettingsError, match="2 configurations or more, got 1"):
        lca.signed_rank_tests([one], size=3)
    with pytest.raises(SettingsError, match="and the size 4"):
        lca.signed_rank_tests(several, size=4)


def test_holm_is_that_of_its_paper() -> None:
    p = np.array([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(holm(p), [0.03, 0.06, 0.06, 0.02])  # Holm 1979, worked by hand
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1, 1])


def test_every_method_has_both_figures() -> None:
    words = copied_store(sentences=240)
    rows = {"lca": {}, "bagged": {"method": "lca", "over": "replicates"}, "anova": {}, "variance": {}}
    found = lca.reliability_and_validity(words, methods=rows, share=0.15, settings=NET, replicates=4, seed=2)
    points = {point.method: point for point in found.points}
    assert list(points) == ["lca", "bagged", "anova", "variance", "random"]
    assert (found.shared_neurons, found.neurons, found.chance) == (9, 9, 0.15)
    # All nine carriers come first by F on both halves; the sparse probe takes one copy or another.
    assert points["anova"].overlap == 1
    assert points["anova"].accuracy > points["random"].accuracy + 0.1
    assert points["random"].overlap <= 0.5
    assert found.largest_gap is not None
    assert found.largest_gap <= 1e-4
    # One figure by hand: the same parts, the ranking of each, and its probe.
    first, second, rest = lca.divide_words(words, parts=3, seed=2)
    tops = [set(lca.rank(half, method="anova").top(9).tolist()) for half in (first, second)]
    assert tops[0] == tops[1] == {layer * WIDTH + index for layer in range(LAYERS) for index in CARRIERS.values()}
    curve = lca.validity_curve(lca.rank(first, method="anova"), first, rest, sizes=(9,), draws=2, settings=NET)
    assert points["anova"].first == curve.points[0].top
    for point in found.points:
        assert point.accuracy == pytest.approx((point.first + point.second) / 2)
        assert point.low <= point.accuracy <= point.high
    assert found.table()["method"] == list(points)
    assert "random 0.15" in repr(found)


def test_rows_that_cannot_be_measured_are_refused() -> None:
    words = copied_store(sentences=30)
    with pytest.raises(SettingsError, match="There is no ranking method 'magic'"):
        lca.reliability_and_validity(words, methods=["magic"])
    with pytest.raises(SettingsError, match="must order neurons, not groups"):
        lca.reliability_and_validity(words, methods={"index": {"method": "anova", "groups": "index"}})
    with pytest.raises(SettingsError, match="`neurons` must be in 1 to 60, got 61"):
        lca.reliability_and_validity(words, methods=["anova"], neurons=61)

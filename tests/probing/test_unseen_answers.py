"""Intervals of few answers: against Wilson, Tango, McNemar, and their exact coverage."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from lca_jax.experiment.controls import selectivity_of
from lca_jax.interventions.chance import ends, sampled_scores
from lca_jax.interventions.measures import MinimalPair, MinimalPairs
from lca_jax.interventions.rows import TextRows
from lca_jax.probing.class_scores import class_scores
from lca_jax.probing.metrics import accuracy_interval, mean_intervals, resampled_sums, units_of_sums
from lca_jax.probing.spans import entity_score

Z2 = 1.959964**2


def pairs_of(count: int) -> MinimalPairs:
    """A share of as many units; its texts play no part in what sums say."""
    return MinimalPairs(
        pairs=tuple(MinimalPair(good="a", bad="b") for _ in range(count)),
        text=TextRows(batches=(), words=np.zeros(0), left_out=0),
    )


@pytest.mark.parametrize("count", [1, 4, 60])
@pytest.mark.parametrize("share", [0, 1])
def test_answers_that_all_agree_have_the_interval_of_wilson(count: int, share: int) -> None:
    wilson = stats.binomtest(count * share, count).proportion_ci(method="wilson")
    found = accuracy_interval(np.full(count, bool(share)), np.arange(count))
    assert found == pytest.approx(tuple(wilson), abs=1e-6)
    # Ten words of each sentence that agree are worth no more than the sentence.
    assert accuracy_interval(np.full(10 * count, bool(share)), np.repeat(np.arange(count), 10)) == pytest.approx(found)


def test_two_that_always_agree_have_the_interval_of_tango() -> None:
    low, high = mean_intervals(np.zeros((1, 20)), np.arange(20), least=-1)[0]
    # At this difference d the score statistic of Tango 1998 is z: n d / sqrt(n d (1 - d)) for no pair that differs.
    assert 20 * high / np.sqrt(20 * high * (1 - high)) == pytest.approx(np.sqrt(Z2), rel=1e-6)
    assert low == pytest.approx(-high)


@pytest.mark.parametrize(("differ", "count"), [(3, 3), (4, 4), (3, 100), (4, 100), (4, 4000)])
def test_a_difference_is_shown_where_the_test_of_mcnemar_shows_it(differ: int, count: int) -> None:
    values = (np.arange(count) < differ).astype(float)
    low, high = mean_intervals(values[None], np.arange(count), least=-1)[0]
    assert (low > 0) == (differ > Z2)
    assert low < values.mean() < high or high == 1


def test_many_answers_that_differ_keep_the_bootstrap() -> None:
    rng = np.random.default_rng(0)
    sentences = np.repeat(np.arange(200), 5)
    values = np.stack([rng.random(1000) < 0.9, (rng.random(1000) < 0.8).astype(float) - (rng.random(1000) < 0.7)])
    words, *sums = resampled_sums(np.concatenate([np.ones((1, 1000)), values]), sentences).T
    plain = np.quantile(np.stack(sums) / words, [0.025, 0.975], axis=1).T
    np.testing.assert_allclose(mean_intervals(values, sentences, least=(0, -1)), plain, rtol=1e-12)


def test_the_exact_coverage_of_a_difference_of_eight_pairs() -> None:
    count = 8
    cases = [(up, down) for up, down in product(range(count + 1), repeat=2) if up + down <= count]
    rows = np.array([[1.0] * up + [-1.0] * down + [0.0] * (count - up - down) for up, down in cases])
    low, high = mean_intervals(rows, np.arange(count), least=-1).T
    least = 1.0
    for rise, fall in product(np.linspace(0.02, 0.98, 25), repeat=2):
        if rise + fall > 1:
            continue
        chance = stats.multinomial.pmf(
            [(*case, count - sum(case)) for case in cases], count, [rise, fall, 1 - rise - fall]
        )
        covered = (low <= rise - fall + 1e-9) & (high >= rise - fall - 1e-9)
        least = min(least, float(chance[covered].sum()))
    # 0.95 is aimed at, and the least over all chances is 0.845; of a bootstrap alone it is 0.149.
    assert least > 0.84


def test_units_behind_sums() -> None:
    values, sentences = units_of_sums(np.array([[2.0, 0.0, 0.5], [0.0, 1.0, 1.0]]), np.array([3.0, 1.0, 1.0]))
    assert values.tolist() == [[1, 1, 0, 0, 0.5], [0, 0, 0, 1, 1]]
    assert sentences.tolist() == [0, 0, 0, 1, 2]


def test_shares_of_an_ablation_that_all_agree_have_a_width() -> None:
    parts = np.ones((2, 2, 6))
    parts[1, 0] = 0
    scores, sentences = sampled_scores(pairs_of(6), parts, seed=0)
    whole, removed = scores.T
    wilson = stats.binomtest(6, 6).proportion_ci(method="wilson")
    assert tuple(ends("", whole, sentences).values()) == pytest.approx(tuple(wilson), abs=1e-6)
    change = ends("change_", removed - whole, sentences, least=-1)
    assert change["change_low"] == -1
    # Six pairs of six are worse: p = 0.014 by McNemar's test, and three of three are not shown to be.
    assert -0.3 < change["change_high"] < 0
    few, sentences = sampled_scores(pairs_of(3), parts[:, :, :3], seed=0)
    assert ends("", few[:, 1] - few[:, 0], sentences, least=-1)["high"] > 0


def test_a_perfect_score_has_a_width() -> None:
    gold, sentences = np.arange(40) % 4, np.repeat(np.arange(20), 2)
    found = class_scores(gold, gold, sentences, classes=4)
    # Each class stands in 10 of the sentences; four independent classes halve what one alone could be off.
    expected = 1 - Z2 / (10 + Z2) / 2
    for score in found:
        assert (score.value, score.high) == (1, 1)
        assert score.low == pytest.approx(expected, abs=1e-6)
    labels = ["B-PER", "O"] * 20
    entities = entity_score(labels, labels, sentences)
    for score in (entities.f1, entities.precision, entities.recall):
        assert (score.value, score.high) == (1, 1)
        assert score.low == pytest.approx(1 - Z2 / (20 + Z2), abs=1e-6)


def test_selectivity_of_words_that_all_agree_has_a_width() -> None:
    right = np.ones(12, bool)
    low, high = selectivity_of(right, np.stack([right] * 3), np.arange(12)).interval
    assert (low, high) == pytest.approx((-Z2 / (12 + Z2), Z2 / (12 + Z2)), abs=1e-6)

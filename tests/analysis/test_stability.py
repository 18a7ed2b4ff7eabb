"""How far rankings reproduce: planted neurons are found as often as stated, on shuffled labels hardly any are."""

import numpy as np
import pytest
from scipy import stats

import lca_jax as lca
from lca_jax import (
    ElasticNet,
    ProbeSet,
    Ranking,
    fit_probes,
    fit_samples,
    measure_stability,
    rank_neurons,
    rank_samples,
)
from lca_jax.analysis.overlap import chance_overlap, first_part, overlap
from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.ranking.ranking import rank_by_scores
from lca_jax.ranking.replicates import selected
from tests.analysis.planted_copies import CARRIERS, LAYERS, WIDTH, copied_store
from tests.stores import PLANTED, planted_store

AXIS = NeuronAxis(blocks=(LayerBlock("residual", 0, 10), LayerBlock("residual", 1, 10)))
NET = ElasticNet(l1=2e-2, l2=1e-2, tolerance=3e-6)


def ranking_of(scores: np.ndarray) -> Ranking:
    return rank_by_scores("t", AXIS, scores.astype(np.float64))


@pytest.fixture(scope="module")
def halves() -> ProbeSet:
    return fit_samples(fit_probes(planted_store(), NET), "upos", replicates=10)


@pytest.fixture(scope="module")
def copies() -> ProbeSet:
    return fit_samples(fit_probes(copied_store(), ElasticNet(l1=3e-2, l2=1e-3)), "t", replicates=10)


def test_chance_is_the_hypergeometric_distribution() -> None:
    for count, total in ((1, 24), (27, 2688), (134, 2688), (538, 2688)):
        shared = stats.hypergeom(total, count, count)
        chance = chance_overlap(count, total)
        assert chance.overlap == pytest.approx(shared.mean() / count)
        assert chance.high == pytest.approx(shared.ppf(0.975) / count)
    everything = chance_overlap(7, 7)
    assert (everything.overlap, everything.high) == (1, 1)


def test_overlap_counts_neurons_without_order_by_their_chance() -> None:
    scores = np.zeros(20)
    scores[[3, 5]] = 2, 1
    one, other = ranking_of(scores), ranking_of(scores[::-1].copy())  # 16 and 14 have weight here
    assert overlap(first_part(one, 2), first_part(one, 2), 2) == 1
    part = first_part(one, 5)
    assert part[[3, 5]].tolist() == [1, 1]
    assert part.sum() == pytest.approx(5)
    assert np.unique(np.delete(part, [3, 5])).tolist() == [pytest.approx(3 / 18)]
    # Neurons 3 and 5 meet the chance of 3/18 twice, as 14 and 16 do; the 16 others share their chances.
    assert overlap(part, first_part(other, 5), 5) == pytest.approx((4 * 3 / 18 + 16 * (3 / 18) ** 2) / 5)
    assert selected(one, 5).sum() == 2
    drawn, plain = np.random.default_rng(0), []
    for _ in range(4000):
        filled = [
            {*kept, *drawn.choice([column for column in range(20) if column not in kept], 3, replace=False).tolist()}
            for kept in ((3, 5), (16, 14))
        ]
        plain.append(len(filled[0] & filled[1]))
    assert np.mean(plain) / 5 == pytest.approx(overlap(part, first_part(other, 5), 5), abs=0.01)


def test_stability_equals_a_plain_writing() -> None:
    rng = np.random.default_rng(1)
    rankings = [ranking_of(rng.normal(size=20) + np.arange(20) / 4) for _ in range(6)]
    found = measure_stability(rankings, shares=(0.1, 0.25), select=0.25, threshold=0.8)
    tops = [set(ranking.top(5).tolist()) for ranking in rankings]
    pairs = [len(tops[at] & tops[at + 1]) / 5 for at in (0, 2, 4)]
    point = found.points[1]
    assert (point.neurons, point.share) == (5, 0.25)
    assert point.overlap == pytest.approx(np.mean(pairs))
    assert point.overlap_std == pytest.approx(np.std(pairs, ddof=1))
    assert point.chance == 5 / 20
    layers = [np.mean([column // 10 for column in top]) for top in tops]
    assert point.mean_layer == pytest.approx((np.mean(layers), min(layers), max(layers)))
    for column in range(20):
        ranks = [ranking.columns.tolist().index(column) + 1 for ranking in rankings]
        assert found.frequency[column] == pytest.approx(np.mean([column in top for top in tops]))
        assert (found.rank_low[column], found.rank_high[column]) == (min(ranks), max(ranks))
    assert set(found.stable.tolist()) == {column for column in range(20) if found.frequency[column] >= 0.8}
    assert found.error_bound == pytest.approx(25 / (0.6 * 20))
    everything = measure_stability(rankings, kind="bootstrap", shares=(0.25,))
    all_pairs = [len(tops[one] & tops[other]) / 5 for one in range(6) for other in range(one)]
    assert everything.points[0].overlap == pytest.approx(np.mean(all_pairs))
    assert everything.error_bound is None  # it is for halves alone
    assert found.table()["neurons"] == [2, 5]
    assert "6 half-samples" in repr(found)


def test_planted_neurons_are_in_every_half(halves: ProbeSet) -> None:
    planted = sorted(column for columns in PLANTED.values() for column in columns)
    for rankings in (
        rank_samples(halves, method="lca"),
        rank_samples(halves, method="mean_weight"),
        rank_samples(planted_store(), method="anova", replicates=10),
        rank_samples(planted_store(), method="average_precision", replicates=10),
    ):
        found = measure_stability(rankings, select=1 / 6)
        assert found.frequency[planted].tolist() == [1, 1, 1, 1]
        assert found.points[-1].overlap > 3 * found.points[-1].chance
        assert sorted(found.stable[:4].tolist()) == planted
        assert (found.rank_high[planted] <= 4).all()
    assert {name: spread.mean for name, spread in found.class_neurons.items()}["NOUN"] >= 1


def test_samples_are_those_of_the_fit(halves: ProbeSet) -> None:
    store = planted_store()
    together = fit_probes(store, NET, replicates=10, kind="halves")
    for number in (1, 4, 10):
        one, other = halves.one("upos", replicate=number), together.one("upos", replicate=number)
        # Both are within √(2 · gap / l2) of the optimum, 0.026.
        np.testing.assert_allclose(one.weights, other.weights, atol=5e-2)
        assert (one.words, one.kind) == (other.words, "halves")
    assert halves.replicates == 10


def test_copies_share_the_frequency_and_their_group_has_all_of_it(copies: ProbeSet) -> None:
    """One of three near copies is taken, by the sample; the index that they are copies of is found by every half."""
    alone = measure_stability(rank_samples(copies), select=3 / (LAYERS * WIDTH))
    of_index = {
        name: alone.frequency[[layer * WIDTH + index for layer in range(LAYERS)]] for name, index in CARRIERS.items()
    }
    for frequencies in of_index.values():
        assert frequencies.sum() == pytest.approx(1, abs=0.21)
    assert max(frequencies.max() for frequencies in of_index.values()) <= 1
    groups = measure_stability(rank_samples(copies, groups="index"), shares=(3 / WIDTH,), select=3 / WIDTH)
    assert groups.frequency[list(CARRIERS.values())].tolist() == [1, 1, 1]
    assert groups.points[0].overlap == 1
    three = measure_stability(rank_samples(copies), shares=(3 / (LAYERS * WIDTH),))
    assert three.points[0].overlap < groups.points[0].overlap
    bagged = rank_neurons(copies, over="replicates")
    assert {int(column) % WIDTH for column in bagged.top(3)} <= set(CARRIERS.values())


@pytest.mark.parametrize("method", ["lca", "anova"])
def test_on_shuffled_labels_stable_neurons_stay_under_the_bound(method: str) -> None:
    stable, bounds = [], []
    for seed in range(6):
        store = copied_store(seed=seed, shuffled=True)
        if method == "lca":
            given = fit_samples(fit_probes(store, ElasticNet(l1=2e-2, l2=1e-2)), "t", replicates=10)
            found = measure_stability(rank_samples(given), select=0.2, threshold=0.9)
        else:
            found = measure_stability(rank_samples(store, method="anova", replicates=10), select=0.2, threshold=0.9)
        stable.append(len(found.stable))
        bounds.append(found.error_bound)
    # The bound is of the expectation over data, so a mean of six may exceed it a little only by chance.
    assert np.mean(stable) <= np.mean(np.array(bounds, np.float64))


def test_what_cannot_be_compared_is_refused(halves: ProbeSet) -> None:
    rankings = [ranking_of(np.arange(20)) for _ in range(3)]
    with pytest.raises(SettingsError, match="2 samples or more, got 1"):
        measure_stability(rankings[:1])
    with pytest.raises(SettingsError, match="must be even, got 3"):
        measure_stability(rankings)
    with pytest.raises(SettingsError, match=r"`threshold` must be in \(0.5, 1\], got 0.5"):
        measure_stability(rankings[:2], threshold=0.5)
    with pytest.raises(SettingsError, match=r"`shares` must each be in \(0, 1\], got \[5.0\]"):
        measure_stability(rankings[:2], shares=[5.0])
    with pytest.raises(SettingsError, match=r"`select` must be in \(0, 1\], got 20.0"):
        measure_stability(rankings[:2], select=20.0)
    with pytest.raises(SettingsError, match="same neurons: one has 20 of residual 0, residual 1, another 24"):
        measure_stability([rankings[0], rank_neurons(halves)])
    with pytest.raises(SettingsError, match="these have no samples"):
        rank_samples(planted_store())
    with pytest.raises(SettingsError, match="reads words, not probes"):
        rank_samples(halves, method="anova")
    with pytest.raises(SettingsError, match=r"must be even, got 5\. Give 6"):
        fit_samples(halves, "upos", replicates=5)
    with pytest.raises(SettingsError, match="`least_l2` must be 0 or more"):
        fit_samples(halves, "upos", replicates=4, least_l2=-1.0)
    with pytest.raises(SettingsError, match="no samples to rank over"):
        rank_neurons(fit_probes(planted_store(), NET), over="replicates")
    with pytest.raises(SettingsError, match=r"`share` must be in \(0, 1\], got 10.0"):
        rank_neurons(halves, over="replicates", by="frequency", share=10.0)
    with pytest.raises(SettingsError, match="Give one"):
        rank_neurons(halves, over="replicates", replicate=2)


def test_samples_have_at_least_the_l2_that_is_asked_for(halves: ProbeSet) -> None:
    """Each is the probe that `fit_probes` fits to the same sample with that l2; the whole probe stays as it was."""
    chosen = fit_probes(planted_store(), NET)
    stronger = fit_samples(chosen, "upos", replicates=4, least_l2=0.5)
    assert {probe.l2 for probe in stronger if probe.replicate} == {0.5}
    np.testing.assert_array_equal(stronger.one("upos").weights, chosen.one("upos").weights)
    net = ElasticNet(l1=NET.l1, l2=0.5, tolerance=NET.tolerance)
    expected = fit_probes(planted_store(), net, replicates=4, kind="halves")
    for number in range(1, 5):
        found, fitted = (of.one("upos", replicate=number).weights for of in (stronger, expected))
        np.testing.assert_allclose(found, fitted, atol=1e-3)
    weaker = fit_samples(chosen, "upos", replicates=4, least_l2=1e-9)
    found, fitted = (of.one("upos", replicate=3).weights for of in (weaker, halves))
    np.testing.assert_allclose(found, fitted, atol=1e-5)


def test_rankings_over_samples_are_means_of_those_of_the_samples(halves: ProbeSet) -> None:
    each = [halves.one("upos", replicate=number).weights.astype(np.float64) for number in range(1, 11)]

    def by_column(ranking: Ranking) -> np.ndarray:
        scores = np.empty(24)
        scores[ranking.columns] = ranking.scores
        return scores

    level = rank_neurons(halves, over="replicates")
    singles = [by_column(rank_neurons(halves, replicate=number)) for number in range(1, 11)]
    np.testing.assert_allclose(by_column(level), np.mean(singles, axis=0), atol=1e-12)
    weight = rank_neurons(halves, over="replicates", by="weight")
    np.testing.assert_allclose(by_column(weight), np.abs(each).mean(axis=(0, 2)), atol=1e-12)
    np.testing.assert_allclose(by_column(weight.by_class["VERB"]), np.abs(each).mean(axis=0)[:, 2], atol=1e-12)
    often = rank_neurons(halves, over="replicates", by="frequency", share=1 / 6)
    tops = [set(rank_neurons(halves, replicate=number).top(4).tolist()) for number in range(1, 11)]
    np.testing.assert_allclose(by_column(often), [np.mean([column in top for top in tops]) for column in range(24)])
    for block in np.unique(often.ties):
        tied = often.columns[often.ties == block]
        assert (np.diff(by_column(level)[tied]) <= 0).all()  # equal frequencies are in the order of mean levels
    assert rank_neurons(halves).columns.tolist() == lca.rank(halves).columns.tolist()

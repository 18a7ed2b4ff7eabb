"""Two rankings beside each other: overlap, rank correlation, chance and noise ceiling."""

import numpy as np
import pytest
from scipy import stats

from lca_jax import agreement, measure_stability
from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.ranking.ranking import Ranking, rank_by_scores

AXIS = NeuronAxis(blocks=(LayerBlock("residual", 0, 40),))
RNG = np.random.default_rng(0)


def ranking_of(scores: np.ndarray, task: str = "t") -> Ranking:
    return rank_by_scores(task, AXIS, scores)


def test_correlation_is_spearmans_with_ties() -> None:
    one, other = RNG.normal(size=40), np.round(RNG.normal(size=40))
    found = agreement(ranking_of(one, "upos"), ranking_of(other, "xpos"))
    assert found.correlation == pytest.approx(stats.spearmanr(one, other)[0])
    assert agreement(ranking_of(one), ranking_of(one)).correlation == pytest.approx(1)
    assert agreement(ranking_of(one), ranking_of(-one)).correlation == pytest.approx(-1)
    assert agreement(ranking_of(one), ranking_of(np.zeros(40))).correlation is None
    assert "for upos and xpos: rank correlation" in repr(found)


def test_overlap_stands_beside_chance() -> None:
    one, other = RNG.permutation(40).astype(float), RNG.permutation(40).astype(float)
    a, b = ranking_of(one), ranking_of(other)
    found = agreement(a, b, shares=(0.1, 0.5))
    for point, count in zip(found.points, (4, 20), strict=True):
        assert point.neurons == count
        assert point.overlap == len(set(a.top(count).tolist()) & set(b.top(count).tolist())) / count
        assert point.chance == count / 40
        assert point.chance_high == pytest.approx(stats.hypergeom(40, count, count).ppf(0.975) / count)
        assert (point.ceiling, point.of_ceiling) == (None, None)
    assert found.table()["neurons"] == [4, 20]


def test_a_method_that_differs_by_its_samples_alone_comes_to_the_ceiling() -> None:
    """Two noisy rankings of one order agree as far as each agrees with itself; of two orders they agree less."""
    truth, other = RNG.normal(size=40), RNG.normal(size=40)

    def noisy(scores: np.ndarray) -> Ranking:
        return ranking_of(scores + 0.4 * RNG.normal(size=40))

    reliable = [measure_stability([noisy(order) for _ in range(60)], shares=(0.25,)) for order in (truth, truth, other)]
    same, differ = [], []
    for _ in range(60):
        one, second, foreign = noisy(truth), noisy(truth), noisy(other)
        same.append(agreement(one, second, reliability=(reliable[0], reliable[1]), shares=(0.25,)))
        differ.append(agreement(one, foreign, reliability=(reliable[0], reliable[2]), shares=(0.25,)))
    r = [stability.points[0].overlap for stability in reliable]
    assert same[0].points[0].ceiling == pytest.approx((r[0] * r[1]) ** 0.5)
    point = same[0].points[0]
    assert point.ceiling is not None
    assert point.of_ceiling == pytest.approx((point.overlap - 0.25) / (point.ceiling - 0.25))
    # Sixty pairs have a standard error of about 0.02 each.
    assert np.mean([one.points[0].of_ceiling for one in same]) == pytest.approx(1, abs=0.15)
    assert np.mean([one.points[0].of_ceiling for one in differ]) < 0.6


def test_what_cannot_be_compared_is_refused() -> None:
    a = ranking_of(RNG.normal(size=40))
    other = rank_by_scores("t", NeuronAxis(blocks=(LayerBlock("residual", 1, 40),)), RNG.normal(size=40))
    with pytest.raises(SettingsError, match="40 of residual 0, another 40 of residual 1"):
        agreement(a, other)
    stability = measure_stability([a, a])
    with pytest.raises(SettingsError, match=r"measured at shares \[0.01, .*\], not at 0.3. Give both the same"):
        agreement(a, a, reliability=(stability, stability), shares=(0.3,))
    with pytest.raises(SettingsError, match="of the same neurons as the ranking"):
        agreement(a, a, reliability=(stability, measure_stability([other, other])))

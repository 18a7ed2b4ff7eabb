"""Planted relocations are found with their size; without one, the interval holds 0 as often as it says."""

import numpy as np
import pytest

from lca_jax import measure_relocation
from lca_jax.analysis.relocation import Relocation
from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.ranking.ranking import Ranking, rank_by_scores

LAYERS, WIDTH, SENTENCES, PAIRS = 5, 30, 60, 10
AXIS = NeuronAxis(blocks=tuple(LayerBlock("residual", layer, WIDTH) for layer in range(LAYERS)))
LAYER = np.repeat(np.arange(LAYERS), WIDTH)


def ranking_of(scores: np.ndarray) -> Ranking:
    return rank_by_scores("upos", AXIS, scores)


def study(generator: np.random.Generator, before: np.ndarray, after: np.ndarray, noise: float = 4.0) -> Relocation:
    """Rankings by the mean score over sentences, of all of them and of complementary halves."""
    by_sentence = [truth + noise * generator.normal(size=(SENTENCES, AXIS.size)) for truth in (before, after)]
    halves: list[list[Ranking]] = [[], []]
    for _ in range(PAIRS):
        order = generator.permutation(SENTENCES)
        for half in (order[: SENTENCES // 2], order[SENTENCES // 2 :]):
            for rankings, scores in zip(halves, by_sentence, strict=True):
                rankings.append(ranking_of(scores[half].mean(axis=0)))
    one, other = (ranking_of(scores.mean(axis=0)) for scores in by_sentence)
    return measure_relocation(one, other, halves_before=halves[0], halves_after=halves[1], share=0.2)


def planted(generator: np.random.Generator, *, centre: float) -> np.ndarray:
    """Scores whose best neurons lie about a layer."""
    return generator.normal(size=AXIS.size) - 0.8 * np.abs(LAYER - centre)


def test_counts_centre_and_overlap_are_those_of_a_plain_count() -> None:
    generator = np.random.default_rng(0)
    before, after = (generator.normal(size=AXIS.size) for _ in range(2))
    halves = [ranking_of(generator.normal(size=AXIS.size)) for _ in range(8)]
    found = measure_relocation(
        ranking_of(before), ranking_of(after), halves_before=halves[:4], halves_after=halves[4:], share=0.1
    )
    best = [np.argsort(-scores)[:15] for scores in (before, after)]
    assert found.neurons == 15
    np.testing.assert_array_equal(found.layers_before, [np.sum(LAYER[best[0]] == layer) for layer in range(LAYERS)])
    np.testing.assert_array_equal(found.layers_after, [np.sum(LAYER[best[1]] == layer) for layer in range(LAYERS)])
    assert found.centre_before.value == pytest.approx(LAYER[best[0]].mean())
    assert found.shift.value == pytest.approx(LAYER[best[1]].mean() - LAYER[best[0]].mean())
    assert found.overlap.overlap == len(set(best[0].tolist()) & set(best[1].tolist())) / 15
    centres = [LAYER[half.columns[:15]].mean() for half in halves]
    moved = np.array(centres[4:]) - np.array(centres[:4])
    error = np.sqrt(((moved[0] - moved[1]) ** 2 + (moved[2] - moved[3]) ** 2) / 8)
    assert found.shift.high - found.shift.value == pytest.approx(4.302653 * error)  # Student's t, 2 degrees, 97.5 %
    assert "by +" in repr(found) or "by -" in repr(found)
    assert found.table()["layer"][0] == "residual 0"


@pytest.mark.parametrize(("centre", "verdict"), [(1.0, "lower"), (3.0, "higher")])
def test_a_planted_relocation_is_found(centre: float, verdict: str) -> None:
    generator = np.random.default_rng(1)
    found = [
        study(generator, planted(generator, centre=2.0), planted(generator, centre=centre)).verdict for _ in range(20)
    ]
    assert found.count(verdict) >= 18


def test_without_a_relocation_the_interval_holds_zero_about_as_often_as_it_says() -> None:
    """The scores change, the layers do not; the same neurons before and after but for the noise of the sentences."""
    generator = np.random.default_rng(2)
    results = []
    for _ in range(120):
        truth = planted(generator, centre=2.0)
        results.append(study(generator, truth, truth))
    within = [result.verdict for result in results].count("within noise") / len(results)
    assert within >= 0.9  # binomial: 95 % less two standard errors of 120 draws
    of_ceiling = np.mean([result.overlap.of_ceiling for result in results])
    assert of_ceiling > 0.9, "the same order twice comes to its noise ceiling, or above, since halves are noisier"


def test_halves_that_are_no_pairs_are_refused() -> None:
    one = ranking_of(np.arange(AXIS.size, dtype=float))
    with pytest.raises(SettingsError, match="same words"):
        measure_relocation(one, one, halves_before=[one, one], halves_after=[one])
    with pytest.raises(SettingsError, match="half-samples"):
        measure_relocation(one, one, halves_before=[], halves_after=[])
    with pytest.raises(SettingsError):
        measure_relocation(one, one, halves_before=[one] * 3, halves_after=[one] * 3)

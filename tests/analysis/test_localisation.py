"""Where the neurons of classes sit, against plain loops, and planted depths that the intervals cover."""

import numpy as np
import pytest

from lca_jax.analysis.depth import depth_profile, lower_part
from lca_jax.analysis.localisation import CLOSED_CLASSES, OPEN_CLASSES, localise
from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.ranking.ranking import rank_by_scores

AXIS = NeuronAxis(blocks=tuple(LayerBlock("residual", layer, 4) for layer in range(3)))
WHOLE = {"NOUN": np.array([8, 9, 4]), "VERB": np.array([8]), "DET": np.array([0, 1]), "X": np.zeros(0, np.int64)}
HALVES = [
    {"NOUN": np.array([8, 9]), "VERB": np.array([8, 4]), "DET": np.array([0]), "X": np.zeros(0, np.int64)},
    {"NOUN": np.array([8, 10, 5, 4]), "VERB": np.array([9]), "DET": np.array([0, 4]), "X": np.array([11])},
]


def test_places_of_classes_are_those_of_a_plain_loop() -> None:
    found = localise(WHOLE, HALVES, AXIS, kinds=(OPEN_CLASSES, CLOSED_CLASSES))
    noun = found.classes["NOUN"]
    assert noun.neurons.value == 3
    assert noun.depth is not None
    assert noun.lower_half is not None
    assert noun.depth.value == pytest.approx((1 + 1 + 0.5) / 3)
    assert noun.lower_half.value == pytest.approx(0.5 / 3)
    # Of one division: t(1) times half the difference of its halves, 1 and (1 + 1 + .5 + .5) / 4.
    reach = 12.706204736 * abs(1 - 0.75) / 2
    assert noun.depth.high - noun.depth.value == pytest.approx(reach)
    assert noun.neurons.high - noun.neurons.value == pytest.approx(12.706204736 * 2 / 2)
    nothing = found.classes["X"]
    assert (nothing.neurons.value, nothing.depth, nothing.lower_half) == (0, None, None)
    # 8 is read by two classes; 9, 4, 0 and 1 by one.
    assert found.classes_a_neuron == (4, 1)
    assert (found.expected_depth, found.expected_lower_half) == (0.5, 0.5)
    assert found.contrast is not None
    assert found.contrast.deeper is not None
    assert found.contrast.more_neurons.value == pytest.approx((3 + 1) / 2 - 2)
    assert found.contrast.deeper.value == pytest.approx((1 + 1 + 0.5 + 1) / 4 - 0)
    halves = [(1 + 1 + 1 + 0.5) / 4 - 0, (1 + 1 + 0.5 + 0.5 + 1) / 5 - 0.25]
    assert found.contrast.deeper.low == pytest.approx(0.875 - 12.706204736 * abs(halves[0] - halves[1]) / 2)


def test_kinds_without_a_class_have_no_contrast_and_halves_must_fit() -> None:
    assert localise(WHOLE, HALVES, AXIS, kinds=(("NOUN",), ("ADP",))).contrast is None
    assert localise(WHOLE, HALVES, AXIS).contrast is None
    with pytest.raises(SettingsError, match="give two divisions into classes or more"):
        localise(WHOLE, [], AXIS)
    with pytest.raises(SettingsError, match="must have the classes of the whole"):
        localise(WHOLE, [HALVES[0], {"NOUN": np.array([1])}], AXIS)


def test_a_planted_contrast_is_covered() -> None:
    """Classes whose neurons are drawn with known chances of each layer, anew for every sample of sentences."""
    rng, covered = np.random.default_rng(0), 0
    axis = NeuronAxis(blocks=tuple(LayerBlock("residual", layer, 400) for layer in range(3)))
    chances = {"NOUN": [0.1, 0.3, 0.6], "DET": [0.5, 0.3, 0.2]}
    truth = sum(p * (place / 2) for place, p in enumerate(chances["NOUN"])) - sum(
        p * (place / 2) for place, p in enumerate(chances["DET"])
    )

    def drawn(counts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        starts = (0, 400, 800)
        return {
            name: np.concatenate([start + np.arange(count) for start, count in zip(starts, of_name, strict=True)])
            for name, of_name in counts.items()
        }

    for _ in range(100):
        halves, wholes = [], []
        for _ in range(4):
            pair = [{name: rng.multinomial(100, p) for name, p in chances.items()} for _ in range(2)]
            halves += map(drawn, pair)
            wholes.append({name: pair[0][name] + pair[1][name] for name in chances})
        deeper = localise(drawn(wholes[0]), halves, axis, kinds=(OPEN_CLASSES, CLOSED_CLASSES)).contrast
        assert deeper is not None
        assert deeper.deeper is not None
        covered += deeper.deeper.low <= truth <= deeper.deeper.high
    assert 88 <= covered <= 100


def test_the_lower_half_counts_a_middle_layer_by_half() -> None:
    assert lower_part(AXIS).tolist() == [1, 0.5, 0]
    four = NeuronAxis(blocks=tuple(LayerBlock("residual", layer, 2) for layer in range(4)))
    assert lower_part(four).tolist() == [1, 1, 0, 0]
    scores = np.array([9.0, 8, 1, 7, 0, 0, 0, 0])
    found = depth_profile(rank_by_scores("t", four, scores), [rank_by_scores("t", four, scores)] * 2, share=3 / 8)
    assert found.lower_half.value == pytest.approx(1.0)
    assert found.expected_lower_half == 0.5


def test_intervals_of_shares_and_depths_stay_within_their_range() -> None:
    """Halves that disagree have a wide interval, and no share is below nothing or above all."""
    scores = np.arange(12.0)
    low_first, high_first = (rank_by_scores("t", AXIS, of) for of in (scores[::-1].copy(), scores))
    found = depth_profile(low_first, [low_first, high_first], share=1 / 6)
    assert (found.lower_half.low, found.lower_half.high) == (0, 1)
    assert (found.mean_depth.low, found.mean_depth.high) == (0, 1)
    assert all(0 <= layer.interval[0] <= layer.interval[1] <= 1 for layer in found.layers)

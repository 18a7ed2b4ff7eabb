"""Rankings by what the running model loses: the harm of single neurons, and integrated gradients."""

from pathlib import Path

import numpy as np
import pytest

from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.interventions.attribution import rank_by_attribution
from lca_jax.interventions.curve import ablation_curve
from lca_jax.interventions.harm import rank_by_ablation
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.ranking.ranking import rank_by_scores
from tests.tiny_models import TINY, write_model

AXIS = NeuronAxis(blocks=(LayerBlock("residual", 1, 32),))
LINES = ["w4 w9 w12 w30 w7", "w8 w8 w21 w5", "w33 w14 w6 w10 w11 w29"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    pytest.importorskip("torch")
    folder: Path = tmp_path_factory.mktemp("causal")
    write_model(folder, TINY["llama, grouped queries"])
    return load_model(folder, head=True)


def test_the_score_is_the_harm_of_each_neuron_removed_alone(model: Model) -> None:
    ranking = rank_by_ablation(model, AXIS, LINES, fill="zero", slots=64)
    assert sorted(ranking.columns) == list(range(32))
    assert (np.diff(ranking.scores) <= 0).all()
    for place in (0, 16, 31):
        alone = rank_by_scores("one", AXIS, (np.arange(32) == ranking.columns[place]).astype(float))
        curve = ablation_curve(model, alone, LINES, (1,), sets=("top",), fill="zero", slots=64)
        (point,) = curve.points
        assert ranking.scores[place] == pytest.approx(np.log(point.value / curve.whole), abs=1e-6)


BOTH = NeuronAxis(blocks=(LayerBlock("residual", 1, 32), LayerBlock("residual", 2, 32)))


@pytest.mark.parametrize("fill", ["mean", np.random.default_rng(0).normal(size=64).astype(np.float32)])
def test_attributions_of_a_layer_add_up_to_what_is_lost_without_it(model: Model, fill: str | np.ndarray) -> None:
    ranking = rank_by_attribution(model, BOTH, LINES, fill=fill, steps=32, slots=64)
    for layer in (1, 2):
        of_layer = np.array([BOTH.neuron(column).layer == layer for column in ranking.columns.tolist()])
        whole = rank_by_scores("layer", BOTH, np.repeat([2 - layer, layer - 1], 32).astype(float))
        curve = ablation_curve(model, whole, LINES, (32,), sets=("top",), fill=fill, slots=64)
        lost = np.log(curve.points[0].value / curve.whole)
        assert ranking.scores[of_layer].sum() == pytest.approx(lost, rel=0.02, abs=2e-3)
    assert abs(ranking.scores).max() > 1e-3


def test_an_attribution_needs_a_step_and_a_baseline(model: Model) -> None:
    with pytest.raises(SettingsError, match="`steps` must be 1 or more"):
        rank_by_attribution(model, BOTH, LINES, steps=0)
    with pytest.raises(SettingsError, match=r"`fill` must be `zero`, `mean`.*64 finite numbers"):
        rank_by_attribution(model, BOTH, LINES, fill="median")
    with pytest.raises(SettingsError, match="64 finite numbers"):
        rank_by_attribution(model, BOTH, LINES, fill=np.zeros(3, np.float32))

"""Rankings by the harm of single neurons."""

from pathlib import Path

import numpy as np
import pytest

from lca_jax.axes import LayerBlock, NeuronAxis
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

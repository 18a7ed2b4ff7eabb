"""Edits of any kind, measured: against curves, plain loops and projections by hand; one program."""

from pathlib import Path

import numpy as np
import pytest

from lca_jax import (
    Edit,
    ablate,
    ablation_curve,
    canonical_directions,
    correlate_models,
    extract,
    load_model,
    measure_edits,
    project_out,
)
from lca_jax.axes import LayerBlock, Neuron, NeuronAxis
from lca_jax.errors import ModelError, SettingsError
from lca_jax.interventions.measures import Perplexity
from lca_jax.models.model import Model
from lca_jax.ranking.ranking import rank_by_scores
from lca_jax.text.corpus import Corpus
from tests.compilations import count_programs
from tests.tiny_models import TINY, write_model

GENERATOR = np.random.default_rng(0)
WORDS = [[f"w{number}" for number in GENERATOR.integers(4, 40, size)] for size in (5, 9, 3, 7, 12, 6)]
AXIS = NeuronAxis(blocks=tuple(LayerBlock("residual", layer, 32) for layer in range(3)))
RANKING = rank_by_scores("drawn", AXIS, GENERATOR.normal(size=AXIS.size))
CORPUS = Corpus.from_words(WORDS, name="drawn")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    pytest.importorskip("torch")
    folder: Path = tmp_path_factory.mktemp("causal")
    write_model(folder, TINY["llama, grouped queries"])
    return load_model(folder, head=True)


def perplexity(model: Model, edits: dict[str, Edit]) -> float:
    """By the public call alone, batch after batch."""
    measure = Perplexity.of(model, CORPUS, slots=64)
    nats = 0.0
    for rows in measure.batches:
        found = np.asarray(model.log_probabilities(model.params, rows.batch, edits))
        nats -= float(found[np.asarray(rows.sentences) >= 0].sum())
    return float(np.exp(nats / measure.text.words.sum()))


def test_neurons_and_directions_of_several_sites_are_one_program(model: Model) -> None:
    edits = {
        "ten neurons": ablate(model, RANKING.top(10), axis=AXIS),
        "two directions": project_out(model, {("residual", 1): GENERATOR.normal(size=(32, 2))}),
        "five directions": project_out(model, {("residual", 2): GENERATOR.normal(size=(32, 5))}),
        "a unit": ablate(model, [Neuron("mlp", 0, 3)], fill=1.0),
    }
    with count_programs(afresh=True) as programs:
        found = measure_edits(model, edits, CORPUS, slots=64)
    assert len([name for name in programs if "score_edits" in name]) == 1
    assert found.whole == pytest.approx(perplexity(model, {}), rel=1e-5)
    for name, edit in edits.items():
        assert found[name].value == pytest.approx(perplexity(model, edit), rel=1e-5)
        assert found[name].change == pytest.approx(found[name].value - found.whole, rel=1e-9)
    curve = ablation_curve(model, {"one": RANKING}, CORPUS, (10,), sets=("top",), fill="zero", slots=64)
    point, score = curve.at("one", "top", 10), found["ten neurons"]
    for end in ("low", "high", "change_low", "change_high"):
        assert getattr(score, end) == pytest.approx(getattr(point, end), rel=1e-4)
    assert "two directions" in repr(found)
    assert "<table" in found._repr_html_()
    assert found.to_dict()["scores"][0]["name"] == "ten neurons"


def test_directions_that_two_models_share_are_erased(model: Model, tmp_path: Path) -> None:
    write_model(tmp_path, TINY["llama, grouped queries"], seed=3)
    stores = [extract(one, CORPUS, layers=(1,)) for one in (model, load_model(tmp_path))]
    shared = canonical_directions(correlate_models(stores), 0, 0)
    erased = {str(count): project_out(model, {("residual", 1): shared.erased(count)}) for count in (1, 4)}
    found = measure_edits(model, erased, CORPUS, slots=64)
    Q, X = shared.erased(4), stores[0].matrix()
    edited = extract(model, CORPUS, layers=(1,), edits=erased["4"]).matrix()
    np.testing.assert_allclose(edited, X - X @ Q @ Q.T, atol=1e-4)
    for name, edit in erased.items():
        assert found[name].value == pytest.approx(perplexity(model, edit), rel=1e-5)


@pytest.mark.usefixtures("as_users_run_it")
def test_what_cannot_be_measured_is_said(model: Model) -> None:
    one = ablate(model, [Neuron("residual", 1, 3)])
    with pytest.raises(SettingsError, match="at least one edit"):
        measure_edits(model, {}, CORPUS)
    with pytest.raises(SettingsError, match="`where` must be one of all, words, after first, got 'here'"):
        measure_edits(model, {"one": one}, CORPUS, where="here")  # pyright: ignore[reportArgumentType]
    placed = {site: edit._replace(where=np.ones((1, 5), bool)) for site, edit in one.items()}
    with pytest.raises(ModelError, match="slots cannot be named"):
        measure_edits(model, {"placed": placed}, CORPUS)
    with pytest.raises(SettingsError, match="no edit 'two' among those that were measured: one"):
        measure_edits(model, {"one": one}, CORPUS, slots=64)["two"]

"""Edits made from neurons and directions: against NumPy, against surgery on the weights, at chosen slots, in texts."""

from pathlib import Path

import jax
import numpy as np
import pytest

from lca_jax.axes import LayerBlock, Neuron, NeuronAxis
from lca_jax.errors import DataError, ModelError, SettingsError
from lca_jax.interventions.edits import ablate, project_out, stack_edits
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Batch
from lca_jax.models.stack.taps import Edit
from lca_jax.models.writing.generation import Search
from tests.tiny_bert import draw_windows, pack
from tests.tiny_models import TINY, VOCABULARY, write_model

AXIS = NeuronAxis(
    blocks=(
        LayerBlock("residual", 1, 32),
        LayerBlock("mlp", 0, 3, (5, 7, 39)),
        LayerBlock("mlp", 1, 40),
    )
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("edited")
    write_model(folder, TINY["llama, grouped queries"])
    return load_model(folder, head=True)


@pytest.fixture(scope="module")
def batch() -> Batch:
    return pack(draw_windows([5, 9, 6], vocabulary=VOCABULARY - 8), slots=16)[0]


def states_of(model: Model, batch: Batch, edits) -> dict[str, np.ndarray]:
    run = jax.jit(lambda params, edits: model.forward(params, batch, edits, sites=("residual", "mlp")))
    return jax.tree.map(np.asarray, run(model.params, edits))


def test_a_column_is_the_neuron_that_the_axis_says(model: Model) -> None:
    edits = ablate(model, np.array([4, 33, 36]), axis=AXIS)
    assert {site: np.argwhere(edit.scale == 0).tolist() for site, edit in edits.items()} == {
        "residual": [[1, 4]],
        "mlp": [[0, 7], [1, 1]],
    }
    same = ablate(model, [Neuron("residual", 1, 4), Neuron("mlp", 0, 7), Neuron("mlp", 1, 1)])
    jax.tree.map(np.testing.assert_array_equal, edits, same)


def test_fills_by_number_column_and_site(model: Model, batch: Batch) -> None:
    means = np.arange(AXIS.size, dtype=np.float64)
    by_site = {"residual": np.full((3, 32), 2.5, np.float32), "mlp": np.full((2, 40), 2.5, np.float32)}
    for fill, expected in ((2.5, (2.5, 2.5)), (means, (4.0, 33.0)), (by_site, (2.5, 2.5))):
        states = states_of(model, batch, ablate(model, [4, 33], axis=AXIS, fill=fill))
        np.testing.assert_allclose(states["residual"][1, ..., 4], expected[0], rtol=1e-6)
        np.testing.assert_allclose(states["mlp"][0, ..., 7], expected[1], rtol=1e-6)


def test_an_edit_equals_surgery_on_the_weights(model: Model, batch: Batch) -> None:
    neurons = [Neuron("mlp", 0, 3), Neuron("mlp", 1, 8), Neuron("mlp", 1, 30)]
    edited = jax.jit(lambda params, edits: model.logits(params, batch, edits))(model.params, ablate(model, neurons))
    cut = jax.tree.map(np.array, model.params)
    for _, layer, index in neurons:
        cut["blocks"][layer]["mlp"]["contract"]["kernel"][index] = 0
    operated = jax.jit(lambda params: model.logits(params, batch))(cut)
    inside = batch.segments > 0
    np.testing.assert_allclose(np.asarray(edited)[inside], np.asarray(operated)[inside], rtol=0, atol=1e-5)
    assert not np.allclose(np.asarray(model.logits(model.params, batch))[inside], np.asarray(edited)[inside])


def test_chosen_slots_alone_are_edited(model: Model, batch: Batch) -> None:
    where = (np.asarray(batch.segments) > 0) & (np.asarray(batch.positions) % 2 == 1)
    plain = states_of(model, batch, None)["residual"]
    edited = states_of(model, batch, ablate(model, [4], axis=AXIS, fill=3.0, where=where))["residual"]
    expected = plain[1].copy()
    expected[where, 4] = 3.0
    inside = batch.segments > 0
    np.testing.assert_allclose(edited[1][inside], expected[inside], rtol=0, atol=1e-6)
    with pytest.raises(ModelError, match=r"`where` of shape \(1, 3\), but it must be \(2, 16\)"):
        model.forward(model.params, batch, ablate(model, [4], axis=AXIS, where=np.ones((1, 3), bool)))
    with pytest.raises(ModelError, match="rows are packed here"):
        model.write(["w5"], ablate(model, [4], axis=AXIS, where=np.ones((1, 16), bool)))


def test_directions_are_taken_out_whatever_their_length_and_angle(model: Model, batch: Batch) -> None:
    columns = np.random.default_rng(0).normal(size=(32, 3))
    columns = np.concatenate([columns, columns[:, :1] * 5 - columns[:, 1:2]], axis=1)  # the fourth adds nothing
    edits = project_out(model, {("residual", 1): columns, ("residual", 2): columns[:, :1]})
    plain, states = states_of(model, batch, None)["residual"], states_of(model, batch, edits)["residual"]
    Q = np.linalg.qr(columns[:, :3])[0]
    inside = batch.segments > 0
    expected = plain[1][inside] - plain[1][inside] @ Q @ Q.T
    np.testing.assert_allclose(states[1][inside], expected, rtol=0, atol=1e-5)
    assert np.abs(states[1][inside] @ columns).max() < 1e-4
    assert np.abs(states[2][inside] @ columns[:, 0]).max() < 1e-4
    np.testing.assert_allclose(states[0], plain[0], rtol=0, atol=1e-6)


def test_a_stack_of_edits_is_one_program(model: Model, batch: Batch) -> None:
    all_edits = [ablate(model, [column], axis=AXIS, fill=1.0) for column in (0, 5, 9)]
    traces = []

    @jax.jit
    def run(params, stacked):
        traces.append(None)
        return jax.lax.map(lambda one: model.log_probabilities(params, batch, one), stacked)

    found = np.asarray(run(model.params, stack_edits(all_edits)))
    run(model.params, stack_edits(all_edits[::-1]))
    assert len(traces) == 1
    alone = jax.jit(lambda params, one: model.log_probabilities(params, batch, one))
    for number, one in enumerate(all_edits):
        np.testing.assert_allclose(found[number], np.asarray(alone(model.params, one)), rtol=0, atol=1e-5)


def test_a_text_is_edited_at_chosen_places_while_it_is_written(model: Model) -> None:
    prompts = [np.array([5, 6, 7], np.int32), np.array([9, 4, 8, 2, 11], np.int32)]
    slots, longest = 6, 5
    ids = np.stack([np.pad(prompt, (0, slots - len(prompt))) for prompt in prompts])
    places = np.tile(np.arange(slots, dtype=np.int32), (2, 1))
    lengths = np.array([[3], [5]])
    batch = Batch(ids, places, (places < lengths).astype(np.int32))
    where = np.arange(slots + longest)[None] >= lengths - 1  # the last piece of the prompt, and what is written
    columns = np.arange(0, 32, 2)
    edits = ablate(model, columns, axis=AXIS, fill=2.0, where=where)
    write = jax.jit(lambda params, edits: model.write_pieces(params, batch, edits, search=Search(longest=longest)))
    found = np.asarray(write(model.params, edits).pieces)
    beams = jax.jit(
        lambda params, edits: model.write_pieces(params, batch, edits, search=Search(longest=longest, beams=2))
    )
    assert np.asarray(beams(model.params, edits).pieces).shape == (2, longest)
    read = jax.jit(lambda params, rows, edits: model.logits(params, rows, edits))
    for row, prompt in enumerate(prompts):
        text = prompt.tolist()
        for _ in range(longest):  # every step reads the whole text again, with the mask of its own places
            padded = np.array([text + [0] * (slots + longest - len(text))], np.int32)
            inside = (np.arange(slots + longest) < len(text))[None].astype(np.int32)
            rows = Batch(padded, np.arange(slots + longest, dtype=np.int32)[None] * inside, inside)
            edit = ablate(model, columns, axis=AXIS, fill=2.0, where=where[row : row + 1])
            text.append(int(np.asarray(read(model.params, rows, edit))[0, len(text) - 1].argmax()))
            if text[-1] in model.rules.ends:
                break
        assert [int(piece) for piece in found[row] if piece >= 0] == text[len(prompt) :]


def test_bad_neurons_and_fills_are_refused(model: Model, tmp_path: Path) -> None:
    del tmp_path
    for wrong, message in (
        (lambda: ablate(model, [4]), "give `axis=ranking.axis`"),
        (lambda: ablate(model, []), "At least one neuron"),
        (lambda: ablate(model, [Neuron("mlp", 2, 0)]), "has layers 0 to 1 of 40 neurons"),
        (lambda: ablate(model, [Neuron("cross", 0, 0)]), "does not have a site"),
        (lambda: ablate(model, [4], axis=AXIS, fill=np.zeros(3)), "one for each column"),
        (lambda: ablate(model, [4], axis=AXIS, fill={"residual": np.zeros((2, 2))}), r"must be of shape \(3, 32\)"),
        (lambda: project_out(model, {("residual", 3): np.ones((32, 1))}), "layers 0 to 2"),
        (lambda: stack_edits([]), "0 kinds"),
    ):
        with pytest.raises(SettingsError, match=message):
            wrong()
    with pytest.raises(DataError, match="must be finite"):
        ablate(model, [4], axis=AXIS, fill=np.full(AXIS.size, np.nan))
    with pytest.raises(DataError, match="must be finite"):
        project_out(model, {("residual", 1): np.full((32, 1), np.inf)})
    edit = Edit(np.ones((3, 32), np.float32), np.zeros((3, 32), np.float32), None, np.zeros((3, 31, 1), np.float32))
    with pytest.raises(ModelError, match="directions of shape"):
        model.forward(model.params, pack(draw_windows([4]), slots=4)[0], {"residual": edit})

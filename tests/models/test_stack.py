"""The stack by itself: packing, captures, edits, recompilation, sharding, precision. No PyTorch here."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from lca_jax.axes import SITES
from lca_jax.errors import ModelError, SettingsError
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Batch
from lca_jax.models.stack.taps import Edit
from tests.tiny_bert import draw_windows, pack, write_bert


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_bert(tmp_path_factory.mktemp("bert")))


def run(model: Model, batch: Batch, edits=None, **chosen) -> dict[str, np.ndarray]:
    states = jax.jit(lambda params, batch, edits: model.forward(params, batch, edits, **chosen))(
        model.params, batch, edits
    )
    return jax.tree.map(np.asarray, states)


def identity(model: Model, site: str) -> Edit:
    shape = (model.layer_count(site), model.width(site))
    return Edit(np.ones(shape, np.float32), np.zeros(shape, np.float32))


def test_packed_windows_equal_windows_alone(model: Model) -> None:
    windows = draw_windows([1, 5, 9, 7, 16, 2, 3, 10])
    packed, packed_places = pack(windows, slots=16)
    alone, alone_places = pack(windows, slots=16, alone=True)
    assert len(packed.piece_ids) < len(alone.piece_ids)
    ours, reference = run(model, packed, sites=SITES), run(model, alone, sites=SITES)
    for site in SITES:
        for (row, place), (lone_row, lone_place) in zip(packed_places, alone_places, strict=True):
            np.testing.assert_allclose(
                ours[site][:, row, place], reference[site][:, lone_row, lone_place], rtol=0, atol=1e-5
            )


def test_what_stands_in_padding_changes_nothing(model: Model) -> None:
    batch, places = pack(draw_windows([5, 9]), slots=16)
    padding = batch.segments == 0
    other = batch._replace(
        piece_ids=np.where(padding, 7, batch.piece_ids).astype(np.int32),
        positions=np.where(padding, 3, batch.positions).astype(np.int32),
    )
    states, others = run(model, batch)["residual"], run(model, other)["residual"]
    assert np.isfinite(states).all()
    for row, place in places:
        np.testing.assert_array_equal(states[:, row, place], others[:, row, place])


def test_returns_the_sites_and_layers_asked_for_in_their_order(model: Model) -> None:
    batch, _ = pack(draw_windows([5, 9]), slots=16)
    everything = run(model, batch, sites=SITES)
    assert {site: states.shape for site, states in everything.items()} == {
        "residual": (3, 1, 16, 32),
        "attention": (2, 1, 16, 32),
        "mlp": (2, 1, 16, 40),
    }
    some = run(model, batch, sites=("mlp", "residual"), layers={"residual": (2, 0)})
    assert list(some) == ["mlp", "residual"]
    np.testing.assert_allclose(some["mlp"], everything["mlp"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(some["residual"], everything["residual"][[2, 0]], rtol=0, atol=1e-6)
    both = run(model, batch, sites=("mlp", "attention"), layers=(1,))
    np.testing.assert_allclose(both["attention"], everything["attention"][1:], rtol=0, atol=1e-6)


def test_computes_nothing_beyond_the_last_layer_asked_for(model: Model) -> None:
    batch, _ = pack(draw_windows([5, 9]), slots=16)

    def count_operations(site: str, layer: int) -> float:
        reading = jax.jit(lambda params: model.forward(params, batch, sites=(site,), layers=(layer,)))
        analysis = reading.lower(model.params).compile().cost_analysis()
        assert analysis is not None
        return analysis["flops"]

    places = [("residual", 0), ("attention", 0), ("mlp", 0), ("residual", 1), ("attention", 1), ("residual", 2)]
    operations = [count_operations(*place) for place in places]
    assert operations == sorted(set(operations)), dict(zip(places, operations, strict=True))


def test_edit_that_changes_nothing_changes_nothing(model: Model) -> None:
    batch, _ = pack(draw_windows([5, 9]), slots=16)
    plain = run(model, batch, sites=SITES)
    edited = run(model, batch, {site: identity(model, site) for site in SITES}, sites=SITES)
    for site in SITES:
        np.testing.assert_allclose(edited[site], plain[site], rtol=0, atol=1e-5)


def test_edit_scales_and_shifts_what_is_read_and_flows_on(model: Model) -> None:
    batch, _ = pack(draw_windows([5, 9]), slots=16)
    plain = run(model, batch)["residual"]
    edit = identity(model, "residual")
    edit.scale[0, 4], edit.shift[0, 4] = 0.5, 3.0
    edited = run(model, batch, {"residual": edit})["residual"]
    np.testing.assert_allclose(edited[0, ..., 4], plain[0, ..., 4] * 0.5 + 3.0, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(np.delete(edited[0], 4, axis=-1), np.delete(plain[0], 4, axis=-1))
    assert np.abs(edited[2] - plain[2]).max() > 0.1


def test_new_edits_do_not_recompile(model: Model) -> None:
    batch, _ = pack(draw_windows([5, 9]), slots=16)
    traces = []

    @jax.jit
    def step(edits):
        traces.append(edits)
        return model.forward(model.params, batch, edits, layers=(2,))["residual"]

    results = []
    for neuron in range(4):
        edit = identity(model, "mlp")
        edit.scale[:, neuron] = 0
        results.append(step({"mlp": edit}))
    assert len(traces) == 1
    assert len({np.asarray(result).tobytes() for result in results}) == 4


def test_many_ablations_in_one_mapped_call(model: Model) -> None:
    batch, _ = pack(draw_windows([5, 9]), slots=16)
    scales = np.ones((3, model.layer_count("mlp"), model.width("mlp")), np.float32)
    scales[np.arange(3), 1, np.arange(3)] = 0
    edits = {"mlp": Edit(scales, np.zeros_like(scales))}
    mapped = jax.jit(jax.vmap(lambda edits: model.forward(model.params, batch, edits, layers=(2,))["residual"]))(edits)
    for number in range(3):
        alone = run(model, batch, {"mlp": Edit(scales[number], np.zeros_like(scales[number]))}, layers=(2,))
        np.testing.assert_allclose(mapped[number], alone["residual"], rtol=0, atol=1e-5)


def test_rows_sharded_over_eight_devices_give_the_same(model: Model) -> None:
    batch, _ = pack(draw_windows([9, 12, 16, 11, 10, 14, 13, 15]), slots=16)
    edits = {"attention": identity(model, "attention")}
    expected = run(model, batch, edits, sites=SITES)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    everywhere = NamedSharding(mesh, PartitionSpec())
    step = jax.jit(lambda params, batch, edits: model.forward(params, batch, edits, sites=SITES))
    arguments = (
        jax.device_put(model.params, everywhere),
        jax.device_put(batch, rows),
        jax.device_put(edits, everywhere),
    )
    compiled = step.lower(*arguments).compile()
    program = str(compiled.as_text())
    assert not any(word in program for word in ("all-gather", "all-reduce", "all-to-all"))
    states = compiled(*arguments)
    for site in SITES:
        assert len(states[site].sharding.device_set) == 8
        np.testing.assert_allclose(states[site], expected[site], rtol=0, atol=1e-5)


def test_bfloat16_is_near_float32_and_keeps_norms_in_float32(model: Model) -> None:
    half = load_model(model.name, dtype="bfloat16")
    assert half.params["embedding"]["norm"]["scale"].dtype == jnp.float32
    assert half.params["blocks"][0]["mlp"]["expand"]["kernel"].dtype == jnp.bfloat16
    assert half.fingerprint != model.fingerprint
    batch, places = pack(draw_windows([5, 9]), slots=16)
    full, rounded = run(model, batch)["residual"], run(half, batch)["residual"]
    assert rounded.dtype == jnp.bfloat16
    # Every product of the two blocks is rounded to 8 bits, which changes states of size one by a few hundredths.
    for row, place in places:
        error = np.abs(rounded[:, row, place].astype(np.float32) - full[:, row, place])
        assert error.mean() < 0.03


def test_piece_beyond_the_vocabulary_gives_nan_in_its_row(model: Model) -> None:
    windows = draw_windows([5, 9])
    windows[0][2] = model.config.embedding.vocabulary
    batch, _ = pack(windows, slots=16, alone=True)
    bad, good = run(model, batch, layers=(2,))["residual"][0]
    assert np.isnan(bad[:5]).all()
    assert np.isfinite(good).all()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"sites": ("residual", "hidden")}, r"not have a site 'hidden'\. Its sites: residual, attention, mlp"),
        ({"sites": ("mlp", "mlp")}, r"each once, got \('mlp', 'mlp'\)"),
        ({"sites": ()}, "at least one site"),
        (
            {"sites": ("mlp",), "layers": (2,)},
            r"Layers of `mlp` in the model run from 0 to 1; name at least one, each once\. Got 2\.",
        ),
        ({"layers": (0, 0)}, "each once"),
        ({"layers": ()}, "name at least one"),
        ({"layers": {"mlp": (0,)}}, "`layers` names mlp, but the chosen sites are residual"),
    ],
)
def test_sites_and_layers_that_are_not_there(model: Model, chosen: dict, message: str) -> None:
    batch, _ = pack(draw_windows([5]), slots=16)
    with pytest.raises(SettingsError, match=message):
        model.forward(model.params, batch, **chosen)


def test_edit_of_another_shape_says_which_shape_it_must_have(model: Model) -> None:
    batch, _ = pack(draw_windows([5]), slots=16)
    edit = Edit(np.ones((2, 32), np.float32), np.zeros((2, 32), np.float32))
    with pytest.raises(ModelError, match=r"edit of `residual` .* \(layer, neuron\) = \(3, 32\), got \(2, 32\)"):
        model.forward(model.params, batch, {"residual": edit})
    with pytest.raises(SettingsError, match=r"not have a site 'hidden'\. Its sites: residual, attention, mlp"):
        model.forward(model.params, batch, {"hidden": edit})


def test_config_names_everything_that_is_wrong_with_it(model: Model) -> None:
    attention = dataclasses.replace(model.config.attention, key_heads=3)
    mlp = dataclasses.replace(model.config.mlp, activation="maxout")
    with pytest.raises(ModelError, match="must be a multiple of `key_heads`; `activation` must be one of gelu,"):
        dataclasses.replace(model.config, attention=attention, mlp=mlp)
    with pytest.raises(ModelError, match="`layers` must be at least 1"):
        dataclasses.replace(model.config, layers=0)

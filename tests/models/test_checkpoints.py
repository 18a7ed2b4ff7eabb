"""Weights in every layout that is read, refused or damaged."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from flax import traverse_util
from flax.serialization import msgpack_serialize
from safetensors.numpy import load_file, save_file

from lca_jax.errors import ModelError
from lca_jax.models.load import load_model
from lca_jax.models.loading.checkpoints import open_tensors
from tests.tiny_bert import draw_tensors, write_bert, write_settings
from tests.tiny_models import TINY, write_model


def write_single(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    save_file(tensors, folder / "model.safetensors")


def write_shards(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, keys in shards.items():
        save_file({key: tensors[key] for key in keys}, folder / file)
    index = {"metadata": {}, "weight_map": {key: file for file, keys in shards.items() for key in keys}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def write_msgpack(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    """As `save_pretrained` of transformers' former Flax models wrote it."""
    leaves = {}
    for key, tensor in tensors.items():
        *modules, leaf = key.split(".")
        if leaf == "weight" and "embeddings" in modules[-1]:
            leaf = "embedding"
        elif leaf == "weight":
            leaf, tensor = ("scale", tensor) if modules[-1] == "LayerNorm" else ("kernel", tensor.T)
        leaves[(*modules, leaf)] = np.ascontiguousarray(tensor)
    (folder / "flax_model.msgpack").write_bytes(msgpack_serialize(traverse_util.unflatten_dict(leaves)))


def write_with_heads(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    heads = {"cls.predictions.bias": np.zeros(3, np.float32), "span_scorer.weight": np.zeros((2, 32), np.float32)}
    inside = {"pooler.dense.bias": np.zeros(32, np.float32), "embeddings.position_ids": np.arange(24)[None]}
    save_file(
        {f"bert.{key}": tensor for key, tensor in (tensors | inside).items()} | heads, folder / "model.safetensors"
    )


def write_bare_with_pooler(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    save_file(tensors | {"pooler.dense.weight": np.zeros((32, 32), np.float32)}, folder / "model.safetensors")


def write_first_names(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    """The layer norms of bert-base-uncased as it was published."""
    renamed = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for key, tensor in tensors.items()
    }
    save_file(renamed, folder / "model.safetensors")


@pytest.mark.parametrize(
    "write", [write_shards, write_msgpack, write_with_heads, write_bare_with_pooler, write_first_names]
)
def test_every_layout_gives_the_same_parameters(tmp_path: Path, write) -> None:
    expected = load_model(write_bert(tmp_path / "plain"))
    write(write_settings(tmp_path / "other"), draw_tensors())
    # The fingerprint is over every parameter, its name and its bytes.
    assert load_model(tmp_path / "other").fingerprint == expected.fingerprint


def test_matrices_are_turned_and_named_as_the_table_says(tmp_path: Path) -> None:
    params, tensors = load_model(write_bert(tmp_path)).params, draw_tensors()
    np.testing.assert_array_equal(
        params["blocks"][1]["mlp"]["expand"]["kernel"], tensors["encoder.layer.1.intermediate.dense.weight"].T
    )
    np.testing.assert_array_equal(
        params["blocks"][0]["attention_norm"]["scale"],
        tensors["encoder.layer.0.attention.output.LayerNorm.weight"],
    )


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("write", [write_single, write_shards])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_float_types_are_cast(tmp_path: Path, dtype, write, parts: int) -> None:
    stored = {key: tensor.astype(dtype) for key, tensor in draw_tensors().items()}
    write(write_settings(tmp_path), stored)
    params = load_model(tmp_path, split_over=parts).params
    for ours, key, turned in (
        (params["embedding"]["pieces"]["embedding"], "embeddings.word_embeddings.weight", False),
        (params["blocks"][1]["mlp"]["expand"]["kernel"], "encoder.layer.1.intermediate.dense.weight", True),
        (params["blocks"][0]["mlp"]["contract"]["kernel"], "encoder.layer.0.output.dense.weight", True),
        (params["blocks"][0]["mlp_norm"]["scale"], "encoder.layer.0.output.LayerNorm.weight", False),
    ):
        assert ours.dtype == np.float32
        expected = stored[key].T if turned else stored[key]
        np.testing.assert_array_equal(ours, expected.astype(np.float32))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("write", [write_single, write_shards])
def test_bfloat16_keeps_its_bits(tmp_path: Path, write, parts: int) -> None:
    stored = {key: tensor.astype(ml_dtypes.bfloat16) for key, tensor in draw_tensors().items()}
    write(write_settings(tmp_path), stored)
    model = load_model(tmp_path, dtype="bfloat16", split_over=parts)
    for ours, expected in (
        (
            model.params["embedding"]["pieces"]["embedding"],
            stored["embeddings.word_embeddings.weight"],
        ),
        (
            model.params["blocks"][1]["attention"]["output"]["kernel"],
            stored["encoder.layer.1.attention.output.dense.weight"].T,
        ),
    ):
        assert ours.dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(np.asarray(ours).view(np.uint16), expected.view(np.uint16))
    # Widened and narrowed again they are the same numbers, so that a copy of the file in float32 is the same model.
    write_single(write_settings(tmp_path / "wide"), {key: wide.astype(np.float32) for key, wide in stored.items()})
    assert load_model(tmp_path / "wide", dtype="bfloat16").fingerprint == model.fingerprint


def test_floats_that_need_scales_are_refused(tmp_path: Path) -> None:
    tensors = draw_tensors()
    key = "encoder.layer.0.output.dense.weight"
    tensors[key] = tensors[key].astype(ml_dtypes.float8_e4m3fn)
    write_single(write_settings(tmp_path), tensors)
    with pytest.raises(
        ModelError, match=rf"`{key}` in .*model\.safetensors is stored as F8_E4M3.*Take the checkpoint in"
    ):
        load_model(tmp_path)


def test_all_tensors_that_do_not_fit_are_listed_at_once(tmp_path: Path) -> None:
    tensors = draw_tensors()
    key_bias = "encoder.layer.0.attention.self.key.bias"
    del tensors[key_bias], tensors["embeddings.LayerNorm.weight"]
    tensors["encoder.layer.1.output.dense.weight"] = np.zeros((32, 41), np.float32)
    tensors["encoder.layer.1.intermediate.dense.bias"] = np.zeros(40, np.int8)
    tensors["encoder.layer.2.output.dense.bias"] = np.zeros(32, np.float32)
    save_file(tensors, write_settings(tmp_path) / "model.safetensors")
    with pytest.raises(ModelError) as caught:
        load_model(tmp_path)
    message = str(caught.value)
    for part in (
        f"{tmp_path} do not fit its config.json (bert, 2 layers of 32)",
        f"missing: `{key_bias}`, for the parameter `blocks.0.attention.key.bias` of shape (32,)",
        "missing: `embeddings.LayerNorm.weight`",
        "mis-shaped: `encoder.layer.1.output.dense.weight` gives float32 (41, 32), expected floats (40, 32)",
        "mis-shaped: `encoder.layer.1.intermediate.dense.bias` gives int8 (40,)",
        "unexpected: `encoder.layer.2.output.dense.bias`",
        "Take both files from one checkpoint.",
    ):
        assert part in message, message


def test_pickles_are_refused_with_the_way_out(tmp_path: Path) -> None:
    (write_settings(tmp_path) / "pytorch_model.bin").write_bytes(b"\x80\x04never read")
    with pytest.raises(
        ModelError, match=r"(?s)pytorch_model\.bin, a pickle.*never opened.*save_pretrained.*random_weights"
    ):
        load_model(tmp_path)


def test_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no model\.safetensors, .* or flax_model\.msgpack"):
        load_model(write_settings(tmp_path))


def test_missing_shards_are_named(tmp_path: Path) -> None:
    write_shards(write_settings(tmp_path), draw_tensors())
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match=r"(?s)names 1 of 2 shards .*model-00002-of-00002\.safetensors"):
        open_tensors(tmp_path)


@pytest.mark.parametrize("index", ["{", "[]", "{}", '{"weight_map": {"a": "../model.safetensors"}}'])
def test_index_that_is_none(tmp_path: Path, index: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelError, match=r"model\.safetensors\.index\.json"):
        open_tensors(tmp_path)


@pytest.mark.parametrize("file", ["model.safetensors", "flax_model.msgpack"])
def test_damaged_files_are_named(tmp_path: Path, file: str) -> None:
    write_bert(tmp_path)
    write_msgpack(tmp_path, draw_tensors())
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[:-10])
    if file != "model.safetensors":
        (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=rf"{file} cannot be read as a .*Download it again"):
        load_model(tmp_path)


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "0.auto_model."])
def test_names_that_a_wrapper_has_prefixed_are_read_and_told(
    tmp_path: Path, wrapper: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = load_model(write_bert(tmp_path / "plain"))
    save_file(
        {f"{wrapper}{key}": tensor for key, tensor in draw_tensors().items()},
        write_settings(tmp_path / "other") / "model.safetensors",
    )
    with caplog.at_level("INFO", logger="lca_jax"):
        assert load_model(tmp_path / "other").fingerprint == expected.fingerprint
    assert f"all names begin with `{wrapper}`, which a wrapper added" in caplog.text


@pytest.mark.parametrize(
    ("name", "pieces", "head"),
    [
        ("gpt2", "transformer.wte.weight", "lm_head.weight"),
        ("llama, stretched, tied, biased", "model.embed_tokens.weight", "lm_head.weight"),
        ("bart", "model.shared.weight", "lm_head.weight"),
    ],
)
@pytest.mark.parametrize("with_head", [False, True])
def test_a_tied_checkpoint_may_hold_its_pieces_under_the_name_of_the_head(
    tmp_path: Path, name: str, pieces: str, head: str, with_head: bool
) -> None:
    pytest.importorskip("torch")
    write_model(tmp_path, TINY[name])
    expected = load_model(tmp_path, head=with_head)
    tensors = load_file(tmp_path / "model.safetensors")
    moved = tensors.pop(pieces)
    for other in [key for key in tensors if key.endswith("embed_tokens.weight")]:
        tensors.pop(other)
    save_file(tensors | {head: moved}, tmp_path / "model.safetensors")
    assert load_model(tmp_path, head=with_head).fingerprint == expected.fingerprint

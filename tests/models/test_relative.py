"""Attention by content and distance: the numbers of distances, sharding, names of tensors, and what is refused."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from safetensors.numpy import load_file, save_file
from transformers import DebertaV2Config, XLNetConfig

from lca_jax.axes import SITES
from lca_jax.errors import ModelError
from lca_jax.models.families import find_family
from lca_jax.models.load import load_model
from lca_jax.models.stack.attention_config import Disentangled
from lca_jax.models.stack.disentangled import index_of_distance
from tests.tiny_bert import draw_windows, pack
from tests.tiny_models import TINY, write_model


def disentangled(*, span: int, longest: int | None) -> Disentangled:
    return Disentangled(
        span=span, longest=longest, content_to_position=True, position_to_content=True, shared=True, norm=True
    )


# The first two are those of DeBERTa-v2 and v3; the third has distances that lie on the border of two numbers.
@pytest.mark.parametrize(("span", "longest"), [(256, 512), (256, 1024), (4, 129), (9, 26), (32, 4096)])
def test_rows_of_distances_are_those_of_pytorch(span: int, longest: int) -> None:
    torch = pytest.importorskip("torch")
    from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

    distance = np.arange(-longest, longest + 1)
    theirs = make_log_bucket_position(torch.tensor(distance), span, longest).to(torch.long).numpy()
    ours = index_of_distance(distance, disentangled(span=span, longest=longest))
    np.testing.assert_array_equal(ours, np.clip(theirs + span, 0, 2 * span - 1))


def test_rows_of_plain_distances_end_at_the_table() -> None:
    rows = index_of_distance(np.array([-7, -4, -3, 0, 3, 4, 7]), disentangled(span=4, longest=None))
    assert rows.tolist() == [0, 0, 1, 4, 7, 7, 7]


@pytest.mark.parametrize("name", ["deberta-v2, as version 3", "xlnet"])
def test_rows_sharded_over_eight_devices_give_the_same_and_padding_changes_nothing(tmp_path, name: str) -> None:
    pytest.importorskip("torch")
    write_model(tmp_path, TINY[name])
    model = load_model(tmp_path)
    batch, places = pack(draw_windows([9, 12, 16, 11, 10, 14, 13, 15]), slots=16)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    rows, everywhere = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())
    step = jax.jit(lambda params, batch: model.forward(params, batch, sites=SITES))
    arguments = jax.device_put(model.params, everywhere), jax.device_put(batch, rows)
    compiled = step.lower(*arguments).compile()
    assert not any(word in str(compiled.as_text()) for word in ("all-gather", "all-reduce", "all-to-all"))
    sharded = compiled(*arguments)
    padding = batch.segments == 0
    other = batch._replace(
        piece_ids=np.where(padding, 7, batch.piece_ids).astype(np.int32),
        positions=np.where(padding, 300, batch.positions).astype(np.int32),
    )
    # A position beyond a table would turn its row to NaN, so this is tested on models without a table.
    assert model.config.embedding.positions == 0
    for expected in (step(model.params, batch), step(model.params, other)):
        for site in SITES:
            for row, place in places:
                np.testing.assert_allclose(sharded[site][:, row, place], expected[site][:, row, place], atol=1e-5)


def test_segment_term_of_xlnet_changes_nothing_inside_one_segment(tmp_path) -> None:
    torch = pytest.importorskip("torch")
    theirs = write_model(tmp_path, TINY["xlnet"])
    ids = torch.tensor(draw_windows([20])[0][None].astype(np.int64))
    with torch.inference_mode():
        plain, one_segment = theirs(ids).logits, theirs(ids, token_type_ids=torch.zeros_like(ids)).logits
    np.testing.assert_allclose(one_segment.numpy(), plain.numpy(), rtol=0, atol=1e-5)


def test_head_of_deberta_is_found_by_either_name(tmp_path) -> None:
    pytest.importorskip("torch")
    write_model(tmp_path, TINY["deberta-v2, as version 3"])
    before = load_model(tmp_path, head=True)
    tensors = load_file(tmp_path / "model.safetensors")
    for leaf in ("dense.weight", "dense.bias", "LayerNorm.weight", "LayerNorm.bias", "bias"):
        part = leaf if leaf == "bias" else f"transform.{leaf}"
        tensors[f"cls.predictions.{part}"] = tensors.pop(f"lm_predictions.lm_head.{leaf}")
    # Files of version 3 may hold this table, which no state depends on.
    tensors["deberta.embeddings.position_embeddings.weight"] = np.zeros((26, 32), np.float32)
    save_file(tensors, tmp_path / "model.safetensors")
    assert load_model(tmp_path, head=True).fingerprint == before.fingerprint


@pytest.mark.parametrize("changes", [{"attn_type": "uni"}, {"bi_data": True}])
def test_xlnet_that_cannot_be_run(changes: dict) -> None:
    with pytest.raises(ModelError, match=r"must see both ways and read a batch in one direction, got attn_type="):
        find_family("xlnet").read_config(XLNetConfig(**changes), "float32")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conv_kernel_size": 3}, "must have no convolution, .* got conv_kernel_size=3, .*Use another checkpoint"),
        ({"attention_head_size": 16}, "attention_head_size=16 with hidden_size=32 and num_attention_heads=4"),
        ({"pos_att_type": None}, "relative attention of type c2p, p2c or both, .* pos_att_type=None"),
    ],
)
def test_deberta_that_cannot_be_run(changes: dict, message: str) -> None:
    known = {"hidden_size": 32, "num_attention_heads": 4, "relative_attention": True, "pos_att_type": "c2p"}
    with pytest.raises(ModelError, match=message):
        find_family("deberta-v2").read_config(DebertaV2Config(**known | changes), "float32")

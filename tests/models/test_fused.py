"""The kernel without scores answers as the ordinary attention does; JAX runs it here step by step."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from transformers import AutoConfig

from lca_jax.machine.devices import data_mesh, model_mesh
from lca_jax.machine.precision import FLOAT32, NARROW
from lca_jax.models.families import FAMILIES
from lca_jax.models.stack import fused
from lca_jax.models.stack.attention import attend
from lca_jax.models.stack.attention_config import AttentionKind
from lca_jax.models.stack.config import Precision, StackConfig
from lca_jax.models.stack.fused import SHORTEST_ROW, Windows, attend_fused, windows_of
from lca_jax.models.stack.positions import Places, visibility_bias
from lca_jax.models.stack.stack import Batch, Params, build, forward
from tests.tiny_models import TINY


class Case(NamedTuple):
    """A kind of attention."""

    causal: bool
    reach: int | None = None
    softcap: float | None = None
    key_heads: int = 2
    dtype: str = "float32"


def packed(rows: int, slots: int) -> Places:
    """Rows of windows of several lengths: one is full, the others end in padding, the last is padding alone."""
    segments, positions = np.zeros((2, rows, slots), np.int32)
    for row, cuts in enumerate([(0, 1, slots // 3, slots), (0, slots // 2, slots - 7), (0, 9)][: rows - 1]):
        for number, (start, end) in enumerate(pairwise(cuts), start=1):
            segments[row, start:end], positions[row, start:end] = number, np.arange(end - start)
    return Places(positions, segments)


@pytest.mark.parametrize(
    "case",
    [
        Case(causal=False, reach=70),
        Case(causal=True, key_heads=1, softcap=5.0),
        Case(causal=True, key_heads=2, dtype="bfloat16"),
    ],
)
def test_the_kernel_answers_as_the_ordinary_attention(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """On four devices that share rows, and heads where they can; a row has two tiles of queries and of keys."""
    monkeypatch.setattr(fused, "TILE", 128)
    rows, slots, heads, units = 4, 256, 2, 16
    generator = np.random.default_rng(0)
    query = generator.normal(size=(rows, slots, heads, units))
    key, value = generator.normal(size=(2, rows, slots, case.key_heads, units))
    arrays = [jnp.asarray(array, case.dtype) for array in (query, key, value)]
    places = packed(rows, slots)
    options = {"scale": 0.3, "softcap": case.softcap, "precision": FLOAT32 if case.dtype == "float32" else NARROW}
    windows = Windows(places.segments, case.causal, case.reach, model_mesh(2), interpret=True)
    found = np.asarray(jax.jit(partial(attend_fused, windows=windows, **options))(*arrays), np.float32)
    bias = visibility_bias(places, places, causal=case.causal, reach=case.reach)
    expected = np.asarray(attend(*arrays, bias=bias, drop=None, **options), np.float32)
    assert np.isfinite(found).all()
    # Numbers below 4 are rounded to bfloat16 by less than 1/64.
    atol = 1e-6 if case.dtype == "float32" else 2**-6
    within = places.segments > 0
    np.testing.assert_allclose(found[within], expected[within], rtol=0, atol=atol)


def config_of(name: str, dtype: Precision = "float32") -> StackConfig:
    """A tiny model whose heads are as wide as kernels take them."""
    tiny = TINY[name]
    config = FAMILIES[tiny.model_type].read_config(AutoConfig.for_model(tiny.model_type, **tiny.changes), dtype)
    return replace(config, attention=replace(config.attention, head_width=64))


def program(name: str, dtype: Precision) -> str:
    """The traced program that reads eight rows on a mesh."""
    config = config_of(name, dtype)
    graph, params = build(config)
    row = jax.ShapeDtypeStruct((8, SHORTEST_ROW[dtype]), jnp.int32)

    def read(params: Params, batch: Batch) -> dict[str, jax.Array]:
        return forward(graph, params, batch, reads={"residual": (config.layers,)}, mesh=data_mesh())

    batch = Batch(row, row, row)  # pyright: ignore[reportArgumentType] - shapes in the place of arrays
    return str(jax.make_jaxpr(read)(params, batch))


@pytest.fixture
def as_on_tpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are traced as for TPUs; nothing is run."""
    monkeypatch.setattr(fused, "platform_of", lambda _: "tpu")


@pytest.mark.usefixtures("as_on_tpu")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_products_in_the_kernel_have_the_precision_of_the_models_numbers(dtype: Precision) -> None:
    text = program("bert", dtype)
    assert "pallas_call" in text
    named = {"float32": "HIGHEST", "bfloat16": "DEFAULT"}[dtype]
    assert text.count("dot_general[") == text.count(f"precision=(Precision.{named}, Precision.{named})")


@pytest.mark.usefixtures("as_on_tpu")
@pytest.mark.parametrize("name", ["t5", "deberta-v2, as version 3", "xlnet"])
def test_scores_that_depend_on_distance_keep_the_ordinary_way(name: str) -> None:
    config, long = config_of(name), np.zeros((1, 2_048), np.int32)
    assert windows_of(long, config, AttentionKind(), mesh=data_mesh()) is None


@pytest.mark.usefixtures("as_on_tpu")
def test_where_the_kernel_is_used() -> None:
    kind, mesh, long = AttentionKind(reach=3), data_mesh(), np.zeros((1, 1_024), np.int32)
    config = config_of("llama, grouped queries", "bfloat16")
    chosen = windows_of(long, config, kind, mesh=mesh)
    assert chosen is not None
    assert (chosen.causal, chosen.reach, chosen.mesh) == (True, 3, mesh)
    narrow = replace(config, attention=replace(config.attention, head_width=32))
    assert windows_of(long, narrow, kind, mesh=mesh) is None
    assert windows_of(long, config_of("bert"), kind, mesh=mesh) is None, "rows too short for float32"
    assert windows_of(long, config, kind, mesh=None) is None
    assert windows_of(long[:, :600], config, kind, mesh=mesh) is None
    assert windows_of(long[:, :256], config, kind, mesh=mesh) is None


def test_a_cpu_keeps_the_ordinary_way() -> None:
    assert "pallas_call" not in program("bert", "bfloat16")

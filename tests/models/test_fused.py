"""The kernel of TPUs answers as the ordinary attention does; JAX runs it here step by step."""

from dataclasses import replace

import numpy as np
import pytest

from lca_jax.machine.devices import data_mesh
from lca_jax.models.stack import fused, splash
from lca_jax.models.stack.attention_config import AttentionKind
from lca_jax.models.stack.config import Precision
from lca_jax.models.stack.fused import windows_of
from tests.models.kernels import Case, config_of, kernel_answers, program


@pytest.mark.parametrize(
    "case",
    [
        Case(causal=False, reach=70),
        Case(causal=True, key_heads=1, softcap=5.0),
        Case(causal=True, key_heads=2, dtype="bfloat16"),
    ],
)
def test_the_kernel_answers_as_the_ordinary_attention(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row has two tiles of queries and of keys."""
    monkeypatch.setattr(splash, "TILE", 128)
    kernel_answers(case, "splash")


@pytest.fixture
def as_on_tpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are traced as for TPUs; nothing is run."""
    monkeypatch.setattr(fused, "platform_of", lambda _: "tpu")


@pytest.mark.usefixtures("as_on_tpu")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_products_in_the_kernel_have_the_precision_of_the_models_numbers(dtype: Precision) -> None:
    text = str(program("bert", dtype, slots=splash.SHORTEST_ROW[dtype]).jaxpr)
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
    assert (chosen.causal, chosen.reach, chosen.mesh, chosen.kernel) == (True, 3, mesh, "splash")
    narrow = replace(config, attention=replace(config.attention, head_width=32))
    assert windows_of(long, narrow, kind, mesh=mesh) is None
    assert windows_of(long, config_of("bert"), kind, mesh=mesh) is None, "rows too short for float32"
    assert windows_of(long, config, kind, mesh=None) is None
    assert windows_of(long[:, :600], config, kind, mesh=mesh) is None
    assert windows_of(long[:, :256], config, kind, mesh=mesh) is None


def test_a_cpu_keeps_the_ordinary_way() -> None:
    assert "pallas_call" not in str(program("bert", "bfloat16", slots=512).jaxpr)

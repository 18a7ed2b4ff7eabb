"""Passes of float32 in a program for one H100: how many matrix operations, and how a factor is split, as emulated."""

import re
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from benchmarks.compiled.reading import CompiledText
from lca_jax.machine.precision import float32_way
from tests.compiled.targets import ONE_GPU, devices

pytestmark = pytest.mark.compilers

SHAPES = (2048, 768), (768, 3072)
"""The first matrix of BERT-base's feed-forward part."""


def compile_product(name: str, folder: Path) -> tuple[CompiledText, Counter[str]]:
    """Returns a product by the way of that name, and how often its kernel has every instruction."""
    everywhere = NamedSharding(devices(ONE_GPU), PartitionSpec())
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32, sharding=everywhere) for shape in SHAPES]
    with jax.default_matmul_precision(name):
        made = jax.jit(lambda A, B: jnp.matmul(A, B, precision=float32_way())).lower(*shapes)
    text = made.compile(compiler_options={"xla_dump_to": str(folder)}).as_text() or ""
    kernels = "".join(file.read_text("utf-8") for file in folder.glob("*.ptx"))
    return CompiledText.of(text), Counter(re.findall(r"^\s*([a-z][\w.]*)", kernels, re.MULTILINE))


@pytest.mark.parametrize(
    ("name", "rounding", "operation", "passes"),
    [
        ("BF16_BF16_F32_X6", "cvt.rn.bf16.f32", "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", 6),
        ("TF32_TF32_F32_X3", "cvt.rna.tf32.f32", "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", 3),
    ],
)
def test_passes_that_are_asked_for_by_name(
    name: str, rounding: str, operation: str, passes: int, tmp_path: Path
) -> None:
    """On tiles of 16 by 8 by 16; an operation in TF32 takes half the length of one in bfloat16, in the same time."""
    text, counted = compile_product(name, tmp_path)
    assert {(product.kinds, product.precision) for product in text.products} == {(("f32", "f32"), name.lower())}
    assert text.flop == 2 * 2048 * 768 * 3072
    assert '"output_tiles":[{"sizes":["16","8"]' in text.text, "other tiles have other counts"
    of_tile = passes * (16 // int(re.findall(r"m16n8k(\d+)", operation)[0]))
    assert {one: count for one, count in counted.items() if "mma" in one} == {operation: of_tile}
    assert counted[rounding] >= 12  # parts are rounded to the nearest, not cut off

"""Attention on a TPU v5e as its compiler counts it: the ordinary way beside the kernel without scores, in cycles.

    pip install -e '.[compilers]'
    python -m benchmarks.attention_cycles --out attention.json

Nothing is measured, and no device is needed. The TPU's compiler writes how many cycles it expects of each operation; a
kernel's are the instructions of its schedule, one a cycle, times the tiles of queries and keys that it meets. The
matrices of a layer stand beside them at the peak of the matrix units. A row has full windows, and a batch 16,384 slots.
"""

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import tyro
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.stages import Compiled
from jaxtyping import Array, Float

from benchmarks import harness
from benchmarks.compiled.bounds import DEVICES, PASSES
from benchmarks.compiled.programs import config_of
from benchmarks.compiled.reading import CompiledText
from benchmarks.compiled.targets import mesh_of
from lca_jax.machine.precision import FLOAT32, NARROW
from lca_jax.models.stack.attention import attend
from lca_jax.models.stack.config import Precision, StackConfig
from lca_jax.models.stack.fused import TILE, Windows, attend_fused
from lca_jax.models.stack.positions import Places, visibility_bias

SLOTS = 16_384
_CYCLES_PER_S = 1.5e9
"""Clock of the TPU v5e: four matrix units of 128 x 128 make its 197 TFLOP/s."""
_EXPECTED = re.compile(r'"estimated_cycles":"(\d+)"')
_SCHEDULED = re.compile(r"total scheduled bundles:\s+(\d+)")
_STACKS: dict[str, tuple[str, Precision]] = {
    "BERT-base": ("bert", "float32"),
    "BERT-base in bfloat16": ("bert", "bfloat16"),
    "Llama 7B in bfloat16": ("llama", "bfloat16"),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the program."""

    slots: Annotated[tuple[int, ...], tyro.conf.UseAppendAction] = ()
    """Slots of a row; 128, 512, 2,048 and 8,192 by default. Every length takes a minute or two."""
    out: Path | None = None
    """Result file; without it the table is only printed."""


def main(arguments: Sequence[str] | None = None) -> None:
    settings = tyro.cli(Settings, args=arguments, description="What the TPU's compiler expects of attention.")
    rows: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        # libtpu reads this when it is first used.
        os.environ["LIBTPU_INIT_ARGS"] = f"--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true"
        mesh = mesh_of("v5e-1")
        for name, (model_type, dtype) in _STACKS.items():
            for slots in settings.slots or (128, 512, 2_048, 8_192):
                config = config_of(model_type, dtype)
                rows[f"{name}, {slots} slots"] = layer_row(mesh, config, slots, schedules=Path(folder))
    harness.print_table("cycles a slot and layer", rows)
    if settings.out:
        harness.write_result(settings.out, "attention_cycles", {"measured": False, "rows": rows})


def layer_row(mesh: Mesh, config: StackConfig, slots: int, *, schedules: Path) -> dict[str, object]:
    """Returns cycles a slot of one layer's attention, both ways, and of its matrices."""
    ordinary, fused = (compile_attention(mesh, config, slots, fused=fused) for fused in (False, True))
    tiles = SLOTS // slots * config.attention.heads * tiles_of_row(slots, causal=config.attention.causal)
    kernel = tiles * scheduled_cycles(schedules)
    by_way = {"ordinary": expected_cycles(ordinary) / SLOTS, "kernel": (expected_cycles(fused) + kernel) / SLOTS}
    matrices = matrix_cycles(config)
    row: dict[str, object] = {f"{way}_cycles": cycles for way, cycles in by_way.items()}
    row |= {"matrices_cycles": matrices, "layer_gain": (matrices + by_way["ordinary"]) / (matrices + by_way["kernel"])}
    for way, compiled in (("ordinary", ordinary), ("kernel", fused)):
        stats = compiled.memory_analysis()
        assert stats is not None
        row[f"{way}_temporary_bytes"] = stats.temp_size_in_bytes
    return row


def compile_attention(mesh: Mesh, config: StackConfig, slots: int, *, fused: bool) -> Compiled:
    """Compiles the attention of a layer, from query, key and value to what is mixed."""
    shape, dtype = config.attention, jnp.dtype(config.dtype)
    options = {
        "scale": shape.scale,
        "softcap": shape.softcap,
        "precision": FLOAT32 if config.dtype == "float32" else NARROW,
    }

    def attention(
        query: Float[Array, "row slot head unit"],
        key: Float[Array, "row slot key_head unit"],
        value: Float[Array, "row slot key_head unit"],
        places: Places,
    ) -> Float[Array, "row slot head unit"]:
        if fused:
            windows = Windows(places.segments, shape.causal, None, mesh)
            return attend_fused(query, key, value, windows=windows, **options)
        bias = visibility_bias(places, places, causal=shape.causal, reach=None)
        return attend(query, key, value, bias=bias, drop=None, **options)

    def array(*sides: int, dtype: jnp.dtype = dtype) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(sides, dtype, sharding=NamedSharding(mesh, PartitionSpec("data")))

    rows = SLOTS // slots
    heads, keys = (array(rows, slots, count, shape.head_width) for count in (shape.heads, shape.key_heads))
    places = Places(*(array(rows, slots, dtype=jnp.dtype(jnp.int32)) for _ in range(2)))  # pyright: ignore[reportArgumentType] - shapes in the place of arrays
    return jax.jit(attention).lower(heads, keys, keys, places).compile()


def expected_cycles(compiled: Compiled) -> float:
    """Returns the cycles that the compiler expects of all operations but the kernel."""
    operations = CompiledText.of(compiled.as_text() or "").operations
    return sum(
        one.times * sum(map(int, _EXPECTED.findall(one.text)))
        for one in operations
        if "tpu_custom_call" not in one.text
    )


def scheduled_cycles(folder: Path) -> int:
    """Returns the cycles of the newest kernel's schedule for one tile, and removes all schedules."""
    listed = sorted(folder.glob("*splash*schedule-analysis_final_bundles.txt"))
    found = _SCHEDULED.search(listed[-1].read_text("utf-8"))
    assert found is not None
    for file in folder.iterdir():
        file.unlink()
    return int(found[1])


def tiles_of_row(slots: int, *, causal: bool) -> int:
    """Returns the tiles of queries and keys of a row that have a score to be made."""
    side = -(-slots // TILE)
    return side * (side + 1) // 2 if causal else side**2


def matrix_cycles(config: StackConfig) -> float:
    """Returns the cycles a slot of the products with the matrices of a layer, at the peak of the matrix units."""
    width, heads = config.residual_width, config.heads_width
    keys = config.attention.key_heads * config.attention.head_width
    numbers = 2 * width * heads + 2 * width * keys + (3 if config.mlp.gated else 2) * width * config.mlp.width
    passes = PASSES if config.dtype == "float32" else 1
    return 2 * numbers * passes / DEVICES["v5e"].flop_per_s * _CYCLES_PER_S


if __name__ == "__main__":
    main()

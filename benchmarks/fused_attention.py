"""Attention on paper: the ordinary way beside a kernel without scores, in nanoseconds a slot and layer.

    pip install -e '.[compilers]'
    python -m benchmarks.fused_attention --out attention.json

Nothing is measured, and no device is needed. For a TPU v5e both ways are compiled, and the compiler writes how many
cycles it expects of each operation; a kernel's are the instructions of its schedule, one a cycle, times the tiles of
queries and keys that it meets. For an H100 the ordinary way is compiled, and its operations take their least time one
after the other; beside them stands the least that any kernel must do, which is no time that one has been seen to take,
and the same where every head reads the bias of cuDNN's kernel from the main memory.
The matrices of a layer are counted at the peak of the matrix units. A batch has 16,384 slots, and a row full windows.
"""

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
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
from lca_jax.machine.devices import platform_of
from lca_jax.machine.precision import FLOAT32, IN_PASSES, NARROW
from lca_jax.models.stack.attention import attend
from lca_jax.models.stack.config import Precision, StackConfig
from lca_jax.models.stack.fused import Windows, attend_fused
from lca_jax.models.stack.positions import Places, visibility_bias
from lca_jax.models.stack.splash import TILE

SLOTS = 16_384
_CYCLES_PER_NS = 1.5
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
    target: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """`v5e-1`, `h100-1`; both by default."""
    out: Path | None = None
    """Result file; without it the table is only printed."""


def main(arguments: Sequence[str] | None = None) -> None:
    settings = tyro.cli(Settings, args=arguments, description="Attention on paper, with and without scores.")
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        # libtpu reads this when it is first used.
        os.environ["LIBTPU_INIT_ARGS"] = f"--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true"
        for target in settings.target or ("h100-1", "v5e-1"):
            for name, (model_type, dtype) in _STACKS.items():
                for slots in settings.slots or (128, 512, 2_048, 8_192):
                    config, mesh = config_of(model_type, dtype), mesh_of(target)
                    ways = (
                        on_tpu(mesh, config, slots, Path(folder)) if target == "v5e-1" else on_gpu(mesh, config, slots)
                    )
                    rows[f"{name}, {slots} slots, {target}"] = ways | layer(config, target, ways)
    harness.print_table("nanoseconds a slot and layer", rows)
    if settings.out:
        harness.write_result(settings.out, "fused_attention", {"measured": False, "rows": rows})


def layer(config: StackConfig, target: str, ways: Mapping[str, float]) -> dict[str, float]:
    """Returns the nanoseconds a slot of a layer's matrices, and how much faster the layer is with the kernel."""
    device = DEVICES[target.split("-", maxsplit=1)[0]]
    width, heads = config.residual_width, config.heads_width
    keys = config.attention.key_heads * config.attention.head_width
    numbers = 2 * width * heads + 2 * width * keys + (3 if config.mlp.gated else 2) * width * config.mlp.width
    matrices = 1e9 * 2 * numbers * (PASSES if config.dtype == "float32" else 1) / device.flop_per_s
    return {"matrices_ns": matrices, "layer_gain": (matrices + ways["ordinary_ns"]) / (matrices + ways["kernel_ns"])}


def on_tpu(mesh: Mesh, config: StackConfig, slots: int, schedules: Path) -> dict[str, float]:
    """Returns what the compiler expects of both ways, in nanoseconds a slot, and their bytes beside the arguments."""
    ordinary, fused = (compile_attention(mesh, config, slots, fused=fused) for fused in (False, True))
    tiles = SLOTS // slots * config.attention.heads * tiles_of_row(slots, causal=config.attention.causal)
    cycles = {
        "ordinary": expected_cycles(ordinary),
        "kernel": expected_cycles(fused) + tiles * scheduled_cycles(schedules),
    }
    times = {f"{way}_ns": count / SLOTS / _CYCLES_PER_NS for way, count in cycles.items()}
    return times | {"ordinary_bytes": temporary_bytes(ordinary), "kernel_bytes": temporary_bytes(fused)}


def on_gpu(mesh: Mesh, config: StackConfig, slots: int) -> dict[str, float]:
    """Returns the least nanoseconds a slot of the ordinary way and of kernels, and the bytes beside arguments."""
    device, shape = DEVICES["h100"], config.attention
    ordinary = compile_attention(mesh, config, slots, fused=False)
    passes = PASSES if config.dtype == "float32" else 1
    seconds = 0.0
    for one in CompiledText.of(ordinary.as_text() or "").operations:
        products = sum(product.flop for product in one.products) * passes / device.flop_per_s
        seconds += one.times * max(products, one.bytes / device.bytes_per_s)
    arrays = 2 * (shape.heads + shape.key_heads) * shape.head_width * jnp.dtype(config.dtype).itemsize
    seen = slots / 2 if shape.causal else slots
    products = 4 * seen * config.heads_width * passes / device.flop_per_s
    least = max(arrays / device.bytes_per_s, products)
    times = {"ordinary_ns": 1e9 * seconds / SLOTS, "kernel_ns": 1e9 * least}
    if config.dtype == "bfloat16":
        bias = 2 * seen * shape.heads
        times["cudnn_ns"] = 1e9 * max((arrays + bias) / device.bytes_per_s, products)
    return times | {"ordinary_bytes": temporary_bytes(ordinary)}


def compile_attention(mesh: Mesh, config: StackConfig, slots: int, *, fused: bool) -> Compiled:
    """Compiles the attention of a layer, from query, key and value to what is mixed."""
    shape, dtype = config.attention, jnp.dtype(config.dtype)
    options = {
        "scale": shape.scale,
        "softcap": shape.softcap,
        "precision": NARROW if config.dtype == "bfloat16" else FLOAT32 if platform_of(mesh) == "tpu" else IN_PASSES,
    }

    def attention(
        query: Float[Array, "row slot head unit"],
        key: Float[Array, "row slot key_head unit"],
        value: Float[Array, "row slot key_head unit"],
        places: Places,
    ) -> Float[Array, "row slot head unit"]:
        if fused:
            windows = Windows(places.segments, shape.causal, None, mesh, "splash")
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


def temporary_bytes(compiled: Compiled) -> int:
    """Returns the bytes of arrays that are neither arguments nor results."""
    stats = compiled.memory_analysis()
    assert stats is not None
    return stats.temp_size_in_bytes


if __name__ == "__main__":
    main()

"""Attention of a layer on the device at hand: the ordinary way beside the kernel that the device has, measured.

    python -m benchmarks.bench_attention --out attention.json

For a GPU (cuDNN) and a TPU (splash attention); a CPU has no kernel. From query, key and value in bfloat16 to what is
mixed of them, in batches of 16,384 slots a device, rows of full windows. Each kernel is first tried
(`trial.find_fault`), also in rows shorter than those that it reads in a run: where it is faster there, `SHORTEST_ROW`
of `cudnn` or `splash` is too high. A row of the result has the reason where a kernel was refused. With `--quick` the
shapes are small, and on a CPU the kernel of GPUs is computed by other means, which tries this program and measures
nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Float, Int

from benchmarks import harness
from lca_jax.machine.devices import data_mesh, platform_of, shard_rows
from lca_jax.machine.precision import NARROW
from lca_jax.models.stack.attention import attend
from lca_jax.models.stack.fused import Kernel, Windows, attend_fused
from lca_jax.models.stack.positions import Places, visibility_bias
from lca_jax.models.stack.trial import Call, find_fault

_SHAPES = {"BERT-base": (12, 12, 64, False), "Llama 7B": (32, 32, 128, True), "Llama 3 8B": (32, 8, 128, True)}
"""Heads, key heads, units of a head, and whether a piece sees only the pieces before it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the program."""

    slots: Annotated[tuple[int, ...], tyro.conf.UseAppendAction] = ()
    """Slots of a row; 128, 256, 512, 2,048 and 8,192 by default."""
    repetitions: int = 20
    """Rounds."""
    quick: bool = False
    """Whether to try the program on small shapes."""
    out: Path | None = None
    """Result file; without it the table is only printed."""


def main(arguments: Sequence[str] | None = None) -> None:
    settings = tyro.cli(Settings, args=arguments, description="Attention measured, with and without scores.")
    platform = platform_of(data_mesh())
    kernel: Kernel = "splash" if platform == "tpu" else "cudnn"
    rows: dict[str, dict[str, float | str]] = {}
    for name in _SHAPES:
        for slots in settings.slots or ((128,) if settings.quick else (128, 256, 512, 2_048, 8_192)):
            call = call_of(name, slots, batch=1_024 if settings.quick else 16_384)
            interpret = settings.quick and platform == "cpu"
            rows[f"{name}, {slots} slots"] = measure(call, kernel, settings.repetitions, interpret=interpret)
    harness.print_table("ms a batch", rows)
    if settings.out:
        harness.write_result(settings.out, "attention", {"kernel": kernel, "quick": settings.quick, "rows": rows})


def call_of(name: str, slots: int, *, batch: int) -> Call:
    """Returns the call for a batch of rows, as many on every device."""
    heads, key_heads, units, causal = _SHAPES[name]
    mesh = data_mesh()
    rows = max(1, batch // slots) * mesh.shape["data"]
    return Call(mesh, rows, slots, heads, key_heads, units, "bfloat16", causal, None, units**-0.5)


def measure(call: Call, kernel: Kernel, repetitions: int, *, interpret: bool) -> dict[str, float | str]:
    """Times both ways, or says why the kernel cannot be used."""
    ways = {
        "kernel": partial(by_kernel, call=call, kernel=kernel, interpret=interpret),
        "ordinary": partial(by_scores, call=call),
    }
    fault = find_fault(ways["kernel"], call)
    if fault is not None:
        return {"refused": fault}
    generator = np.random.default_rng(0)
    heads = (call.heads, call.key_heads, call.key_heads)
    arrays = [
        generator.standard_normal((call.rows, call.slots, count, call.units), np.float32).astype(jnp.dtype(call.dtype))
        for count in heads
    ]
    arrays.append(np.ones((call.rows, call.slots), np.int32))
    placed = [shard_rows(call.mesh, array) for array in arrays]
    competitors: dict[str, Callable[[], Array]] = {name: partial(jax.jit(way), *placed) for name, way in ways.items()}
    timings, _ = harness.time_interleaved(competitors, repetitions=repetitions)
    times: dict[str, float | str] = {f"{name}_ms": 1e3 * timing.median_s for name, timing in timings.items()}
    times |= {f"{name}_spread": timing.spread for name, timing in timings.items()}
    return times | {"gain": timings["ordinary"].median_s / timings["kernel"].median_s}


def by_kernel(
    query: Float[Array, "row slot head unit"],
    key: Float[Array, "row slot key_head unit"],
    value: Float[Array, "row slot key_head unit"],
    segments: Int[Array, "row slot"],
    *,
    call: Call,
    kernel: Kernel,
    interpret: bool,
) -> Float[Array, "row slot head unit"]:
    """Calls the kernel."""
    windows = Windows(segments, call.causal, call.reach, call.mesh, kernel, interpret)
    return attend_fused(query, key, value, windows=windows, scale=call.scale, softcap=None, precision=NARROW)


def by_scores(
    query: Float[Array, "row slot head unit"],
    key: Float[Array, "row slot key_head unit"],
    value: Float[Array, "row slot key_head unit"],
    segments: Int[Array, "row slot"],
    *,
    call: Call,
) -> Float[Array, "row slot head unit"]:
    """Attends in the ordinary way; every row is one window."""
    positions = jnp.broadcast_to(jnp.arange(call.slots, dtype=jnp.int32), segments.shape)
    places = Places(positions, segments)
    bias = visibility_bias(places, places, causal=call.causal, reach=call.reach)
    return attend(query, key, value, bias=bias, scale=call.scale, softcap=None, precision=NARROW, drop=None)


if __name__ == "__main__":
    main()

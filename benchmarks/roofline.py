"""A performance model: what the compiled programs compute, move and exchange, against the figures of the devices.

    pip install -e '.[compilers]'
    python -m benchmarks.roofline --target h100-1 --target h100-8 --out roofline.json

Nothing is measured, and no device is needed. Programs are compiled for each target (`compiled.targets`) and read
(`compiled.reading`); every count is one of a device. A case takes at least

    max(flop / peak of its products, bytes / bandwidth of the main memory) + exchanged bytes / bandwidth of the links

seconds. The peak is that of the precision the program asks for: on a TPU a float32 product is six passes in bfloat16.
Bytes are an upper bound (`compiled.reading`), so that a time which they limit is no floor of the hardware, but that of
the program as it was compiled. Stacks are compiled with one and two blocks: a block more costs their difference.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import tyro

from benchmarks import harness
from benchmarks.compiled.programs import FitSize, compile_extraction, compile_iteration, config_of, memory_bytes
from benchmarks.compiled.reading import CompiledText
from benchmarks.compiled.targets import mesh_of
from lca_jax.models.stack.config import Precision

SLOTS = 128
ROWS = 16
"""Rows of a batch on one device."""


@dataclass(frozen=True)
class Device:
    """Figures of a device as its maker gives them, on paper."""

    flop_per_s: float
    """Of products in bfloat16, dense."""
    float32_flop_per_s: float
    """Of products in float32 as the package asks for them."""
    bytes_per_s: float
    """Of the main memory."""
    link_bytes_per_s: float
    """Between devices, to and from all neighbours together, one way."""
    memory_bytes: float
    source: str


DEVICES = {
    "v5e": Device(197e12, 197e12 / 6, 819e9, 200e9, 16e9, "Google's page of the TPU v5e; float32: six passes"),
    "h100": Device(989e12, 67e12, 3.35e12, 450e9, 80e9, "NVIDIA's data sheet of the H100 SXM; NVLink one way"),
}


class Counts(NamedTuple):
    """What one run of a program does on one device."""

    flop: float
    """In bfloat16."""
    float32_flop: float
    bytes: float
    exchanged_bytes: float
    memory_bytes: float

    def plus_blocks(self, two: "Counts", blocks: int) -> "Counts":
        """Returns the counts of a stack of more blocks, from those of one and of two."""
        return Counts(*(one + (blocks - 1) * (both - one) for one, both in zip(self, two, strict=True)))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the program."""

    target: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Names of `compiled.targets.TARGETS`; H100s by default, whose compiler takes seconds. A TPU's takes minutes."""
    out: Path | None = None
    """Result file; without it the table is only printed."""
    quick: bool = False
    """Little of everything: tries the program."""


def main(arguments: Sequence[str] | None = None) -> None:
    settings = tyro.cli(Settings, args=arguments, description="What the compiled programs ask of TPUs and GPUs.")
    jax.config.update("jax_platforms", "cpu")
    rows: dict[str, dict[str, object]] = {}
    for name in settings.target or ("h100-1", "h100-8"):
        rows |= {f"{case}, {name}": row for case, row in cases_on(name, quick=settings.quick).items()}
        harness.print_table(name, {key: row for key, row in rows.items() if key.endswith(name)})
    if settings.out:
        paper = {name: asdict(device) for name, device in DEVICES.items()}
        harness.write_result(settings.out, "roofline", {"measured": False, "devices": paper, "rows": rows})


def cases_on(name: str, *, quick: bool) -> dict[str, dict[str, object]]:
    """Returns the rows of all cases on one target."""
    fit = FitSize(words=1_048_576, features=9_984, classes=17, problems=4)
    grid = FitSize(words=204_800, features=2_688, classes=17, problems=48)
    if quick:
        fit = grid = FitSize(words=2_048, features=256, classes=3, problems=2)
    device = DEVICES[name.split("-", maxsplit=1)[0]]
    cases = {}
    for case, size in {"iteration, headline fit": fit, "iteration, 64 pairs": grid}.items():
        counts = _counts_of(compile_iteration(mesh_of(name), size))
        cases[case] = bound(counts, device) | asdict(size)
    stacks: dict[str, tuple[str, Precision, int]] = {"BERT-base": ("bert", "float32", 1)}
    if not quick:
        stacks["Llama 7B in bfloat16"] = ("llama", "bfloat16", min(4, mesh_of(name).size))
    for case, (model_type, dtype, parts) in stacks.items():
        counts = stack_counts(name, model_type, dtype, parts=parts, quick=quick)
        row = bound(counts, device)
        slots = ROWS * SLOTS * mesh_of(name).size / parts
        seconds = row["seconds"]
        assert isinstance(seconds, float)
        cases[f"reading, {case}"] = row | {"slots_per_s": slots / seconds, "devices_a_model": parts}
    return cases


def stack_counts(name: str, model_type: str, dtype: Precision, *, parts: int, quick: bool = False) -> Counts:
    """Returns the counts of a batch through a stack of the size that `transformers` has as its default."""
    mesh = mesh_of(name, parts=parts)
    changes = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4} if quick else {}

    def of_blocks(blocks: int) -> Counts:
        config = config_of(model_type, dtype, num_hidden_layers=blocks, **changes)
        rows = ROWS * mesh.shape["data"]
        return _counts_of(compile_extraction(mesh, config, rows=rows, slots=SLOTS, dtype=dtype))

    return of_blocks(1).plus_blocks(of_blocks(2), config_of(model_type, dtype).layers)


def bound(counts: Counts, device: Device) -> dict[str, object]:
    """Returns the least time of some counts on a device, what limits it, and the share of its peak that is left."""
    parts = {
        "products": counts.flop / device.flop_per_s + counts.float32_flop / device.float32_flop_per_s,
        "memory": counts.bytes / device.bytes_per_s,
    }
    exchange = counts.exchanged_bytes / device.link_bytes_per_s
    seconds = max(parts.values()) + exchange
    slowest = max(parts, key=lambda part: parts[part])
    return {
        "seconds": seconds,
        "limit": slowest if parts[slowest] >= exchange else "exchange",
        "products_s": parts["products"],
        "memory_s": parts["memory"],
        "exchange_s": exchange,
        "peak_share": parts["products"] / seconds,
        "fits": counts.memory_bytes <= device.memory_bytes,
        **counts._asdict(),
    }


def _counts_of(compiled: jax.stages.Compiled) -> Counts:
    text = CompiledText.of(compiled.as_text() or "")
    full = sum(product.flop * product.times for product in text.products if set(product.kinds) == {"f32"})
    return Counts(text.flop - full, full, text.bytes, text.collective_bytes, memory_bytes(compiled))


if __name__ == "__main__":
    main()

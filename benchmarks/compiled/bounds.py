"""Figures of devices on paper, and the least time in which a device can do what a program asks of it.

    max(flop / peak of its products, bytes / bandwidth of the main memory) + sent bytes / bandwidth of the links

The peak is that of the precision the program asks for. Bytes of programs are an upper bound (`reading`), so that a time
which they limit is no floor of the hardware, but that of the program as it was compiled.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax

from benchmarks.compiled.programs import memory_bytes
from benchmarks.compiled.reading import CompiledText

PASSES = 6
"""Passes in bfloat16 of a product of float32: of three parts each, the six largest of nine products."""


@dataclass(frozen=True)
class Device:
    """Figures of a device as its maker gives them, on paper."""

    flop_per_s: float
    """Of products in bfloat16, dense."""
    float32_flop_per_s: float
    """Of products in float32 by the units that have it; of none, in passes."""
    bytes_per_s: float
    """Of the main memory."""
    link_bytes_per_s: float
    """Between devices, to and from all neighbours together, one way."""
    memory_bytes: float
    source: str

    @property
    def best_float32(self) -> float:
        """Rate of products in float32 by whichever way is faster."""
        return max(self.float32_flop_per_s, self.flop_per_s / PASSES)


DEVICES = {
    "v5e": Device(197e12, 197e12 / PASSES, 819e9, 200e9, 16e9, "Google's page of the TPU v5e; float32: six passes"),
    "h100": Device(989e12, 67e12, 3.35e12, 450e9, 80e9, "NVIDIA's data sheet of the H100 SXM; NVLink one way"),
    "h200": Device(989e12, 67e12, 4.8e12, 450e9, 141e9, "NVIDIA's data sheet of the H200 SXM; NVLink one way"),
}


class Counts(NamedTuple):
    """What one run of a program does on one device."""

    flop: float
    """In bfloat16."""
    float32_flop: float
    """By units of float32."""
    split_flop: float
    """In float32 as passes in bfloat16."""
    bytes: float
    sent_bytes: float
    memory_bytes: float

    def plus_blocks(self, two: "Counts", blocks: int) -> "Counts":
        """Returns the counts of a stack of more blocks, from those of one and of two."""
        return Counts(*(one + (blocks - 1) * (both - one) for one, both in zip(self, two, strict=True)))


def counts_of(compiled: jax.stages.Compiled, *, iteration: bool = False) -> Counts:
    """Reads what a program does on one device.

    Args:
        compiled: The program.
        iteration: Whether to read one iteration of its open loop, without what is done once before and after all.
    """
    text = CompiledText.of(compiled.as_text() or "")
    text = text.iteration() if iteration else text
    wide = [one for one in text.products if set(one.kinds) == {"f32"}]
    split = sum(one.flop * one.times for one in wide if one.precision.endswith("_x6"))
    full = sum(one.flop * one.times for one in wide) - split
    return Counts(text.flop - full - split, full, split, text.bytes, text.sent_bytes, memory_bytes(compiled))


def bound(counts: Counts, device: Device) -> dict[str, object]:
    """Returns the least time of some counts on a device, what limits it, and the share of its peak that is left."""
    parts = seconds_of(counts, device)
    exchange = parts["exchange"]
    seconds = total_seconds(parts)
    slowest = max(("products", "memory"), key=lambda part: parts[part])
    return {
        "seconds": seconds,
        "limit": slowest if parts[slowest] >= exchange else "exchange",
        **{f"{name}_s": part for name, part in parts.items()},
        "peak_share": parts["products"] / seconds,
        "bfloat16_share": (counts.flop + counts.float32_flop + counts.split_flop) / device.flop_per_s / seconds,
        "fits": counts.memory_bytes <= device.memory_bytes,
        **counts._asdict(),
    }


def gaps(counts: Counts, floor: Counts, device: Device) -> dict[str, float]:
    """Returns how many times a program takes the seconds of its floor, in all and by what it uses.

    What the floor needs least of is compared with the floor's whole time: twice the bytes of a program that computes
    all the time are no gap.
    """
    made, least = seconds_of(counts, device), seconds_of(floor, device)
    whole = total_seconds(least)
    lost = {f"{name}_gap": (made[name] - least[name]) / whole for name in made}
    return {"floor_s": whole, "gap": total_seconds(made) / whole, **lost}


def seconds_of(counts: Counts, device: Device) -> dict[str, float]:
    """Returns the seconds of products, memory and exchange, each by itself."""
    products = counts.flop / device.flop_per_s + counts.float32_flop / device.float32_flop_per_s
    return {
        "products": products + counts.split_flop * PASSES / device.flop_per_s,
        "memory": counts.bytes / device.bytes_per_s,
        "exchange": counts.sent_bytes / device.link_bytes_per_s,
    }


def total_seconds(parts: dict[str, float]) -> float:
    """Returns the seconds of all parts: products run while memory is read, exchanges do not."""
    return max(parts["products"], parts["memory"]) + parts["exchange"]

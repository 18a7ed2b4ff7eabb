"""Axes of a chart: a scale maps values to positions on a drawing, ticks are the round values written along it."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Scale(NamedTuple):
    """A linear or logarithmic map of the values `low`..`high` onto the positions `start`..`end`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float | int) -> float:
        """Returns the position of `value`, to a hundredth; the middle if `low` equals `high`."""
        low, high = (math.log(self.low), math.log(self.high)) if self.logarithmic else (self.low, self.high)
        place = math.log(value) if self.logarithmic else value
        share = (place - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 2)


def linear_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Returns about `count` round values from `low` to `high`: multiples of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    step = _round_step(high - low, count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def snug_range(values: Sequence[float]) -> tuple[float, float]:
    """Returns the round values around shares, within 0..1; around equal ones a hundredth to both sides."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        return max(0.0, low - 0.01), min(1.0, high + 0.01)
    step = _round_step(high - low, 5)
    return max(0.0, step * math.floor(low / step + 1e-9)), min(1.0, step * math.ceil(high / step - 1e-9))


def logarithmic_ticks(low: float, high: float, count: int = 8) -> list[float]:
    """Returns 1, 2 and 5 times the powers of ten from `low` to `high`, or the powers alone if that is over `count`."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1,)):
        ticks = [float(f"{factor}e{power}") for power in powers for factor in factors]
        ticks = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(ticks) <= count:
            break
    return ticks


def _round_step(span: float, count: int) -> float:
    """Returns the round value nearest to a span's part of so many: 1, 2 or 5 times a power of ten."""
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    return min((factor * power for factor in (1, 2, 5, 10)), key=lambda step: abs(math.log(step / rough)))

"""Geometry of a neuron's activations by class: a small histogram for each class, below each other on one axis.

Classes are told apart by their place and their name, the neuron's own by a full shape too: colour says nothing alone.
Every histogram is as high as its fullest bin, since classes differ in size by a factor of a thousand; the number of
words stands beside it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lca_jax.descriptors.activation_bins import REACH, ClassActivations
from lca_jax.report.figures import Frame, Tick
from lca_jax.report.formats import integer, signed
from lca_jax.report.scales import Scale

_ROWS = 7
"""Most classes that have a histogram of their own; the smallest of more share one."""
_LANE, _HEIGHT = 23.0, 19.0
"""Room of a class, and of its fullest bin."""


class ActivationRow(NamedTuple):
    """The words of one class."""

    name: str
    path: str
    base: float
    """The height of the line that its histogram stands on."""
    own: bool
    """Whether it is the class of the neuron."""
    words: str
    """Its mean and its number of words."""


class ActivationChart(NamedTuple):
    """Words by activation, class by class; the class with the lowest mean comes first."""

    frame: Frame
    rows: tuple[ActivationRow, ...]
    ticks: tuple[Tick, ...]
    zero: float
    """The place of the neuron's mean."""


def draw_activations(classes: Sequence[ClassActivations], *, own: str | None, unit: str) -> ActivationChart | None:
    """Draws the histograms; None without any class.

    Args:
        classes: The classes of one neuron.
        own: Name of the class that the neuron belongs to; None for none.
        unit: What is counted: `word`, `piece` or `sentence`.
    """
    shown = _shown([of for of in classes if sum(of.counts)], own)
    if not shown:
        return None
    frame = Frame(464.0, _LANE * len(shown) + 34, 96.0, 306.0, 4.0, 4 + _LANE * len(shown))
    x = Scale(-REACH, REACH, frame.left, frame.right)
    rows = []
    for place, of in enumerate(shown):
        base, count = frame.top + _LANE * (place + 1), sum(of.counts)
        told = f"mean {signed(of.mean)}, {integer(count)} {unit}{'' if count == 1 else 's'}"
        rows.append(ActivationRow(of.name, _path(of.counts, base, frame), base, of.name == own, told))
    ticks = tuple(Tick(x(value), signed(value, 0)) for value in (-REACH, -REACH / 2, 0.0, REACH / 2, REACH))
    return ActivationChart(frame, tuple(rows), ticks, x(0.0))


def _shown(classes: Sequence[ClassActivations], own: str | None) -> list[ClassActivations]:
    """Returns the neuron's class and the largest others by rising mean, and below them all others joined."""
    first = sorted(classes, key=lambda of: (of.name != own, -sum(of.counts), of.name))
    count = _ROWS if len(first) <= _ROWS else _ROWS - 1
    shown, others = sorted(first[:count], key=lambda of: (of.mean, of.name)), first[count:]
    if others:
        sizes = [sum(of.counts) for of in others]
        mean = float(np.average([of.mean for of in others], weights=sizes))
        counts = tuple(np.sum([of.counts for of in others], axis=0).tolist())
        shown.append(ClassActivations(f"{len(others)} others", mean, counts))
    return shown


def _path(counts: Sequence[int], base: float, frame: Frame) -> str:
    """Returns the outline of a histogram in relative steps, which take least room; without empty bins at the ends."""
    filled = np.flatnonzero(counts)
    first, last = int(filled[0]), int(filled[-1])
    width = (frame.right - frame.left) / len(counts)
    heights = [max(1, round(_HEIGHT * count / max(counts))) if count else 0 for count in counts[first : last + 1]]
    path, before = f"M{frame.left + first * width:g} {base:g}", 0
    for height in heights:
        path += f"{'' if height == before else f'v{before - height}'}h{width:g}"
        before = height
    return f"{path}v{before}z"

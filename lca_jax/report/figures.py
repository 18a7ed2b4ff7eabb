"""Geometry of the report's charts: turns numbers into positions on a drawing.

Every function is pure and returns a record of positions and words; the templates turn these into SVG and escape all
text. The SVG is written by hand, without a plotting library: it inherits the page's fonts and its light and dark
colours, a chart takes two kilobytes, and its words stay text that can be searched and read aloud.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from lca_jax.report.formats import is_number, percent, share
from lca_jax.report.labels import Box, boxes_of_line
from lca_jax.report.references import Reference, draw_references
from lca_jax.report.scales import Scale, linear_ticks, logarithmic_ticks

_LOG_RATIO = 20
"""Fractions whose largest is this many times the smallest are drawn on a logarithmic axis."""

_FEW = 8
"""Largest number of fractions that are written on the axis one by one."""
_TICK_ROOM = 34
"""Smallest distance between two labels on an axis."""
_SERIES = ("top", "random", "bottom")


class Frame(NamedTuple):
    """The size of a drawing and the box inside it that holds the data."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float


class Tick(NamedTuple):
    """A labelled position on an axis."""

    position: float
    label: str


class Mark(NamedTuple):
    """One measured point, with its value in words."""

    x: float
    y: float
    words: str
    whisker: tuple[float, float] | None = None
    """The heights of the ends of its interval; None where none was measured."""


class Line(NamedTuple):
    """One series of a keep curve: `top`, `random` or `bottom`."""

    name: str
    path: str
    marks: tuple[Mark, ...]

    @classmethod
    def through(cls, name: str, marks: Iterable[Mark]) -> "Line":
        """Returns the line that joins marks in their order."""
        marks = tuple(marks)
        return cls(name, " ".join(f"{mark.x:g},{mark.y:g}" for mark in marks), marks)

    def boxes(self) -> list[Box]:
        """Returns what the line takes of the drawing, for labels that should not hide it."""
        whiskers = [(mark.x, *mark.whisker) for mark in self.marks if mark.whisker]
        return boxes_of_line([(mark.x, mark.y) for mark in self.marks], whiskers)


class KeepChart(NamedTuple):
    """Accuracy against the fraction of neurons kept."""

    mode: str
    frame: Frame
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    band: str
    """The path around random ± one standard deviation; empty where no deviation was measured."""
    references: tuple[Reference, ...]
    """The accuracy of all neurons and those of the baselines."""
    logarithmic: bool


class Bar(NamedTuple):
    """One bar of a histogram."""

    x: float
    y: float
    width: float
    height: float
    label: str
    words: str


class Spark(NamedTuple):
    """A histogram of the size of a word, with its values in words."""

    path: str
    words: str


class LayerChart(NamedTuple):
    """Share of the chosen neurons in every layer."""

    frame: Frame
    bars: tuple[Bar, ...]
    labels: tuple[Tick, ...]
    sites: tuple[Tick, ...]
    even: float | None
    """The height of an even distribution; None where the layers are of several sites, whose widths differ."""
    centre: Tick | None


def draw_keep(
    keep: Mapping[str, Sequence[Mapping[str, object]]], *, accuracy: object, baselines: Mapping[str, object]
) -> tuple[KeepChart, ...]:
    """Draws the curves of every mode on the same axes, so that they can be compared by eye.

    Args:
        keep: The points of each mode.
        accuracy: Accuracy with all neurons.
        baselines: Accuracies to compare with, by their names.
    """
    frame = Frame(420, 280, 60, 406, 16, 236)
    curves = {mode: [point for point in points if _fraction(point) > 0] for mode, points in keep.items()}
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return ()
    fractions = [_fraction(point) for point in points]
    measured = [point.get(name) for point in points for name in _SERIES]
    heights = [value for value in (*measured, accuracy, *baselines.values()) if is_number(value)]
    if not heights:
        return ()
    logarithmic = max(fractions) >= _LOG_RATIO * min(fractions)
    x = Scale(min(fractions), max(fractions), frame.left + 8, frame.right - 8, logarithmic)
    y = Scale(*rounded_range(heights), frame.bottom, frame.top)
    lines = {mode: tuple(_line(name, curve, x, y) for name in _SERIES) for mode, curve in curves.items() if curve}
    return tuple(
        KeepChart(
            mode=mode,
            frame=frame,
            x_ticks=tuple(Tick(x(value), share(value)) for value in _fraction_ticks(fractions, x)),
            y_ticks=tuple(Tick(y(value), share(value)) for value in linear_ticks(y.low, y.high)),
            lines=of_mode,
            band=_band(curves[mode], x, y),
            references=draw_references(
                {"all neurons": accuracy},
                baselines,
                y,
                ends=(frame.left, frame.right),
                taken=[box for line in of_mode for box in line.boxes()],
            ),
            logarithmic=logarithmic,
        )
        for mode, of_mode in lines.items()
    )


def draw_layers(shares: Sequence[float], names: Sequence[str], centre: object = None) -> LayerChart | None:
    """Draws the layer histogram, with the name of each site under its layers.

    Args:
        shares: Share of the neurons in each layer, 0..1.
        names: Names of the layers, `residual 0`, `residual 1`, …; one for each share.
        centre: Mean layer number, which is marked if all layers are of one site.
    """
    if not shares or len(shares) != len(names):
        return None
    frame = Frame(420, 236, 8, 412, 30, 176)
    y = Scale(0, max(*shares, 1e-9), frame.bottom, frame.top)
    places = [name.rpartition(" ") for name in names]
    sites = list(dict.fromkeys(site for site, _, _ in places))
    # The gap between two sites is one bar wide.
    step = (frame.right - frame.left) / (len(shares) + len(sites) - 1)
    middles = [frame.left + (index + sites.index(place[0]) + 0.5) * step for index, place in enumerate(places)]
    width = min(0.76 * step, 44)
    bars = tuple(
        Bar(
            x=round(middle - width / 2, 2),
            y=y(value),
            width=round(width, 2),
            height=round(frame.bottom - y(value), 2),
            label=percent(value, 0) if step >= 26 else "",
            words=f"{name}: {percent(value)}",
        )
        for middle, value, name in zip(middles, shares, names, strict=True)
    )
    every = math.ceil(18 / step)
    members = {site: [index for index, place in enumerate(places) if place[0] == site] for site in sites}
    labelled = sorted(index for indices in members.values() for index in indices[::every])
    return LayerChart(
        frame=frame,
        bars=bars,
        labels=tuple(Tick(round(middles[index], 2), places[index][2]) for index in labelled),
        sites=tuple(Tick(round(float(np.mean([middles[i] for i in members[site]])), 2), site) for site in sites),
        even=y(1 / len(shares)) if len(sites) == 1 else None,
        centre=_centre_mark(centre, [place[2] for place in places], middles) if len(sites) == 1 else None,
    )


def draw_spark(shares: Sequence[float], *, width: float = 72.0, height: float = 18.0) -> Spark | None:
    """Draws a histogram of the size of a word, without axes. It is one path, since a page may have hundreds of them."""
    if not shares:
        return None
    step = width / len(shares)
    y = Scale(0, max(*shares, 1e-9), height, 0)
    path = "".join(
        f"M{index * step:.4g} {height:g}V{y(value):g}h{0.8 * step:.3g}V{height:g}z"
        for index, value in enumerate(shares)
    )
    return Spark(path, ", ".join(percent(value, 0) for value in shares))


def _fraction(point: Mapping[str, object]) -> float:
    return float(fraction) if is_number(fraction := point.get("fraction")) else 0.0


def _line(name: str, curve: Iterable[Mapping[str, object]], x: Scale, y: Scale) -> Line:
    marks = (
        Mark(
            x(_fraction(point)),
            y(value),
            f"{name} {share(_fraction(point))}: {percent(value)}",
            whisker((point.get(f"{name}_low"), point.get(f"{name}_high")), y),
        )
        for point in curve
        if is_number(value := point.get(name))
    )
    return Line.through(name, marks)


def _band(curve: Iterable[Mapping[str, object]], x: Scale, y: Scale) -> str:
    edges = [
        (x(_fraction(point)), y(value + deviation), y(value - deviation))
        for point in curve
        if is_number(value := point.get("random")) and is_number(deviation := point.get("random_std"))
    ]
    upper_edge = [f"{place:g},{upper:g}" for place, upper, _ in edges]
    lower_edge = [f"{place:g},{lower:g}" for place, _, lower in reversed(edges)]
    return " ".join(upper_edge + lower_edge)


def whisker(interval: object, y: Scale) -> tuple[float, float] | None:
    """Returns the heights of the ends of an interval, within the drawing; None where it or an end is missing."""
    low, high = interval if isinstance(interval, list | tuple) and len(interval) == 2 else (None, None)
    if not (is_number(low) and is_number(high)):
        return None
    return y(max(low, y.low)), y(min(high, y.high))


def rounded_range(values: Sequence[float]) -> tuple[float, float]:
    """Returns the tenths around the values, within 0..1, so that the axes of different tasks look alike."""
    low, high = math.floor(10 * min(values)) / 10, math.ceil(10 * max(values) + 1e-9) / 10
    return min(max(low, 0.0), 0.9), min(high, 1.0)


def _fraction_ticks(fractions: Sequence[float], x: Scale) -> list[float]:
    """Returns the fractions themselves if they are few and far enough apart, else round values."""
    distinct = sorted(set(fractions))
    distance = min((x(high) - x(low) for low, high in pairwise(distinct)), default=0.0)
    if len(distinct) <= _FEW and (distance >= _TICK_ROOM or len(distinct) == 1):
        return distinct
    return logarithmic_ticks(x.low, x.high) if x.logarithmic else linear_ticks(x.low, x.high)


def _centre_mark(centre: object, numbers: Sequence[str], middles: Sequence[float]) -> Tick | None:
    if not is_number(centre) or not all(text.isdecimal() for text in numbers):
        return None
    return Tick(
        round(float(np.interp(centre, [int(text) for text in numbers], middles)), 2), f"mean layer {centre:.1f}"
    )

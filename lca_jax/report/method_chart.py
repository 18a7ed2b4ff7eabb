"""Geometry of the chart of methods: reliability to the right, validity upwards, one point a method."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lca_jax.report.figures import Frame, Mark, Reference, Tick, draw_references, rounded_range, whisker
from lca_jax.report.formats import is_number, percent, share
from lca_jax.report.scales import Scale, linear_ticks

_LETTER, _LINE = 6.6, 14
"""Room of a letter and of a line of a label."""


class MethodMark(NamedTuple):
    """One method: its point, and its name at a place of its own."""

    mark: Mark
    name: str
    own: bool
    """Whether the run ranks by it."""
    text_x: float
    text_y: float
    left: bool
    """Whether the name ends at its place, to the left of the point."""


class MethodChart(NamedTuple):
    """Accuracy of probes of the first neurons against the overlap of the rankings of two halves."""

    frame: Frame
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    chance: tuple[float, float]
    """Ends of the strip of overlaps that random orders seldom exceed."""
    references: tuple[Reference, ...]
    marks: tuple[MethodMark, ...]


def draw_methods(methods: Mapping[str, Any], *, own: object) -> MethodChart | None:
    """Draws the methods of a task; None where they were not measured.

    Args:
        methods: The `methods` entry of the task.
        own: Name of the method that the run ranks by.
    """
    points = method_rows(methods)
    if not points:
        return None
    frame = Frame(760, 400, 60, 740, 16, 346)
    heights = [point[name] for point in points for name in ("accuracy", "low", "high") if is_number(point.get(name))]
    constant = methods.get("constant")
    x = Scale(0.0, 1.0, frame.left, frame.right)
    y = Scale(*rounded_range([*heights, *([constant] if is_number(constant) else [])]), frame.bottom, frame.top)
    high = methods.get("chance_high")
    return MethodChart(
        frame=frame,
        x_ticks=tuple(Tick(x(value), share(value)) for value in linear_ticks(0.0, 1.0)),
        y_ticks=tuple(Tick(y(value), share(value)) for value in linear_ticks(y.low, y.high)),
        chance=(x(0.0), x(high) if is_number(high) else x(0.0)),
        references=draw_references({}, {"most frequent class": constant}, y),
        marks=_labelled(points, own, x, y, frame),
    )


def method_rows(methods: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Returns the methods of which both figures are known, the most reliable first."""
    known = [
        point
        for point in methods.get("points") or ()
        if all(is_number(point.get(name)) for name in ("overlap", "accuracy"))
    ]
    return sorted(known, key=lambda point: -point["overlap"])


def _labelled(
    points: Sequence[Mapping[str, Any]], own: object, x: Scale, y: Scale, frame: Frame
) -> tuple[MethodMark, ...]:
    """Places the name of every method beside its point, below those that it would hide, from the top down."""
    placed: list[tuple[float, float, float]] = []
    marks = []
    for point in sorted(points, key=lambda point: -point["accuracy"]):
        name = str(point.get("method", ""))
        across, up = x(point["overlap"]), y(point["accuracy"])
        width = _LETTER * len(name)
        left = across + 9 + width > frame.right
        start = across - 9 - width if left else across + 9
        line = up + 4
        for begin, end, other in sorted(placed, key=lambda one: one[2]):
            if begin < start + width and start < end and abs(line - other) < _LINE:
                line = other + _LINE
        placed.append((start, start + width, line))
        words = f"{name}: overlap {percent(point['overlap'])}, accuracy {percent(point['accuracy'])}"
        mark = Mark(across, up, words, whisker((point.get("low"), point.get("high")), y))
        marks.append(MethodMark(mark, name, name == own, across - 9 if left else across + 9, round(line, 2), left))
    return tuple(marks)

"""Geometry of the chart of methods: reliability to the right, validity upwards, one point a method."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lca_jax.report.figures import Frame, Line, Mark, Tick, whisker
from lca_jax.report.formats import is_number, percent, share
from lca_jax.report.labels import Box, Label, label_at, least_hiding, name_points
from lca_jax.report.references import Reference, draw_references
from lca_jax.report.scales import Scale, linear_ticks, snug_range


class MethodMark(NamedTuple):
    """One method: its point, and its name at a place of its own."""

    mark: Mark
    name: str
    own: bool
    """Whether the run ranks by it."""
    text_x: float
    text_y: float
    left: bool
    """Whether the name ends at its place."""
    leader: tuple[float, float, float, float] | None
    """A line from the point to a name that found no room beside it."""


class MethodChart(NamedTuple):
    """Accuracy of probes of the first neurons against the overlap of the rankings of two halves."""

    frame: Frame
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    chance: tuple[float, float]
    """Ends of the strip of overlaps that random orders seldom exceed."""
    references: tuple[Reference, ...]
    below: Label | None
    """The most frequent class, where it lies so far below the methods that the axis does not reach it."""
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
    constant, high = methods.get("constant"), methods.get("chance_high")
    # An axis down to a constant far below would leave the methods, which it is there to compare, a strip at its top.
    near = is_number(constant) and min(heights) - constant <= max(heights) - min(heights)
    x = Scale(0.0, 1.0, frame.left, frame.right)
    y = Scale(*snug_range([*heights, constant] if near else heights), frame.bottom, frame.top)
    marks = [_mark(point, x, y) for point in points]
    ends = (frame.left, frame.right)
    taken = [box for mark in marks for box in Line.through("", [mark]).boxes()]
    references = draw_references({}, {"most frequent class": constant} if near else {}, y, ends=ends, taken=taken)
    taken += [label_at(one.label, one.x, one.text, ends=one.right).box for one in references]
    below = (
        _below(f"↓ most frequent class {percent(constant)}", taken, frame) if is_number(constant) and not near else None
    )
    taken += [] if below is None else [below.box]
    return MethodChart(
        frame=frame,
        x_ticks=tuple(Tick(x(value), share(value)) for value in linear_ticks(0.0, 1.0)),
        y_ticks=tuple(Tick(y(value), share(value)) for value in linear_ticks(y.low, y.high)),
        chance=(x(0.0), x(high) if is_number(high) else x(0.0)),
        references=references,
        below=below,
        marks=_named(points, marks, taken, frame, own),
    )


def method_rows(methods: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Returns the methods of which both figures are known, the most reliable first."""
    known = [
        point
        for point in methods.get("points") or ()
        if all(is_number(point.get(name)) for name in ("overlap", "accuracy"))
    ]
    return sorted(known, key=lambda point: -point["overlap"])


def _below(words: str, taken: Sequence[Box], frame: Frame) -> Label:
    """Places words at the foot of the chart where they hide least."""
    width = frame.right - frame.left
    places = [frame.right - 2 - share * width for share in (0.0, 0.15, 0.3, 0.45, 0.6)]
    return least_hiding([label_at(words, x, frame.bottom - 6, ends=True) for x in places], taken, _room(frame))


def _room(frame: Frame) -> Box:
    """Returns where names may stand: to the right also beside the axes."""
    return Box(frame.left, frame.top, frame.width, frame.bottom)


def _mark(point: Mapping[str, Any], x: Scale, y: Scale) -> Mark:
    words = f"{point.get('method', '')}: overlap {percent(point['overlap'])}, accuracy {percent(point['accuracy'])}"
    interval = whisker((point.get("low"), point.get("high")), y)
    return Mark(x(point["overlap"]), y(point["accuracy"]), words, interval)


def _named(
    points: Sequence[Mapping[str, Any]], marks: Sequence[Mark], taken: Sequence[Box], frame: Frame, own: object
) -> tuple[MethodMark, ...]:
    """Places the name of every method, from the top down."""
    pairs = sorted(zip(points, marks, strict=True), key=lambda pair: pair[1].y)
    names = [(str(point.get("method", "")), mark.x, mark.y) for point, mark in pairs]
    return tuple(
        MethodMark(mark, name, name == own, round(label.x, 2), round(label.y, 2), label.ends, leader)
        for (name, *_), (_, mark), (label, leader) in zip(
            names, pairs, name_points(names, taken, _room(frame)), strict=True
        )
    )

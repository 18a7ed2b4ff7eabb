"""Places words on a chart where they hide least: points, lines, and each other.

The width of words is estimated from their letters, since a page does not know the reader's font.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

_LETTER, _ASCENT, _DESCENT = 6.6, 10.0, 3.0
"""Room of a letter: its width, and its height above and below the line that it stands on."""
_STEP, _HALF_LINE, _HALF_MARK = 4.0, 2.0, 6.0
_SIDES = ((9, 4), (-9, 4), (6, -9), (6, 17), (-6, -9), (-6, 17))
"""Places of a name beside its point, the best one first."""
_FARTHER = (1.0, 2.0, 3.0, 4.5, 6.5, 9.0, 12.0)
"""How many times as far a name may stand from a point whose neighbourhood is full."""


class Box(NamedTuple):
    """A part of the drawing that something takes."""

    left: float
    top: float
    right: float
    bottom: float


class Label(NamedTuple):
    """Words at their place."""

    words: str
    x: float
    y: float
    """The line that they stand on."""
    ends: bool
    """Whether they end at `x`, to the left of it."""
    box: Box


class NamedPoint(NamedTuple):
    """The name of a point at its place."""

    label: Label
    leader: tuple[float, float, float, float] | None
    """A line from the point to a name that stands apart from it; None beside it."""


def label_at(words: str, x: float | int, y: float | int, *, ends: bool) -> Label:
    """Returns words that begin, or end, at a place."""
    width = _LETTER * len(words)
    left = x - width if ends else x
    return Label(words, x, y, ends, Box(left, y - _ASCENT, left + width, y + _DESCENT))


def least_hiding(candidates: Iterable[Label], taken: Sequence[Box], frame: Box) -> Label:
    """Returns the first of the places that hide least and leave the frame least."""
    labels = list(candidates)
    places = np.array([label.box for label in labels])
    areas = (places[:, 2] - places[:, 0]) * (places[:, 3] - places[:, 1])
    hidden = common_areas(places, taken).sum(axis=1)
    outside = areas - common_areas(places, [frame])[:, 0]
    return labels[int((hidden + outside).argmin())]


def common_areas(
    boxes: Float[np.ndarray, "box 4"] | Sequence[Box], others: Sequence[Box]
) -> Float[np.ndarray, "box other"]:
    """Returns the area that each box has in common with each of the others."""
    left, top, right, bottom = (np.reshape(boxes, (-1, 1, 4))[..., side] for side in range(4))
    other_left, other_top, other_right, other_bottom = np.reshape(others, (-1, 4)).T
    widths = np.minimum(right, other_right) - np.maximum(left, other_left)
    heights = np.minimum(bottom, other_bottom) - np.maximum(top, other_top)
    return np.maximum(widths, 0) * np.maximum(heights, 0)


def boxes_of_line(
    points: Sequence[tuple[float, float]], whiskers: Iterable[tuple[float, float, float]] = ()
) -> list[Box]:
    """Returns what a line takes, with its marks and its whiskers (place, and heights of both ends)."""
    boxes = [Box(x - _HALF_MARK, y - _HALF_MARK, x + _HALF_MARK, y + _HALF_MARK) for x, y in points]
    boxes += [Box(x - _HALF_LINE, min(ends), x + _HALF_LINE, max(ends)) for x, *ends in whiskers]
    for (x, y), (to_x, to_y) in pairwise(points):
        steps = max(1, math.ceil(math.hypot(to_x - x, to_y - y) / _STEP))
        for step in range(1, steps):
            at, height = x + (to_x - x) * step / steps, y + (to_y - y) * step / steps
            boxes.append(Box(at - _HALF_LINE, height - _HALF_LINE, at + _HALF_LINE, height + _HALF_LINE))
    return boxes


def name_points(named: Sequence[tuple[str, float, float]], taken: Sequence[Box], frame: Box) -> list[NamedPoint]:
    """Places the names of points, each beside its point where nothing is hidden, else further away with a leader.

    Args:
        named: Name and place of every point. They are placed in this order.
        taken: What names must not hide: all points among it.
        frame: Where names must stay.
    """
    boxes, placed = list(taken), []
    for name, x, y in named:
        candidates = [
            (times, label_at(name, x + times * across, y + 4 + times * (down - 4), ends=across < 0))
            for times in _FARTHER
            for across, down in _SIDES
        ]
        label = least_hiding((label for _, label in candidates), boxes, frame)
        times = next(times for times, candidate in candidates if candidate is label)
        boxes.append(label.box)
        middle = (label.box.top + label.box.bottom) / 2
        placed.append(NamedPoint(label, None if times == 1.0 else (x, y, label.x, middle)))
    return placed

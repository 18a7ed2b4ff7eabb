"""Lines to compare with, right across a chart, and their labels: each where it hides least of the curves."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lca_jax.report.formats import is_number, percent
from lca_jax.report.labels import Box, Label, label_at, least_hiding
from lca_jax.report.scales import Scale

_ABOVE, _BELOW = -5, 13
"""Distance of the label from its line."""


class Reference(NamedTuple):
    """A height to compare with, and the place of its label."""

    position: float
    label: str
    x: float
    text: float
    """The line that the label stands on."""
    right: bool
    """Whether the label ends at `x`."""


def draw_references(
    left: Mapping[str, object],
    right: Mapping[str, object],
    y: Scale,
    *,
    ends: tuple[float | int, float | int],
    taken: Sequence[Box] = (),
) -> tuple[Reference, ...]:
    """Places lines to compare with, and their labels beside what is drawn and beside each other.

    Args:
        left: Shares by their names, whose labels stand at the left above their line if nothing is there.
        right: Those whose labels stand at the right below their line.
        y: The scale of the shares.
        ends: Where the lines begin and end.
        taken: What labels should not hide (`boxes_of_line`).
    """
    told = [(f"{name} {percent(value)}", y(value), False) for name, value in left.items() if is_number(value)]
    told += [(f"{name} {percent(value)}", y(value), True) for name, value in right.items() if is_number(value)]
    return place_references(told, y, ends=ends, taken=taken)


def place_references(
    told: Sequence[tuple[str, float, bool]],
    y: Scale,
    *,
    ends: tuple[float | int, float | int],
    taken: Sequence[Box] = (),
) -> tuple[Reference, ...]:
    """Places lines whose labels are written already; each has its label, its height, and whether it prefers the right.

    The other arguments are those of `draw_references`.
    """
    boxes = [*taken, *(Box(ends[0], at - 1, ends[1], at + 1) for _, at, _ in told)]
    frame = Box(ends[0], min(y.start, y.end) - 16, ends[1], max(y.start, y.end))
    references = []
    for words, at, prefers_right in told:
        label = least_hiding(_candidates(words, at, ends, right=prefers_right), boxes, frame)
        boxes.append(label.box)
        references.append(Reference(at, words, label.x, label.y, label.ends))
    return tuple(references)


def _candidates(words: str, at: float, ends: tuple[float | int, float | int], *, right: bool) -> list[Label]:
    """Returns the places of a label: at both ends of its line, then further inside, above and below."""
    heights = (_BELOW, _ABOVE) if right else (_ABOVE, _BELOW)
    length = ends[1] - ends[0]
    sides = [(ends[1] - 2, True), (ends[0] + 4, False)]
    inside = [(ends[0] + share * length, False) for share in (0.15, 0.3, 0.45, 0.6)]
    places = [*(sides if right else sides[::-1]), *(inside[::-1] if right else inside)]
    return [label_at(words, x, at + height, ends=at_end) for x, at_end in places for height in heights]

"""Geometry of a tree of corpora: leaves below each other at the left, joins to the right by their distance."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lca_jax.report.figures import Frame, Tick
from lca_jax.report.formats import integer, listing, percent
from lca_jax.report.scales import Scale, linear_ticks

_ROW, _LABEL = 30, 120


class Branch(NamedTuple):
    """A join: the path of its fork, its place and its support in words."""

    path: str
    x: float
    y: float
    label: str
    words: str


class TreeChart(NamedTuple):
    """The tree."""

    frame: Frame
    leaves: tuple[Tick, ...]
    ticks: tuple[Tick, ...]
    branches: tuple[Branch, ...]


def draw_tree(entry: Mapping[str, Any] | None) -> TreeChart | None:
    """Draws the `map` entry of a survey; None where there is none."""
    if not entry:
        return None
    leaves: list[str] = entry["leaves"]
    frame = Frame(620, 40 + _ROW * len(leaves) + 36, _LABEL, 590, 12, 24 + _ROW * len(leaves))
    x = Scale(0.0, 1.0, frame.left, frame.right)
    heights = {name: frame.top + (place + 0.5) * _ROW for place, name in enumerate(leaves)}
    names = sorted(leaves, key=_numbers(entry).__getitem__)
    points: list[tuple[float, float]] = [(x(0.0), heights[name]) for name in names]
    branches = []
    for join in entry["joins"]:
        (one_x, one_y), (other_x, other_y) = points[join["left"]], points[join["right"]]
        at, middle = x(join["height"]), round((one_y + other_y) / 2, 2)
        points.append((at, middle))
        every = len(join["members"]) == len(leaves)
        branches.append(
            Branch(
                path=f"M{one_x:g} {one_y:g}H{at:g}V{other_y:g}H{other_x:g}",
                x=at,
                y=middle,
                label="" if every else percent(join["support"], 0),
                words=f"{listing(join['members'], 99)}: distance {percent(join['height'])}"
                + ("" if every else f", in {percent(join['support'], 0)} of the divisions"),
            )
        )
    return TreeChart(
        frame=frame,
        leaves=tuple(Tick(heights[name], name) for name in leaves),
        ticks=tuple(Tick(x(value), integer(100 * value) + "%") for value in linear_ticks(0.0, 1.0)),
        branches=tuple(branches),
    )


def _numbers(entry: Mapping[str, Any]) -> dict[str, int]:
    """Returns the number of every leaf, as joins name them."""
    numbers: dict[str, int] = {}
    members: list[list[str]] = []
    count = len(entry["leaves"])
    for join in entry["joins"]:
        left = join["left"]
        size = 1 if left < count else len(members[left - count])
        for side, names in ((left, join["members"][:size]), (join["right"], join["members"][size:])):
            if side < count:
                numbers[names[0]] = side
        members.append(join["members"])
    return numbers

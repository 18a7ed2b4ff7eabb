"""Names of points in a figure of matplotlib, placed as those of the charts of a page are (`labels`)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from lca_jax.report.labels import Box, boxes_of_line, name_points

_SIZE = 8
"""Points of a letter."""
_UNITS = 1.4
"""Units of `labels` in a point of such letters: a letter is 6.6 of them wide."""


class Place(NamedTuple):
    """A point with its interval, in the numbers of the axes."""

    name: str
    x: float
    y: float
    low: float
    high: float


def name_places(axes: Any, places: Sequence[Place]) -> None:
    """Writes the names beside their points, or further away with a line to them, so that they hide least.

    The legend, points, intervals and other names are left free. Limits and legend must be set before.

    Args:
        axes: The axes of the figure, a `matplotlib.axes.Axes`.
        places: The points, in their order.
    """
    figure = axes.figure
    figure.draw_without_rendering()  # the layout and the place of the legend are known from then on
    scale = _UNITS * 72 / figure.dpi

    def box_of(artist: Any) -> Box:
        extent = artist.get_window_extent()
        return Box(extent.x0 * scale, -extent.y1 * scale, extent.x1 * scale, -extent.y0 * scale)

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (axes.transData.transform((x, y)) * scale).tolist()
        return across, -up  # in `labels` heights grow downwards, as on a page

    points = [at(place.x, place.y) for place in places]
    taken = [box_of(axes.get_legend())] if axes.get_legend() else []
    for point, place in zip(points, places, strict=True):
        taken += boxes_of_line([point], [(point[0], at(place.x, place.low)[1], at(place.x, place.high)[1])])
    named = name_points(
        [(place.name, *point) for place, point in zip(places, points, strict=True)], taken, box_of(axes)
    )
    for place, point, (label, leader) in zip(places, points, named, strict=True):
        axes.annotate(
            place.name,
            (place.x, place.y),
            ((label.x - point[0]) / _UNITS, (point[1] - label.y) / _UNITS),
            textcoords="offset points",
            ha="right" if label.ends else "left",
            fontsize=_SIZE,
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": "0.6"} if leader else None,
        )

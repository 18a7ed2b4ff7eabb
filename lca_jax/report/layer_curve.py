"""Geometry of the chart of accuracy by layer: trained layers with their intervals, beside untrained ones."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lca_jax.report.figures import Frame, Line, Mark, Tick, rounded_range, whisker
from lca_jax.report.formats import is_number, percent, share
from lca_jax.report.references import Reference, draw_references
from lca_jax.report.scales import Scale, linear_ticks

_LABEL_ROOM = 18
"""Smallest distance between two layer numbers on the axis."""


class LayerCurve(NamedTuple):
    """Accuracy of a probe of every layer by itself."""

    frame: Frame
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    """`top` for the trained layers, `random` for untrained ones; one of each for every site."""
    references: tuple[Reference, ...]
    sites: tuple[Tick, ...]
    """The name of each site, in the middle of its layers."""
    untrained: bool
    """Whether an untrained model was measured."""


def draw_by_layer(
    by_layer: Sequence[Mapping[str, object]],
    untrained: Sequence[Mapping[str, object]],
    *,
    accuracy: object,
    baselines: Mapping[str, object],
) -> LayerCurve | None:
    """Draws the accuracy of every layer, site after site.

    Args:
        by_layer: Name, accuracy and interval of every layer.
        untrained: The same of a model with random weights, in the same order; empty where none was measured.
        accuracy: Accuracy of all layers together.
        baselines: Accuracies to compare with, by their names.
    """
    known = [layer for layer in by_layer if is_number(layer.get("accuracy"))]
    if not known:
        return None
    frame = Frame(420, 280, 60, 406, 16, 226)
    names = [str(layer.get("layer", "")) for layer in known]
    values = [layer.get("accuracy") for layer in (*known, *untrained)]
    heights = [value for value in (*values, accuracy, *baselines.values()) if is_number(value)]
    y = Scale(*rounded_range(heights), frame.bottom, frame.top)
    step = (frame.right - frame.left) / len(known)
    middles = {name: round(frame.left + (place + 0.5) * step, 2) for place, name in enumerate(names)}
    sites = list(dict.fromkeys(name.rpartition(" ")[0] for name in names))
    of_site = {site: [name for name in names if name.rpartition(" ")[0] == site] for site in sites}
    every = max(1, round(_LABEL_ROOM / step + 0.49))
    lines = [
        _line(kind, [layer for layer in layers if layer.get("layer") in of_site[site]], middles, y)
        for kind, layers in (("random", untrained), ("top", known))
        for site in sites
    ]
    return LayerCurve(
        frame=frame,
        x_ticks=tuple(
            Tick(middles[name], name.rpartition(" ")[2]) for members in of_site.values() for name in members[::every]
        ),
        y_ticks=tuple(Tick(y(value), share(value)) for value in linear_ticks(y.low, y.high)),
        lines=tuple(line for line in lines if line.marks),
        references=draw_references(
            {"all layers together": accuracy},
            baselines,
            y,
            ends=(frame.left, frame.right),
            taken=[box for line in lines for box in line.boxes()],
        ),
        sites=tuple(
            Tick(round(sum(middles[name] for name in members) / len(members), 2), site)
            for site, members in of_site.items()
        ),
        untrained=any(is_number(layer.get("accuracy")) for layer in untrained),
    )


def _line(kind: str, layers: Sequence[Mapping[str, object]], middles: Mapping[str, float], y: Scale) -> Line:
    said = "untrained" if kind == "random" else "trained"
    marks = []
    for layer in layers:
        if is_number(value := layer.get("accuracy")) and str(layer.get("layer")) in middles:
            words = f"{layer['layer']}, {said}: {percent(value)}"
            marks.append(Mark(middles[str(layer["layer"])], y(value), words, whisker(layer.get("interval"), y)))
    return Line.through(kind, marks)

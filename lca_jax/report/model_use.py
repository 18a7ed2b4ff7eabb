"""Does the model use what the probe found: a sentence, and the geometry of the curves of the model without neurons."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lca_jax.report.claims import claims_told
from lca_jax.report.figures import Frame, Line, Mark, Tick, whisker
from lca_jax.report.formats import integer, is_number, number
from lca_jax.report.references import Reference, place_references
from lca_jax.report.scales import Scale, linear_ticks, logarithmic_ticks

_SETS = ("top", "random", "matched", "bottom")
_UNIT = {"log": " nats a word", "drop": ""}
_SAID = {
    "holds": "does more harm than",
    "fails": "does less harm than",
    "within noise": "does no clearly different harm from",
}


class UseChart(NamedTuple):
    """The score of the model against the number of neurons removed, with one fill."""

    fill: str
    measure: str
    frame: Frame
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    whole: Reference


class SetLayers(NamedTuple):
    """The layers of the removed neurons, at the largest number of them."""

    neurons: int
    sets: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]
    """Every layer, and how many of its neurons each set has."""


def use_sentence(entry: Mapping[str, Any]) -> str:
    """Says for every fill whether the first neurons do more harm than random ones; empty if it was not measured."""
    found = entry.get("model_ablation") or {}
    claims = [claim for claim in claims_told(found, _SAID) if (claim["stronger"], claim["weaker"]) == ("top", "random")]
    if not claims:
        return ""
    unit = _UNIT.get(str(found.get("lost")), "")
    parts = [
        f"set to {'zero' if claim['fill'] == 'zero' else 'their ' + str(claim['fill'])}, removing the first neurons "
        f"{_SAID[claim['outcome']]} removing random ones ({_signed(claim['excess'])}{unit}, 95% interval "
        f"{_signed(claim['interval'][0])} to {_signed(claim['interval'][1])})"
        for claim in claims
    ]
    outcomes = {claim["outcome"] for claim in claims}
    verdict = {
        frozenset({"holds"}): "The model uses these neurons more than others",
        frozenset({"fails"}): "The model needs these neurons less than others",
        frozenset({"within noise"}): "That the model uses these neurons more than others is not shown",
    }.get(frozenset(outcomes), "Whether the model uses these neurons more than others depends on what replaces them")
    return f"{verdict} ({found.get('measure', 'score')} of {found.get('text', 'a text')}): {'; '.join(parts)}."


def claim_lines(entry: Mapping[str, Any]) -> list[str]:
    """Returns every claim with its outcome, one a line."""
    return [
        f"{claim['fill']}: {claim['stronger']} hurts more than {claim['weaker']}: {claim['outcome']} "
        f"({_signed(claim['excess'])}, {_signed(claim['interval'][0])} to {_signed(claim['interval'][1])})"
        for claim in claims_told(entry.get("model_ablation") or {}, _SAID)
    ]


def draw_use(entry: Mapping[str, Any]) -> tuple[UseChart, ...]:
    """Draws the curves of each fill on the same axes; none where they were not measured."""
    found = entry.get("model_ablation") or {}
    points = [
        point
        for point in found.get("points") or ()
        if is_number(point.get("value")) and is_number(point.get("neurons")) and point["neurons"] > 0
    ]
    whole = found.get("whole")
    if not points or not is_number(whole):
        return ()
    logarithmic = found.get("lost") == "log" and min(whole, *(point["value"] for point in points)) > 0
    frame = Frame(420, 280, 66, 406, 16, 236)
    counts = sorted({point["neurons"] for point in points})
    heights = [whole, *(point["value"] for point in points)]
    room = 0.0 if logarithmic else 0.05 * (max(heights) - min(heights))
    x = Scale(min(counts), max(counts), frame.left + 8, frame.right - 8, logarithmic=counts[-1] > counts[0])
    y = Scale(min(heights) - room, max(heights) + room, frame.bottom, frame.top, logarithmic)
    ticks = logarithmic_ticks(y.low, y.high) if logarithmic else linear_ticks(y.low, y.high)
    charts = []
    for fill in dict.fromkeys(point.get("fill") for point in points):
        lines = tuple(line for line in (_line(name, fill, points, x, y) for name in _SETS) if line.marks)
        (reference,) = place_references(
            [(f"the model as it is {number(whole)}", y(whole), True)],
            y,
            ends=(frame.left, frame.right),
            taken=[box for line in lines for box in line.boxes()],
        )
        charts.append(
            UseChart(
                fill=str(fill),
                measure=str(found.get("measure", "score")),
                frame=frame,
                x_ticks=tuple(Tick(x(count), integer(count)) for count in counts),
                y_ticks=tuple(Tick(y(value), number(value)) for value in ticks or [whole]),
                lines=lines,
                whole=reference,
            )
        )
    return tuple(charts)


def layers_of_sets(entry: Mapping[str, Any]) -> SetLayers | None:
    """Returns how many neurons of each layer every set has; None where that was not measured."""
    found = entry.get("model_ablation") or {}
    names = found.get("layer_names") or ()
    points = [
        point
        for point in found.get("points") or ()
        if is_number(point.get("neurons")) and len(point.get("layers") or ()) == len(names) > 0
    ]
    if not points:
        return None
    most = max(point["neurons"] for point in points)
    layers = {point["set"]: point["layers"] for point in points if point["neurons"] == most}
    sets = tuple(name for name in _SETS if name in layers)
    rows = tuple((str(name), tuple(layers[of][place] for of in sets)) for place, name in enumerate(names))
    return SetLayers(most, sets, rows)


def _line(name: str, fill: object, points: Sequence[Mapping[str, Any]], x: Scale, y: Scale) -> Line:
    marks = []
    of_set = [point for point in points if (point.get("set"), point.get("fill")) == (name, fill)]
    for point in sorted(of_set, key=lambda point: point["neurons"]):
        words = f"{name}, {integer(point['neurons'])} removed: {number(point['value'])}"
        marks.append(Mark(x(point["neurons"]), y(point["value"]), words, whisker(point.get("interval"), y)))
    return Line.through(name, marks)


def _signed(value: float | int) -> str:
    return f"{value:+.3g}".replace("-", "\N{MINUS SIGN}")

"""Does the model use what the probe found: sentences, and the geometry of the curves of the model without neurons.

A task may have several measurements, each of another text or measure. What a probe of the last layer reads is not what
the model does with it: its sentence speaks of the last layer alone.
"""

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

_OF_MODEL = {
    "holds": "The model uses these neurons more than others",
    "fails": "The model needs these neurons less than others",
    "within noise": "That the model uses these neurons more than others is not shown",
    "mixed": "Whether the model uses these neurons more than others depends on what replaces them",
}
_OF_PROBE = {
    "holds": "What a probe of the last layer reads of {probe} depends on these neurons more than on others",
    "fails": "What a probe of the last layer reads of {probe} depends on these neurons less than on others",
    "within noise": (
        "That what a probe of the last layer reads of {probe} depends on these neurons more than on others is not shown"
    ),
    "mixed": (
        "Whether what a probe of the last layer reads of {probe} depends on these neurons more than on others differs "
        "with what replaces them"
    ),
}
_OF_TASK = "accuracy on "


class UseChart(NamedTuple):
    """The score of the model against the number of neurons removed, with one fill."""

    fill: str
    measure: str
    frame: Frame
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    whole: Reference


class ModelUse(NamedTuple):
    """One measurement: what it says, and its charts."""

    name: str
    sentence: str
    draws: object
    """Number of random sets."""
    probe: object
    """The task of the probe of the last layer that was measured; None for what the model itself does."""
    charts: tuple[UseChart, ...]
    layers: "SetLayers | None"
    """The layers of the removed neurons."""


class SetLayers(NamedTuple):
    """The layers of the removed neurons, at the largest number of them."""

    neurons: int
    sets: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]
    """Every layer, and how many of its neurons each set has."""


def measurements(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns all that was measured of the model of a task, the oldest first; older results have one at most."""
    found = entry.get("model_ablations") or [entry.get("model_ablation")]
    return [one for one in found if one]


def draw_uses(entry: Mapping[str, Any]) -> tuple[ModelUse, ...]:
    """Returns every measurement of a task that has a chart, the oldest first."""
    made = [
        ModelUse(
            name=str(found.get("name") or _named(found)),
            sentence=use_sentence(found),
            draws=found.get("draws"),
            probe=_probe(found),
            charts=draw_use(found),
            layers=layers_of_sets(found),
        )
        for found in measurements(entry)
    ]
    return tuple(one for one in made if one.charts)


def use_sentence(found: Mapping[str, Any]) -> str:
    """Says of a measurement for every fill whether the first neurons do more harm than random ones; else empty."""
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
    outcome = outcomes.pop() if len(outcomes) == 1 else "mixed"
    probe = _probe(found)
    verdict = _OF_MODEL[outcome] if probe is None else _OF_PROBE[outcome].format(probe=probe)
    return f"{verdict} ({_named(found)}): {'; '.join(parts)}."


def claim_lines(found: Mapping[str, Any]) -> list[str]:
    """Returns every claim of a measurement with its outcome, one a line."""
    return [
        f"{claim['fill']}: {claim['stronger']} hurts more than {claim['weaker']}: {claim['outcome']} "
        f"({_signed(claim['excess'])}, {_signed(claim['interval'][0])} to {_signed(claim['interval'][1])})"
        for claim in claims_told(found, _SAID)
    ]


def draw_use(found: Mapping[str, Any]) -> tuple[UseChart, ...]:
    """Draws the curves of each fill of a measurement on the same axes; none where there are no points."""
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


def layers_of_sets(found: Mapping[str, Any]) -> SetLayers | None:
    """Returns how many neurons of each layer every set of a measurement has; None where that is not known."""
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


def _named(found: Mapping[str, Any]) -> str:
    return f"{found.get('measure', 'score')} of {found.get('text', 'a text')}"


def _probe(found: Mapping[str, Any]) -> str | None:
    """Returns the task of the probe that was measured; older results tell it by the name of the measure alone."""
    if "name" in found:
        return found.get("probe")
    measure = str(found.get("measure", ""))
    task, of_layer, _ = measure.removeprefix(_OF_TASK).rpartition(" in ")
    return task if of_layer and measure.startswith(_OF_TASK) else None


def _line(name: str, fill: object, points: Sequence[Mapping[str, Any]], x: Scale, y: Scale) -> Line:
    marks = []
    of_set = [point for point in points if (point.get("set"), point.get("fill")) == (name, fill)]
    for point in sorted(of_set, key=lambda point: point["neurons"]):
        words = f"{name}, {integer(point['neurons'])} removed: {number(point['value'])}"
        marks.append(Mark(x(point["neurons"]), y(point["value"]), words, whisker(point.get("interval"), y)))
    return Line.through(name, marks)


def _signed(value: float | int) -> str:
    return f"{value:+.3g}".replace("-", "\N{MINUS SIGN}")

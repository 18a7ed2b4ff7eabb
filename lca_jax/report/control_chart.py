"""Does what the model says follow the neurons: a sentence, and the geometry of the shares that changed class."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lca_jax.report.claims import claims_told
from lca_jax.report.figures import Frame, Line, Mark, Tick, whisker
from lca_jax.report.formats import integer, is_number, number, percent
from lca_jax.report.scales import Scale

_SETS = ("top", "matched")
_VERDICTS = {
    "holds": "What the model says follows these neurons",
    "fails": "What the model says follows these neurons less than others",
    "within noise": "That what the model says follows these neurons is not shown",
}
_METRICS = {"bleu": "BLEU", "chrf": "chrF"}
"""Scores of texts against those without edits."""
_ROOM = 6


class ControlChart(NamedTuple):
    """The share of answers that show the target, against the strength of the shift, for one number of neurons."""

    neurons: str
    shift: str
    frame: Frame
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]


def control_sentence(entry: Mapping[str, Any]) -> str:
    """Says whether the first neurons turn the source into the target more often than random ones; empty if unknown."""
    found = entry.get("property_control") or {}
    claims = {bool(claim.get("clean")): claim for claim in claims_told(found, _VERDICTS)}
    if False not in claims:
        return ""
    parts = [
        f"{_signed(claim['excess'])} of the {found.get('output', 'answers')} with {found.get('source')} show "
        f"{found.get('target')}{' and are otherwise the same' if clean else ''} more often than with random neurons of "
        f"the same layers (95% interval {_signed(claim['interval'][0])} to {_signed(claim['interval'][1])})"
        for clean, claim in sorted(claims.items())
    ]
    counted = f" Counted over {integer(found['units'])} {found.get('output', 'answers')}." if found.get("units") else ""
    return f"{_VERDICTS[claims[False]['outcome']]}: {'; '.join(parts)}.{counted}"


def control_lines(entry: Mapping[str, Any]) -> list[str]:
    """Returns what became of the answers for every number of first neurons and strength, one a line."""
    found = entry.get("property_control") or {}
    target = found.get("target")
    named = {"reached": target, "clean": f"{target} and all else the same", "erased": "no class"}
    named["error_rate"] = "another answer"
    lines = []
    for point in found.get("points") or ():
        told = [f"{percent(point[key]['value'])} {name}" for key, name in named.items() if point.get(key)]
        told += [
            f"{_METRICS.get(name, name)} {number(of['value'])}" for name, of in (point.get("quality") or {}).items()
        ]
        who = "first neurons" if point.get("set") == "top" else "random neurons"
        lines.append(f"{point.get('neurons')} {who}, strength {number(point.get('strength'))}: {', '.join(told)}")
    return lines


def draw_control(entry: Mapping[str, Any]) -> tuple[ControlChart, ...]:
    """Draws the first and the random neurons for each number of them; none where nothing was measured."""
    found = entry.get("property_control") or {}
    points = [
        point
        for point in found.get("points") or ()
        if is_number((point.get("reached") or {}).get("value")) and is_number(point.get("strength"))
    ]
    strengths = sorted({point["strength"] for point in points})
    if not points:
        return ()
    frame = Frame(420, 240, 66, 406, 16, 196)
    low, high = (strengths[0], strengths[-1]) if len(strengths) > 1 else (strengths[0] - 1, strengths[0] + 1)
    x = Scale(low, high, frame.left + _ROOM, frame.right - _ROOM, logarithmic=False)
    y = Scale(0.0, 1.0, frame.bottom, frame.top, logarithmic=False)
    return tuple(
        ControlChart(
            neurons=integer(size),
            shift=str(found.get("shift", "shift")),
            frame=frame,
            x_ticks=tuple(Tick(x(strength), number(strength)) for strength in strengths),
            y_ticks=tuple(Tick(y(share), percent(share)) for share in (0.0, 0.25, 0.5, 0.75, 1.0)),
            lines=tuple(line for line in (_line(name, size, points, x, y) for name in _SETS) if line.marks),
        )
        for size in sorted({point["neurons"] for point in points})
    )


def _line(name: str, size: int, points: Sequence[Mapping[str, Any]], x: Scale, y: Scale) -> Line:
    marks = []
    of_set = [point for point in points if (point.get("set"), point["neurons"]) == (name, size)]
    for point in sorted(of_set, key=lambda point: point["strength"]):
        share = point["reached"]
        words = f"{name}, strength {number(point['strength'])}: {percent(share['value'])}"
        marks.append(Mark(x(point["strength"]), y(share["value"]), words, whisker(share.get("interval"), y)))
    return Line.through(name, marks)


def _signed(value: float) -> str:
    return f"{100 * value:+.3g} %".replace("-", "\N{MINUS SIGN}")

"""Draws the experiment: what models keep of their score without the first, random and last neurons."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from benchmarks.grain.paper import PAPER

_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 250, 190, 60, 64, 34
_STYLES = {
    ("max_corr", "top"): ("#b2182b", ""),
    ("max_corr", "bottom"): ("#2166ac", ""),
    ("random", "random"): ("#555555", ""),
    ("lca", "top"): ("#1b7837", ""),
    ("variance", "top"): ("#e08214", ""),
    ("paper", "top"): ("#b2182b", "5 4"),
    ("paper", "bottom"): ("#2166ac", "5 4"),
}
_NAMES = {"max_corr": "cross-model", "random": "random", "lca": "LCA of part of speech", "variance": "variance"}
_TITLES = {"lm": "perplexity, times that of the whole model", "nmt": "BLEU, share of that of the whole model"}


def draw(result: Mapping[str, Any], *, fill: str = "zero") -> str:
    """Returns the figure as SVG: a row for each kind of model, a column for each model.

    Args:
        result: Kind to its results, with `models`, each with `ablation` as `AblationCurve.to_dict` returns it.
        fill: What removed neurons are set to.
    """
    kinds = [kind for kind in ("lm", "nmt") if kind in result and all(has_score(one) for one in result[kind]["models"])]
    if not kinds:
        raise ValueError("No kind of model has a score to compare with: its models must be trained for longer.")
    columns = max(len(result[kind]["models"]) for kind in kinds)
    width = _LEFT + columns * (_WIDTH + _GAP)
    height = _TOP + len(kinds) * (_HEIGHT + 70)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *_legend(width),
    ]
    for row, kind in enumerate(kinds):
        top = _TOP + row * (_HEIGHT + 70)
        curves = [_relative(model["ablation"], kind, fill) for model in result[kind]["models"]]
        values = [value for lines in curves for points in lines.values() for _, *three in points for value in three]
        low, high = (1.0, max(values)) if kind == "lm" else (0.0, 1.05)
        for column, lines in enumerate(curves):
            left = _LEFT + column * (_WIDTH + _GAP)
            title = f"{kind.upper()} {column}: {_TITLES[kind]}"
            parts += _panel(lines, title, left, top, low=low, high=high, logarithmic=kind == "lm")
    return "\n".join([*parts, "</svg>", ""])


def has_score(model: Mapping[str, Any]) -> bool:
    """Returns whether a model has a score before neurons are removed; a BLEU of 0 has no shares."""
    return model["ablation"]["whole"] > 0


Points = list[tuple[float, float, float, float]]
"""Share of the neurons removed, then value, lower and upper end of its interval, all relative to the whole model."""


def _relative(curve: Mapping[str, Any], kind: str, fill: str) -> dict[tuple[str, str], Points]:
    lines: dict[tuple[str, str], Points] = {}
    neurons = curve["neurons"]
    for point in curve["points"]:
        key = (point["ranking"], point["set"])
        if point["fill"] == fill and key in _STYLES:
            value, low, high = (point[name] / curve["whole"] for name in ("value", "low", "high"))
            lines.setdefault(key, []).append((point["last"] / neurons, value, low, high))
    paper = PAPER[kind]
    farthest = max(share for points in lines.values() for share, *_ in points)
    for name, values in (("top", paper.top), ("bottom", paper.bottom)):
        shares = [
            (count / paper.neurons, value / paper.whole) for count, value in zip(paper.removed, values, strict=True)
        ]
        lines["paper", name] = [(share, value, value, value) for share, value in shares if share <= farthest]
    return {key: sorted(points) for key, points in lines.items()}


def _panel(
    lines: Mapping[tuple[str, str], Points],
    title: str,
    left: float,
    top: float,
    *,
    low: float,
    high: float,
    logarithmic: bool,
) -> list[str]:
    farthest = max(share for points in lines.values() for share, *_ in points)

    def x(share: float) -> float:
        return left + share / farthest * _WIDTH

    def y(value: float) -> float:
        place = math.log(max(value, low) / low) / math.log(high / low) if logarithmic else (value - low) / (high - low)
        return top + _HEIGHT * (1 - min(max(place, 0.0), 1.0))

    ticks = [2.0**power for power in range(12) if low <= 2.0**power <= high] if logarithmic else [0, 0.25, 0.5, 0.75, 1]
    parts = [
        f'<text x="{left}" y="{top - 8}" font-size="10">{escape(title)}</text>',
        f'<rect x="{left}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999"/>',
    ]
    for tick in ticks:
        parts.append(f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
        parts.append(f'<path d="M{left} {y(tick):.1f}h{_WIDTH}" stroke="#eee"/>')
    measured = sorted({share for key, points in lines.items() if key[0] != "paper" for share, *_ in points})
    parts += [
        f'<text x="{x(share):.1f}" y="{top + _HEIGHT + 14}" text-anchor="middle">{share:.0%}</text>'
        for share in measured
    ]
    for key, points in lines.items():
        colour, dashes = _STYLES[key]
        path = " ".join(f"{x(share):.1f},{y(value):.1f}" for share, value, *_ in [(0.0, 1.0), *points])
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-dasharray="{dashes}"/>'
        )
        parts += [
            f'<path d="M{x(share):.1f} {y(below):.1f}V{y(above):.1f}" stroke="{colour}">'
            f"<title>{escape(key[0])} {key[1]}: {value:.3g}</title></path>"
            for share, value, below, above in points
            if below != above
        ]
    return parts


def _legend(width: float) -> Sequence[str]:
    parts, x, y = [], float(_LEFT), 14
    for (ranking, of), (colour, dashes) in _STYLES.items():
        label = "random, mean of five" if of == "random" else f"{_NAMES.get(ranking, 'the paper, cross-model')}, {of}"
        room = 40 + 6 * len(label)
        if x > _LEFT and x + room > width:
            x, y = float(_LEFT), y + 15
        parts.append(f'<path d="M{x} {y}h22" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>')
        parts.append(f'<text x="{x + 26}" y="{y + 4}">{label}</text>')
        x += room
    return parts

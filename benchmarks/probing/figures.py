"""Draws result files of `bench_probe` and `bench_grid`: suboptimality against time, problems a second against width.

    python -m benchmarks.probing.figures probe.json grid.json

Each figure lies beside its file, with the ending .svg. A solver has the same colour in every panel, text stays text,
and the same file and matplotlib give the same bytes. matplotlib is imported when a figure is drawn.
"""

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.probing.curves import TARGET

SMALLEST = 1e-6
"""Smallest distance that is drawn: the resolution of float32."""
COLOURS = {
    "proximal": "#0b5fa5",
    "adam with proximal step": "#4c9f38",
    "adam as published": "#9bc53d",
    "incumbent 32": "#c0392b",
    "incumbent 512": "#e67e22",
    "scikit-learn saga": "#8e44ad",
    "skglm": "#34495e",
    "celer": "#16a085",
    "adelie": "#b7950b",
}
_STYLE = {"svg.hashsalt": "lca_jax", "svg.fonttype": "none", "font.size": 9.0, "axes.spines.top": False}
_STYLE |= {"axes.spines.right": False}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the program."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """Result files."""


def main(arguments: Sequence[str] | None = None) -> None:
    for path in tyro.cli(Settings, args=arguments, description="Figures of probe benchmarks.").files:
        print(draw_file(path))


def draw_file(path: Path) -> Path:
    """Draws one result file.

    Returns:
        The path of the figure.

    Raises:
        ValueError: The file belongs to another benchmark, or the parts that are drawn were not run.
    """
    content = json.loads(path.read_text("utf-8"))
    drawers = {"probe": draw_curves, "grid": draw_widths}
    if content["benchmark"] not in drawers:
        raise ValueError(f"{path.name} must belong to {' or '.join(drawers)}, got `{content['benchmark']}`.")
    with importlib.import_module("matplotlib").rc_context(_STYLE):
        figure = drawers[content["benchmark"]](content)
        figure.savefig(path.with_suffix(".svg"), bbox_inches="tight", metadata={"Date": None})
    return path.with_suffix(".svg")


def draw_curves(content: Mapping[str, Any]) -> Any:
    """Draws one panel for each problem that has curves."""
    problems = {"all classes": content["curves"]} if "curves" in content else {}
    if "binary" in content:
        target = content["binary"]["target"]
        problems |= {f"{target} against the rest": content["binary"]["elastic_net"]}
        problems |= {f"{target} against the rest, l2 = 0": content["binary"]["lasso"]}
    if not problems:
        raise ValueError("The file has no curves. Run the parts `curves` or `binary` of bench_probe.")
    figure, panels = _panels(len(problems))
    for panel, (title, problem) in zip(panels, problems.items(), strict=True):
        for name, curve in problem["solvers"].items():
            if "not_run" in curve:
                continue
            seconds = [point["seconds"] for point in curve["points"]]
            above = [max(point["above_reference_share"], SMALLEST) for point in curve["points"]]
            panel.plot(seconds, above, marker="o", markersize=3, linewidth=1.2, color=COLOURS[name], label=name)
        panel.axhline(TARGET, color="#888888", linewidth=0.8, linestyle=":")
        panel.set(xscale="log", yscale="log", title=title, xlabel="seconds without compiling")
    panels[0].set_ylabel("objective above the optimum,\nshare of that of zero weights")
    names = [name for name in COLOURS if any("points" in one["solvers"].get(name, {}) for one in problems.values())]
    handles = {label: line for panel in panels for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(
        [handles[name] for name in names], names, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=5, frameon=False
    )
    return figure


def draw_widths(content: Mapping[str, Any]) -> Any:
    """Draws problems a second against the width of the batch; horizontal lines are the incumbent's."""
    if "widths" not in content:
        raise ValueError("The file has no widths. Run the part `widths` of bench_grid.")
    figure, (panel,) = _panels(1)
    rows = {int(width): row for width, row in content["widths"]["batches"].items() if "not_run" not in row}
    rates = [row["problems_per_s"] for row in rows.values()]
    panel.plot(list(rows), rates, marker="o", markersize=3, color=COLOURS["proximal"], label="proximal")
    for name, row in content["widths"]["incumbent"].items():
        panel.axhline(row["problems_per_s"], color=COLOURS[name], linewidth=1.2, linestyle="--", label=name)
    panel.set(xscale="log", yscale="log", xlabel="problems in a batch", ylabel="problems a second")
    panel.set_xticks(list(rows), [str(width) for width in rows], minor=False)
    panel.set_xticks([], minor=True)
    panel.legend(frameon=False)
    return figure


def _panels(count: int) -> tuple[Any, list[Any]]:
    figure = importlib.import_module("matplotlib.figure").Figure(figsize=(1.2 + 3.6 * count, 3.4), layout="tight")
    panels = figure.subplots(1, count, sharey=True, squeeze=False)
    return figure, list(panels[0])


if __name__ == "__main__":
    main()

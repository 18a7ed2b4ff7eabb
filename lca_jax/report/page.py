"""The report of a run: one HTML file that needs only a browser.

`write_report` turns the content of `results.json` and the cards of the top neurons into a page with its style and
charts inside it: it has no script, requests nothing, has a light and a dark style, and prints well. Everything that was
measured is on it; a missing key leaves a dash, or leaves its chart out. The page depends on its input alone, to the
byte. This module computes the layout only: the numbers come from the lower rooms.

Needs the extra `plots` (jinja2). The templates escape whatever they are given, and the content policy of the page
forbids scripts besides.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lca_jax.descriptors.top_words import NeuronCard
from lca_jax.errors import DataError, SettingsError
from lca_jax.machine.files import write_text_whole
from lca_jax.report import formats
from lca_jax.report.environment import page_environment
from lca_jax.report.figures import (
    KeepChart,
    LayerChart,
    SearchGrid,
    Spark,
    arrange_search,
    draw_keep,
    draw_layers,
    draw_spark,
)

_FORMAT = 1
"""The format of `results.json` that is read here."""
_EXAMPLE = 0.2
"""The share of neurons of the example: the papers report a ranking by the best fifth."""


def write_report(results: Mapping[str, Any], cards: Mapping[str, Sequence[NeuronCard]], out: Path) -> Path:
    """Writes the page of a run, whole or not at all.

    Args:
        results: The content of `results.json`, format 1, fractions 0..1. Only `format` and `tasks` are required.
        cards: The cards of the top neurons, by task; tasks without cards show none.
        out: A folder, which gets an `index.html`, or the name of an `.html` file.

    Returns:
        The path of the page.

    Raises:
        MissingExtraError: The extra `plots` is not installed.
        DataError: `results` is of another format or has no tasks.
        SettingsError: There are cards of a task that has no results.
    """
    page = out if out.suffix == ".html" else out / "index.html"
    write_text_whole(page, render_report(results, cards))
    return page


def render_report(results: Mapping[str, Any], cards: Mapping[str, Sequence[NeuronCard]]) -> str:
    """Returns the text of the page; arguments and errors are those of `write_report`."""
    if results.get("format") != _FORMAT:
        raise DataError(
            f"`results` must have format {_FORMAT}, got {results.get('format')!r}. "
            "Write the report with the version of lca_jax that made the run."
        )
    results = _without_nulls(results)
    tasks: Mapping[str, Mapping[str, Any]] = results.get("tasks", {})
    if not tasks:
        raise DataError("`results` must have at least one task under `tasks`, got none. Finish the run first.")
    unknown = sorted(set(cards) - set(tasks))
    if unknown:
        raise SettingsError(f"Cards must belong to tasks with results ({', '.join(tasks)}), got {', '.join(unknown)}.")
    views = [_view(index, name, task, cards.get(name, ())) for index, (name, task) in enumerate(tasks.items())]
    unit = next(iter(tasks.values())).get("unit", "word")
    return page_environment().get_template("page.html.jinja").render(results=results, tasks=views, unit=unit)


class _ClassRow(NamedTuple):
    """One class: its words (or other units), its neurons, the accuracy on it, and the layers of its neurons."""

    name: str
    words: object
    neurons: object
    share: float
    """Its number of neurons, as a fraction of the largest among the classes of the task: the length of its bar."""
    accuracy: object
    layers: Spark | None


class _TaskView(NamedTuple):
    """Everything that the page shows for one task: its numbers as they are, and its charts."""

    anchor: str
    name: str
    numbers: Mapping[str, Any]
    keep: tuple[KeepChart, ...]
    example: Mapping[str, Any] | None
    """The point of the masked keep curve at a fifth of the neurons (the papers' measure of a ranking), or at the next
    larger fraction."""
    layers: LayerChart | None
    classes: tuple[_ClassRow, ...]
    search: SearchGrid | None
    cards: Sequence[NeuronCard]


def _without_nulls(table: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the tables without their null entries, so that a null reads as a missing key."""
    return {
        key: _without_nulls(value) if isinstance(value, Mapping) else value
        for key, value in table.items()
        if value is not None
    }


def _view(index: int, name: str, task: Mapping[str, Any], cards: Sequence[NeuronCard]) -> _TaskView:
    keep, accuracy = task.get("keep", {}), task.get("accuracy", {}).get("test")
    shares = _numbers(task.get("layers", ()))
    return _TaskView(
        anchor=f"task-{index}",
        name=name,
        numbers=task,
        keep=draw_keep(keep, accuracy=accuracy, majority=task.get("majority")),
        example=_example(keep.get("mask", ())),
        layers=draw_layers(shares, task.get("layer_names", ()), centre=task.get("centre_of_mass")),
        classes=_class_rows(task.get("per_class", {})),
        search=arrange_search(task.get("search", ())),
        cards=cards,
    )


def _example(curve: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    points = (point for point in curve if formats.is_number(share := point.get("fraction")) and _EXAMPLE <= share < 1)
    point = min(points, key=lambda point: point["fraction"], default=None)
    return point if point and formats.is_number(point.get("top")) else None


def _numbers(values: Sequence[object]) -> list[float]:
    return [float(value) if formats.is_number(value) else 0.0 for value in values]


def _class_rows(per_class: Mapping[str, Mapping[str, Any]]) -> tuple[_ClassRow, ...]:
    """Returns the classes, most frequent first; ties, and classes without a count, in the order of their names."""

    def count(row: Mapping[str, Any], key: str) -> float:
        return float(value) if formats.is_number(value := row.get(key)) else 0.0

    most = max((count(row, "neurons") for row in per_class.values()), default=0.0)
    ordered = sorted(per_class.items(), key=lambda item: (-count(item[1], "words"), item[0]))
    return tuple(
        _ClassRow(
            name=name,
            words=row.get("words"),
            neurons=row.get("neurons"),
            share=count(row, "neurons") / most if most else 0.0,
            accuracy=row.get("accuracy"),
            layers=draw_spark(_numbers(row.get("layers", ()))),
        )
        for name, row in ordered
    )

"""The report of a run: one HTML file that needs only a browser.

`write_report` turns the content of `results.json` and the cards of the top neurons into a page with its style and
charts inside it: it has no script, requests nothing, has a light and a dark style, and prints well. It begins with the
verdict and the first neurons. Sentences about results come from `findings`; where a probe does not beat its baselines,
neither neurons nor their layers are shown. A missing key leaves a dash, or leaves its chart out. The page depends on
its input alone, to the byte. This module computes the layout only: the numbers come from the lower rooms.

Needs the extra `plots` (jinja2). The templates escape whatever they are given, and the content policy of the page
forbids scripts besides.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lca_jax.axes import Neuron
from lca_jax.descriptors.top_words import NeuronCard
from lca_jax.errors import DataError, SettingsError
from lca_jax.report import formats
from lca_jax.report.control_chart import ControlChart, control_sentence, draw_control
from lca_jax.report.environment import page_environment
from lca_jax.report.figures import (
    KeepChart,
    LayerChart,
    Spark,
    draw_keep,
    draw_layers,
    draw_spark,
)
from lca_jax.report.findings import CORRELATION, Findings, beats_baselines, findings
from lca_jax.report.layer_curve import LayerCurve, draw_by_layer
from lca_jax.report.method_chart import MethodChart, draw_methods, method_rows
from lca_jax.report.model_use import ModelUse, draw_uses
from lca_jax.report.neuron_rows import NeuronRow, neuron_row
from lca_jax.report.reliability import overlap_rows
from lca_jax.report.saved_figures import write_with_figures
from lca_jax.report.search_grid import SearchGrid, arrange_search
from lca_jax.report.sizes import render_small

_FORMAT = 5
"""The format of `results.json` that is read here."""
_OWN = {"bagged": "bagged", "mass": "lca"}
"""The method that a run ranks by, by the name of its ranking."""
_SORTS = ("name", "accuracy", "lead", "selectivity", "neurons", "layer")
"""What the overview of several tasks can be sorted by."""


def write_report(
    results: Mapping[str, Any],
    cards: Mapping[str, Sequence[NeuronCard]],
    out: Path,
    *,
    links: Mapping[str, str] | None = None,
    tables: Mapping[str, str] | None = None,
) -> Path:
    """Writes the page of a run, whole or not at all.

    Args:
        results: The content of `results.json`, format 5, fractions 0..1. Only `format` and `tasks` are required.
        cards: The cards of the top neurons, by task; tasks without cards show none.
        out: A folder, which gets an `index.html`, or the name of an `.html` file.
        links: Where the whole ranking of each task lies, relative to the page; tasks without one have no link.
        tables: Where the page of all its neurons lies, likewise.

    Returns:
        The path of the page.

    Raises:
        MissingExtraError: The extra `plots` is not installed.
        DataError: `results` is of another format or has no tasks.
        SettingsError: There are cards of a task that has no results.
    """
    page = out if out.suffix == ".html" else out / "index.html"
    write_with_figures(render_report(results, cards, links=links, tables=tables), page)
    return page


def render_report(
    results: Mapping[str, Any],
    cards: Mapping[str, Sequence[NeuronCard]],
    *,
    links: Mapping[str, str] | None = None,
    tables: Mapping[str, str] | None = None,
) -> str:
    """Returns the text of the page; arguments and errors are those of `write_report`."""
    if results.get("format") != _FORMAT:
        raise DataError(
            f"`results` must have format {_FORMAT}, got {results.get('format')!r}. "
            "Write the report with the version of lca_jax that made the run."
        )
    results = _without_nulls(results)
    if "name" in results.get("model", {}):
        results["model"]["name"] = _without_place(results["model"]["name"])
    tasks: Mapping[str, Mapping[str, Any]] = results.get("tasks", {})
    if not tasks:
        raise DataError("`results` must have at least one task under `tasks`, got none. Finish the run first.")
    unknown = sorted(set(cards) - set(tasks))
    if unknown:
        raise SettingsError(f"Cards must belong to tasks with results ({', '.join(tasks)}), got {', '.join(unknown)}.")
    links, tables = links or {}, tables or {}

    def render(cards: Mapping[str, Sequence[NeuronCard]], shortened: bool) -> str:
        views = [
            _view(index, name, results, cards.get(name, ()), (links.get(name), tables.get(name)))
            for index, name in enumerate(results["tasks"])
        ]
        unit = next(iter(tasks.values())).get("unit", "word")
        texts = {"unit": unit, "correlation": CORRELATION, "shortened": shortened}
        page = page_environment().get_template("page.html.jinja")
        return page.render(results=results, tasks=views, orders=_orders(views), **texts)

    return render_small(cards, render, tasks=len(tasks))


class _ClassRow(NamedTuple):
    """One class: its words (or other units), the recall on it, its neurons, and their layers."""

    name: str
    words: object
    neurons: object
    share: float
    """Its number of neurons, as a fraction of the largest among the classes of the task: the length of its bar."""
    recall: object
    interval: Sequence[object]
    """The ends of the interval of the recall; empty if there is none."""
    layers: Spark | None
    top: Sequence[str]
    """Its first neurons, as they are written."""


class _TaskView(NamedTuple):
    """Everything that the page shows for one task: its numbers as they are, and its charts."""

    anchor: str
    name: str
    numbers: Mapping[str, Any]
    beats: bool
    """Whether the probe beats its baselines: only then are neurons shown."""
    said: Findings
    keep: tuple[KeepChart, ...]
    layers: LayerChart | None
    by_layer: LayerCurve | None
    uses: tuple[ModelUse, ...]
    """The model with neurons removed, measured in one way or several; empty if that was not measured."""
    control: tuple[ControlChart, ...]
    """The model with neurons shifted towards another class; empty if that was not measured."""
    controlled: str
    """The sentence about that."""
    overlap: Sequence[Mapping[str, Any]]
    """How far the ranking reproduces, by number of neurons; empty if that was not measured."""
    methods: MethodChart | None
    method_rows: Sequence[Mapping[str, Any]]
    """Every ranking method's reliability and validity; None and empty where that was not measured."""
    classes: tuple[_ClassRow, ...]
    search: SearchGrid | None
    neurons: tuple[NeuronRow, ...]
    link: str | None
    """Where its whole ranking lies."""
    table: str | None
    """Where the page of all its neurons lies."""


def _without_nulls(table: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the tables, and those in lists, without their null entries, so that a null reads as a missing key."""
    return {key: _clean(value) for key, value in table.items() if value is not None}


def _clean(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _without_nulls(value)
    return [_clean(part) for part in value] if isinstance(value, list) else value


def _without_place(name: object) -> str:
    """Returns the name of a model: of a local folder only its own, for a page is passed on."""
    parts = str(name).rstrip("/").split("/")
    return parts[-1] if len(parts) > 2 or parts[0] in ("", ".", "..", "~") else str(name)


def _view(
    index: int,
    name: str,
    results: Mapping[str, Any],
    cards: Sequence[NeuronCard],
    to: tuple[str | None, str | None],
) -> _TaskView:
    task: Mapping[str, Any] = results["tasks"][name]
    accuracy, beats = task.get("accuracy", {}).get("test"), beats_baselines(task)
    baselines = {
        "most frequent class": task.get("most_frequent_class", {}).get("accuracy"),
        "word-type majority": task.get("word_type_majority"),
    }
    layers = draw_layers(
        _numbers(task.get("layers", ())), task.get("layer_names", ()), centre=task.get("centre_of_mass")
    )
    return _TaskView(
        anchor=f"task-{index}",
        name=name,
        numbers=task,
        beats=beats,
        said=findings(results, name),
        keep=draw_keep(task.get("keep", {}), accuracy=accuracy, baselines=baselines) if beats else (),
        layers=layers if beats else None,
        by_layer=draw_by_layer(
            task.get("by_layer", ()), task.get("by_layer_untrained", ()), accuracy=accuracy, baselines=baselines
        ),
        uses=draw_uses(task) if beats else (),
        control=draw_control(task) if beats else (),
        controlled=control_sentence(task) if beats else "",
        overlap=overlap_rows(task) if beats else (),
        methods=draw_methods(task.get("methods", {}), own=_OWN.get(task.get("ranking", ""))) if beats else None,
        method_rows=method_rows(task.get("methods", {})) if beats else (),
        classes=_class_rows(task.get("per_class", {})),
        search=arrange_search(task.get("search", ())),
        neurons=tuple(neuron_row(card, task) for card in cards) if beats else (),
        link=to[0] if beats else None,
        table=to[1] if beats else None,
    )


def _orders(views: Sequence[_TaskView]) -> list[dict[str, int]]:
    """Returns for every task its place by each of `_SORTS`, best first; the page sorts by them without a script."""

    def key(view: _TaskView, by: str) -> tuple[bool, float | str]:
        numbers = view.numbers
        if by == "name":
            return False, view.name
        leads = [lead["difference"] for lead in numbers.get("lead", {}).values() if "difference" in lead]
        value = {
            "accuracy": numbers.get("accuracy", {}).get("test"),
            "lead": min(leads, default=None),
            "selectivity": numbers.get("selectivity"),
            "neurons": numbers.get("minimal", {}).get("neurons") if view.beats else None,
            "layer": numbers.get("centre_of_mass") if view.beats else None,
        }[by]
        falling = by in ("accuracy", "lead", "selectivity")
        return (False, float(-value if falling else value)) if formats.is_number(value) else (True, 0.0)

    places: list[dict[str, int]] = [{} for _ in views]
    for by in _SORTS:
        keys = [key(view, by) for view in views]
        for place, index in enumerate(sorted(range(len(views)), key=keys.__getitem__)):
            places[index][by] = place
    return places


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
            recall=row.get("recall"),
            interval=row.get("recall_interval", ()),
            layers=draw_spark(_numbers(row.get("layers", ()))),
            top=[str(Neuron(*neuron)) for neuron in row.get("top", ())],
        )
        for name, row in ordered
    )

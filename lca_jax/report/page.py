"""The report of a run: one HTML file that needs nothing but a browser.

`write_report` turns the dictionary of `results.json` and the cards of the top neurons into a page with its style and
charts inside it: no script, no request to anywhere, light and dark, fit for print. All that was measured is on it; a
key that is missing leaves a dash, or leaves its chart out. The page is a function of its input alone, to the byte.
What is computed here is layout: the numbers come from the lower rooms.

Needs the extra `plots` (jinja2). The words of a corpus are text from strangers: the templates escape whatever they are
given, and the content policy of the page forbids scripts besides.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lca_jax.descriptors.top_words import NeuronCard
from lca_jax.errors import DataError, MissingExtraError, SettingsError
from lca_jax.report import formats
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

if TYPE_CHECKING:
    from jinja2 import Environment

_FORMAT = 1
_EXAMPLE = 0.2
_FILTERS = (
    formats.decimal,
    formats.direction,
    formats.fact,
    formats.integer,
    formats.listing,
    formats.number,
    formats.percent,
    formats.points,
    formats.seconds,
    formats.share,
    formats.shorten,
    formats.signed,
)


def write_report(results: Mapping[str, Any], cards: Mapping[str, Sequence[NeuronCard]], out: Path) -> Path:
    """Writes the page of a run.

    Args:
        results: What `results.json` holds, format 1, fractions 0..1. Only `format` and `tasks` must be there.
        cards: The cards of the top neurons, by task; tasks without cards show none.
        out: A folder, which gets an `index.html`, or the name of an `.html` file.

    Returns:
        The file written.

    Raises:
        MissingExtraError: The extra `plots` is not installed.
        DataError: `results` is of another format or has no tasks.
        SettingsError: There are cards of a task that has no results.
    """
    page = out if out.suffix == ".html" else out / "index.html"
    text = render_report(results, cards)
    page.parent.mkdir(parents=True, exist_ok=True)
    unfinished = page.with_name(f"{page.name}.part")
    # A word with a lone surrogate cannot be UTF-8; it is no reason to lose the page.
    unfinished.write_bytes(text.encode("utf-8", errors="replace"))
    return unfinished.replace(page)


def render_report(results: Mapping[str, Any], cards: Mapping[str, Sequence[NeuronCard]]) -> str:
    """The text of the page that `write_report` writes; see there."""
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
        raise SettingsError(f"Cards must be of tasks with results ({', '.join(tasks)}), got {', '.join(unknown)}.")
    views = [_view(index, name, task, cards.get(name, ())) for index, (name, task) in enumerate(tasks.items())]
    unit = next(iter(tasks.values())).get("unit", "word")
    return _environment().get_template("page.html.jinja").render(results=results, tasks=views, unit=unit)


class _ClassRow(NamedTuple):
    """One class: how many words (or other rows) and neurons it has, how well it is told, and where its neurons lie."""

    name: str
    words: object
    neurons: object
    share: float
    """Its neurons as a fraction of the most that any class of the task has: the length of its bar."""
    accuracy: object
    layers: Spark | None


class _TaskView(NamedTuple):
    """All that the page shows of one task: its numbers as they are, and its charts."""

    anchor: str
    name: str
    numbers: Mapping[str, Any]
    keep: tuple[KeepChart, ...]
    example: Mapping[str, Any] | None
    """The masked keep curve at a fifth of the neurons, the papers' measure of a ranking, or at the next fraction."""
    layers: LayerChart | None
    classes: tuple[_ClassRow, ...]
    search: SearchGrid | None
    cards: Sequence[NeuronCard]


def _without_nulls(table: Mapping[str, Any]) -> dict[str, Any]:
    """The same tables without their null entries: a null says as much as a missing key."""
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
    fit = (point for point in curve if formats.known(kept := point.get("fraction")) and _EXAMPLE <= kept < 1)
    point = min(fit, key=lambda point: point["fraction"], default=None)
    return point if point and formats.known(point.get("top")) else None


def _numbers(values: Sequence[object]) -> list[float]:
    return [float(value) if formats.known(value) else 0.0 for value in values]


def _class_rows(per_class: Mapping[str, Mapping[str, Any]]) -> tuple[_ClassRow, ...]:
    """The classes, most frequent first; ties and unknown counts in the order of the names."""

    def count(row: Mapping[str, Any], key: str) -> float:
        return float(value) if formats.known(value := row.get(key)) else 0.0

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


@cache
def _environment() -> "Environment":
    """Templates that escape everything; a missing key is an unknown value, which the filters write as a dash."""
    try:
        from jinja2 import ChainableUndefined, Environment, FileSystemLoader
    except ImportError:
        raise MissingExtraError("jinja2", "plots", "The report page") from None
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({write.__name__: write for write in _FILTERS})
    environment.tests["known"] = formats.known
    return environment

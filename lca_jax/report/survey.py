"""The page of a survey: its answers in sentences, tables and figures, with links to the page of every run.

Like the page of a run it is one file that needs only a browser, has no script and requests nothing. It begins with
what was found, or that nothing was. Needs the extra `plots` (jinja2).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lca_jax.errors import DataError
from lca_jax.machine.files import write_text_whole
from lca_jax.report.environment import page_environment
from lca_jax.report.figures import Spark, draw_spark
from lca_jax.report.survey_findings import Told, caveat, specific_sentence, told_of_languages, told_of_models
from lca_jax.report.tree_chart import TreeChart, draw_tree

_FORMAT = 1
_HOME = "../"
"""The folder of the survey, as the page sees it."""


class _CellRow(NamedTuple):
    """One run: its numbers, and the depth of its neurons."""

    name: str
    link: str
    entry: Mapping[str, Any]
    depths: Spark | None


class _Matrix(NamedTuple):
    """A table of pairs: one row a source, one cell a target."""

    names: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Mapping[str, Any] | None]]]


class _LanguageView(NamedTuple):
    """One model and task in all corpora."""

    model: str
    task: str
    told: Told
    cells: Sequence[_CellRow]
    sizes: Sequence[tuple[str, float, _Matrix]]
    """What is compared, neurons or groups, the share of them, and the pairs."""
    trees: Sequence[tuple[str, TreeChart]]
    transfer: _Matrix | None
    classes: Sequence[tuple[str, Sequence[object]]]
    """Neurons of each class in the smallest set, by corpus."""


class _ModelView(NamedTuple):
    """One corpus and task in all models."""

    corpus: str
    task: str
    told: Told
    cells: Sequence[_CellRow]


def write_survey_page(results: Mapping[str, Any], out: Path) -> Path:
    """Writes the page of a survey, whole or not at all.

    Args:
        results: The content of its `results.json`, format 1.
        out: The folder, which gets an `index.html`; the runs lie beside it in `runs/`.

    Returns:
        The path of the page.

    Raises:
        MissingExtraError: The extra `plots` is not installed.
        DataError: `results` is of another format.
    """
    page = out / "index.html"
    write_text_whole(page, render_survey(results))
    return page


def render_survey(results: Mapping[str, Any]) -> str:
    """Returns the text of the page; arguments and errors are those of `write_survey_page`."""
    if results.get("format") != _FORMAT:
        raise DataError(f"`results` of a survey must have format {_FORMAT}, got {results.get('format')!r}.")
    languages = [
        _language_view(results, model, task)
        for model in (results["languages"] or {})
        for task in results["languages"][model]["tasks"]
    ]
    models = [
        _model_view(results, corpus, task)
        for corpus in (results["corpora"] if "architectures" in results["questions"] else ())
        for task in results["tasks"]
    ]
    specific = {
        model: (specific_sentence(entry["specific"]), entry["specific"])
        for model, entry in (results["languages"] or {}).items()
    }
    page = page_environment().get_template("survey.html.jinja")
    return page.render(
        results=results, languages=languages, models=models, specific=specific, caveat=caveat(results["questions"])
    )


def survey_lines(results: Mapping[str, Any]) -> list[str]:
    """Returns the answers as lines of text, the first of each question first."""
    lines: list[str] = []
    for model, entry in (results["languages"] or {}).items():
        for task, of_task in entry["tasks"].items():
            told = told_of_languages(of_task, model=model, task=task, at=results["share"])
            lines += [told.verdict, *(f"  {line}" for line in told.lines)]
        lines.append(f"{model}: {specific_sentence(entry['specific'])}")
    if "architectures" in results["questions"]:
        for corpus in results["corpora"]:
            for task in results["tasks"]:
                told = _model_view(results, corpus, task).told
                lines += [told.verdict, *(f"  {line}" for line in told.lines)]
    return [*lines, caveat(results["questions"])]


def _language_view(results: Mapping[str, Any], model: str, task: str) -> _LanguageView:
    entry = results["languages"][model]["tasks"][task]
    cells = results["cells"][model]
    sharing = entry["sharing"] or {}
    shares = sorted({pair["share"] for found in sharing.values() for pair in found["pairs"]})
    trees = {kind: draw_tree(found["map"]) for kind, found in sharing.items()}
    found_classes = {name: cells[name]["tasks"][task]["class_neurons"] for name in entry["compared"]}
    classes = sorted({name for of_corpus in found_classes.values() for name in of_corpus})
    return _LanguageView(
        model=model,
        task=task,
        told=told_of_languages(entry, model=model, task=task, at=results["share"]),
        cells=[_cell_row(name, cell, task) for name, cell in cells.items()],
        sizes=[(kind, size, _pairs(found, size)) for kind, found in sharing.items() for size in shares],
        trees=[(kind, tree) for kind, tree in trees.items() if tree],
        transfer=_transfer(entry["compared"], entry["transfer"]),
        classes=[(name, [of_corpus.get(name) for of_corpus in found_classes.values()]) for name in classes],
    )


def _model_view(results: Mapping[str, Any], corpus: str, task: str) -> _ModelView:
    cells = {model: results["cells"][model][corpus] for model in results["models"]}
    entries = {model: cell["tasks"][task] for model, cell in cells.items()}
    return _ModelView(
        corpus=corpus,
        task=task,
        told=told_of_models(entries, corpus=corpus, task=task, at=results["share"]),
        cells=[_cell_row(model, cell, task) for model, cell in cells.items()],
    )


def _cell_row(name: str, cell: Mapping[str, Any], task: str) -> _CellRow:
    entry = cell["tasks"][task]
    shares = [layer["share"] for layer in entry["depth"]["layers"]] if entry["beats_baselines"] else []
    return _CellRow(name, f"{_HOME}{cell['folder']}/report/index.html", entry, draw_spark(shares))


def _pairs(found: Mapping[str, Any], size: float) -> _Matrix:
    of_pair = {frozenset(pair["pair"]): pair for pair in found["pairs"] if pair["share"] == size}
    names = found["names"]
    return _Matrix(names, [(one, [of_pair.get(frozenset((one, other))) for other in names]) for one in names])


def _transfer(names: Sequence[str], transfer: Sequence[Mapping[str, Any]] | None) -> _Matrix | None:
    if not transfer:
        return None
    found = {(one["source"], one["target"]): one for one in transfer}
    return _Matrix(names, [(source, [found[source, target] for target in names]) for source in names])

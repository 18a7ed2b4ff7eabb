"""The pages of a survey: its answers in sentences, tables and figures, with links to the page of every run.

They need only a browser and request nothing; their one script sorts and searches the tables of runs, and the content
policy allows it by its checksum, and no other. The first page begins with what was found, or that nothing was. A large
survey has a page a section besides, and tables of many languages show a number a pair, whose other figures are in files
(`survey_files`). Needs the extra `plots` (jinja2).
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lca_jax.errors import DataError
from lca_jax.machine.files import write_text_whole
from lca_jax.report.environment import page_environment
from lca_jax.report.figures import Spark, draw_spark
from lca_jax.report.saved_figures import write_with_figures
from lca_jax.report.survey_files import pairs_csv, transfer_csv
from lca_jax.report.survey_findings import Told, caveat, specific_sentence, told_of_languages, told_of_models
from lca_jax.report.survey_places import contrast_sentence, redundancy_lines, tasks_sentences
from lca_jax.report.tree_chart import TreeChart, draw_tree
from lca_jax.text.task_names import name_file_of

_FORMAT = 2
_FIRST = "index.html"
_TITLES = {
    "languages": "Do languages share neurons?",
    "architectures": "Where do models differ?",
    "redundancy": "How many neurons could be spared?",
}
_HOME = "../"
"""The folder of the survey, as the page sees it."""
_MANY = 16
"""With more languages than these a table of pairs has one number a pair."""
_SECTIONS = 12
"""With more sections than these, or with many languages, every section has a page of its own."""
_SCRIPT = Path(__file__).parent / "templates" / "sorting.js"


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


class _RedundancyView(NamedTuple):
    """What could be spared of one run."""

    name: str
    lines: Sequence[str]
    layers: Mapping[str, Any]


class _LanguageView(NamedTuple):
    """One model and task in all corpora."""

    model: str
    task: str
    told: Told
    more: Sequence[str]
    """Further sentences: classes, and tasks that share neurons."""
    cells: Sequence[_CellRow]
    sizes: Sequence[tuple[str, float, _Matrix]]
    """What is compared, neurons or groups, the share of them, and the pairs."""
    trees: Sequence[tuple[str, TreeChart]]
    transfer: _Matrix | None
    classes: Sequence[tuple[str, Sequence[object]]]
    """Neurons of each class in the smallest set, by corpus."""
    compact: bool
    """Whether tables have one number a pair."""
    pairs_file: str
    transfer_file: str


class _ModelView(NamedTuple):
    """One corpus and task in all models."""

    corpus: str
    task: str
    told: Told
    more: Sequence[str]
    cells: Sequence[_CellRow]


class _Section(NamedTuple):
    """A part of the page, or a page of its own."""

    file: str
    title: str
    answer: str
    """What the first page says of it; empty if nothing."""
    languages: Sequence[_LanguageView] = ()
    specific: Mapping[str, tuple[str, Any]] = {}
    models: Sequence[_ModelView] = ()
    redundancy: Sequence[_RedundancyView] = ()


def write_survey_page(results: Mapping[str, Any], out: Path) -> Path:
    """Writes the pages of a survey, each whole or not at all.

    Args:
        results: The content of its `results.json`, format 2.
        out: The folder, which gets an `index.html`; the runs lie beside it in `runs/`.

    Returns:
        The path of the first page.

    Raises:
        MissingExtraError: The extra `plots` is not installed.
        DataError: `results` is of another format.
    """
    for name, content in render_survey_pages(results).items():
        if name.endswith(".html"):
            folder = "figures" if name == _FIRST else f"figures/{name.removesuffix('.html')}"
            write_with_figures(content, out / name, folder=folder)
        else:
            write_text_whole(out / name, content)
    return out / _FIRST


def render_survey(results: Mapping[str, Any]) -> str:
    """Returns the text of the first page; arguments and errors are those of `write_survey_page`."""
    return render_survey_pages(results)[_FIRST]


def render_survey_pages(results: Mapping[str, Any]) -> dict[str, str]:
    """Returns the text of every page and file of tables, by its name; otherwise as `write_survey_page`."""
    if results.get("format") != _FORMAT:
        raise DataError(f"`results` of a survey must have format {_FORMAT}, got {results.get('format')!r}.")
    sections = _sections(results)
    has_pages = len(sections) > _SECTIONS or len(results["corpora"]) > _MANY
    title = next(_TITLES[question] for question in _TITLES if question in results["questions"])
    script = _SCRIPT.read_text("utf-8")
    common = {
        "results": results,
        "caveat": caveat(results["questions"]),
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }

    def render(shown: Sequence[_Section], title: str, home: str | None) -> str:
        return (
            page_environment()
            .get_template("survey.html.jinja")
            .render(
                title=title,
                home=home,
                answers=[(one.answer, one.file if has_pages else None) for one in sections if one.answer],
                languages=[view for one in shown for view in one.languages],
                specific={model: told for one in shown for model, told in one.specific.items()},
                models=[view for one in shown for view in one.models],
                redundancy=[view for one in shown for view in one.redundancy],
                **common,
            )
        )

    pages = {_FIRST: render([] if has_pages else sections, title, None)}
    if has_pages:
        pages |= {section.file: render([section], section.title, _FIRST) for section in sections}
    for section in sections:
        for view in section.languages:
            entry = results["languages"][view.model]["tasks"][view.task]
            if view.compact:
                pages |= {
                    view.pairs_file: pairs_csv(entry["sharing"]),
                    view.transfer_file: transfer_csv(entry["transfer"]),
                }
    return pages


def _sections(results: Mapping[str, Any]) -> list[_Section]:
    sections = []
    for model, entry in (results["languages"] or {}).items():
        for task in entry["tasks"]:
            view = _language_view(results, model, task)
            title = f"{task} in {model}, language by language"
            file = f"languages-{model}-{name_file_of(task)}.html"
            sections.append(_Section(file, title, view.told.verdict, languages=[view]))
    for model, entry in (results["languages"] or {}).items():
        sentence, title = specific_sentence(entry["specific"]), f"Language-specific neurons of {model}"
        sections.append(_Section(f"specific-{model}.html", title, "", specific={model: (sentence, entry["specific"])}))
    for corpus in results["corpora"] if "architectures" in results["questions"] else ():
        for task in results["tasks"]:
            view, title = _model_view(results, corpus, task), f"{task} on {corpus}, model by model"
            file = f"models-{corpus}-{name_file_of(task)}.html"
            sections.append(_Section(file, title, view.told.verdict, models=[view]))
    for model, of_model in (results["redundancy"] or {}).items():
        for corpus, entry in of_model.items():
            view = _RedundancyView(f"{model} on {corpus}", redundancy_lines(entry), entry["layers"])
            answer = f"{view.name}: {view.lines[0]}"
            sections.append(_Section(f"redundancy-{model}-{corpus}.html", view.name, answer, redundancy=[view]))
    return sections


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
    for model, of_model in (results["redundancy"] or {}).items():
        for corpus, entry in of_model.items():
            lines += [f"{model} on {corpus}:", *(f"  {line}" for line in redundancy_lines(entry))]
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
        more=_more(results, cells, task),
        cells=[_cell_row(name, cell, task) for name, cell in cells.items()],
        sizes=[(kind, size, _pairs(found, size)) for kind, found in sharing.items() for size in shares],
        trees=[(kind, tree) for kind, tree in trees.items() if tree],
        transfer=_transfer(entry["compared"], entry["transfer"]),
        classes=[(name, [of_corpus.get(name) for of_corpus in found_classes.values()]) for name in classes],
        compact=len(entry["compared"]) > _MANY,
        pairs_file=f"pairs-{model}-{name_file_of(task)}.csv",
        transfer_file=f"transfer-{model}-{name_file_of(task)}.csv",
    )


def _model_view(results: Mapping[str, Any], corpus: str, task: str) -> _ModelView:
    cells = {model: results["cells"][model][corpus] for model in results["models"]}
    entries = {model: cell["tasks"][task] for model, cell in cells.items()}
    return _ModelView(
        corpus=corpus,
        task=task,
        told=told_of_models(entries, corpus=corpus, task=task, at=results["share"]),
        more=_more(results, cells, task),
        cells=[_cell_row(model, cell, task) for model, cell in cells.items()],
    )


def _more(results: Mapping[str, Any], cells: Mapping[str, Mapping[str, Any]], task: str) -> list[str]:
    """Returns what is told of classes and, with the first task, of tasks that share neurons."""
    contrast = contrast_sentence({name: cell["tasks"][task] for name, cell in cells.items()})
    shared = {name: cell["tasks_shared"] for name, cell in cells.items()} if task == results["tasks"][0] else {}
    return [*([contrast] if contrast else []), *tasks_sentences(shared, results["share"])]


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

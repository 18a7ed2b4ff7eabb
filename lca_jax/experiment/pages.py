"""The pages of a run: the page of results, and a page of all neurons for each task that shows neurons."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lca_jax.axes import Neuron, NeuronAxis
from lca_jax.descriptors.export import EXPLANATIONS, read_explanations
from lca_jax.descriptors.top_words import TopWords, top_words
from lca_jax.experiment.cards import cards_of_tasks
from lca_jax.experiment.neurons import near_copies
from lca_jax.experiment.rankings import Rankings
from lca_jax.experiment.reliability import csv_columns
from lca_jax.machine.files import write_text_whole
from lca_jax.report.neurons import NeuronLine, NeuronLines, render_neurons
from lca_jax.report.page import write_report
from lca_jax.store.store import ActivationStore
from lca_jax.text.task_names import name_file_of

_WORDS = 5000
"""Dev words that top words are taken from, the first ones."""
_OF_COPIES = 2000
"""Of these, the words that near copies are told by."""
_LISTED = 5
"""Number of top words of a neuron."""
_STRIP = 1024
"""Number of neurons whose copies are looked for at once."""


def write_pages(results: Mapping[str, Any], rankings: Rankings, dev: ActivationStore, folder: Path) -> None:
    """Writes the pages of a run into a folder.

    Args:
        results: The content of `results.json`.
        rankings: The rankings of the run.
        dev: The words that neurons are shown on.
        folder: The folder; the rankings lie in `rankings` beside it.
    """
    # Only tasks that beat their baselines show neurons.
    shown = [task for task, entry in results["tasks"].items() if entry["beats_baselines"]]
    links = {task: f"../rankings/{name_file_of(task)}.csv" for task in results["tasks"]}
    tables = {task: f"neurons-{name_file_of(task)}.html" for task in shown}
    write_report(results, cards_of_tasks(rankings, shown, dev), folder, links=links, tables=tables)
    if not shown:
        return
    told = _Told(rankings.probes.axis, dev, described=read_explanations(description_file(folder.parent).parent))
    for task in shown:
        entry, model = results["tasks"][task], str(results["model"]["name"])
        table = _lines(rankings, task, told, model=model, minimal=(entry["minimal"] or {}).get("neurons", 0))
        page = render_neurons(table, home="index.html", link=links[task])
        write_text_whole(folder / tables[task], page)


def description_file(run: Path) -> Path:
    """Returns the file of descriptions that the pages of a run show, where `lca describe` has written it there."""
    return run / "descriptions" / EXPLANATIONS


class _Told:
    """What is told of every neuron whatever the task: the words that move it, and its near copies."""

    def __init__(self, axis: NeuronAxis, dev: ActivationStore, *, described: Mapping[Neuron, str]) -> None:
        self.described = described
        units = np.flatnonzero(dev.usable)[:_WORDS]
        X, forms = dev.matrix(units), dev.forms()
        least = 1 if dev.unit == "sentence" else 2  # a text seldom comes twice
        self.words: list[TopWords] = top_words(
            [forms[unit] for unit in units.tolist()], X, count=_LISTED, min_occurrences=least
        )
        self.copies: list[list[tuple[int, float]]] = []
        for first in range(0, axis.size, _STRIP):
            columns = np.arange(first, min(first + _STRIP, axis.size))
            self.copies += near_copies(X[:_OF_COPIES], columns)


def _lines(rankings: Rankings, task: str, told: _Told, *, model: str, minimal: int) -> NeuronLines:
    axis, ranking, further = rankings.probes.axis, rankings.of(task), csv_columns(rankings, task)
    classes = rankings.probes.one(task).classes
    read_by: dict[int, list[int]] = {}
    if minimal:
        for name, columns in rankings.by_class(task, ranking.top(minimal)).items():
            for column in columns.tolist():
                read_by.setdefault(column, []).append(classes.index(name))
    blocks, indices = axis.block_of_column.tolist(), axis.index_of_column.tolist()

    def line(column: int, score: float) -> NeuronLine:
        interval = None
        if "rank_low" in further:
            interval = (round(float(further["rank_low"][column])), round(float(further["rank_high"][column])))
        return NeuronLine(
            block=blocks[column],
            index=indices[column],
            score=score,
            frequency=float(further["frequency"][column]) if "frequency" in further else None,
            interval=interval,
            classes=read_by.get(column, []),
            copies=[(blocks[other], indices[other], r) for other, r in told.copies[column]],
            words=told.words[column],
            description=told.described.get(axis.neuron(column), "") if told.described else "",
        )

    return NeuronLines(
        task=task,
        model=model,
        rule=rankings.rule,
        blocks=[(block.site, block.layer) for block in axis.blocks],
        classes=classes,
        lines=[line(*pair) for pair in zip(ranking.columns.tolist(), ranking.scores.tolist(), strict=True)],
    )

"""A survey: the runs of many models on many corpora, what is asked of them all, and a page that answers.

    survey.json                      the settings
    steps.json                       for every answer its key, what it makes, its seconds and checksums
    runs/MODEL/CORPUS/               an ordinary run folder, with its own steps, results and page
    made_from/MODEL/CORPUS.json      from what it was made (`survey_runs`)
    answers/                         what the questions found, a file a step
    results.json, report/index.html  put together from them

Runs keep their own steps, and the parts of a corpus depend on nothing but its sentences and the seed. So a language or
a model that is added makes its own runs and no other anew. An answer is kept by the keys of the runs that it reads.

Several processes that share a file system may do one survey together (`join`): each makes runs that no other makes, and
one of them puts the answers together.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from lca_jax.errors import StoreError
from lca_jax.experiment.config import Experiment
from lca_jax.experiment.folder import RunFolder, key_of, write_json
from lca_jax.experiment.holding import held_folder, log_file, place_on_disk, refuse_foreign_to_survey
from lca_jax.experiment.joining import one_at_a_time, others_are_seated, seated
from lca_jax.experiment.redundant import find_redundancy
from lca_jax.experiment.survey_answers import (
    SHARE,
    compare_sharing,
    compare_transfer,
    describe_cell,
    find_specific,
)
from lca_jax.experiment.survey_cells import Cells
from lca_jax.experiment.survey_runs import Runs
from lca_jax.experiment.survey_settings import Survey
from lca_jax.machine.json_text import read_object
from lca_jax.machine.versions import RESULT_PACKAGES, package_versions
from lca_jax.report.survey import write_survey_page
from lca_jax.text.task_names import name_file_of

_log = logging.getLogger("lca_jax")
FORMAT = 2
"""Number of the layout of `results.json`."""
_RESULTS = ("results.json", "report")
_SETTINGS = "survey.json"


def survey(settings: Survey, *, overwrite: bool = False, join: bool = False, progress: bool = False) -> dict[str, Any]:
    """Does a survey in its folder and skips what is finished there.

    Args:
        settings: The settings, with the folder.
        overwrite: Whether a run may remove what its folder has of another model or other texts.
        join: Whether to share the runs out with other processes that do the same survey, with `join` too. Each is a
            process of its own to JAX and needs devices of its own.
        progress: Whether to show bars on stderr.

    Returns:
        The content of `results.json`.

    Raises:
        LcaError: Something about the input, the settings or the folder is wrong; the message says what and how to mend
            it.
    """
    settings = replace(settings, out=place_on_disk(settings.out))
    place = settings.out
    with ExitStack() as held:
        seat, lock = held.enter_context(seated(place)) if join else (0, held.enter_context(held_folder(place)))
        begin_log = held.enter_context(log_file(place / "log.txt", _log))
        by_turns = partial(one_at_a_time, place) if join else partial(nullcontext, lock)
        with by_turns() as turn:
            refuse_foreign_to_survey(place)
            cells = Cells(settings)
            _ = cells.experiments, cells.aligned  # refuses what cannot be read before anything is written
            folder = RunFolder(place, lock=turn)
            _begin(settings, folder, is_with_others=join and others_are_seated(place, seat))
        begin_log()
        runs = Runs(cells.experiments, place, lock=lock)
        found = runs.do_all(joined=join, overwrite=overwrite, progress=progress)
        with by_turns() as turn:
            return _Answers(settings, cells, RunFolder(place, lock=turn), found).put_together()


def _begin(settings: Survey, folder: RunFolder, *, is_with_others: bool) -> None:
    """Writes the settings; results of other ones do not stay beside them."""
    if settings.as_json() != (before := _settings_in(folder)):
        if before is not None and is_with_others:
            raise StoreError(
                f"Other processes work in {settings.out} with other settings. Give all of them the same file, or wait "
                "until they are done."
            )
        folder.remove(_RESULTS)
    write_json(folder.place(_SETTINGS), settings.as_json())


class _Answers:
    """The steps of a survey whose runs are done."""

    def __init__(
        self, settings: Survey, cells: Cells, folder: RunFolder, found: Mapping[tuple[str, str], dict[str, Any]]
    ) -> None:
        self._settings = settings
        self._cells = cells
        self._folder = folder
        self._found = found
        self._works: dict[str, tuple[str, str, Callable[[], object]]] = {}
        """Key, file and work of every answer, by the name of its step."""
        for model, corpus in cells.experiments:
            self._plan_cell(model, corpus)
        if "languages" in settings.questions:
            for model in settings.models:
                self._plan_languages(model)
        if "redundancy" in settings.questions:
            for model, corpus in cells.experiments:
                self._plan_redundancy(model, corpus)
        self._keys = {name: key for name, (key, _, _) in self._works.items()}
        made_by = (FORMAT, settings.as_json(), package_versions(RESULT_PACKAGES))
        self._keys["report"] = key_of("report", self._keys, *made_by)

    def put_together(self) -> dict[str, Any]:
        """Makes the answers that are missing, the results and the page; returns the results."""
        self._folder.settle(self._keys)
        for name, (key, file, work) in self._works.items():
            self._folder.do(name, key, [file], partial(self._write_answer, file, work))
        report = self._keys["report"]
        self._folder.do("report", report, _RESULTS, lambda: self._write_results(report))
        return _read(self._folder, "results.json")

    def _plan_cell(self, model: str, corpus: str) -> None:
        experiment, results = self._cells.experiments[model, corpus], self._found[model, corpus]
        self._plan(("cell", model, corpus), results["key"], lambda: describe_cell(experiment, results))

    def _plan_redundancy(self, model: str, corpus: str) -> None:
        experiment, results = self._cells.experiments[model, corpus], self._found[model, corpus]
        self._plan(("redundancy", model, corpus), results["key"], lambda: find_redundancy(experiment, results))

    def _plan_languages(self, model: str) -> None:
        everywhere = {corpus: self._cells.experiments[model, corpus] for corpus in self._settings.corpora}
        keys = [self._keys_of(model, corpus) for corpus in everywhere]
        seed = self._settings.seed
        self._plan(
            ("specific", model),
            key_of([of_run["extract train"] for of_run in keys], list(everywhere), seed),
            lambda: find_specific(everywhere, seed=seed),
        )
        for task in self._settings.tasks:
            compared = self._compared(model, task)
            if len(compared) < 2:
                continue
            keys = [self._keys_of(model, corpus) for corpus in compared]
            self._plan(
                ("sharing", model, task),
                key_of([of_run["rank"] for of_run in keys], list(compared), task),
                lambda compared=compared, task=task: compare_sharing(compared, task),
            )
            self._plan(
                ("transfer", model, task),
                key_of([[of_run["probe"], of_run["extract test"]] for of_run in keys], list(compared), task, seed),
                lambda compared=compared, task=task: compare_transfer(compared, task, seed=seed),
            )

    def _compared(self, model: str, task: str) -> Mapping[str, Experiment]:
        """Returns the corpora whose probe beats its baselines: of the others no neuron is presented."""
        return {
            corpus: self._cells.experiments[model, corpus]
            for corpus in self._settings.corpora
            if self._found[model, corpus]["tasks"][task]["beats_baselines"]
        }

    def _plan(self, name: tuple[str, ...], key: str, work: Callable[[], object]) -> None:
        file = "/".join(["answers", *map(name_file_of, name)])
        self._works[" ".join(name)] = (key_of(FORMAT, name, key), f"{file}.json", work)

    def _answer(self, *name: str) -> Any:
        work = self._works.get(" ".join(name))
        return None if work is None else _read(self._folder, work[1])["answer"]

    def _keys_of(self, model: str, corpus: str) -> dict[str, str]:
        place = self._settings.folder_of(model, corpus) / "steps.json"
        steps = read_object(place, error=StoreError, way_out="Start the survey again.")
        return {name: record["key"] for name, record in steps.items()}

    def _write_answer(self, file: str, work: Callable[[], object]) -> None:
        answer = work()
        write_json(self._folder.place(file), {"answer": answer})

    def _write_results(self, key: str) -> None:
        results = self._results(key)
        write_json(self._folder.place("results.json"), results)
        write_survey_page(results, self._folder.place("report"))

    def _results(self, key: str) -> dict[str, Any]:
        settings = self._settings
        return {
            "format": FORMAT,
            "key": key,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "questions": list(settings.questions),
            "tasks": list(settings.tasks),
            "models": list(settings.models),
            "corpora": list(settings.corpora),
            "share": SHARE,
            "aligned": self._cells.aligned,
            "cells": {
                model: {
                    corpus: {
                        "folder": f"runs/{model}/{corpus}",
                        **self._answer("cell", model, corpus),
                    }
                    for corpus in settings.corpora
                }
                for model in settings.models
            },
            "languages": {model: self._languages(model) for model in settings.models}
            if "languages" in settings.questions
            else None,
            "redundancy": {
                model: {corpus: self._answer("redundancy", model, corpus) for corpus in settings.corpora}
                for model in settings.models
            }
            if "redundancy" in settings.questions
            else None,
            "seed": settings.seed,
            "seconds": {name: spent for name, spent in self._folder.seconds.items() if name != "report"},
            "versions": package_versions(RESULT_PACKAGES),
        }

    def _languages(self, model: str) -> dict[str, Any]:
        compared = {task: list(self._compared(model, task)) for task in self._settings.tasks}
        return {
            "specific": self._answer("specific", model),
            "tasks": {
                task: {
                    "compared": compared[task],
                    "left_out": [name for name in self._settings.corpora if name not in compared[task]],
                    "sharing": self._answer("sharing", model, task),
                    "transfer": self._answer("transfer", model, task),
                }
                for task in self._settings.tasks
            },
        }


def _settings_in(folder: RunFolder) -> dict[str, Any] | None:
    """Returns the settings of the last survey here; None if there was none."""
    return _read(folder, _SETTINGS) if (folder.path / _SETTINGS).exists() else None


def _read(folder: RunFolder, name: str) -> dict[str, Any]:
    path = folder.path / name
    return read_object(path, error=StoreError, way_out=f"Delete {path} and start the same survey again.")

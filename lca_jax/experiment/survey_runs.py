"""The runs of a survey: each is made once, read again without its model, and made by one process of a job.

`made_from/MODEL/CORPUS.json` says from what the run of a cell was made: its settings, and the checksums of the files of
its texts and its model. As long as these are the same, and the run folder is whole, the results are read and no model
is loaded. Where that cannot be told from files alone (texts or models at URLs), the run is started, which loads the
model and skips what is finished.

Several processes that joined (`joining`) each make some of the cells. The lock of a run folder says whose a cell is: a
process passes by what another one holds, and comes back to it, so cells of lost processes are made by the others.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from lca_jax.errors import HeldError, LcaError, StoreError
from lca_jax.experiment.ablated import KINDS
from lca_jax.experiment.config import PARTS, Experiment
from lca_jax.experiment.folder import RunFolder, write_json
from lca_jax.experiment.joining import AGAIN_S
from lca_jax.experiment.kept_corpora import corpus_file
from lca_jax.experiment.opening import keeping_model
from lca_jax.experiment.pages import description_file
from lca_jax.experiment.results import FORMAT
from lca_jax.experiment.run import run
from lca_jax.machine.checksums import checksum_of_file
from lca_jax.machine.json_text import read_object
from lca_jax.machine.urls import url_of
from lca_jax.machine.versions import RESULT_PACKAGES, package_versions
from lca_jax.models.loading.folders import files_of_model, find_folder
from lca_jax.store.lock import UNSHARED, Lock
from lca_jax.text.annotate import split_option
from lca_jax.text.corpus import Corpus
from lca_jax.text.datasets import HUB

Cell = tuple[str, str]
"""The names of a model and a corpus."""
MADE_FROM = "made_from"
_log = logging.getLogger("lca_jax")


class Planned(NamedTuple):
    """A cell, and whether its run is finished."""

    model: str
    corpus: str
    finished: bool
    sentences: Mapping[str, int]
    """Sentences of each part that was divided here; empty where the parts are files."""


class Runs:
    """The runs of a survey in its folder."""

    def __init__(self, experiments: Mapping[Cell, Experiment], folder: Path, *, lock: Lock = UNSHARED) -> None:
        """Keeps the settings; nothing is read yet.

        Args:
            experiments: The run of every cell.
            folder: The folder of the survey.
            lock: The right to write there, unless it is only read.
        """
        self._experiments = experiments
        self._folder = folder
        self._lock = lock
        self._models: dict[tuple[str, str | None, bool], dict[str, str] | None] = {}
        """Checksums of the files of the models that were looked at."""

    def plan(self) -> list[Planned]:
        """Returns all cells."""
        return [
            Planned(
                model=model,
                corpus=corpus,
                finished=self.finished((model, corpus)) is not None,
                sentences={
                    part: text.sentence_count for part in PARTS if isinstance(text := getattr(experiment, part), Corpus)
                },
            )
            for (model, corpus), experiment in self._experiments.items()
        ]

    def finished(self, cell: Cell) -> dict[str, Any] | None:
        """Returns the results of a cell, if its run is finished and would find the same again; otherwise None."""
        folder = self._experiments[cell].out
        way_out = "Start the survey again."
        try:
            kept = read_object(self._record_of(cell), error=StoreError, way_out=way_out)
            results = read_object(folder / "results.json", error=StoreError, way_out=way_out)
        except (OSError, StoreError):
            return None
        made_from = self._made_from(cell)
        if made_from is None or kept != {**made_from, "key": results.get("key")}:
            return None
        return results if RunFolder(folder).is_finished() else None

    def do(self, cell: Cell, *, overwrite: bool, progress: bool) -> dict[str, Any]:
        """Returns the results of a cell; makes what is missing.

        Raises:
            HeldError: Another process holds its folder.
            LcaError: As those of `run`.
        """
        if (results := self.finished(cell)) is not None:
            _log.info("survey: %s on %s: finished before, read", *cell)
            return results
        _log.info("survey: %s on %s", *cell)
        results = run(self._experiments[cell], overwrite=overwrite, progress=progress)
        made_from = self._made_from(cell)
        if made_from is not None:
            self._lock.check()
            write_json(self._record_of(cell), {**made_from, "key": results["key"]})
        return results

    def do_all(self, *, joined: bool, overwrite: bool, progress: bool) -> dict[Cell, dict[str, Any]]:
        """Returns the results of all cells.

        Args:
            joined: Whether other processes make cells too: what they hold is waited for, instead of refused.
            overwrite: Whether a run may remove what its folder has of other inputs.
            progress: Whether to show bars.
        """
        missing, found = list(self._experiments), dict[Cell, dict[str, Any]]()
        with keeping_model():
            while missing:
                held = []
                for cell in missing:
                    try:
                        found[cell] = self.do(cell, overwrite=overwrite, progress=progress)
                    except HeldError:
                        if not joined:
                            raise
                        held.append(cell)
                if missing := held:
                    time.sleep(AGAIN_S)
        return {cell: found[cell] for cell in self._experiments}

    def _record_of(self, cell: Cell) -> Path:
        model, corpus = cell
        return self._folder / MADE_FROM / model / f"{corpus}.json"

    def _made_from(self, cell: Cell) -> dict[str, Any] | None:
        """Returns all that decides what a run finds; None where files do not tell it."""
        experiment = self._experiments[cell]
        files = self._files_of(experiment)
        if files is None:
            return None
        in_memory = {
            part: corpus_file(text, experiment.out, part)
            for part in PARTS
            if isinstance(text := getattr(experiment, part), Corpus)
        }
        return {
            "settings": replace(experiment, **in_memory).as_json(),
            "files": files,
            "results": FORMAT,
            "versions": package_versions(RESULT_PACKAGES),
        }

    def _files_of(self, experiment: Experiment) -> dict[str, str] | None:
        """Returns the checksums of the files that a run reads; None if one of them is no file of this machine."""
        texts: list[Path] = [text for part in PARTS if isinstance(text := getattr(experiment, part), Path)]
        listed = [split_option(option) for option in experiment.annotate]
        texts += [Path(file) for _, pattern, file in listed if pattern is None]
        model = self._model_of(experiment)
        if model is None or any(url_of(text) is not None or str(text).startswith(HUB) for text in texts):
            return None
        texts += [file for kind in KINDS for file in sorted((experiment.out / kind).glob("*.json"))]
        texts += [file for file in [description_file(experiment.out)] if file.is_file()]
        try:
            return model | {str(text): checksum_of_file(text) for text in texts}
        except OSError:
            return None

    def _model_of(self, experiment: Experiment) -> dict[str, str] | None:
        key = (experiment.model, experiment.revision, experiment.random_weights is None)
        if key not in self._models:
            self._models[key] = _checksums_of_model(*key)
        return self._models[key]


def _checksums_of_model(name: str, revision: str | None, weights: bool) -> dict[str, str] | None:
    if url_of(name) is not None:
        return None
    try:
        folder = find_folder(name, revision=revision, weights=weights)
        names = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
        return {
            f"model/{file}": checksum_of_file(folder / file) for file in sorted(files_of_model(names, weights=weights))
        }
    except (LcaError, OSError):
        return None  # the run says what is wrong

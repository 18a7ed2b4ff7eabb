"""A run: texts, activations, probes, rankings, measurements and the page, in steps that are not done twice.

The steps, and what they make in the run folder:

    extract   activations/{train,dev,test}    stores; an interrupted one goes on from its last whole shard
    probe     probes/                         every problem of the grid, and the choice made on dev
    rank      rankings/<task>.csv
    ablate    tasks/<task>.json               curves, minimal set, classes: the entries of results.json
    report    results.json, report/           put together from the others

`run` does all of them, or those up to one, and skips those whose inputs have not changed.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from lca_jax.descriptors.top_words import NeuronCard, neuron_cards
from lca_jax.errors import SettingsError
from lca_jax.experiment.config import STEPS, Experiment, Step
from lca_jax.experiment.folder import RunFolder, key_of, write_json
from lca_jax.experiment.inputs import Inputs, keep_corpora
from lca_jax.experiment.results import FORMAT, Stores, analyse_task, describe_corpus, describe_model
from lca_jax.machine.devices import describe_device
from lca_jax.machine.progress import show_bars
from lca_jax.machine.versions import RESULT_PACKAGES, package_versions
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.probe_set import ProbeSet, load_probes
from lca_jax.ranking.lca import neurons_by_class, rank_neurons
from lca_jax.ranking.ranking import Ranking
from lca_jax.report.page import write_report
from lca_jax.store.description import warn_of_excluded
from lca_jax.store.recipe import WordChoice
from lca_jax.store.statistics import STATISTICS
from lca_jax.text.corpus import name_file_of

_log = logging.getLogger("lca_jax")
_PARTS = ("train", "dev", "test")
_CARDS = 12
"""Number of neurons on the page."""
_RESULTS = ("results.json", "report")


def run(experiment: Experiment, *, until: Step = "report", progress: bool = False) -> dict[str, Any]:
    """Does an experiment in its run folder and skips what is finished there.

    Args:
        experiment: The settings, with the run folder.
        until: The last step to do.
        progress: Whether to show bars on stderr.

    Returns:
        The content of `results.json`; an empty dictionary if the run stops before the report.

    Raises:
        LcaError: Something about the input, the settings or the folder is wrong; the message says what and how to mend
            it.
    """
    if until not in STEPS:
        raise SettingsError(f"`until` must be one of {', '.join(STEPS)}, got {until!r}.")
    if experiment.out.exists() and not experiment.out.is_dir():
        raise SettingsError(f"`out` must be a folder, and {experiment.out} is a file. Name another place.")
    with _log_file(experiment.out / "log.txt"):
        experiment = keep_corpora(experiment, experiment.out)
        with show_bars(progress):
            return _Run(experiment, progress=progress).up_to(until)


class _Run:
    """The state of one run. What later steps need of earlier ones is read or made when it is first needed."""

    def __init__(self, experiment: Experiment, *, progress: bool) -> None:
        self._settings = experiment
        self._inputs = Inputs(experiment, experiment.out, test=experiment.test, progress=progress)
        self._folder = RunFolder(experiment.out)

    def up_to(self, until: Step) -> dict[str, Any]:
        self._write_settings()
        steps: Mapping[Step, Callable[[], None]] = {
            "extract": self._extract,
            "probe": self._probe,
            "rank": self._rank,
            "ablate": self._ablate,
            "report": self._report,
        }
        for name in STEPS[: STEPS.index(until) + 1]:
            steps[name]()
        return json.loads((self._folder.path / "results.json").read_text("utf-8")) if until == "report" else {}

    def _write_settings(self) -> None:
        """Writes `config.json`, once model and texts could be read; results of other inputs do not stay beside it."""
        if self._folder.has_changed(self._keys):
            self._folder.remove(_RESULTS)
        write_json(self._folder.path / "config.json", self._settings.as_json())

    # What the steps share

    @cached_property
    def _stores(self) -> Stores:
        return Stores(*(self._inputs.store(part) for part in _PARTS))

    @cached_property
    def _probes(self) -> ProbeSet:
        return load_probes(self._folder.path / "probes", store=self._stores.train)

    @property
    def _tasks(self) -> tuple[str, ...]:
        return self._inputs.tasks

    def _ranking(self, task: str) -> Ranking:
        return rank_neurons(self._probes, task)

    # Steps

    def _extract(self) -> None:
        for part in _PARTS:
            outputs = [f"activations/{part}"]
            if self._settings.statistics:
                outputs.append(f"activations/{part}/{STATISTICS}")
            name = f"extract {part}"
            self._folder.do(name, self._keys[name], outputs, lambda part=part: self._fill_store(part))

    def _probe(self) -> None:
        def fit() -> None:
            pairs, tasks = len(self._settings.probe.pairs), len(self._tasks)
            what = f"{tasks} task{'s' * (tasks > 1)}, {pairs} pair{'s' * (pairs > 1)} of penalties"
            _log.info("probe: fitting %s on %d neurons", what, self._stores.train.axis().size)
            probes = fit_probes(self._stores.train, self._settings.probe, tasks=self._tasks)
            probes.select(self._stores.dev, by=self._settings.select).save(self._folder.path / "probes")

        self._folder.do("probe", self._keys["probe"], ["probes"], fit)

    def _rank(self) -> None:
        def write() -> None:
            for task in self._tasks:
                self._ranking(task).write_csv(self._folder.path / "rankings" / f"{name_file_of(task)}.csv")

        self._folder.do("rank", self._keys["rank"], ["rankings"], write)

    def _ablate(self) -> None:
        for task in self._tasks:
            output = f"tasks/{name_file_of(task)}.json"

            def measure(task: str = task, output: str = output) -> None:
                entry = analyse_task(self._probes, self._ranking(task), self._stores, self._settings)
                write_json(self._folder.path / output, entry)

            name = f"ablate {task}"
            self._folder.do(name, self._keys[name], [output], measure)

    def _report(self) -> None:
        def write() -> None:
            results = self._results()
            write_json(self._folder.path / "results.json", results)
            cards = {task: self._cards(task) for task in self._tasks}
            write_report(results, cards, self._folder.path / "report")

        keys = [self._keys[f"ablate {task}"] for task in self._tasks]
        self._folder.do("report", key_of("report", keys, package_versions(RESULT_PACKAGES)), _RESULTS, write)

    # Keys: everything that determines a step's outcome

    @cached_property
    def _keys(self) -> dict[str, str]:
        """The key of every step but the report, by the name of the step."""
        settings = self._settings
        extract = {part: self._extract_key(part) for part in _PARTS}
        heads = [] if settings.heads is None else [settings.heads]
        chosen_by = (settings.as_json()["probe"], settings.select, self._tasks)
        probe = key_of("probe", [extract["train"], extract["dev"]], *chosen_by, *heads)
        measured = (settings.fractions, settings.draws, settings.drop, settings.seed)
        ablate = {task: key_of("ablate", task, probe, extract["test"], measured) for task in self._tasks}
        return {
            **{f"extract {part}": key for part, key in extract.items()},
            "probe": probe,
            "rank": key_of("rank", probe),
            **{f"ablate {task}": key for task, key in ablate.items()},
        }

    def _extract_key(self, part: str) -> str:
        settings = self._settings
        reading = (settings.sites, settings.layers, self._inputs.pool, settings.dtype)
        choice = self._inputs.choice(part)
        # Added only where something is chosen, so that steps of older run folders, which had no choice, are not redone.
        chosen = [settings.neurons, str(choice)] if settings.neurons or choice != WordChoice() else []
        model, corpus = self._inputs.model, self._inputs.corpora[part]
        return key_of("extract", model.fingerprint, corpus.fingerprint(), reading, *chosen)

    # Work

    def _fill_store(self, part: str) -> None:
        warn_of_excluded(self._inputs.extract(part).manifest, name=part)

    def _results(self) -> dict[str, object]:
        corpora, stores = self._inputs.corpora, self._stores
        entries = {
            task: json.loads((self._folder.path / "tasks" / f"{name_file_of(task)}.json").read_text("utf-8"))
            for task in self._tasks
        }
        return {
            "format": FORMAT,
            "model": describe_model(self._inputs.model, self._probes.axis),
            "corpus": {part: describe_corpus(corpora[part], store) for part, store in zip(_PARTS, stores, strict=True)},
            "tasks": entries,
            "seed": self._settings.seed,
            "seconds": self._folder.seconds,
            "device": describe_device(),
            "versions": package_versions(RESULT_PACKAGES),
        }

    def _cards(self, task: str) -> tuple[NeuronCard, ...]:
        """Describes the best neurons of the merged ranking, with the classes that need them, for the page."""
        ranking = self._ranking(task)
        dev = self._stores.dev
        count = min(_CARDS, len(ranking.columns))
        columns = ranking.top(count)
        by_class = neurons_by_class(self._probes, task, count=count)
        return neuron_cards(
            dev.forms(),
            dev.words["sentence"].to_numpy(),
            dev.matrix()[:, columns],
            neurons=ranking.axis.neurons(columns),
            classes=[[name for name, needed in by_class.items() if column in needed] for column in columns],
            labels=dev.labels(task),
            usable=dev.usable,
            min_occurrences=1 if dev.unit == "sentence" else 2,  # a text seldom comes twice
        )


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Appends what the package logs, and warnings where they are captured, to a file, each line with its time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = _log.level
    loggers = (_log, logging.getLogger("py.warnings"))
    for logger in loggers:
        logger.addHandler(handler)
    _log.setLevel(logging.INFO)
    try:
        yield
    finally:
        _log.setLevel(level)
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()

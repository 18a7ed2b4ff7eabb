"""A run: texts, activations, probes, rankings, measurements and the page, in steps that are not done twice.

The steps, and what they make in the run folder:

    extract   activations/{train,dev,test}    stores; an interrupted one goes on from its last whole shard
    probe     probes/                         every problem of the grid, and the choice made on dev
    halves    replicates/                     the chosen probes on half-samples, where `replicates` asks for them
    rank      rankings/<task>.csv
    ablate    tasks/<task>.json               curves, minimal set, classes: the entries of results.json
    untrained untrained.json                  layers of a model with random weights, where `untrained` asks for it
    report    results.json, report/           put together from the others

`run` does all of them, or those up to one, and skips those whose inputs and files have not changed. What was made from
other inputs is removed first. It holds the lock of the folder, and changes nothing there before texts, model and
settings were checked together. A folder that has results of another model or other texts is refused.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from lca_jax.errors import SettingsError, StoreError
from lca_jax.experiment.ablated import kept_measured
from lca_jax.experiment.checks import check_inputs
from lca_jax.experiment.config import STEPS, Experiment, Step
from lca_jax.experiment.controls import fit_controls
from lca_jax.experiment.folder import RunFolder, key_of, write_json
from lca_jax.experiment.holding import held_folder, log_file, place_on_disk, refuse_foreign
from lca_jax.experiment.inputs import Inputs
from lca_jax.experiment.kept_corpora import keep_corpora
from lca_jax.experiment.layers import untrained_accuracies
from lca_jax.experiment.origins import tell_other_inputs
from lca_jax.experiment.pages import description_file, write_pages
from lca_jax.experiment.rankings import Rankings, load_rankings
from lca_jax.experiment.reliability import csv_columns, fit_halves
from lca_jax.experiment.results import FORMAT, Stores, analyse_task, describe_corpus, describe_model
from lca_jax.extraction.shapes import SHARD_WORDS
from lca_jax.machine.checksums import checksum_of_file
from lca_jax.machine.devices import describe_device
from lca_jax.machine.json_text import read_object
from lca_jax.machine.progress import show_bars
from lca_jax.machine.versions import RESULT_PACKAGES, package_versions
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.probe_set import ProbeSet, load_probes
from lca_jax.store.description import warn_of_excluded
from lca_jax.store.lock import Lock
from lca_jax.store.recipe import WordChoice
from lca_jax.store.statistics import STATISTICS
from lca_jax.text.task_names import name_file_of

_log = logging.getLogger("lca_jax")
_PARTS = ("train", "dev", "test")
_RESULTS = ("results.json", "report")
_UNTRAINED = "untrained.json"
_SAMPLES = "replicates"


def run(
    experiment: Experiment, *, until: Step = "report", overwrite: bool = False, progress: bool = False
) -> dict[str, Any]:
    """Does an experiment in its run folder and skips what is finished there.

    Args:
        experiment: The settings, with the run folder.
        until: The last step to do.
        overwrite: Whether to remove what the folder has of another model or other texts, instead of refusing it.
        progress: Whether to show bars on stderr.

    Returns:
        The content of `results.json`; an empty dictionary if the run stops before the report.

    Raises:
        LcaError: Something about the input, the settings or the folder is wrong; the message says what and how to mend
            it.
    """
    if until not in STEPS:
        raise SettingsError(f"`until` must be one of {', '.join(STEPS)}, got {until!r}.")
    experiment = replace(experiment, out=place_on_disk(experiment.out))
    out = experiment.out
    with held_folder(out) as lock, log_file(out / "log.txt", _log) as begin_log, show_bars(progress):
        refuse_foreign(out)
        experiment = keep_corpora(experiment, out)
        started = _Run(experiment, lock, progress=progress)
        if not overwrite:
            started.refuse_other_inputs()
        begin_log()
        return started.up_to(until)


class _Run:
    """The state of one run. What later steps need of earlier ones is read or made when it is first needed.

    Making it checks the inputs and changes nothing.
    """

    def __init__(self, experiment: Experiment, lock: Lock, *, progress: bool) -> None:
        self._settings = experiment
        self._inputs = Inputs(experiment, experiment.out, progress=progress)
        check_inputs(self._inputs, experiment)
        self._folder = RunFolder(experiment.out, lock=lock)

    def up_to(self, until: Step) -> dict[str, Any]:
        self._settle()
        steps: Mapping[Step, Callable[[], None]] = {
            "extract": self._extract,
            "probe": self._probe,
            "rank": self._rank,
            "ablate": self._ablate_and_compare,
            "report": self._report,
        }
        for name in STEPS[: STEPS.index(until) + 1]:
            steps[name]()
        return self._read_json("results.json") if until == "report" else {}

    def refuse_other_inputs(self) -> None:
        """Compares model and texts with those that the folder has results of.

        Raises:
            StoreError: They differ.
        """
        if told := self._find_other_inputs():
            raise StoreError(
                f"{self._folder.path} has results of other inputs: {'; '.join(told)}. Name another --out, or give "
                "--overwrite to remove them."
            )

    def _find_other_inputs(self) -> list[str]:
        return tell_other_inputs(self._folder.inputs, self._inputs.origins)

    def _settle(self) -> None:
        """Writes `config.json`; results of other inputs do not stay beside it."""
        if self._find_other_inputs():
            self._folder.clear()
        self._folder.settle(self._keys)
        self._folder.write_inputs(self._inputs.origins)
        write_json(self._folder.place("config.json"), self._settings.as_json())

    # What the steps share

    @cached_property
    def _stores(self) -> Stores:
        return Stores(*(self._inputs.store(part) for part in _PARTS))

    @cached_property
    def _probes(self) -> ProbeSet:
        return load_probes(self._folder.path / "probes", store=self._stores.train)

    @cached_property
    def _rankings(self) -> Rankings:
        return load_rankings(self._settings, probes=self._probes)

    @property
    def _tasks(self) -> tuple[str, ...]:
        return self._inputs.tasks

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
            probes = fit_probes(self._stores.train, self._settings.probe, tasks=self._tasks, control=False)
            chosen = probes.select(self._stores.dev, by=self._settings.select)
            fit_controls(chosen).save(self._folder.place("probes"))

        self._folder.do("probe", self._keys["probe"], ["probes"], fit)

    def _rank(self) -> None:
        def write() -> None:
            for task in self._tasks:
                ranking, further = self._rankings.of(task), csv_columns(self._rankings, task)
                ranking.write_csv(self._folder.place(f"rankings/{name_file_of(task)}.csv"), further=further)

        if self._settings.replicates:
            self._folder.do("halves", self._keys["halves"], [_SAMPLES], self._fit_halves)
        self._folder.do("rank", self._keys["rank"], ["rankings"], write)

    def _ablate_and_compare(self) -> None:
        self._ablate()
        if self._settings.untrained is not None:
            self._folder.do("untrained", self._keys["untrained"], [_UNTRAINED], self._measure_untrained)

    def _ablate(self) -> None:
        for task in self._tasks:
            output = f"tasks/{name_file_of(task)}.json"

            def measure(task: str = task, output: str = output) -> None:
                entry = analyse_task(self._rankings, task, self._stores, self._settings)
                write_json(self._folder.place(output), entry)

            name = f"ablate {task}"
            self._folder.do(name, self._keys[name], [output], measure)

    def _report(self) -> None:
        def write() -> None:
            results = self._results()
            write_json(self._folder.place("results.json"), results)
            write_pages(results, self._rankings, self._stores.dev, self._folder.place("report"))

        self._folder.do("report", self._keys["report"], _RESULTS, write)

    # Keys: everything that determines a step's outcome

    @cached_property
    def _keys(self) -> dict[str, str]:
        """The key of every step, by the name of the step."""
        settings = self._settings
        extract = {part: self._extract_key(part) for part in _PARTS}
        heads = [] if settings.heads is None else [settings.heads]
        chosen_by = (settings.as_json()["probe"], settings.select, self._tasks)
        probe = key_of("probe", [extract["train"], extract["dev"]], *chosen_by, *heads)
        measured = (settings.fractions, settings.draws, settings.drop, settings.seed, settings.mdl)
        # Added only where halves are asked for: a run without them makes the same whatever they are.
        halves = [settings.replicates] if settings.replicates else []
        halves += [settings.halves_l2] if halves and settings.halves_l2 else []
        ranked = [settings.ranking, *halves, *(["methods"] if settings.methods else [])]
        ablate = {
            task: key_of("ablate", FORMAT, task, probe, extract["test"], measured, *ranked) for task in self._tasks
        }
        keys = {
            **{f"extract {part}": key for part, key in extract.items()},
            "probe": probe,
            **({"halves": key_of("halves", probe, *halves)} if halves else {}),
            "rank": key_of("rank", FORMAT, probe, settings.ranking, *halves),
            **{f"ablate {task}": key for task, key in ablate.items()},
        }
        if settings.untrained is not None:
            keys["untrained"] = key_of("untrained", FORMAT, settings.untrained, probe, extract["test"], settings.seed)
        ablated = kept_measured(self._folder.path, self._tasks, rank_key=keys["rank"])
        told = description_file(self._folder.path)
        later = [*([ablated] if ablated else []), *([checksum_of_file(told)] if told.is_file() else [])]
        made_by = (FORMAT, package_versions(RESULT_PACKAGES), *later)
        return keys | {"report": key_of("report", keys, *made_by)}

    def _extract_key(self, part: str) -> str:
        settings = self._settings
        reading = (settings.sites, settings.layers, self._inputs.pool, settings.dtype)
        choice = self._inputs.choice(part)
        # Added only where something is chosen, so that steps of older run folders, which had no choice, are not redone.
        chosen = [settings.neurons, str(choice)] if settings.neurons or choice != WordChoice() else []
        if settings.shard_words not in (None, SHARD_WORDS):
            chosen.append({"shard_words": settings.shard_words})
        if (window := self._inputs.window(part)) is not None:
            chosen.append({"longest_window": window})
        model, corpus = self._inputs.model, self._inputs.corpora[part]
        return key_of("extract", model.fingerprint, corpus.fingerprint(), reading, *chosen)

    # Work

    def _fill_store(self, part: str) -> None:
        warn_of_excluded(self._inputs.extract(part).manifest, name=part)

    def _fit_halves(self) -> None:
        options = {"replicates": self._settings.replicates, "least_l2": self._settings.halves_l2}
        fit_halves(self._probes, self._tasks, **options).save(self._folder.place(_SAMPLES))

    def _measure_untrained(self) -> None:
        settings = replace(self._settings, random_weights=self._settings.untrained, statistics=False)
        entries = untrained_accuracies(Inputs(settings, None), self._probes, seed=settings.seed)
        write_json(self._folder.place(_UNTRAINED), entries)

    def _results(self) -> dict[str, Any]:
        whole, corpora, stores = self._inputs.whole, self._inputs.corpora, self._stores
        ablated = kept_measured(self._folder.path, self._tasks, rank_key=self._keys["rank"])
        files = {task: f"tasks/{name_file_of(task)}.json" for task in self._tasks}
        entries = {task: self._read_json(file) | ablated.get(task, {}) for task, file in files.items()}
        if self._settings.untrained is not None:
            untrained = self._read_json(_UNTRAINED)
            entries = {task: {**entry, "by_layer_untrained": untrained[task]} for task, entry in entries.items()}
        return {
            "format": FORMAT,
            "key": self._keys["report"],
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": self._settings.command(),
            "model": describe_model(self._inputs.model, self._probes.axis),
            "corpus": {
                part: describe_corpus(whole[part], corpora[part], store)
                for part, store in zip(_PARTS, stores, strict=True)
            },
            "tasks": entries,
            "seed": self._settings.seed,
            "seconds": self._folder.seconds,
            "device": describe_device(),
            "versions": package_versions(RESULT_PACKAGES),
        }

    def _read_json(self, name: str) -> dict[str, Any]:
        path = self._folder.path / name
        return read_object(path, error=StoreError, way_out=f"Delete {path} and start the same command again.")

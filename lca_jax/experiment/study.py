"""A study by many processes: the activations of a treebank, all its probes in one solve, and their rankings.

Run the same command in every process of a TPU pod or a GPU cluster, with `--out` on a file system that all of them
reach, or at a URL of an object store. Each process extracts its share of the words and writes its own shards. Then all
of them solve together, each reading the words of its own devices, and the first one writes `probes/` and `rankings/`.
Answers are kept as they are found (`probing.kept_answers`), so a study that was killed solves no problem again.
On one machine it is the same command without `--join`. A study has the options of a run for what is read. Keep curves
and minimal sets are left to `lca run`, on one machine.
"""

import gc
import logging
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import jax
import numpy as np

from lca_jax.errors import StoreError
from lca_jax.experiment.checks import check_inputs
from lca_jax.experiment.config import Study
from lca_jax.experiment.folder import key_of, write_json
from lca_jax.experiment.holding import held_folder, refuse_foreign_to_study
from lca_jax.experiment.inputs import Inputs
from lca_jax.machine.checksums import checksum_of
from lca_jax.machine.devices import describe_device
from lca_jax.machine.files import real_path
from lca_jax.machine.folders import list_files, open_folder, read_file, remove_file
from lca_jax.machine.heap import return_freed_memory
from lca_jax.machine.json_text import parse_json
from lca_jax.machine.processes import of_first, together
from lca_jax.machine.progress import show_bars
from lca_jax.machine.urls import read_content, url_of
from lca_jax.machine.versions import RESULT_PACKAGES, package_versions
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.kept_answers import KeptAnswers
from lca_jax.probing.probe_set import ProbeSet, load_probes
from lca_jax.ranking.lca import rank_neurons
from lca_jax.ranking.ranking import is_ranking
from lca_jax.store.description import warn_of_excluded
from lca_jax.store.lock import Lock
from lca_jax.store.store import ActivationStore
from lca_jax.text.task_names import name_file_of

_RECORD = "fits.json"
"""The file that says what the probes were made of."""
_log = logging.getLogger(__name__)


def study(settings: Study, *, progress: bool = False) -> ProbeSet:
    """Does a study; every process calls it with the same settings after `job.join_processes`.

    Args:
        settings: The settings, with the folder of the results.
        progress: Whether to show bars on stderr.

    Returns:
        The chosen probes, in every process.

    Raises:
        LcaError: Something about the input, the settings or the folder is wrong; the message says what and how to mend
            it.
    """
    if url_of(settings.out) is None:
        settings = replace(settings, out=real_path(settings.out))
    rank = jax.process_index()
    with ExitStack() as held:
        with together("the lock of the folder"):
            first = held.enter_context(held_folder(settings.out)) if rank == 0 else None
            if first:
                refuse_foreign_to_study(settings.out)
        with together("the locks of the folder"):
            lock = first or held.enter_context(held_folder(settings.out, rank=rank))
        held.enter_context(show_bars(progress and rank == 0))
        return _study(settings, lock, progress=progress)


def _study(settings: Study, lock: Lock, *, progress: bool) -> ProbeSet:
    _log.info("%s", ", ".join(f"{name} {value}" for name, value in describe_device().items()))
    inputs = Inputs(settings, settings.out if settings.stored else None, progress=progress)
    with together("reading the inputs"):
        check_inputs(inputs, settings)
    train, dev = inputs.store("train"), inputs.store("dev")
    if jax.process_index() == 0:
        warn_of_excluded(train.manifest, name="train")
        warn_of_excluded(dev.manifest, name="dev")
    tasks = tuple(inputs.tasks)
    del inputs  # the words of a hundred tasks, and a model that is read no more, take gigabytes
    gc.collect()  # parts of a model hold each other in a circle
    return_freed_memory()
    key = _key_of(settings, train, dev, tasks=tasks)
    probes = _finished(settings.out, key, train)
    if probes is None:
        probes = _fit(settings, train, dev, key=key, tasks=tasks, lock=lock)
    if jax.process_index() == 0:
        _write_rankings(probes, settings.out / "rankings", lock)
    return probes


def _key_of(settings: Study, train: ActivationStore, dev: ActivationStore, *, tasks: Sequence[str]) -> str:
    """Returns a hash of everything that decides the chosen probes, but the number and kind of the devices."""
    stores = [store.manifest.recipe.as_json() for store in (train, dev)]
    fitted = (settings.regression, settings.replicates, settings.by_layer, settings.matrix_dtype, settings.heads)
    versions = package_versions(RESULT_PACKAGES)
    return key_of("study", stores, tasks, asdict(settings.probe), settings.select, fitted, versions)


def _finished(out: Path, key: str, train: ActivationStore) -> ProbeSet | None:
    """Returns the probes that an earlier start with the same key has finished; None where there are none."""
    with together("the record of the probes"):
        is_finished = jax.process_index() == 0 and _is_finished(out, key)
    if of_first(b"yes" if is_finished else b"no") == b"no":
        return None
    _log.info("probes: finished before, skipped")
    with together("finished probes"):
        return load_probes(out / "probes", store=train)


def _is_finished(out: Path, key: str) -> bool:
    """Returns whether the probes are there, whole, and those of the record."""
    try:
        if parse_json(read_content(out / _RECORD)) != _record(out, key):
            return False
        load_probes(out / "probes")
    except (OSError, ValueError, StoreError):
        return False
    return True


def _record(out: Path, key: str) -> dict[str, str]:
    return {"key": key, "probes": checksum_of(read_content(out / "probes/probes.json"))}


def _fit(
    settings: Study, train: ActivationStore, dev: ActivationStore, *, key: str, tasks: Sequence[str], lock: Lock
) -> ProbeSet:
    """Fits and chooses; problems that an earlier start has solved are not solved again."""
    kept = KeptAnswers.at(settings.out, key, lock=lock)
    probes = fit_probes(
        train,
        settings.probe,
        tasks=tasks,
        subsets="layers" if settings.by_layer else None,
        regression=settings.regression,
        replicates=settings.replicates,
        dtype=settings.matrix_dtype,
        split_over=settings.split_over,
        stream=settings.stream,
        kept=kept,
    )
    chosen = probes.select(dev, by=settings.select)
    with together("the locks of the folder"):
        lock.check()
    chosen.save(settings.out / "probes")
    if jax.process_index() == 0:
        record = _record(settings.out, key)
        lock.check()
        write_json(settings.out / _RECORD, record)
        kept.remove()
    return chosen


def _write_rankings(probes: ProbeSet, folder: Path, lock: Lock) -> None:
    """Writes one table for each task, or for each task and subset, in place of those of an earlier study."""
    there = open_folder(folder)
    lock.check()
    for name in list_files(there):
        if re.fullmatch(r"[^/]+\.csv", name) and is_ranking(read_file(there, name) or b""):
            remove_file(there, name)
    for task in probes.tasks:
        for subset in probes.subsets:
            name = name_file_of(task) if subset is None else f"{name_file_of(task)}-{subset.replace(' ', '-')}"
            further = {"ranking": np.full(probes.axis.size, "mass")}
            ranking = rank_neurons(probes, task, subset=subset)
            lock.check()
            ranking.write_csv(folder / f"{name}.csv", further=further)

"""A study by many processes: the activations of a treebank, all its probes in one solve, and their rankings.

Run the same command in every process of a TPU pod or a GPU cluster, with `--out` on a file system that all of them
reach. Each process extracts its share of the words and writes its own shards; then all of them solve together, each
reading the words of its own devices; then the first one writes `probes/` and `rankings/`. On one machine it is the
same command without `--join`. What is read is told as to `lca run`: labels of words, of sentences, of words with their
heads; parts of the words, the layers and the neurons. Curves and minimal sets are `lca run`'s, on one machine.
"""

import logging
from pathlib import Path

import jax

from lca_jax.experiment.config import Study
from lca_jax.experiment.inputs import Material
from lca_jax.machine.devices import describe_device
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.ranking.lca import rank_neurons
from lca_jax.store.description import warn_of_excluded
from lca_jax.text.corpus import name_file_of

_log = logging.getLogger(__name__)


def study(settings: Study, *, progress: bool = False) -> ProbeSet:
    """Does a study; every process calls it with the same settings after `devices.join_processes`.

    Args:
        settings: What to do, and where.
        progress: Shows bars on stderr.

    Returns:
        The chosen probes, in every process.

    Raises:
        LcaError: Anything about the input, the settings or the folder that the caller can mend.
    """
    _log.info("%s", describe_device())
    material = Material(settings, settings.out if settings.stored else None, progress=progress)
    train, dev = material.store("train"), material.store("dev")
    if jax.process_index() == 0:
        warn_of_excluded(train.manifest, name="train")
        warn_of_excluded(dev.manifest, name="dev")
    fitted = fit_probes(
        train,
        settings.probe,
        tasks=material.tasks,
        subsets="layers" if settings.by_layer else None,
        replicates=settings.replicates,
        dtype=settings.matrix_dtype,
        split_over=settings.split_over,
        stream=settings.stream,
    )
    chosen = fitted.select(dev, by=settings.select)
    chosen.save(settings.out / "probes")
    if jax.process_index() == 0:
        _write_rankings(chosen, settings.out / "rankings")
    return chosen


def _write_rankings(probes: ProbeSet, folder: Path) -> None:
    """One table a task, or a task and subset."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in probes.tasks:
        for subset in probes.subsets:
            name = task if subset is None else f"{task} {subset}"
            rank_neurons(probes, task, subset=subset).write_csv(folder / f"{name_file_of(name)}.csv")

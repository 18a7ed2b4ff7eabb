"""The probe of a run's last layer, by which neurons of the layers below are judged: what of a task reaches the end?

A probe of the layers whose neurons are removed would say which weights it has. One of the last layer reads what the
model makes of the others.
"""

from dataclasses import replace

import numpy as np

from lca_jax.errors import SettingsError
from lca_jax.experiment.config import Experiment
from lca_jax.experiment.inputs import Inputs
from lca_jax.interventions.task_probe import ProbeAccuracy
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.probe_set import ProbeSet


def probe_of_last_layer(
    experiment: Experiment, inputs: Inputs, probes: ProbeSet, task: str, *, max_words: int | None
) -> tuple[ProbeAccuracy, dict[str, tuple[int, ...]]]:
    """Fits a probe of the last layer of the residual stream, with the penalty that the run chose for all layers.

    Args:
        experiment: The run's settings.
        inputs: The run's inputs.
        probes: The run's probes.
        task: A task of words.
        max_words: At most this many test words are measured, whole sentences, drawn with the run's seed.

    Returns:
        Its accuracy on the test words as a measure, and the layers below by site.

    Raises:
        SettingsError: The run has no such task, probes pairs of words or sentences, or has no layer below another.
    """
    if task not in probes.tasks:
        raise SettingsError(f"The run has no task {task!r} to probe. It has: {', '.join(probes.tasks)}.")
    if experiment.heads is not None:
        raise SettingsError("A run of words and their heads has no probe of words. Make a run without `heads`.")
    blocks, names = probes.axis.blocks, probes.axis.layer_names
    layers = [block.layer if block.site == "residual" else -1 for block in blocks]
    place = int(np.argmax(layers))
    # Layer l of the other sites lies in the block that makes layer l + 1 of the residual stream.
    below = {
        site: tuple(block.layer for block in blocks if block.site == site and block.layer < layers[place])
        for site in {block.site for block in blocks}
    }
    if not all(below.values()):
        known = ", ".join(names)
        raise SettingsError(
            f"`probe` reads the last layer of `residual` and removes neurons below it; there are {known}."
        )
    whole, name = probes.one(task), names[place]
    columns = np.flatnonzero(probes.axis.block_of_column == place)
    settings = replace(probes.settings, l1=whole.l1, l2=whole.l2)
    fitted = fit_probes(inputs.store("train"), settings, tasks=[task], subsets={name: columns}, control=False)
    corpus = inputs.corpora["test"]
    if max_words is not None:
        corpus = corpus.take_words(max_words, seed=experiment.seed)
    return ProbeAccuracy.of(inputs.model, fitted, task, corpus, subset=name, pool=inputs.pool), below

"""Linguistic Correlation Analysis: ranks neurons by the weight mass at which the classes of a probe need them.

Reference: Dalvi et al. 2019, "Linguistic Correlation Analysis", Algorithm 1. `probing.weight_mass` has the exact limit.
"""

import numpy as np

from lca_jax.probing.probe import Probe
from lca_jax.probing.probe_set import ProbeSet, as_probe_set, only_task
from lca_jax.probing.weight_mass import class_levels, mass_order
from lca_jax.ranking.ranking import Ranking, rank_by_scores


def rank_neurons(
    probes: ProbeSet | Probe,
    task: str | None = None,
    *,
    stride: int | None = None,
    replicate: int = 0,
    subset: str | None = None,
    target: str | None = None,
) -> Ranking:
    """Ranks the neurons of a task by its probe's weights.

    Weights are read in the scale in which they were penalised. By default this is the scale of standardised features,
    so that a neuron's rank does not depend on the size of its activations.

    Args:
        probes: A selected set, with one probe of the task; or a probe of `fit_elastic_net`, whose neurons are the
            columns of its X.
        task: The task; None for the only one.
        stride: None for the exact order; a number of mass steps for NeuroX's blocks (`mass_order`).
        replicate: Number of the bootstrap sample whose probe is read; 0 for the training words as they are.
        subset: Name of the part of the neurons whose probe is read; None for all.
        target: Class whose probe is read, if the probes tell one class from the rest.

    Returns:
        The ranking. A neuron's score is 1 − (mass level at which the first class needs it): 1 for each class's heaviest
        neuron, 0 for neurons that no class needs or that the probe does not read. `by_class` ranks by the weights of
        one class; there a neuron's score is its share of the class's mass.

    Raises:
        SettingsError: There is no such probe, or there are several penalties.
    """
    probes = as_probe_set(probes)
    task = only_task(probes) if task is None else task
    probe = probes.one(task, replicate=replicate, subset=subset, target=target)
    weights = probe.weights_among(probes.axis.size)
    merged = mass_order(weights, stride=stride)
    by_class = {}
    for number, name in enumerate(probe.classes):
        magnitude = np.abs(weights[:, number].astype(np.float64))
        by_class[name] = rank_by_scores(f"{task}: {name}", probes.axis, magnitude / max(magnitude.sum(), 1e-300))
    return Ranking(
        task=task,
        axis=probes.axis,
        columns=merged.order,
        scores=1 - merged.level[merged.order],
        ties=merged.block[merged.order],
        by_class=by_class,
    )


def neurons_by_class(probes: ProbeSet, task: str, *, count: int) -> dict[str, np.ndarray]:
    """Divides the first `count` neurons of a task's ranking among the classes that need them at that mass level.

    A neuron that several classes need is in the sets of all of them (JMLR 2023, Figures 7 and 13). One without any
    weight is in none: no class needs it at any level.

    Args:
        probes: A selected set, with one probe of the task.
        task: The task.
        count: Number of leading neurons.

    Returns:
        Columns of the neurons by class, in the order of the ranking; their union is the part of the set that has
        weight.
    """
    probe = probes.one(task)
    chosen = mass_order(probe.weights).order[:count]
    levels = class_levels(probe.weights)[chosen]
    first = levels.min(axis=1)
    # Level 1 is that of weights of zero, so it must not become the level at which all classes are asked.
    needed = levels <= first[first < 1].max(initial=0.0)
    return {name: chosen[needed[:, number]] for number, name in enumerate(probe.classes)}

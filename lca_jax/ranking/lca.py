"""Linguistic Correlation Analysis: ranks neurons by the weight mass at which the classes of a probe need them.

Reference: Dalvi et al. 2019, "Linguistic Correlation Analysis", Algorithm 1. `probing.weight_mass` has the exact limit,
`replicates` what is made of the probes of many samples, `groups` what counts as one neuron.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.probing.probe import Probe
from lca_jax.probing.probe_set import ProbeSet, as_probe_set, only_task
from lca_jax.probing.weight_mass import class_levels, mass_order
from lca_jax.ranking.groups import Groups, group_axis, group_weights
from lca_jax.ranking.merging import Merged, TieRule, choose_merged
from lca_jax.ranking.ranking import Ranking, rank_by_scores
from lca_jax.ranking.replicates import Merge, merge_weights


def rank_neurons(
    probes: ProbeSet | Probe,
    task: str | None = None,
    *,
    stride: int | None = None,
    replicate: int = 0,
    subset: str | None = None,
    target: str | None = None,
    over: Literal["replicates"] | None = None,
    by: Merge = "level",
    share: float = 0.1,
    groups: Groups | None = None,
    minimum_words: int = 0,
    ties: TieRule = "share",
) -> Ranking:
    """Ranks the neurons of a task by its probe's weights.

    Weights are read in the scale in which they were penalised. By default this is the scale of standardised features,
    so that a neuron's rank does not depend on the size of its activations.

    Args:
        probes: A selected set, with one probe of the task; or a probe of `fit_elastic_net`, whose neurons are the
            columns of its X.
        task: The task; None for the only one.
        stride: None for the exact order; a number of mass steps for NeuroX's blocks (`mass_order`).
        replicate: Number of the sample whose probe is read; 0 for the training words as they are.
        subset: Name of the part of the neurons whose probe is read; None for all.
        target: Class whose probe is read, if the probes tell one class from the rest.
        over: None for one probe; `"replicates"` to rank by the probes of all samples together, without that of the
            training words as they are. Such a ranking depends less on the sample.
        by: What is made of the samples: `"level"`, the mean of the scores (default); `"frequency"`, the share of the
            samples in whose first neurons a neuron is; `"weight"`, the mean magnitude of its weights.
        share: Share of the neurons that count as a sample's first, for `"frequency"`, in (0, 1].
        groups: None for neurons; `"index"` for the neurons of one index in all layers of the residual stream as one
            group, or any division of the neurons (`correlated_groups`). A group's weights are the sums of the
            magnitudes of its neurons' weights. The ranking is one of groups (`ranking.groups`).
        minimum_words: Least number of training words of a class that takes part in the order over all classes. 0 for
            all classes, as Algorithm 1 has it; the papers that set a minimum have 100 (`ranking.merging`). The ranking
            names the classes that it left out, and still has theirs in `by_class`.
        ties: What orders the neurons that one block ties, such as the first one, of the heaviest neuron of each class:
            `"share"`, the largest share of a class's mass, which puts the rarest class first; or `"gain"`, by how much
            the neuron's weights move the mean loss (`weight_mass.gain_of_weights`). The papers leave it open. It has no
            part in a ranking over samples, whose blocks are small.

    Returns:
        The ranking. A neuron's score is 1 − (mass level at which the first class needs it): 1 for each class's heaviest
        neuron, 0 for neurons that no class needs or that the probe does not read. `by_class` ranks by the weights of
        one class; there a neuron's score is its share of the class's mass. Over samples the score is what `by` says, of
        each class too (for `"level"` there the mean of 1 − the class's own level).

    Raises:
        SettingsError: There is no such probe, there are several penalties, or no samples; `share` is not in (0, 1]; or
            no class has the minimum of words.
    """
    probes = as_probe_set(probes)
    task = only_task(probes) if task is None else task
    numbers = _replicates(probes, replicate=replicate, over=over)
    of_task = [probes.one(task, replicate=number, subset=subset, target=target) for number in numbers]
    weights = [probe.weights_among(probes.axis.size) for probe in of_task]
    # A sample has other words; which classes are merged is decided by the words as they are, once for all samples.
    known = probes.of(task, subset=subset, target=target)[0]
    merged = choose_merged(task, known.classes, known.class_words, minimum_words=minimum_words, ties=ties)
    axis = probes.axis
    if groups is not None:
        weights = [group_weights(own, axis, groups) for own in weights]
        axis = group_axis(axis, groups)
    if over is None:
        return rank_by_mass(task, axis, of_task[0].classes, weights[0], stride=stride, merged=merged)
    ranking = merge_weights(
        task, axis, of_task[0].classes, weights, by=by, share=share, stride=stride, merged=merged.classes
    )
    return replace(ranking, left_out=merged.left_out)


def _replicates(probes: ProbeSet, *, replicate: int, over: str | None) -> Sequence[int]:
    """Returns the numbers of the samples whose probes are read."""
    if over is None:
        return [replicate]
    if over != "replicates":
        raise SettingsError(f"`over` must be 'replicates' or None, got {over!r}.")
    if replicate:
        raise SettingsError(
            f"`over` reads all samples and `replicate` one of them (got {replicate}). Give one of both."
        )
    if not probes.replicates:
        raise SettingsError("These probes have no samples to rank over. Fit them with `fit_probes(replicates=20)`.")
    return range(1, probes.replicates + 1)


def rank_by_mass(
    task: str,
    axis: NeuronAxis,
    classes: Sequence[str],
    weights: Float[np.ndarray, "feature class"],
    *,
    stride: int | None,
    merged: Merged,
) -> Ranking:
    """Ranks neurons by the mass order of some weights, overall and by class.

    Args:
        task: The task.
        axis: The neuron of each column.
        classes: Names of the classes, in the order of the weights' columns.
        weights: Weights of one probe, or of one for each class.
        stride: None for the exact order; a number of mass steps for NeuroX's blocks.
        merged: The classes whose weights are merged, and the rule of ties.
    """
    found = mass_order(weights[:, merged.classes], stride=stride, within=merged.gain(weights))
    by_class = {}
    for number, name in enumerate(classes):
        magnitude = np.abs(weights[:, number].astype(np.float64))
        by_class[name] = rank_by_scores(f"{task}: {name}", axis, magnitude / max(magnitude.sum(), 1e-300))
    return Ranking(
        task=task,
        axis=axis,
        columns=found.order,
        scores=1 - found.level[found.order],
        ties=found.block[found.order],
        by_class=by_class,
        left_out=merged.left_out,
    )


def neurons_by_class(probes: ProbeSet, task: str, *, count: int, replicate: int = 0) -> dict[str, np.ndarray]:
    """Divides the first `count` neurons of a task's ranking among the classes that need them at that mass level.

    A neuron that several classes need is in the sets of all of them (JMLR 2023, Figures 7 and 13). One without any
    weight is in none: no class needs it at any level.

    Args:
        probes: A selected set, with one probe of the task.
        task: The task.
        count: Number of leading neurons.
        replicate: Number of the sample whose probe is read; 0 for the training words as they are.

    Returns:
        Columns of the neurons by class, in the order of the ranking; their union is the part of the set that has
        weight.
    """
    probe = probes.one(task, replicate=replicate)
    chosen = mass_order(probe.weights).order[:count]
    levels = class_levels(probe.weights)[chosen]
    first = levels.min(axis=1)
    # Level 1 is that of weights of zero, so it must not become the level at which all classes are asked.
    needed = levels <= first[first < 1].max(initial=0.0)
    return {name: chosen[needed[:, number]] for number, name in enumerate(probe.classes)}

"""Ranks neurons by the mean magnitude of a probe's weights over the classes: a class gets as many as it has weight.

The mass order gives every class the same quota at each level, however little it needs; this one does not.

Reference: Antverg and Belinkov 2022, "On the Pitfalls of Analyzing Individual Neurons", section 3 and appendix A.1.
"""

from lca_jax.probing.probe import Probe
from lca_jax.probing.probe_set import ProbeSet, as_probe_set, only_task
from lca_jax.ranking.groups import Groups, group_axis, group_weights
from lca_jax.ranking.ranking import Ranking
from lca_jax.ranking.replicates import merge_weights


def rank_by_mean_weight(
    probes: ProbeSet | Probe, task: str | None = None, *, replicate: int = 0, groups: Groups | None = None
) -> Ranking:
    """Ranks neurons by Σ |w| / (number of classes), in the scale in which weights were penalised.

    Over all samples it is `rank_neurons(over="replicates", by="weight")`.

    Args:
        probes: A selected set, with one probe of the task; or a probe of `fit_elastic_net`.
        task: The task; None for the only one.
        replicate: Number of the sample whose probe is read; 0 for the training words as they are.
        groups: None for neurons, `"index"` or a division of the neurons for groups (`rank_neurons`).

    Returns:
        The ranking; `by_class` ranks by the magnitude of the class's own weights.

    Raises:
        SettingsError: There is no such probe, or there are several penalties.
    """
    probes = as_probe_set(probes)
    task = only_task(probes) if task is None else task
    probe = probes.one(task, replicate=replicate)
    weights, axis = probe.weights_among(probes.axis.size), probes.axis
    if groups is not None:
        weights, axis = group_weights(weights, axis, groups), group_axis(axis, groups)
    return merge_weights(task, axis, probe.classes, [weights], by="weight")

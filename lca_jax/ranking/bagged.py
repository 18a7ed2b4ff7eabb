"""The ranking that a run makes by default: mean weights over many samples, with near copies further down.

Three things make the order of weight mass depend on the sample: one class decides a neuron's place, one sample does,
and the l1 penalty picks one of several near copies. Here the magnitudes of weights are averaged over all classes and
over samples of the sentences, so that no one of them decides. Averages give near copies equal scores, and the fifth
copy tells a probe nothing new: so the score of a neuron falls by a share for each better neuron of the same index in
the residual stream (`groups.discount_copies`). `benchmarks/README.md` has what was measured of it, for reliability and
for probes that are trained on its first neurons.

Reference: Breiman 1996, "Bagging predictors"; Antverg and Belinkov 2022, section 3 (mean weight of a linear probe).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from lca_jax.probing.probe import Probe
from lca_jax.probing.probe_set import ProbeSet, as_probe_set, only_task
from lca_jax.ranking.groups import Groups, copy_groups, discount_copies, group_axis, group_weights
from lca_jax.ranking.ranking import Ranking
from lca_jax.ranking.replicates import merge_weights

_READS = 0.5
"""A class reads a neuron if its weight is at least this share of the largest that any class has for it."""


def rank_bagged(
    probes: ProbeSet | Probe,
    task: str | None = None,
    *,
    replicate: int = 0,
    share: float = 0.9,
    groups: Groups | None = None,
) -> Ranking:
    """Ranks neurons by the mean magnitude of their weights over classes and samples, and discounts near copies.

    Args:
        probes: A selected set that was fitted to samples too (`fit_samples`), with one probe of the task. Without
            samples the one probe of the task is read, and so is a probe of `fit_elastic_net`.
        task: The task; None for the only one.
        replicate: Number of the one sample that is read; 0 for all of them together.
        share: What a neuron keeps of its score for each better one of the same index in the residual stream, in (0, 1].
        groups: None for neurons. A ranking of groups (`rank_neurons`) has no copies, and nothing is discounted.

    Returns:
        The ranking; `by_class` ranks by the class's own weights in the same way.

    Raises:
        SettingsError: There is no such probe, there are several penalties, or `share` is not in (0, 1].
    """
    probes = as_probe_set(probes)
    task = only_task(probes) if task is None else task
    read = _read(probes, task, replicate)
    weights, axis = [probe.weights_among(probes.axis.size) for probe in read], probes.axis
    if groups is not None:
        weights, axis = [group_weights(own, axis, groups) for own in weights], group_axis(axis, groups)
    merged = merge_weights(task, axis, read[0].classes, weights, by="weight")
    return merged if groups is not None else discount_copies(merged, share=share, groups=copy_groups(axis))


def reading_classes(
    probes: ProbeSet, task: str, columns: Int[np.ndarray, " neuron"], *, replicate: int = 0
) -> dict[str, Int[np.ndarray, " _"]]:
    """Divides neurons among the classes that read them: whose mean weight is at least half of the largest.

    Means are over the samples, as in `rank_bagged`. A neuron that several classes read is in the sets of all of them;
    one without any weight is in none.

    Args:
        probes: A set as for `rank_bagged`.
        task: The task.
        columns: The neurons.
        replicate: Number of the one sample that is read; 0 for all of them together.

    Returns:
        Columns of the neurons by class, in the order given.
    """
    mean = mean_magnitudes(probes, task, replicate=replicate)[columns]
    reads = (mean >= _READS * mean.max(axis=1, keepdims=True)) & (mean > 0)
    return {name: columns[reads[:, number]] for number, name in enumerate(probes.one(task).classes)}


def mean_magnitudes(probes: ProbeSet, task: str, *, replicate: int = 0) -> Float[np.ndarray, "feature class"]:
    """Returns the mean magnitude of every weight, over the samples as in `rank_bagged`."""
    read = _read(probes, task, replicate)
    return np.mean([np.abs(one.weights_among(probes.axis.size).astype(np.float64)) for one in read], axis=0)


def _read(probes: ProbeSet, task: str, replicate: int) -> Sequence[Probe]:
    numbers = range(1, probes.replicates + 1) if probes.replicates and not replicate else [replicate]
    return [probes.one(task, replicate=number) for number in numbers]

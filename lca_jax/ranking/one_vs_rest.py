"""Ranks neurons by the weight mass of binary probes, each of which tells one class from all other words.

A class's weights in a multinomial probe are relative to those of the other classes, and the classes share the neurons
that one penalty lets in. The binary probe of a class has the whole penalty for itself. Fan et al. 2023 rank so for each
class, by |w|; over all classes the mass order merges the binary probes as it merges the columns of a multinomial one.

Reference: Fan, Dalvi, Durrani and Sajjad 2023, section 2 (LCA and Lasso on binary tasks); Dalvi et al. 2019,
Algorithm 1 (the order over all classes).
"""

import numpy as np

from lca_jax.errors import SettingsError
from lca_jax.probing.probe import Probe
from lca_jax.probing.probe_set import ProbeSet, as_probe_set, only_task
from lca_jax.ranking.groups import Groups, group_axis, group_weights
from lca_jax.ranking.lca import rank_by_mass
from lca_jax.ranking.merging import TieRule, choose_merged
from lca_jax.ranking.ranking import Ranking


def rank_by_one_vs_rest(
    probes: ProbeSet | Probe,
    task: str | None = None,
    *,
    stride: int | None = None,
    replicate: int = 0,
    groups: Groups | None = None,
    minimum_words: int = 0,
    ties: TieRule = "share",
) -> Ranking:
    """Ranks the neurons of a task by the weights of its binary probes.

    Args:
        probes: A selected set of `fit_probes(one_vs_rest=True)`, with one probe of each class.
        task: The task; None for the only one.
        stride: None for the exact order; a number of mass steps for NeuroX's blocks.
        replicate: Number of the sample whose probes are read; 0 for the training words as they are.
        groups: None for neurons, `"index"` or a division of the neurons for groups (`rank_neurons`).
        minimum_words: Least number of training words of a class that takes part in the order over all classes.
        ties: What orders the neurons that one block ties (`rank_neurons`).

    Returns:
        The ranking, with the scores of `rank_neurons`: 1 − (mass level at which the first class needs the neuron).
        `by_class` ranks by the weights of the class's own probe.

    Raises:
        SettingsError: There are no binary probes of this task, there are several penalties, or no class has the minimum
            of words.
    """
    probes = as_probe_set(probes)
    task = only_task(probes) if task is None else task
    targets = dict.fromkeys(one.target for one in probes if one.task == task and one.target is not None)
    if not targets:
        raise SettingsError(
            f"There are no probes of `{task}` that tell one class from the rest. Fit them with "
            "fit_probes(store, one_vs_rest=True)."
        )
    of_class = {target: probes.one(task, replicate=replicate, target=target) for target in targets}
    # The columns of a binary probe are each other's negative up to rounding; their difference is its one direction.
    weights = np.stack([np.subtract(*one.weights_among(probes.axis.size).T[::-1]) for one in of_class.values()], axis=1)
    counts = [probes.of(task, target=target)[0].class_words for target in targets]
    words = None if None in counts else [of_target[1] for of_target in counts if of_target is not None]
    merged = choose_merged(task, list(targets), words, minimum_words=minimum_words, ties=ties)
    axis = probes.axis
    if groups is not None:
        weights, axis = group_weights(weights, axis, groups), group_axis(axis, groups)
    return rank_by_mass(task, axis, list(targets), weights, stride=stride, merged=merged)

"""How redundant neurons are: how many disjoint sets do a task, how few layers, and one neuron of each cluster.

All ask whether a probe that is trained on some neurons alone keeps the gain, as for minimal sets (`analysis.minimal`):
all but a share `drop` of what the probe on all neurons gains over the best constant, on dev.

- **Disjoint sets.** The minimal set is taken out of the ranking, then the smallest leading part of what is left, and
  so on, until all that are left do not do together. Beside it stands what any neurons would do: random disjoint sets of
  the size of the first one.
- **Layers.** Probes of the lowest one, two, … layers together (layer selection); the fewest that keep the gain.
- **Clusters.** One neuron of each cluster of neurons that vary together, the best ranked one.

Reference: Dalvi et al. 2020, "Analyzing Redundancy in Pretrained Transformer Models", sections 4.2, 5.1 and 5.2;
Durrani et al. 2023, section 5.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from lca_jax.analysis.minimal import smallest_enough
from lca_jax.analysis.retraining import TrainingWords, hits_of_nested_sets
from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.probing.measuring import MeasuredWords
from lca_jax.probing.neuron_groups import NeuronGroups
from lca_jax.ranking.ranking import Ranking

_BATCHES = (0.02, 0.05, 0.1, 0.2, 0.4, 1.0)
"""Shares of the neurons at which the batches of sizes end."""
_STEP = 0.01


@dataclass(frozen=True, kw_only=True)
class SpareSets:
    """The disjoint sets that each keep the gain; from `disjoint_sets`."""

    sets: tuple[Int[np.ndarray, " _neuron"], ...]
    """Columns of each, the first one the leading part of the ranking."""
    accuracies: tuple[float, ...]
    """Accuracy on dev of the probe of each."""
    is_all: bool
    """Whether there are no more: false where the search stopped at the largest number asked for."""
    random_sets: int
    """Number of random disjoint sets of the size of the first one that were tried."""
    random_enough: int
    """Number of them that keep the gain too."""


@dataclass(frozen=True, kw_only=True)
class LowerLayers:
    """Probes of the lowest layers together; from `lower_layers`."""

    layers: tuple[str, ...]
    """Names of the layers, the lowest first."""
    accuracies: tuple[float, ...]
    """Accuracy on dev of a probe of this layer and those before it."""
    enough: int
    """Fewest layers that keep the gain."""


def disjoint_sets(
    training: TrainingWords,
    dev: MeasuredWords,
    ranking: Ranking,
    *,
    least: float,
    most: int = 5,
    seed: int = 0,
) -> SpareSets:
    """Finds sets without a common neuron that each do the task.

    Args:
        training: The words to train on.
        dev: The words to measure on.
        ranking: The order in which neurons are taken.
        least: Accuracy that counts as enough (`least_accuracy`).
        most: Largest number of sets.
        seed: Seed of the random sets.

    Raises:
        SettingsError: `most` is less than 1.
    """
    if most < 1:
        raise SettingsError(f"`most` must be 1 or more, got {most}.")
    order, total = ranking.columns, len(ranking.columns)
    sets, accuracies = list[Int[np.ndarray, " _neuron"]](), list[float]()
    while len(sets) < most and len(order):
        # One fit says whether a search among what is left is worth its many.
        if sets and hits_of_nested_sets(training, dev, order, [len(order)]).mean() < least:
            break
        size, steps = smallest_enough(training, dev, order, _batches(len(order), total), least)
        if size is None:
            break
        sets.append(order[:size])
        accuracies.append(float(steps[size].mean()))
        order = order[size:]
    is_all = len(sets) < most or not len(order)
    drawn = np.random.default_rng(seed).permutation(total)
    size = len(sets[0]) if sets else total
    random = [drawn[first : first + size] for first in range(0, min(most, total // size) * size, size)]
    enough = [float(hits_of_nested_sets(training, dev, columns, [size]).mean()) >= least for columns in random]
    return SpareSets(
        sets=tuple(sets),
        accuracies=tuple(accuracies),
        is_all=is_all,
        random_sets=len(random),
        random_enough=sum(enough),
    )


def lower_layers(training: TrainingWords, dev: MeasuredWords, axis: NeuronAxis, *, least: float) -> LowerLayers:
    """Trains probes of the lowest layers together, one more each time.

    Args:
        training: The words to train on.
        dev: The words to measure on.
        axis: The neuron of each column; its blocks are taken by the number of their layer.
        least: Accuracy that counts as enough.
    """
    blocks = sorted(range(len(axis.blocks)), key=lambda place: (axis.blocks[place].layer, place))
    order = np.concatenate([np.flatnonzero(axis.block_of_column == place) for place in blocks])
    sizes = np.cumsum([axis.blocks[place].width for place in blocks]).tolist()
    accuracies = hits_of_nested_sets(training, dev, order, sizes).mean(axis=1).tolist()
    # Trained again on all layers, a probe misses the accuracy by the solver's tolerance alone: all are enough.
    enough = next((count for count, found in enumerate(accuracies, 1) if found >= least), len(sizes))
    names = axis.layer_names
    return LowerLayers(
        layers=tuple(names[place] for place in blocks), accuracies=tuple(map(float, accuracies)), enough=enough
    )


def best_of_clusters(ranking: Ranking, groups: NeuronGroups) -> Int[np.ndarray, " cluster"]:
    """Returns the best ranked neuron of every cluster, in the order of the ranking."""
    if groups.axis != ranking.axis:
        raise SettingsError("The clusters must be of the neurons that are ranked.")
    _, first = np.unique(groups.group_of_column[ranking.columns], return_index=True)
    return ranking.columns[np.sort(first)]


def _batches(longest: int, total: int) -> Sequence[list[int]]:
    """Returns sizes in steps of a hundredth of all neurons, at first few of them and then more."""
    batches, before = [], 0.0
    for end in _BATCHES:
        steps = np.arange(before + _STEP, end + _STEP / 2, _STEP if end <= 0.2 else 5 * _STEP)
        before = end
        sizes = sorted({min(longest, max(1, round(float(step) * total))) for step in steps})
        batches.append(sizes)
        if sizes and sizes[-1] == longest:
            break
    return batches

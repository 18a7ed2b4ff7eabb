"""One ranking out of the probes of many samples: by mean mass level, by selection frequency, or by mean weight.

A neuron that is needed early in every sample comes first; one that some sample took for a near copy falls back. Scores
are averaged, never weights with their signs.

Reference: Meinshausen and Bühlmann 2010, "Stability selection" (frequency); Breiman 1996, "Bagging predictors" (means).
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.probing.weight_mass import class_levels, mass_order
from lca_jax.ranking.ranking import Ranking, rank_by_scores

Merge = Literal["level", "frequency", "weight"]
_MERGES: tuple[Merge, ...] = ("level", "frequency", "weight")


def merge_weights(
    task: str,
    axis: NeuronAxis,
    classes: Sequence[str],
    weights: Sequence[Float[np.ndarray, "feature class"]],
    *,
    by: Merge = "level",
    share: float = 0.1,
    stride: int | None = None,
    merged: Bool[np.ndarray, " class"] | None = None,
) -> Ranking:
    """Ranks neurons by the weights of several probes of one task.

    Args:
        task: The task.
        axis: The neuron of each column.
        classes: Names of the classes, in the order of the weights' columns.
        weights: The weights of each probe.
        by: What is averaged (`rank_neurons`).
        share: Share of the neurons that count as a sample's first, for `"frequency"`.
        stride: None for exact mass levels, or the number of steps of NeuroX's blocks.
        merged: Which classes take part in the order over all classes; None for all. All have their own order.

    Raises:
        SettingsError: `by` is unknown, or `share` is not in (0, 1].
    """
    if by not in _MERGES:
        raise SettingsError(f"`by` must be one of {', '.join(_MERGES)}, got {by!r}.")
    if not 0 < share <= 1:
        raise SettingsError(f"`share` must be in (0, 1], got {share}. One tenth is 0.1.")
    of_merged = slice(None) if merged is None else merged
    if by == "weight":
        magnitude = np.mean([np.abs(one.astype(np.float64)) for one in weights], axis=0)
        return _ranked(task, axis, classes, magnitude[:, of_merged].mean(axis=1), magnitude)
    overall = np.mean([1 - mass_order(one[:, of_merged], stride=stride).level for one in weights], axis=0)
    levels = np.mean([1 - class_levels(one) for one in weights], axis=0)
    if by == "level":
        return _ranked(task, axis, classes, overall, levels)
    count = max(1, math.ceil(share * axis.size - 1e-9))
    often = np.mean([_first_by_mass(one[:, of_merged], count, stride=stride) for one in weights], axis=0)
    of_class = np.mean([_first_by_class(one, count) for one in weights], axis=0)
    return _ranked(task, axis, classes, often, of_class, within=(overall, levels))


def selected(ranking: Ranking, count: int) -> Bool[np.ndarray, " feature"]:
    """Tells for every column whether its neuron is among the first `count`.

    Neurons of the last tie block are not: the method does not tell them from the worst one. A ranking by a sparse probe
    so selects no neuron without weight, however large `count` is.
    """
    chosen = ranking.columns[:count][ranking.ties[:count] != ranking.ties[-1]]
    mask = np.zeros(len(ranking.columns), bool)
    mask[chosen] = True
    return mask


def _ranked(
    task: str,
    axis: NeuronAxis,
    classes: Sequence[str],
    overall: Float[np.ndarray, " feature"],
    of_class: Float[np.ndarray, "feature class"],
    *,
    within: tuple[Float[np.ndarray, " feature"], Float[np.ndarray, "feature class"]] | None = None,
) -> Ranking:
    second = (None, None) if within is None else within
    by_class = {
        name: rank_by_scores(
            f"{task}: {name}",
            axis,
            np.ascontiguousarray(of_class[:, number]),
            within=None if second[1] is None else second[1][:, number],
        )
        for number, name in enumerate(classes)
    }
    return rank_by_scores(task, axis, overall, by_class=by_class, within=second[0])


def _first_by_mass(
    weights: Float[np.ndarray, "feature class"], count: int, *, stride: int | None
) -> Bool[np.ndarray, " feature"]:
    """Tells which neurons are the first of a probe; those without weight are not."""
    first: Int[np.ndarray, " feature"] = mass_order(weights, stride=stride).order[:count]
    mask = np.zeros(len(weights), bool)
    mask[first] = (weights[first] != 0).any(axis=1)
    return mask


def _first_by_class(weights: Float[np.ndarray, "feature class"], count: int) -> Bool[np.ndarray, "feature class"]:
    magnitude = np.abs(weights)
    first = np.argsort(-magnitude, axis=0, kind="stable")[:count]
    mask = np.zeros(weights.shape, bool)
    np.put_along_axis(mask, first, values=True, axis=0)
    return mask & (magnitude > 0)

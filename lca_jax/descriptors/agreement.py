"""Consistency of tags: the Jaccard overlap of two sets of tags of each neuron, beside what chance gives.

The null is the overlap between the tags of a neuron on one half and those of another neuron on the other half: frequent
tags agree by chance more often than rare ones, and this null keeps how frequent each is.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int

from lca_jax.probing.metrics import with_unseen

_SHUFFLES = 20


class Overlap(NamedTuple):
    """Overlap of the tags of all neurons."""

    of_neuron: Float64[np.ndarray, " neuron"]
    """Jaccard overlap; NaN for a neuron without a tag on either half."""
    mean: float
    """Its mean over the neurons that have any; NaN if none has."""
    low: float
    """Ends of the 95 % bootstrap interval of the mean over neurons, which has a width where all agree."""
    high: float
    other_neurons: float
    """Mean overlap with the tags of another neuron."""


def measure_overlap(
    first: Int[np.ndarray, "neuron place"], second: Int[np.ndarray, "neuron place"], *, seed: int = 0
) -> Overlap:
    """Returns the overlap of two sets of tags for every neuron.

    Args:
        first: Numbers of tags, each once; -1 where there is none.
        second: The same of another half, prompt or seed.
        seed: Seed of the null and of the bootstrap.
    """
    of_neuron = jaccard(first, second)
    known = of_neuron[~np.isnan(of_neuron)]
    if not len(known):
        return Overlap(of_neuron, float("nan"), float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    means = known[rng.integers(0, len(known), (1000, len(known)))].mean(axis=1)
    tagged = np.flatnonzero((first >= 0).any(axis=1) | (second >= 0).any(axis=1))
    shuffled = [_mean_of_others(first, second, rng.permutation(tagged)) for _ in range(_SHUFFLES)]
    ends = np.quantile(means, [0.025, 0.975])[None]
    low, high = with_unseen(ends, known[None], np.arange(len(known)), least=0)[0].tolist()
    return Overlap(of_neuron, float(known.mean()), low, high, float(np.mean(shuffled)))


def jaccard(
    first: Int[np.ndarray, "neuron place"], second: Int[np.ndarray, "neuron _place"]
) -> Float64[np.ndarray, " neuron"]:
    """Returns |common| / |union| of each row's numbers, -1 left out; NaN where both are empty."""
    common = ((first[:, :, None] == second[:, None, :]) & (first[:, :, None] >= 0)).sum(axis=(1, 2))
    union = (first >= 0).sum(axis=1) + (second >= 0).sum(axis=1) - common
    return np.where(union > 0, common / np.maximum(union, 1), np.nan)


def _mean_of_others(
    first: Int[np.ndarray, "neuron place"], second: Int[np.ndarray, "neuron place"], order: Int[np.ndarray, " tagged"]
) -> float:
    """Returns the mean overlap between each neuron and the next one in a random order."""
    overlaps = jaccard(first[order], second[np.roll(order, 1)])
    known = overlaps[~np.isnan(overlaps)]
    return float(known.mean()) if len(known) else 0.0

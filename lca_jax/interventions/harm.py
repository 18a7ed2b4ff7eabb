"""Ranks neurons by the harm that the running model takes when each of them alone is removed.

The ranking needs no probe and no label, only a measure of what the model does. It says which neurons are used, not what
for, and misses every neuron that another one stands in for: removed alone, each of two copies does no harm.
"""

from typing import Any

import numpy as np

from lca_jax.axes import NeuronAxis
from lca_jax.interventions.choices import Where
from lca_jax.interventions.curve import Vector, ablation_curve
from lca_jax.interventions.measures import SLOTS, Measure
from lca_jax.models.model import Model
from lca_jax.ranking.ranking import Ranking, rank_by_scores


def rank_by_ablation(
    model: Model,
    axis: NeuronAxis,
    texts: Any = None,
    *,
    measure: str | Measure = "perplexity",
    fill: str | Vector = "mean",
    where: Where = "all",
    slots: int = SLOTS,
    at_once: int = 1,
) -> Ranking:
    """Ranks neurons by the harm of removing each alone, in one compiled program.

    Costs one pass of the model over the texts for every neuron.

    Args:
        model: The model, with its head unless a probe or a classifier is measured.
        axis: The neurons, such as those of a store (`store.axis()`).
        texts: What a measure that is named is made of, as in `ablation_curve`.
        measure: `perplexity`, `minimal-pairs`, `bleu`, `chrf`, `classifier`, or a measure such as
            `ProbeAccuracy`.
        fill: What a removed neuron is set to: `zero`, `mean`, or a number for each column. `mean` leaves out what the
            shift of a constant does.
        where: Which slots are edited.
        slots: Number of slots that are computed together.
        at_once: Number of neurons that are removed side by side.

    Returns:
        The ranking; its task is named `ablation`. A neuron's score is its harm: the rise of the logarithm of a
        perplexity, in nats, or the fall of any other score, in its own unit. Neurons below 0 are those whose removal
        helps.

    Raises:
        SettingsError, DataError, ModelError: As in `ablation_curve`.

    Reference: Bau et al. 2019, section 4 (erasure of single neurons); Antverg and Belinkov 2022, section 4.
    """
    in_order = rank_by_scores("ablation", axis, np.zeros(axis.size))
    curve = ablation_curve(
        model,
        in_order,
        texts,
        (axis.size,),
        sets=("top",),
        fill=fill,
        sweep="each",
        measure=measure,
        where=where,
        slots=slots,
        at_once=at_once,
    )
    harm = np.empty(axis.size)
    for point in curve.points:
        lost = np.log(point.value / curve.whole) if curve.lost == "log" else curve.whole - point.value
        harm[in_order.columns[point.first]] = lost
    return rank_by_scores("ablation", axis, harm)

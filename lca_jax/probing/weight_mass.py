"""Orders neurons by the mass level at which a probe's weights first need them.

Class c needs a neuron as soon as the mass fraction p exceeds the mass of all greater weights of the class:

    level(c, j) = Σ {|w_ck| : |w_ck| > |w_cj|} / Σ_k |w_ck|                     level(j) = min over c of level(c, j)

Taking the neurons by growing level is Algorithm 1 of Dalvi et al. 2019 in the limit of small steps: there p grows by α
and the union over classes of the smallest sets that hold p of the mass is appended. With α = 1/stride (NeuroX: 100, the
paper's script: 1000) whole steps become blocks without an order; the limit keeps every distinction that the weights
make. Ties remain between each class's largest weight (level 0), between equal weights, and between neurons without any
weight (level 1). The bias plays no part. The cost is one sort of every class's weights, on the host, in float64.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from lca_jax.errors import SettingsError


class MassOrder(NamedTuple):
    """A total order of features, most needed first, and the levels that it follows."""

    order: Int[np.ndarray, " feature"]
    """Features by growing level; ties by falling share (or gain), then by number."""
    level: Float[np.ndarray, " feature"]
    """Mass fraction at which the first class needs each feature; 1 if no class does."""
    share: Float[np.ndarray, " feature"]
    """Largest share of a class's mass that the feature's weight has."""
    block: Int[np.ndarray, " feature"]
    """Number of the tie block of each feature, from 0: the weights leave the order within a block undecided."""


def class_levels(weights: Float[np.ndarray, "feature class"]) -> Float[np.ndarray, "feature class"]:
    """Returns the mass fraction at which each class begins to need each feature; 1 where the weight is zero."""
    magnitude = np.abs(weights.astype(np.float64))
    order = np.argsort(-magnitude, axis=0, kind="stable")
    falling = np.take_along_axis(magnitude, order, axis=0)
    before = np.cumsum(falling, axis=0) - falling
    total = falling.sum(axis=0, keepdims=True)
    # Equal weights get the level of the first of them.
    same = np.concatenate([np.zeros((1, weights.shape[1]), bool), falling[1:] == falling[:-1]])
    first = np.maximum.accumulate(np.where(same, 0, np.arange(len(falling))[:, None]), axis=0)
    before = np.take_along_axis(before, first, axis=0)
    level = np.where(falling > 0, np.minimum(before / np.where(total > 0, total, 1), np.nextafter(1, 0)), 1.0)
    levels = np.empty_like(level)
    np.put_along_axis(levels, order, level, axis=0)
    return levels


def mass_order(
    weights: Float[np.ndarray, "feature class"],
    *,
    stride: int | None = None,
    within: Float[np.ndarray, " feature"] | None = None,
) -> MassOrder:
    """Orders features by the mass level at which some class first needs them.

    Args:
        weights: Weights of one probe, of which the magnitudes count.
        stride: None for the exact limit. A number gives the blocks of that many steps of p, as in NeuroX
            (`get_neuron_ordering(search_stride=…)`); the tie rule orders each block, where NeuroX's order is arbitrary.
        within: What orders features of one block, the largest first; None for the share.

    Raises:
        SettingsError: The stride is less than 1.
    """
    if stride is not None and stride < 1:
        raise SettingsError(f"`stride` must be 1 or more steps, got {stride}.")
    magnitude = np.abs(weights.astype(np.float64))
    total = magnitude.sum(axis=0, keepdims=True)
    share = (magnitude / np.where(total > 0, total, 1)).max(axis=1)
    level = class_levels(weights).min(axis=1)
    if stride is not None:
        # The set at p has a feature if its level is below p; the set at p = 0 has each class's first feature.
        steps = np.where(level > 0, np.floor(level * stride) + 1, 0)
        level = np.where(level < 1, np.minimum(steps / stride, np.nextafter(1, 0)), 1.0)
    order = np.lexsort((np.arange(len(level)), -(share if within is None else within), level))
    changes = np.concatenate([[0], np.cumsum(np.diff(level[order]) > 0)])
    block = np.empty(len(level), np.int64)
    block[order] = changes
    return MassOrder(order, level, share, block)


def gain_of_weights(
    weights: Float[np.ndarray, "feature class"], shares: Float[np.ndarray, " class"]
) -> Float[np.ndarray, " feature"]:
    """Returns how much each feature moves the loss: half the variance of its weights over the words' classes.

    The second derivative of the mean cross-entropy at zero weights is that of the softmax, diag(π) − ππ', with the
    share π of each class. A feature of deviation 1 with weights w so has the term

        ½ (Σ_c π_c w_c² − (Σ_c π_c w_c)²)

    in the expansion of the loss. A weight on a class that few words have gains little, however large a part of the
    class's mass it is.

    Args:
        weights: Weights of standardised features.
        shares: Share of each class in the words, summing to 1.
    """
    wide = weights.astype(np.float64)
    return 0.5 * np.maximum(wide**2 @ shares - (wide @ shares) ** 2, 0.0)

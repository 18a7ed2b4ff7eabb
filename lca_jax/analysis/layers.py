"""Where a set of neurons sits: its share in every layer, and the centre of those shares.

Reference: Durrani et al. 2020, Figure 1; JMLR 2023, Figure 6.
"""

import numpy as np
from jaxtyping import Float, Int

from lca_jax.axes import NeuronAxis


def layer_shares(columns: Int[np.ndarray, " neuron"], axis: NeuronAxis) -> Float[np.ndarray, " layer"]:
    """Share of the neurons in each block of the axis, in the axis's order; all zero for an empty set."""
    counts = np.bincount(axis.block_of_column[columns], minlength=len(axis.blocks))
    return counts / max(1, counts.sum())


def centre_of_mass(shares: Float[np.ndarray, " layer"], axis: NeuronAxis) -> float:
    """Mean layer number of a set of neurons, from its shares."""
    numbers = np.array([block.layer for block in axis.blocks], np.float64)
    return float(shares @ numbers)

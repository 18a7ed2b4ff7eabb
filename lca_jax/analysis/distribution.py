"""How a set of neurons is distributed: over the layers, and over the classes whose weights hold them.

Counts of classes with few examples are unstable: with little evidence a class's weights are flat and any mass level
admits many neurons (JMLR 2023 prints `B-UCP` 253, 1 and 6 for three models). So every count is reported beside the
number of the class's words.

Reference: Dalvi et al. 2019, Figure 6; Durrani et al. 2020, Figures 1 to 5; JMLR 2023, Figures 6, 7 and 13.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lca_jax.axes import NeuronAxis


def layer_shares(columns: Int[np.ndarray, " neuron"], axis: NeuronAxis) -> Float[np.ndarray, " layer"]:
    """Returns the share of the neurons in each block of the axis, in the axis's order; all zero for an empty set."""
    counts = np.bincount(axis.block_of_column[columns], minlength=len(axis.blocks))
    return counts / max(1, counts.sum())


def centre_of_mass(shares: Float[np.ndarray, " layer"], axis: NeuronAxis) -> float:
    """Returns the mean layer number of a set of neurons, from its share in each layer."""
    numbers = np.array([block.layer for block in axis.blocks], np.float64)
    return float(shares @ numbers)


@dataclass(frozen=True, kw_only=True)
class ClassNeurons:
    """The part of a neuron set that one class needs."""

    columns: Int[np.ndarray, " neuron"]
    """Columns of these neurons."""
    layers: Float[np.ndarray, " layer"]
    """Share of these neurons in each layer."""


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """How far classes use the same neurons."""

    total: int
    """Sum of the classes' counts."""
    distinct: int
    """Number of neurons that at least one class needs."""
    shared: int
    """Number of neurons that at least two classes need."""

    @property
    def factor(self) -> float:
        """Mean number of classes among whose neurons one is; 1 if no neuron is shared."""
        return self.total / max(1, self.distinct)


def class_neurons(by_class: Mapping[str, Int[np.ndarray, " neuron"]], axis: NeuronAxis) -> dict[str, ClassNeurons]:
    """Adds the layers to each class's columns (from `ranking.lca.neurons_by_class`)."""
    return {
        name: ClassNeurons(columns=columns, layers=layer_shares(columns, axis)) for name, columns in by_class.items()
    }


def sharing(by_class: Mapping[str, Int[np.ndarray, " neuron"]]) -> Sharing:
    """Counts how many neurons are among those of one class, and how many are among those of several."""
    every = np.concatenate([*by_class.values(), np.zeros(0, np.int64)]).astype(np.int64)
    _, counts = np.unique(every, return_counts=True)
    return Sharing(total=len(every), distinct=len(counts), shared=int((counts > 1).sum()))

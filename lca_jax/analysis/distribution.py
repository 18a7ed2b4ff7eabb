"""How many neurons each class needs, which they share, and where each class's neurons sit.

Counts of classes with few examples are unstable: with little evidence a class's weights are flat and any mass level
admits many neurons (JMLR 2023 prints `B-UCP` 253, 1 and 6 for three models), so every count stands beside the class's
words.

Reference: Dalvi et al. 2019, Figure 6; Durrani et al. 2020, Figures 2 to 5; JMLR 2023, Figures 7 and 13.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lca_jax.analysis.layers import layer_shares
from lca_jax.axes import NeuronAxis


@dataclass(frozen=True, kw_only=True)
class ClassNeurons:
    """The part of a neuron set that one class needs."""

    columns: Int[np.ndarray, " neuron"]
    layers: Float[np.ndarray, " layer"]
    """Their share in every layer."""


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """How far classes use the same neurons."""

    total: int
    """Sum of the classes' counts."""
    distinct: int
    """Neurons that at least one class needs."""
    shared: int
    """Neurons that at least two classes need."""

    @property
    def factor(self) -> float:
        """Classes a neuron serves on average: 1 means that no neuron is shared."""
        return self.total / max(1, self.distinct)


def class_neurons(by_class: Mapping[str, Int[np.ndarray, " neuron"]], axis: NeuronAxis) -> dict[str, ClassNeurons]:
    """Adds the layers to each class's columns (from `ranking.lca.neurons_by_class`)."""
    return {
        name: ClassNeurons(columns=columns, layers=layer_shares(columns, axis)) for name, columns in by_class.items()
    }


def sharing(by_class: Mapping[str, Int[np.ndarray, " neuron"]]) -> Sharing:
    """Counts how many neurons serve one class, and how many serve several."""
    every = np.concatenate([*by_class.values(), np.zeros(0, np.int64)]).astype(np.int64)
    _, counts = np.unique(every, return_counts=True)
    return Sharing(total=len(every), distinct=len(counts), shared=int((counts > 1).sum()))

"""Groups of neurons that count as one: which group every neuron is of, and the names of the groups.

`ranking.groups` makes them of indices, `ranking.correlated` of correlations. A fit may take whole groups in or leave
them out (`fit_probes(groups=…)`), and a ranking may order groups.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuronGroups:
    """A division of the neurons of an axis into groups without a common neuron."""

    axis: NeuronAxis
    """The neuron of each column."""
    group_of_column: Int[np.ndarray, " feature"]
    """Number of every column's group, from 0."""
    groups: NeuronAxis
    """Names of the groups: group g is the neuron of column g of this axis."""

    def __post_init__(self) -> None:
        used = np.unique(self.group_of_column)
        whole = np.array_equal(used, np.arange(self.groups.size))
        if len(self.group_of_column) != self.axis.size or not whole:
            raise SettingsError(
                f"Every one of {self.axis.size} neurons needs a group, and every one of {self.groups.size} groups a "
                f"neuron; got {len(self.group_of_column)} numbers of {len(used)} groups."
            )

    @property
    def sizes(self) -> Int[np.ndarray, " group"]:
        """Number of neurons of each group."""
        return np.bincount(self.group_of_column, minlength=self.groups.size)

    def __repr__(self) -> str:
        """Tells the numbers of neurons and groups, and the size of the largest group."""
        return f"{self.axis.size} neurons in {self.groups.size} groups of up to {self.sizes.max(initial=0)}"

    def check_axis(self, axis: NeuronAxis) -> None:
        """Refuses other neurons than those that were grouped.

        Raises:
            SettingsError: The axis is another one.
        """
        if axis != self.axis:
            raise SettingsError(
                f"These groups divide the {self.axis.size} neurons of {', '.join(self.axis.layer_names)}, not the "
                f"{axis.size} of {', '.join(axis.layer_names)}. Group the neurons that are read."
            )

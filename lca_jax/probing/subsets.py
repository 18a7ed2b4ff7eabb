"""Parts of the neurons that probes are fitted on, each with a name, and the matrices they are read from.

Probes of single layers are not masks over all of X: the layers of one width are one matrix each, side by side, and an
iteration costs what it costs for one probe of all of them. Other subsets share one matrix, of the neurons that any of
them has, and each is a mask on it.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError

Subsets = (
    Literal["layers"] | Mapping[str, Sequence[int] | Int[np.ndarray, " feature"] | Bool[np.ndarray, " feature"]] | None
)
"""All neurons together (None), every layer of every site by itself, or subsets by name: columns of the axis, or a mask
over them."""


class Subset(NamedTuple):
    """A named part of the neurons."""

    name: str
    columns: Int[np.ndarray, " feature"]
    """Columns of the axis, ascending."""


class Reading(NamedTuple):
    """What one design is made of, and which probes are fitted on it."""

    sites: tuple[str, ...] | None
    """Sites of the store in the order of the matrix; all if None."""
    columns: Int[np.ndarray, " column"]
    """Column of the axis in each column of the matrix of these sites that is read."""
    layers: int | None
    """Number of layers of equal width that become a matrix each; None for one matrix of all columns."""
    subsets: tuple[Subset | None, ...]
    """The layers in their order, or the subsets that are masks; None is all neurons."""

    @property
    def keep(self) -> Bool[np.ndarray, "subset column"] | None:
        """The masks; None where every probe reads all columns of its matrix."""
        if self.layers is not None or self.subsets == (None,):
            return None
        return np.stack([np.isin(self.columns, subset.columns) for subset in self.subsets if subset is not None])


def readings(axis: NeuronAxis, subsets: Subsets) -> list[Reading]:
    """The matrices that the subsets asked for are fitted on.

    Raises:
        SettingsError: `subsets` is neither of the three kinds, or a subset is empty or leaves the axis.
    """
    if subsets is None:
        return [Reading(None, np.arange(axis.size), None, (None,))]
    if isinstance(subsets, Mapping):
        named = tuple(Subset(name, _columns_of(name, columns, axis.size)) for name, columns in subsets.items())
        if not named:
            raise SettingsError("`subsets` is empty. Name at least one, or leave it out for all neurons.")
        return [Reading(None, np.unique(np.concatenate([subset.columns for subset in named])), None, named)]
    if subsets != "layers":
        raise SettingsError(f"`subsets` must be 'layers' or columns by name, got {subsets!r}.")
    by_width: dict[int, list[Subset]] = {}
    for place, block in enumerate(axis.blocks):
        layer = Subset(layer_name(block.site, block.layer), np.flatnonzero(axis.block_of_column == place))
        by_width.setdefault(block.width, []).append(layer)
    found = []
    for width, layers in by_width.items():
        sites = tuple(dict.fromkeys(block.site for block in axis.blocks if block.width == width))
        found.append(Reading(sites, np.concatenate([layer.columns for layer in layers]), len(layers), tuple(layers)))
    return found


def layer_name(site: str, layer: int) -> str:
    """What the subset of one layer is called, e.g. `residual 3`."""
    return f"{site} {layer}"


def _columns_of(
    name: str, asked: Sequence[int] | Int[np.ndarray, " feature"] | Bool[np.ndarray, " feature"], size: int
) -> Int[np.ndarray, " column"]:
    """Columns of one subset, ascending, from columns or a mask."""
    chosen = np.asarray(asked)
    if chosen.dtype == bool:
        if chosen.shape != (size,):
            raise SettingsError(
                f"The mask of subset {name!r} needs one value for each of {size} neurons, got shape {chosen.shape}."
            )
        chosen = np.flatnonzero(chosen)
    if chosen.size == 0:
        raise SettingsError(f"Subset {name!r} has no neuron.")
    if not np.issubdtype(chosen.dtype, np.integer) or chosen.min() < 0 or chosen.max() >= size:
        raise SettingsError(
            f"Subset {name!r} must be whole numbers from 0 to {size - 1}, the columns of its neurons, "
            f"got {asked!s:.100}."
        )
    return np.unique(chosen)

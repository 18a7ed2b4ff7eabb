"""Named parts of the neurons that probes are fitted on, and the matrices that they are read from.

Probes of single layers are not masks over all of X: the layers of one width are one matrix each, side by side, and an
iteration costs what it costs for one probe of all of them. Other subsets share one matrix, of the neurons that any of
them has, and each is a mask on it.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.probing.matrix.source import MatrixSource
from lca_jax.store.finite import place_in_store
from lca_jax.store.store import ActivationStore

Columns = Sequence[int] | Int[np.ndarray, " feature"] | Bool[np.ndarray, " feature"]
"""Columns of the axis, or a mask over all of them."""
Subsets = Literal["layers"] | Mapping[str, Columns] | None
"""All neurons together (None), every layer of every site by itself, or subsets by name."""


class Subset(NamedTuple):
    """A named part of the neurons."""

    name: str
    columns: Int[np.ndarray, " feature"]
    """Columns of the axis, ascending."""


class MatrixPlan(NamedTuple):
    """Which neurons one matrix is made of, and which probes are fitted on it."""

    sites: tuple[str, ...] | None
    """Sites of the store in the order of the matrix; None for all."""
    columns: Int[np.ndarray, " column"]
    """Column of the whole axis for each column of the matrix."""
    layers: int | None
    """Number of layers of equal width that become a matrix each; None for one matrix of all columns."""
    subsets: tuple[Subset | None, ...]
    """The layers in their order, or the subsets that are masks; None means all neurons."""

    @property
    def keep(self) -> Bool[np.ndarray, "subset column"] | None:
        """The masks; None if every probe reads all columns of its matrix."""
        if self.layers is not None or self.subsets == (None,):
            return None
        return np.stack([np.isin(self.columns, subset.columns) for subset in self.subsets if subset is not None])


def plan_matrices(axis: NeuronAxis, subsets: Subsets) -> list[MatrixPlan]:
    """Plans the matrices that the subsets are fitted on.

    Raises:
        SettingsError: `subsets` is none of the three kinds, or a subset is empty or has columns outside the axis.
    """
    if subsets is None:
        return [MatrixPlan(None, np.arange(axis.size), None, (None,))]
    if isinstance(subsets, Mapping):
        named = tuple(Subset(name, _columns_of(name, columns, axis.size)) for name, columns in subsets.items())
        if not named:
            raise SettingsError("`subsets` must name at least one subset, got none. Leave it out for all neurons.")
        return [MatrixPlan(None, np.unique(np.concatenate([subset.columns for subset in named])), None, named)]
    if subsets != "layers":
        raise SettingsError(f"`subsets` must be 'layers' or columns by name, got {subsets!r}.")
    by_width: dict[int, list[Subset]] = {}
    for place, block in enumerate(axis.blocks):
        layer = Subset(block.name, np.flatnonzero(axis.block_of_column == place))
        by_width.setdefault(block.width, []).append(layer)
    plans = []
    for width, layers in by_width.items():
        sites = tuple(dict.fromkeys(block.site for block in axis.blocks if block.width == width))
        plans.append(MatrixPlan(sites, np.concatenate([layer.columns for layer in layers]), len(layers), tuple(layers)))
    return plans


def _columns_of(name: str, columns: Columns, size: int) -> Int[np.ndarray, " column"]:
    """Returns the columns of one subset, ascending, from columns or from a mask."""
    chosen = np.asarray(columns)
    if chosen.dtype == bool:
        if chosen.shape != (size,):
            raise SettingsError(
                f"The mask of subset {name!r} must have one value for each of {size} neurons, got shape {chosen.shape}."
            )
        chosen = np.flatnonzero(chosen)
    if chosen.size == 0:
        raise SettingsError(f"Subset {name!r} has no neuron. Give at least one.")
    if not np.issubdtype(chosen.dtype, np.integer) or chosen.min() < 0 or chosen.max() >= size:
        raise SettingsError(
            f"Subset {name!r} must be whole numbers from 0 to {size - 1}, the columns of its neurons, "
            f"got {columns!s:.100}."
        )
    return np.unique(chosen)


def source_of(store: ActivationStore, words: Int[np.ndarray, " word"], plan: MatrixPlan) -> MatrixSource:
    """Returns a source of some words of a store, in the columns of a planned matrix; it reads when it is asked to.

    Args:
        store: The store to read.
        words: Positions of the words among the units of the store, in the order of the matrix.
        plan: The columns, from `plan_matrices`.
    """
    place = place_in_store(store, words, store.axis())
    all_words = len(words) == store.word_count
    all_columns = len(plan.columns) == store.axis(plan.sites).size

    def read_into(first: int, target: Float[np.ndarray, "word feature"]) -> None:
        # None asks for all words, which a store in memory returns as a view.
        units = None if all_words and len(target) == len(words) else words[first : first + len(target)]
        if all_columns:
            store.matrix(units, sites=plan.sites, out=target)
        else:
            target[...] = store.matrix(units, sites=plan.sites)[:, plan.columns]

    return MatrixSource(
        words=len(words),
        features=len(plan.columns),
        read_into=read_into,
        name_place=lambda word, column: place(word, int(plan.columns[column])),
        layers=plan.layers,
        blocks=None if plan.layers is not None else store.axis().block_of_column[plan.columns],
        in_step=store.in_step,
    )

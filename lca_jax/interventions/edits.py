"""Edits of a running model, made from neurons and a fill, or from directions.

A neuron knows its site and its layer, and layers are numbered as each site numbers them: layer 0 of `residual` is the
embedding output, layer 0 of `mlp` and `attention` is the first block. `ablate` puts every neuron in its place, so that
nobody has to shift numbers. All values are traced by the model: other neurons never recompile.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from lca_jax.axes import LayerBlock, Neuron, NeuronAxis
from lca_jax.errors import DataError, SettingsError
from lca_jax.models.model import Model
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.taps import Edit

Fill = float | Float[np.ndarray, " feature"] | Mapping[str, Float[np.ndarray, "_layer _neuron"]]
"""What takes the place of a neuron: one number, a number for each column of an axis (`Statistics.mean`, the mean of a
class), or arrays (layer, neuron) by site (`slot_means`)."""


def ablate(
    model: Model,
    neurons: Sequence[int] | Sequence[Neuron] | Int[np.ndarray, " neuron"],
    *,
    axis: NeuronAxis | None = None,
    fill: Fill = 0.0,
    where: Bool[np.ndarray, "row slot"] | None = None,
) -> dict[str, Edit]:
    """Makes the edits that set neurons to a fill and leave all others alone.

    `ablate(model, ranking.top(50), axis=ranking.axis)` sets the first 50 neurons of a ranking to zero. With the means
    of a class as `fill` the neurons are clamped to what they are in that class (Bau et al. 2019, section 6).

    Args:
        model: The model that will run with the edits.
        neurons: Columns of `axis`, such as `ranking.top(50)`; or neurons by site, layer and index.
        axis: The neuron of each column; needed for columns, and where `fill` has a number for each column.
        fill: What the neurons are set to.
        where: The slots that are edited; all if None.

    Returns:
        Site to edit, for the sites that the neurons lie in.

    Raises:
        SettingsError: A neuron is not in the axis or the model, `axis` is missing, or the fill has another shape.
    """
    by_site = _neurons_by_site(neurons, axis)
    edits = {}
    for site, (layers, indices) in by_site.items():
        shape = (model.layer_count(site), model.width(site))
        if layers.min() < 0 or indices.min() < 0 or layers.max() >= shape[0] or indices.max() >= shape[1]:
            raise SettingsError(
                f"`{site}` of {model.name} has layers 0 to {shape[0] - 1} of {shape[1]} neurons; got layers up to "
                f"{layers.max()} and neurons up to {indices.max()}. Give neurons of a store of this model."
            )
        values = fill_at(model.config, fill, axis)[site] if not isinstance(fill, int | float) else np.full(shape, fill)
        scale, shift = np.ones(shape, np.float32), np.zeros(shape, np.float32)
        scale[layers, indices] = 0
        shift[layers, indices] = values[layers, indices]
        if not np.isfinite(shift).all():
            raise DataError(f"The fill of `{site}` must be finite for all chosen neurons. Give a class that has words.")
        edits[site] = Edit(scale, shift, where)
    return edits


def project_out(
    model: Model,
    directions: Mapping[tuple[str, int], Float[np.ndarray, "_neuron _direction"]],
    *,
    where: Bool[np.ndarray, "row slot"] | None = None,
) -> dict[str, Edit]:
    """Makes the edits that take directions out of the states of a layer: x becomes x - (x Q) Q^T.

    Q is an orthonormal basis of what the given columns span: their lengths and angles do not matter, and columns that
    depend on others are left out.

    Args:
        model: The model that will run with the edits.
        directions: (site, layer) to directions, one a column.
        where: The slots that are edited; all if None.

    Returns:
        Site to edit.

    Raises:
        SettingsError: A site or layer is unknown, or directions have another length than its neurons.
        DataError: A direction is not finite.
    """
    bases: dict[str, dict[int, np.ndarray]] = {}
    for (site, layer), columns in directions.items():
        shape = (model.layer_count(site), model.width(site))
        if not 0 <= layer < shape[0] or len(columns) != shape[1]:
            raise SettingsError(
                f"`{site}` of {model.name} has layers 0 to {shape[0] - 1} of {shape[1]} neurons; got directions of "
                f"length {len(columns)} for layer {layer}. Give one row a neuron and one column a direction."
            )
        if not np.isfinite(columns).all():
            raise DataError(f"The directions of `{site} {layer}` must be finite.")
        basis, sizes, _ = np.linalg.svd(np.asarray(columns, np.float64), full_matrices=False)
        bases.setdefault(site, {})[layer] = basis[:, sizes > sizes.max(initial=0) * 1e-10]
    edits = {}
    for site, by_layer in bases.items():
        shape = (model.layer_count(site), model.width(site))
        Q = np.zeros((*shape, max(basis.shape[1] for basis in by_layer.values())), np.float32)
        for layer, basis in by_layer.items():
            Q[layer, :, : basis.shape[1]] = basis
        edits[site] = Edit(np.ones(shape, np.float32), np.zeros(shape, np.float32), where, Q)
    return edits


def stack_edits(edits: Sequence[Mapping[str, Edit]]) -> dict[str, Edit]:
    """Puts edits behind each other on a new first axis, for `jax.vmap`, or for `jax.lax.map` at the memory of one.

    Args:
        edits: Edits of the same sites, with the same parts.

    Raises:
        SettingsError: There is none, or they are of different sites or parts.
    """
    structures = {jax.tree.structure(dict(one)) for one in edits}
    if len(structures) != 1:
        raise SettingsError(f"Edits that are stacked must be of the same sites and parts, got {len(structures)} kinds.")
    return jax.tree.map(lambda *parts: np.stack([np.asarray(part) for part in parts]), *map(dict, edits))


def columns_by_site(config: StackConfig, axis: NeuronAxis) -> dict[str, Int[np.ndarray, "_layer _neuron"]]:
    """Returns the column of every neuron of the sites of an axis; -1 for neurons that the axis does not have.

    Raises:
        SettingsError: The model does not have a site, layer or neuron of the axis.
    """
    by_site: dict[str, np.ndarray] = {}
    start = 0
    for block in axis.blocks:
        shape = (config.layer_count(block.site), config.site_width(block.site))
        _check_block(block, shape)
        columns = by_site.setdefault(block.site, np.full(shape, -1, np.int32))
        indices = np.arange(block.width) if block.indices is None else np.array(block.indices)
        columns[block.layer, indices] = start + np.arange(block.width)
        start += block.width
    return by_site


def fill_at(config: StackConfig, fill: Fill, axis: NeuronAxis | None) -> dict[str, Float[np.ndarray, "_layer _neuron"]]:
    """Returns a fill as arrays (layer, neuron) by site; 0 for neurons that the axis does not have.

    Raises:
        SettingsError: A fill by columns has no axis or another length, or a site has another shape.
    """
    if isinstance(fill, Mapping):
        for site, values in fill.items():
            if np.shape(values) != (config.layer_count(site), config.site_width(site)):
                shape = (config.layer_count(site), config.site_width(site))
                raise SettingsError(f"The fill of `{site}` must be of shape {shape}, got {np.shape(values)}.")
        return {site: np.asarray(values, np.float32) for site, values in fill.items()}
    if axis is None or (np.ndim(fill) and np.shape(fill) != (axis.size,)):
        size = "an axis" if axis is None else f"{axis.size} columns"
        raise SettingsError(f"A fill must be a number, or have one for each column; it needs {size}.")
    values = np.append(np.broadcast_to(np.asarray(fill, np.float32), axis.size), np.float32(0))
    return {site: values[columns] for site, columns in columns_by_site(config, axis).items()}


def edits_of_columns(
    columns: Mapping[str, Int[Array | np.ndarray, "_layer _neuron"]],
    removed: Bool[Array, " feature"] | Float[Array, " feature"],
    fill: Float[Array, " feature"],
    where: Mapping[str, Bool[Array | np.ndarray, "_row _slot"] | None],
) -> dict[str, Edit]:
    """Returns the edits that set the removed columns to their fill; traced, so that sets are made inside a program.

    Args:
        columns: From `columns_by_site`.
        removed: Which columns are set; or how far each goes from its own value (0) to its fill (1).
        fill: What they are set to.
        where: Site to the slots that are edited; None for all.
    """

    def at(site: str, values: Shaped[Array, " feature"]) -> Shaped[Array, "_layer _neuron"]:
        return jnp.append(values, jnp.zeros((), values.dtype))[jnp.asarray(columns[site])]

    edits = {}
    for site in columns:
        gone = at(site, removed.astype(jnp.float32))
        edits[site] = Edit(1 - gone, jnp.where(gone > 0, gone * at(site, fill), 0.0), where[site])
    return edits


def _neurons_by_site(
    neurons: Sequence[int] | Sequence[Neuron] | Int[np.ndarray, " neuron"], axis: NeuronAxis | None
) -> dict[str, tuple[Int[np.ndarray, " _neuron"], Int[np.ndarray, " _neuron"]]]:
    """Returns layers and indices of the neurons of each site."""
    named: list[Neuron] = []
    for neuron in neurons:
        if isinstance(neuron, tuple):
            named.append(Neuron(*neuron))  # pyright: ignore[reportArgumentType] - a plain tuple of the same three
        elif axis is None:
            raise SettingsError("Columns need the axis that they are of: give `axis=ranking.axis`.")
        else:
            named.append(axis.neuron(int(neuron)))
    if not named:
        raise SettingsError("At least one neuron must be given to edit.")
    sites = dict.fromkeys(neuron.site for neuron in named)
    return {
        site: (
            np.array([neuron.layer for neuron in named if neuron.site == site]),
            np.array([neuron.index for neuron in named if neuron.site == site]),
        )
        for site in sites
    }


def _check_block(block: LayerBlock, shape: tuple[int, int]) -> None:
    highest = block.width - 1 if block.indices is None else max(block.indices)
    if not 0 <= block.layer < shape[0] or highest >= shape[1]:
        raise SettingsError(
            f"The ranking has neuron {highest} of `{block.name}`, but this model has layers 0 to {shape[0] - 1} of "
            f"{shape[1]} neurons there. Use the model that the activations were computed with."
        )

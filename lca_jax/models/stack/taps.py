"""Taps edit and capture hidden states: every site of every layer passes its states through one."""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lca_jax.axes import DECODER
from lca_jax.errors import ModelError
from lca_jax.machine.precision import FLOAT32
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.dropout import Dropout

_Value = TypeVar("_Value")


class Edit(NamedTuple):
    """`x * scale + shift` at every layer of a site: scale 0 ablates a neuron, scale 1 with shift 0 leaves it alone.

    `lca_jax.ablate` and `lca_jax.project_out` make edits from neurons and from directions.
    """

    scale: Float[Array | np.ndarray, "layer neuron"]
    shift: Float[Array | np.ndarray, "layer neuron"]
    where: Bool[Array | np.ndarray, "row slot"] | None = None
    """The slots that are edited; None for all. Where texts are written, a column for every place of the text."""
    directions: Float[Array | np.ndarray, "layer neuron direction"] | None = None
    """Columns Q of length 1 at right angles to each other, or of zeros: x becomes x - (x Q) Q^T before it is scaled."""


class Taps:
    """At each site: apply the edit, then capture if asked.

    Args:
        edits: Site to edit; a site that is left out is not edited.
        reads: Site to the layers that are captured.
        dropout: Masks of a training step; None wherever nothing is trained.
    """

    def __init__(
        self,
        edits: Mapping[str, Edit],
        reads: Mapping[str, tuple[int, ...]],
        dropout: Dropout | None = None,
    ) -> None:
        self.edits = edits
        self.reads = reads
        self.dropout = dropout
        self.captures: dict[tuple[str, int], Array] = {}

    def __call__(
        self, site: str, layer: int, states: Float[Array, "row slot neuron"]
    ) -> Float[Array, "row slot neuron"]:
        """Returns the states that flow on."""
        if site in self.edits:
            states = apply_edit(self.edits[site], layer, states)
        if self.asks(site, layer):
            self.capture(site, layer, states)
        return states

    def asks(self, site: str, layer: int) -> bool:
        """Returns whether the states of a layer are captured."""
        return layer in self.reads.get(site, ())

    def capture(self, site: str, layer: int, states: Float[Array, "row slot neuron"]) -> None:
        """Keeps states that were edited where they were computed, slot by slot."""
        self.captures[site, layer] = states

    def at(self, places: Int[Array, "row_beam slot"]) -> "Taps":
        """Returns taps for pieces at these places of their texts, where several beams may follow one row."""

        def pick(edit: Edit) -> Edit:
            if edit.where is None:
                return edit
            where = jnp.repeat(jnp.asarray(edit.where), len(places) // len(edit.where), axis=0)
            return edit._replace(where=jnp.take_along_axis(where, places, axis=1))

        return Taps({site: pick(edit) for site, edit in self.edits.items()}, self.reads)

    def drop(self, states: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns states with a share of them dropped while a model is trained, and as they are otherwise."""
        return states if self.dropout is None else self.dropout(states)


def apply_edit(edit: Edit, layer: int, states: Float[Array, "row slot neuron"]) -> Float[Array, "row slot neuron"]:
    """Returns the states of a layer after an edit."""
    changed = states
    if edit.directions is not None:
        directions = jnp.asarray(edit.directions, states.dtype)[layer]
        shares = jnp.einsum("rsn,nd->rsd", states, directions, precision=FLOAT32)
        changed = states - jnp.einsum("rsd,nd->rsn", shares, directions, precision=FLOAT32)
    scale, shift = (jnp.asarray(part, states.dtype)[layer] for part in (edit.scale, edit.shift))
    changed = changed * scale[None, None, :] + shift[None, None, :]
    return changed if edit.where is None else jnp.where(jnp.asarray(edit.where)[:, :, None], changed, states)


def decoder_part(by_site: Mapping[str, _Value]) -> dict[str, _Value]:
    """Returns the entries of a decoder's sites, under the names that these sites have inside the decoder."""
    return {site.removeprefix(DECODER): value for site, value in by_site.items() if site.startswith(DECODER)}


def check_edits(
    config: StackConfig,
    edits: Mapping[str, Edit],
    *,
    rows: tuple[int, ...] | None = None,
    targets: tuple[int, ...] | None = None,
) -> None:
    """Checks that every edit has a scale and a shift for each neuron of each layer of its site.

    Args:
        config: The stack.
        edits: Site to edit.
        rows: Number of rows and slots of the batch; None where the caller packs the rows itself.
        targets: The same of what the decoder reads, where there is one.

    Raises:
        SettingsError: The model does not have a site of this name; the message lists those it has.
        ModelError: An edit is of another shape than its site or its batch; the message says which shape is right.
    """
    for site, edit in edits.items():
        shape = (config.layer_count(site), config.site_width(site))
        if (np.shape(edit.scale), np.shape(edit.shift)) != (shape, shape):
            raise ModelError(
                f"The edit of `{site}` must have scale and shift of shape (layer, neuron) = {shape}, "
                f"got {np.shape(edit.scale)} and {np.shape(edit.shift)}."
            )
        if edit.directions is not None and np.shape(edit.directions)[:-1] != shape:
            raise ModelError(
                f"The edit of `{site}` must have directions of shape (layer, neuron, direction) = {shape} and their "
                f"number, got {np.shape(edit.directions)}."
            )
        if edit.directions is not None and site.removeprefix(DECODER) in ("cell", "gates"):
            raise ModelError(f"The edit of `{site}` must be without directions: only `residual` has them.")
        slots = targets if site.startswith(DECODER) else rows
        if edit.where is not None and np.shape(edit.where) != slots:
            means = "the rows are packed here, so slots cannot be named" if slots is None else f"it must be {slots}"
            raise ModelError(
                f"The edit of `{site}` has a `where` of shape {np.shape(edit.where)}, but {means}. Use a batch of your "
                "own with `forward`, `logits`, `log_probabilities` or `write_pieces`, or leave `where` out."
            )

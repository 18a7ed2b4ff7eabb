"""Taps edit and capture hidden states: every site of every layer passes its states through one."""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lca_jax.axes import DECODER
from lca_jax.models.stack.dropout import Dropout

_Value = TypeVar("_Value")


class Edit(NamedTuple):
    """`x * scale + shift` at every layer of a site: scale 0 ablates a neuron, scale 1 with shift 0 leaves it alone."""

    scale: Float[Array | np.ndarray, "layer neuron"]
    shift: Float[Array | np.ndarray, "layer neuron"]


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
            scale, shift = (jnp.asarray(part, states.dtype)[layer] for part in self.edits[site])
            states = states * scale[None, None, :] + shift[None, None, :]
        if layer in self.reads.get(site, ()):
            self.captures[site, layer] = states
        return states

    def drop(self, states: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns states with a share of them dropped while a model is trained, and as they are otherwise."""
        return states if self.dropout is None else self.dropout(states)


def decoder_part(by_site: Mapping[str, _Value]) -> dict[str, _Value]:
    """Returns the entries of a decoder's sites, under the names that these sites have inside the decoder."""
    return {site.removeprefix(DECODER): value for site, value in by_site.items() if site.startswith(DECODER)}

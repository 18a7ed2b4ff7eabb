"""Where the stack can be read and changed: a tap stands at every site of every layer."""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Edit(NamedTuple):
    """`x * scale + shift` at every layer of a site: scale 0 ablates a neuron, scale 1 with shift 0 leaves it alone."""

    scale: Float[Array | np.ndarray, "layer neuron"]
    shift: Float[Array | np.ndarray, "layer neuron"]


class Taps:
    """What happens where the stack passes a site: the edit of that layer, then its capture for the caller."""

    def __init__(self, edits: Mapping[str, Edit], reads: Mapping[str, tuple[int, ...]]) -> None:
        self.edits = edits
        self.reads = reads
        self.seen: dict[tuple[str, int], Array] = {}

    def __call__(
        self, site: str, layer: int, states: Float[Array, "row slot neuron"]
    ) -> Float[Array, "row slot neuron"]:
        """Returns the states that flow on."""
        if site in self.edits:
            scale, shift = (jnp.asarray(part, states.dtype)[layer] for part in self.edits[site])
            states = states * scale[None, None, :] + shift[None, None, :]
        if layer in self.reads.get(site, ()):
            self.seen[site, layer] = states
        return states

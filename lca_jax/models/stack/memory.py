"""What layers keep of the pieces before, while a text grows piece by piece.

Where whole windows are there at once nothing is kept: `Memory()` gives back what it is told. While a text grows, a
layer tells what it made of the new pieces (keys and values; the state of a recurrence), which is written to their
places, and gets the same for all places. Places after the newest piece hold zeros or what padding left there; nothing
looks at them, since attention is causal. A memory lives for one run of the stack; `kept` goes from run to run.

Kept in all: 2 · layer · row · place · key_head · unit numbers, in the precision of the stack.
"""

from collections.abc import Callable
from typing import NamedTuple, TypedDict, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.positions import Places

_Kept = TypeVar("_Kept")


class KeysValues(NamedTuple):
    """What attention looks at."""

    key: Float[Array, "row place key_head unit"]
    value: Float[Array, "row place key_head unit"]


States = Float[Array, "row place neuron"]


class Kept(TypedDict):
    """What all layers of a stack keep."""

    own: dict[int, KeysValues | States]
    """Of the text itself, by layer."""
    cross: dict[int, KeysValues]
    """Of the encoder's states, by layer; made when they are first looked at."""


class Memory:
    """What happens where the stack would look back: the new is written down, all of it is given back."""

    def __init__(self, kept: Kept | None = None, positions: Int[Array, "row slot"] | None = None) -> None:
        self.kept, self.positions = kept, positions

    @property
    def places(self) -> Places | None:
        """All places, of rows that hold one text each; None where nothing is kept."""
        if self.kept is None:
            return None
        rows, places = jax.tree.leaves(self.kept["own"])[0].shape[:2]
        positions = jnp.broadcast_to(jnp.arange(places, dtype=jnp.int32), (rows, places))
        return Places(positions, jnp.ones_like(positions))

    def extend(self, layer: int, new: _Kept) -> _Kept:
        """Writes what a layer made of the new pieces, (row, slot, …) arrays, and returns that of all places."""
        if self.kept is None:
            return new
        positions = self.positions
        assert positions is not None
        rows = jnp.arange(positions.shape[0], dtype=positions.dtype)[:, None]
        all_places = jax.tree.map(
            lambda kept, part: kept.at[rows, positions].set(part, mode="drop"), self.kept["own"][layer], new
        )
        self.kept["own"][layer] = all_places
        return all_places

    def before(self, layer: int) -> States | None:
        """What a recurrence kept for the place before the first new piece; None where there is none."""
        if self.kept is None:
            return None
        assert self.positions is not None
        kept = self.kept["own"][layer]
        assert not isinstance(kept, KeysValues)
        first = self.positions[:, :1]
        state = jnp.take_along_axis(kept, jnp.maximum(first - 1, 0)[:, :, None], axis=1)
        return jnp.where((first > 0)[:, :, None], state, 0)

    def once(self, layer: int, make: Callable[[], KeysValues]) -> KeysValues:
        """Keys and values of the encoder's states: made at the first call, kept for the later ones."""
        if self.kept is None:
            return make()
        if layer not in self.kept["cross"]:
            self.kept["cross"][layer] = make()
        return self.kept["cross"][layer]


def empty_memory(config: StackConfig, *, rows: int, places: int) -> Kept:
    """What a stack keeps of texts that have no piece yet.

    Args:
        config: The stack.
        rows: Texts.
        places: Pieces that each of them may have.
    """
    dtype = jnp.dtype(config.dtype)
    if config.mixing == "recurrence":
        return Kept(
            own={layer: jnp.zeros((rows, places, config.residual_width), dtype) for layer in range(config.layers)},
            cross={},
        )
    shape = (rows, places, config.attention.key_heads, config.attention.head_width)
    own: dict[int, KeysValues | States] = {
        layer: KeysValues(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)) for layer in range(config.layers)
    }
    return Kept(own=own, cross={})

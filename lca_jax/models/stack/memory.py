"""The key/value cache: results of the layers for the pieces before, while a text grows piece by piece.

A layer passes what it computed for the new pieces (keys and values; the state of a recurrence) to `Memory.extend`,
which stores it at their places and returns all places. Places after the newest piece hold zeros or what padding left
there; causal attention never reads them. Where whole windows are present at once, a `Memory()` without a cache stores
nothing and returns what it is given. A memory lives for one run of the stack; its cache goes from run to run.

A cache holds 2 · layer · row · place · key_head · unit numbers, in the precision of the stack.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.positions import Places

_Computed = TypeVar("_Computed")


class KeysValues(NamedTuple):
    """The keys and values that queries are compared with."""

    key: Float[Array, "row place key_head unit"]
    value: Float[Array, "row place key_head unit"]


States = Float[Array, "row place neuron"]
LstmStates = tuple[Float[Array, "row place neuron"], Float[Array, "row place cell"]]
"""Output and cells of an LSTM."""


class Cache(TypedDict):
    """Results of all layers of a stack for the pieces so far."""

    text: dict[int, KeysValues | States | LstmStates]
    """Layer to keys and values of the text itself, or to the states of a recurrence or an LSTM."""
    encoder: dict[int, KeysValues]
    """Layer to keys and values of the encoder's states; an entry is made when it is first read."""


class Memory:
    """The key/value cache: stores what a layer computed for new pieces and returns all positions."""

    def __init__(self, cache: Cache | None = None, positions: Int[Array, "row slot"] | None = None) -> None:
        self.cache, self.positions = cache, positions

    @property
    def places(self) -> Places | None:
        """All places of the cache, in rows of one text each; None without a cache."""
        if self.cache is None:
            return None
        rows, places = jax.tree.leaves(self.cache["text"])[0].shape[:2]
        positions = jnp.broadcast_to(jnp.arange(places, dtype=jnp.int32), (rows, places))
        return Places(positions, jnp.ones_like(positions))

    def extend(self, layer: int, new: _Computed) -> _Computed:
        """Stores what a layer computed for the new pieces, (row, slot, …) arrays, and returns that of all places."""
        if self.cache is None:
            return new
        positions = self.positions
        assert positions is not None
        rows = jnp.arange(positions.shape[0], dtype=positions.dtype)[:, None]
        all_places = jax.tree.map(
            lambda stored, part: stored.at[rows, positions].set(part, mode="drop"), self.cache["text"][layer], new
        )
        self.cache["text"][layer] = all_places
        return all_places

    def state_before(self, layer: int) -> Any:
        """Returns a recurrence's or an LSTM's states, one slot of each, at the place before the first new piece.

        They are zero before the first place, and None without a cache.
        """
        if self.cache is None:
            return None
        assert self.positions is not None
        states = self.cache["text"][layer]
        assert not isinstance(states, KeysValues)
        first = self.positions[:, :1]

        def before(states: States) -> Float[Array, "row 1 neuron"]:
            state = jnp.take_along_axis(states, jnp.maximum(first - 1, 0)[:, :, None], axis=1)
            return jnp.where((first > 0)[:, :, None], state, 0)

        return jax.tree.map(before, states)

    def compute_once(self, layer: int, compute: Callable[[], KeysValues]) -> KeysValues:
        """Returns the keys and values of the encoder's states, which do not change while a text grows."""
        if self.cache is None:
            return compute()
        if layer not in self.cache["encoder"]:
            self.cache["encoder"][layer] = compute()
        return self.cache["encoder"][layer]


def empty_cache(config: StackConfig, *, rows: int, places: int) -> Cache:
    """Returns the cache of texts that do not have a piece yet.

    Args:
        config: The stack.
        rows: Number of texts.
        places: Maximum number of pieces in each of them.
    """
    dtype = jnp.dtype(config.dtype)
    if config.mixing == "recurrence":
        return Cache(
            text={layer: jnp.zeros((rows, places, config.residual_width), dtype) for layer in range(config.layers)},
            encoder={},
        )
    if config.mixing == "lstm":
        output, cells = (
            jnp.zeros((rows, places, width), dtype) for width in (config.residual_width, config.heads_width)
        )
        return Cache(text=dict.fromkeys(range(config.layers), (output, cells)), encoder={})
    shape = (rows, places, config.attention.key_heads, config.attention.head_width)
    text: dict[int, KeysValues | States | LstmStates] = {
        layer: KeysValues(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)) for layer in range(config.layers)
    }
    return Cache(text=text, encoder={})

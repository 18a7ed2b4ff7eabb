"""Multi-head attention inside segments of packed rows.

Rows hold several windows side by side; a slot sees only the slots of its own segment, so a packed window has the same
hidden states as one that is alone. Memory: one float32 score for each (row, head, slot, slot) of rows of up to 512
slots; in longer ones 512 slots look at a time, so that scores grow with the length and not with its square. One bias
for each (row, slot, slot) is left, of all heads and layers of a kind: 268 MB for a row of 8,192 slots. On TPUs and GPUs
kernels read long rows without scores (`fused`), where whole windows are read and nothing is differentiated.

Inside, the head axis comes first and the division by the sum comes last. On two CPU cores, a whole forward pass of 8 or
16 rows of 128 slots took 5 to 9 % longer with `jax.nn.dot_product_attention` and 20 to 30 % longer with a softmax
between two einsums; one fused projection for query, key and value made no difference.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from lca_jax.machine.precision import ProductPrecision, precision_of
from lca_jax.models.stack.attention_config import Disentangled
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.disentangled import DisentangledScores
from lca_jax.models.stack.fused import Windows, attend_fused
from lca_jax.models.stack.layers import linear, norm, normalize
from lca_jax.models.stack.memory import KeysValues, Memory
from lca_jax.models.stack.positions import Rotation, rotate
from lca_jax.models.stack.relative import Distances
from lca_jax.models.stack.sinusoids import SinusoidScores
from lca_jax.models.stack.taps import Taps

_SLOTS_AT_ONCE, _FEWEST_AT_ONCE = 512, 128
"""Most slots that look at a time, and the fewest for which a row is divided."""
States = Float[Array, "row slot neuron"]


class View(NamedTuple):
    """The positions of a batch, as the attention of a layer uses them."""

    bias: Float[Array, "row _head slot place"]
    """Added to the scores; one for all heads, or one for each."""
    rotation: Rotation | None = None
    """Rotation of query and key, where positions are rotary."""
    distances: Distances | None = None
    """Vectors and numbers of distances, where scores depend on distance and content."""
    starts: Bool[Array, "row slot"] | None = None
    """Whether a window begins at a slot; a recurrence needs no more."""
    ends: Bool[Array, "row slot"] | None = None
    """Whether a window ends at a slot, for what reads it from its end."""
    factor: float = 1.0
    """Further factor of the products of query and key."""
    windows: Windows | None = None
    """What a kernel reads in the place of the bias; None where there is to be none."""


class EncoderStates(NamedTuple):
    """The last states of an encoder, as a decoder reads them."""

    states: Float[Array, "row place neuron"]
    view: View
    """Which of them the pieces of the decoder see."""


class Attention(nnx.Module):
    """Attention to the pieces of the stack itself, or to those of an encoder.

    Its site lies between the heads and the output projection.
    """

    def __init__(self, config: StackConfig, *, site: str, rngs: nnx.Rngs) -> None:
        shape = config.attention
        self.site = site
        self.heads, self.key_heads = shape.heads, shape.key_heads
        self.scale, self.softcap = shape.scale, shape.softcap
        self.precision = precision_of(config.dtype)
        keys_width = shape.key_heads * shape.head_width
        self.query = linear(config, config.residual_width, config.heads_width, bias=shape.input_bias, rngs=rngs)
        self.key = linear(config, config.residual_width, keys_width, bias=shape.input_bias, rngs=rngs)
        self.value = linear(config, config.residual_width, keys_width, bias=shape.input_bias, rngs=rngs)
        self.output = linear(config, config.heads_width, config.residual_width, bias=shape.output_bias, rngs=rngs)
        if shape.head_norm:
            self.query_norm = norm(config, shape.head_width, rngs=rngs)
            self.key_norm = norm(config, shape.head_width, rngs=rngs)
        self.head_norm = shape.head_norm
        self.relative = _relative_scores(config, rngs=rngs)

    def __call__(self, states: States, *, view: View, layer: int, taps: Taps, memory: Memory) -> States:
        """Computes what attention to these pieces and to those in memory adds to the states."""
        keys_values = memory.extend(layer, self._keys_values(states, view))
        return self._mix(keys_values, states, view=view, layer=layer, taps=taps)

    def read(self, encoder: EncoderStates, states: States, *, layer: int, taps: Taps, memory: Memory) -> States:
        """Computes what attention to an encoder's states adds to the states."""
        keys_values = memory.compute_once(layer, lambda: self._keys_values(encoder.states, encoder.view))
        return self._mix(keys_values, states, view=encoder.view, layer=layer, taps=taps)

    def _keys_values(self, states: Float[Array, "row place neuron"], view: View) -> KeysValues:
        key, value = (_split_heads(project(states), self.key_heads) for project in (self.key, self.value))
        if self.head_norm:
            key = normalize(self.key_norm, key)
        return KeysValues(key if view.rotation is None else rotate(key, view.rotation), value)

    def _mix(self, keys_values: KeysValues, states: States, *, view: View, layer: int, taps: Taps) -> States:
        """Mixes the values by the scores of the queries with the keys, and projects the heads."""
        key, value = keys_values
        query = _split_heads(self.query(states), self.heads)
        if self.head_norm:
            query = normalize(self.query_norm, query)
        if view.rotation is not None:
            query = rotate(query, view.rotation)
        scale, softcap, precision = self.scale * view.factor, self.softcap, self.precision
        if view.windows is not None and taps.dropout is None:
            mixed = attend_fused(
                query, key, value, windows=view.windows, scale=scale, softcap=softcap, precision=precision
            )
        else:
            bias, drop = self._bias(query, key, view), None if taps.dropout is None else taps.drop
            mixed = attend(query, key, value, bias=bias, scale=scale, softcap=softcap, precision=precision, drop=drop)
        return self.output(taps(self.site, layer, mixed.reshape(*states.shape[:2], -1)))

    def _bias(self, query: Array, key: Array, view: View) -> Float[Array, "row _head slot place"]:
        """Returns what is added to the scores."""
        bias = view.bias
        if isinstance(self.relative, DisentangledScores) and view.distances is not None:
            bias = bias + self.relative(query, key, view.distances, content=(self.query, self.key))
        if isinstance(self.relative, SinusoidScores) and view.distances is not None:
            bias = bias + self.relative(query, key, view.distances)
        return bias


def attend(
    query: Float[Array, "row slot head unit"],
    key: Float[Array, "row place key_head unit"],
    value: Float[Array, "row place key_head unit"],
    *,
    bias: Float[Array, "row _head slot place"],
    scale: float,
    softcap: float | None,
    precision: ProductPrecision,
    drop: Callable[[Array], Array] | None,
) -> Float[Array, "row slot head unit"]:
    """Computes softmax(scale · query · keyᵀ + bias) · value for every head, the softmax in float32.

    `drop` sets some of the weights to zero while a model is trained; their sum is that of all of them. Elsewhere the
    slots of a long row look one part after the other: a slot's weights are its own.
    Neighbouring query heads share a key head; their queries are stacked along the slot axis, for one product.
    """
    rows, slots, heads, units = query.shape
    if drop is None and (size := _slots_at_once(slots)) < slots:
        parts = (_in_parts(query, size, axis=1), _in_parts(bias, size, axis=2))
        options = {"scale": scale, "softcap": softcap, "precision": precision, "drop": None}
        mixed = jax.lax.map(lambda part: attend(part[0], key, value, bias=part[1], **options), parts)
        return jnp.moveaxis(mixed, 0, 1).reshape(query.shape)
    places, key_heads = key.shape[1:3]
    sharing = heads // key_heads
    query, key, value = (jnp.swapaxes(each, 1, 2) for each in (query, key, value))  # (row, head, …, unit)
    query = (query * jnp.asarray(scale, query.dtype)).reshape(rows, key_heads, sharing * slots, units)
    multiply = partial(jnp.matmul, precision=precision, preferred_element_type=jnp.float32)
    scores = multiply(query, jnp.swapaxes(key, 2, 3)).reshape(rows, heads, slots, places)
    if softcap is not None:
        scores = softcap * jnp.tanh(scores / softcap)
    scores = scores + bias
    weights = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
    total = weights.sum(axis=-1, keepdims=True)
    weights = weights if drop is None else drop(weights)
    weights = weights.astype(value.dtype).reshape(rows, key_heads, sharing * slots, places)
    mixed = multiply(weights, value).reshape(rows, heads, slots, units) / total
    return jnp.swapaxes(mixed.astype(value.dtype), 1, 2)


def _slots_at_once(slots: int) -> int:
    """Returns how many slots look at a time: a divisor of all of them, where there is a large one."""
    sizes = range(_SLOTS_AT_ONCE, _FEWEST_AT_ONCE - 1, -1)
    return slots if slots <= _SLOTS_AT_ONCE else next((size for size in sizes if slots % size == 0), slots)


def _in_parts(array: Array, size: int, *, axis: int) -> Array:
    """Divides an axis into parts of a size, which come first."""
    shape = (*array.shape[:axis], -1, size, *array.shape[axis + 1 :])
    return jnp.moveaxis(array.reshape(shape), axis, 0)


def _relative_scores(config: StackConfig, *, rngs: nnx.Rngs) -> DisentangledScores | SinusoidScores | None:
    shape = config.attention.relative
    if isinstance(shape, Disentangled):
        return DisentangledScores(config, shape, rngs=rngs)
    return None if shape is None else SinusoidScores(config, shape, rngs=rngs)


def _split_heads(states: Float[Array, "row place units"], heads: int) -> Float[Array, "row place head unit"]:
    return states.reshape(*states.shape[:2], heads, -1)

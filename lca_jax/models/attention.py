"""Multi-head attention inside segments of packed rows.

Rows hold several windows side by side; a slot sees the slots of its own segment and no others, so a packed window has
the same hidden states as one that is alone. Memory: one float32 score for each (row, head, slot, slot).

Heads come first and the division by the sum comes last. On two CPU cores, a whole forward pass of 8 or 16 rows of 128
slots took 5 to 9 % longer with `jax.nn.dot_product_attention` and 20 to 30 % longer with a softmax between two einsums;
one fused projection for query, key and value made no difference.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lca_jax.models.config import Disentangled, StackConfig
from lca_jax.models.disentangled import DisentangledScores
from lca_jax.models.layers import linear, matmul_precision, norm, normalize
from lca_jax.models.positions import Rotation, rotate
from lca_jax.models.relative import Distances
from lca_jax.models.taps import Taps
from lca_jax.models.transformer_xl import SinusoidScores


class View(NamedTuple):
    """What a layer's attention knows of a batch's positions."""

    bias: Float[Array, "row _head slot slot"]
    """Added to the scores, for all heads alike or for each."""
    rotation: Rotation | None
    """Applied to query and key."""
    distances: Distances | None = None
    """What relative scores are made of."""


class Attention(nnx.Module):
    """Self-attention; the site `attention` lies between the heads and the output projection."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs) -> None:
        shape = config.attention
        self.heads, self.key_heads = shape.heads, shape.key_heads
        self.scale, self.softcap = shape.scale, shape.softcap
        self.precision = matmul_precision(config.dtype)
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

    def __call__(
        self, states: Float[Array, "row slot neuron"], *, view: View, layer: int, taps: Taps
    ) -> Float[Array, "row slot neuron"]:
        """Computes what attention adds to the states."""
        query = _split_heads(self.query(states), self.heads)
        key, value = (_split_heads(project(states), self.key_heads) for project in (self.key, self.value))
        if self.head_norm:
            query, key = normalize(self.query_norm, query), normalize(self.key_norm, key)
        if view.rotation is not None:
            query, key = rotate(query, view.rotation), rotate(key, view.rotation)
        bias = view.bias
        if isinstance(self.relative, DisentangledScores) and view.distances is not None:
            bias = bias + self.relative(query, key, view.distances, content=(self.query, self.key))
        if isinstance(self.relative, SinusoidScores) and view.distances is not None:
            bias = bias + self.relative(query, key, view.distances)
        mixed = attend(query, key, value, bias=bias, scale=self.scale, softcap=self.softcap, precision=self.precision)
        return self.output(taps("attention", layer, mixed.reshape(*states.shape[:2], -1)))


def attend(
    query: Float[Array, "row slot head unit"],
    key: Float[Array, "row slot key_head unit"],
    value: Float[Array, "row slot key_head unit"],
    *,
    bias: Float[Array, "row _head slot slot"],
    scale: float,
    softcap: float | None,
    precision: jax.lax.Precision,
) -> Float[Array, "row slot head unit"]:
    """Computes softmax(scale · query · keyᵀ + bias) · value for every head, the softmax in float32.

    Neighbouring query heads share a key head; their queries stand under each other in one product.
    """
    rows, slots, heads, units = query.shape
    key_heads = key.shape[2]
    sharing = heads // key_heads
    query, key, value = (jnp.swapaxes(each, 1, 2) for each in (query, key, value))  # (row, head, slot, unit)
    query = (query * jnp.asarray(scale, query.dtype)).reshape(rows, key_heads, sharing * slots, units)
    products = {"precision": precision, "preferred_element_type": jnp.float32}
    scores = jnp.matmul(query, jnp.swapaxes(key, 2, 3), **products).reshape(rows, heads, slots, slots)
    if softcap is not None:
        scores = softcap * jnp.tanh(scores / softcap)
    scores = scores + bias
    weights = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
    total = weights.sum(axis=-1, keepdims=True)
    weights = weights.astype(value.dtype).reshape(rows, key_heads, sharing * slots, slots)
    mixed = jnp.matmul(weights, value, **products).reshape(rows, heads, slots, units) / total
    return jnp.swapaxes(mixed.astype(value.dtype), 1, 2)


def _relative_scores(config: StackConfig, *, rngs: nnx.Rngs) -> DisentangledScores | SinusoidScores | None:
    shape = config.attention.relative
    if isinstance(shape, Disentangled):
        return DisentangledScores(config, shape, rngs=rngs)
    return None if shape is None else SinusoidScores(config, rngs=rngs)


def _split_heads(states: Float[Array, "row slot units"], heads: int) -> Float[Array, "row slot head unit"]:
    return states.reshape(*states.shape[:2], heads, -1)

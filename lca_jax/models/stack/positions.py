"""The part of attention that follows from positions: visibility, rotations, and learned biases by distance.

All of it is computed from the segments and positions of packed rows, so that a packed window has the same hidden states
as one that is alone. It is computed once a batch and shared by the layers.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lca_jax.models.stack.attention_config import RelativeBuckets, Rotary


class Rotation(NamedTuple):
    """Cosine and sine of every slot's angles, for the two units of each pair."""

    cos: Float[Array, "row slot pair"]
    sin: Float[Array, "row slot pair"]


class Places(NamedTuple):
    """Places of pieces in their rows; a row has as many as slots, or more where a cache holds earlier pieces."""

    positions: Int[Array | np.ndarray, "row _place"]
    segments: Int[Array | np.ndarray, "row _place"]


def distances(
    queries: Int[Array | np.ndarray, "row slot"], keys: Int[Array | np.ndarray, "row place"]
) -> Int[Array, "row slot place"]:
    """Returns the position of each key minus that of each query; only those within one segment have a meaning."""
    return jnp.asarray(keys)[:, None, :] - jnp.asarray(queries)[:, :, None]


def visibility_bias(
    queries: Places, keys: Places, *, causal: bool, reach: int | None
) -> Float[Array, "row 1 _slot _place"]:
    """Returns what is added to the scores: 0 where a query sees a key, -inf elsewhere. Padding sees only padding.

    Args:
        queries: Places of the pieces that see.
        keys: Places of the pieces that are seen.
        causal: Whether a piece sees only itself and the pieces before it.
        reach: Number of positions that a piece sees to either side; None for all.
    """
    visible = jnp.asarray(queries.segments)[:, :, None] == jnp.asarray(keys.segments)[:, None, :]
    if causal:
        visible &= distances(queries.positions, keys.positions) <= 0
    if reach is not None:
        visible &= jnp.abs(distances(queries.positions, keys.positions)) <= reach
    return jnp.where(visible[:, None], jnp.float32(0), jnp.float32(-jnp.inf))


def rotation(rotary: Rotary, positions: Int[Array | np.ndarray, "row slot"]) -> Rotation:
    """Computes cosine and sine of the angles of rotary positions, in float32."""
    frequencies = jnp.asarray(rotary.frequencies, jnp.float32)
    angles = jnp.asarray(positions, jnp.float32)[:, :, None] * frequencies[None, None, :]
    return Rotation(jnp.cos(angles) * rotary.factor, jnp.sin(angles) * rotary.factor)


def rotate(states: Float[Array, "row slot head unit"], by: Rotation) -> Float[Array, "row slot head unit"]:
    """Turns the first units of every head; units beyond twice the number of angles stay as they are."""
    pairs = by.cos.shape[-1]
    cos, sin = (part[:, :, None, :].astype(states.dtype) for part in by)
    first, second, rest = states[..., :pairs], states[..., pairs : 2 * pairs], states[..., 2 * pairs :]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin, rest], axis=-1)


def bucket_of_distance(
    distance: Int[Array, "row slot place"], buckets: RelativeBuckets, *, causal: bool
) -> Int[Array, "row slot place"]:
    """Numbers distances: one bucket each for short ones, then buckets that grow with the logarithm of the distance.

    Source: Raffel et al. 2020, section 2.1; as in the models' own code, the longest distances share the last bucket.

    Args:
        distance: Distances as `distances` returns them.
        buckets: Number of buckets, and the distance from which on they share the last one.
        causal: Whether a piece sees only itself and the pieces before it, so that all buckets are for one side.
    """
    count = buckets.count if causal else buckets.count // 2
    length = jnp.maximum(-distance, 0) if causal else jnp.abs(distance)
    exact = count // 2
    # At distance 0 the logarithm of 1 is taken instead of that of 0; `where` below does not use it.
    growth = jnp.log(jnp.maximum(length, 1).astype(jnp.float32) / exact) / math.log(buckets.longest / exact)
    far = jnp.minimum(exact + (growth * (count - exact)).astype(distance.dtype), count - 1)
    number = jnp.where(length < exact, length, far)
    return number if causal else number + jnp.where(distance > 0, count, 0)

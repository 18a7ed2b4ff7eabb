"""What attention knows of positions: which pieces see which, rotations, and learned biases by distance.

All of it follows from the segments and positions of packed rows, so that a packed window is the same as one alone. It
is computed once a batch and shared by the layers.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lca_jax.models.config import AttentionKind, RelativeBuckets, Rotary


class Rotation(NamedTuple):
    """Cosine and sine of every slot's angles, for the two units of each pair."""

    cos: Float[Array, "row slot pair"]
    sin: Float[Array, "row slot pair"]


def distances(positions: Int[Array | np.ndarray, "row slot"]) -> Int[Array, "row slot slot"]:
    """Position of the piece seen less that of the piece that sees; has a meaning inside a segment only."""
    places = jnp.asarray(positions)
    return places[:, None, :] - places[:, :, None]


def visibility_bias(
    segments: Int[Array | np.ndarray, "row slot"],
    positions: Int[Array | np.ndarray, "row slot"],
    *,
    causal: bool,
    kind: AttentionKind,
) -> Float[Array, "row 1 slot slot"]:
    """What is added to attention scores: 0 for pieces that are seen, -inf for others. Padding sees only padding."""
    seen = segments[:, :, None] == segments[:, None, :]
    if causal:
        seen &= distances(positions) <= 0
    if kind.reach is not None:
        seen &= jnp.abs(distances(positions)) <= kind.reach
    return jnp.where(seen[:, None], jnp.float32(0), jnp.float32(-jnp.inf))


def rotation(rotary: Rotary, positions: Int[Array | np.ndarray, "row slot"]) -> Rotation:
    """The angles of rotary positions, in float32."""
    frequencies = jnp.asarray(rotary.frequencies, jnp.float32)
    angles = jnp.asarray(positions, jnp.float32)[:, :, None] * frequencies[None, None, :]
    return Rotation(jnp.cos(angles) * rotary.factor, jnp.sin(angles) * rotary.factor)


def rotate(states: Float[Array, "row slot head unit"], by: Rotation) -> Float[Array, "row slot head unit"]:
    """Turns the first units of every head; where there are fewer angles than pairs of units, the rest stays."""
    pairs = by.cos.shape[-1]
    cos, sin = (part[:, :, None, :].astype(states.dtype) for part in by)
    first, second, rest = states[..., :pairs], states[..., pairs : 2 * pairs], states[..., 2 * pairs :]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin, rest], axis=-1)


def bucket_of_distance(
    distance: Int[Array, "row slot slot"], buckets: RelativeBuckets, *, causal: bool
) -> Int[Array, "row slot slot"]:
    """Numbers distances: one bucket each for short ones, then buckets that grow with the logarithm of the distance.

    Source: Raffel et al. 2020, section 2.1; as in the models' own code, the longest distances share the last bucket.
    """
    count = buckets.count if causal else buckets.count // 2
    length = jnp.maximum(-distance, 0) if causal else jnp.abs(distance)
    exact = count // 2
    # The logarithm of 0 is taken for distance 0 and then not used.
    growth = jnp.log(jnp.maximum(length, 1).astype(jnp.float32) / exact) / math.log(buckets.longest / exact)
    far = jnp.minimum(exact + (growth * (count - exact)).astype(distance.dtype), count - 1)
    number = jnp.where(length < exact, length, far)
    return number if causal else number + jnp.where(distance > 0, count, 0)

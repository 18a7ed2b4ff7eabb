"""What attention knows of positions: which pieces see which, rotations, and learned biases by distance.

All of it follows from the segments and positions of packed rows, so that a packed window is the same as one alone. It
is computed once a batch and shared by the layers.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lca_jax.models.stack.config import RelativeBuckets, Rotary


class Rotation(NamedTuple):
    """Cosine and sine of every slot's angles, for the two units of each pair."""

    cos: Float[Array, "row slot pair"]
    sin: Float[Array, "row slot pair"]


class Places(NamedTuple):
    """Where pieces lie in their rows; a row has as many places as slots, or more where it is kept in memory."""

    positions: Int[Array | np.ndarray, "row _place"]
    segments: Int[Array | np.ndarray, "row _place"]


def distances(
    seeing: Int[Array | np.ndarray, "row slot"], seen: Int[Array | np.ndarray, "row place"]
) -> Int[Array, "row slot place"]:
    """Position of the piece seen less that of the piece that sees; has a meaning inside a segment only."""
    return jnp.asarray(seen)[:, None, :] - jnp.asarray(seeing)[:, :, None]


def visibility_bias(
    seeing: Places, seen: Places, *, causal: bool, reach: int | None
) -> Float[Array, "row 1 _slot _place"]:
    """What is added to attention scores: 0 for pieces that are seen, -inf for others. Padding sees only padding."""
    visible = jnp.asarray(seeing.segments)[:, :, None] == jnp.asarray(seen.segments)[:, None, :]
    if causal:
        visible &= distances(seeing.positions, seen.positions) <= 0
    if reach is not None:
        visible &= jnp.abs(distances(seeing.positions, seen.positions)) <= reach
    return jnp.where(visible[:, None], jnp.float32(0), jnp.float32(-jnp.inf))


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
    distance: Int[Array, "row slot place"], buckets: RelativeBuckets, *, causal: bool
) -> Int[Array, "row slot place"]:
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

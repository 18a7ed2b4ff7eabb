"""Products of pieces with the vectors of distances: the part of a score that depends on content and distance.

A piece is multiplied with the vectors of all distances that a row can hold, and the score of two pieces takes one
number out of these products. The products take (row, head, slot, distance) float32 numbers of memory, and `head_width`
times as many multiplications; with at most 2 · slots - 1 distances, that is at most twice what the products of pieces
with pieces cost. Nothing of shape (row, slot, slot, neuron) ever exists.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lca_jax.machine.precision import ProductPrecision
from lca_jax.models.stack.positions import distances


class Distances(NamedTuple):
    """The vectors of all distances that rows can hold, and the index of the distance between every two slots."""

    vectors: Float[Array, "distance neuron"]
    number: Int[Array, "row slot slot"]
    """Index in `vectors` for the distance from the second slot to the first; only those within one segment have a
    meaning."""
    two_types: Bool[Array, "row slot slot"] | None = None
    """Whether two slots have different token types; None where the batch has none."""


def number_distances(positions: Int[Array | np.ndarray, "row slot"]) -> Int[Array, "row slot slot"]:
    """Numbers distances from 0: number 0 belongs to the first piece of a full row looking at the last one.

    The number is position of the query - position of the key + slots - 1, clipped to stay below 2 · slots - 1.
    """
    furthest = positions.shape[1] - 1
    return jnp.clip(-distances(positions, positions), -furthest, furthest) + furthest


def match_keys(
    query: Float[Array, "row slot head unit"],
    key: Float[Array, "distance head unit"],
    number: Int[Array, "row slot slot"],
    *,
    precision: ProductPrecision,
) -> Float[Array, "row head slot slot"]:
    """Computes queryᵢ · key of the distance between i and j, in float32."""
    products = jnp.matmul(
        jnp.swapaxes(query, 1, 2),
        jnp.transpose(key, (1, 2, 0))[None],
        precision=precision,
        preferred_element_type=jnp.float32,
    )
    return jnp.take_along_axis(products, number[:, None], axis=3, mode="promise_in_bounds")


def match_queries(
    query: Float[Array, "distance head unit"],
    key: Float[Array, "row slot head unit"],
    number: Int[Array, "row slot slot"],
    *,
    precision: ProductPrecision,
) -> Float[Array, "row head slot slot"]:
    """Computes keyⱼ · query of the distance between i and j, in float32."""
    products = jnp.matmul(
        jnp.swapaxes(query, 0, 1)[None],
        jnp.transpose(key, (0, 2, 3, 1)),
        precision=precision,
        preferred_element_type=jnp.float32,
    )
    return jnp.take_along_axis(products, number[:, None], axis=2, mode="promise_in_bounds")

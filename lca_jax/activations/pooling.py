"""From pieces to words, on the device: one vector a word and layer out of what the model computed.

The words of a row are a list beside it, padded to a fixed length, with the slots of their pieces. Everything is per
row, so rows may be split over devices without any of them asking another. Padded words give the vector of slot 0 (zeros
for the mean); the reader drops them.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lca_jax.activations.recipe import Pool


def pool_words(
    hidden: Float[Array, "layer row slot neuron"],
    starts: Int[Array, "row read"],
    ends: Int[Array, "row read"],
    *,
    pool: Pool,
) -> Float[Array, "row read layer neuron"]:
    """Pools the pieces `start, …, end - 1` of every word.

    Args:
        hidden: Activations of packed rows.
        starts: Slot of each word's first piece.
        ends: One past the slot of its last piece; equal to `starts` for padding.
        pool: `last` and `first` take one piece as it is; `mean` sums in float32 with full precision.
    """
    if pool == "mean":
        return _mean(hidden, starts, ends)
    slots = starts if pool == "first" else jnp.maximum(ends - 1, 0)
    taken = jnp.take_along_axis(hidden, slots[None, :, :, None], axis=2)
    return jnp.moveaxis(taken, 0, 2)


def all_finite(
    vectors: Float[Array, "row read layer neuron"], starts: Int[Array, "row read"], ends: Int[Array, "row read"]
) -> Bool[Array, ""]:
    """Whether every number of every real word is finite."""
    padding = (starts == ends)[:, :, None, None]
    return jnp.all(jnp.isfinite(vectors) | padding)


def _mean(
    hidden: Float[Array, "layer row slot neuron"], starts: Int[Array, "row read"], ends: Int[Array, "row read"]
) -> Float[Array, "row read layer neuron"]:
    """Means as a product with each word's share in each slot: 1/pieces inside the word, 0 outside.

    A product, and not a scatter, since its order of summation is fixed on every device.
    """
    slot = jnp.arange(hidden.shape[2], dtype=starts.dtype)[None, None, :]
    inside = (slot >= starts[:, :, None]) & (slot < ends[:, :, None])
    share = inside.astype(jnp.float32) / jnp.maximum(ends - starts, 1).astype(jnp.float32)[:, :, None]
    return jnp.einsum(
        "rws,lrsn->rwln",
        share,
        hidden.astype(jnp.float32),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )

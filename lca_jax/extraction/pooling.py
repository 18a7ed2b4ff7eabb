"""Pools pieces to words on the device: one vector a word and layer out of the model's hidden states.

The words of a row are a list beside it, padded to a fixed length, with the slots of their pieces. Each row is pooled by
itself, so that rows may be split over devices without communication. Padded words get the vector of slot 0 (zeros for
the mean); the reader drops them.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lca_jax.machine.precision import FLOAT32
from lca_jax.store.recipe import Pool


def pool_words(
    hidden: Float[Array, "layer row slot neuron"],
    starts: Int[Array, "row read"],
    ends: Int[Array, "row read"],
    *,
    pool: Pool,
    between: Bool[Array, "row slot"] | None = None,
) -> Float[Array, "row read layer neuron"]:
    """Pools the pieces `start, …, end - 1` of every word (or of a sentence, or of one piece).

    Args:
        hidden: Activations of packed rows.
        starts: Slot of each word's first piece.
        ends: Slot after each word's last piece; equal to `starts` for padding.
        pool: Way of pooling: `last` and `first` take one piece as it is, and so do `none` and `cls`, where there is
            only one; means are summed in float32 with full precision; `max` is the largest number of each neuron.
        between: Slots inside a range that do not count in the mean: special pieces between two texts.
    """
    if pool in ("mean", "sentence-mean"):
        return _mean(hidden, starts, ends, between)
    if pool == "max":
        hidden = _running_max(hidden, starts)
    slots = starts if pool == "first" else jnp.maximum(ends - 1, 0)
    taken = jnp.take_along_axis(hidden, slots[None, :, :, None], axis=2)
    return jnp.moveaxis(taken, 0, 2)


def finite_rows(
    vectors: Float[Array, "row read layer neuron"], starts: Int[Array, "row read"], ends: Int[Array, "row read"]
) -> Bool[Array, " row"]:
    """Returns whether every number of every real word is finite, row by row, so that devices need not communicate."""
    padding = (starts == ends)[:, :, None, None]
    return jnp.all(jnp.isfinite(vectors) | padding, axis=(1, 2, 3))


def _running_max(
    hidden: Float[Array, "layer row slot neuron"], starts: Int[Array, "row read"]
) -> Float[Array, "layer row slot neuron"]:
    """Returns the largest number since the last start of a word, at every slot: a scan of log2(slots) steps."""
    slot = jnp.arange(hidden.shape[2], dtype=starts.dtype)[None, None, :]
    begins = (starts[:, :, None] == slot).any(axis=1)[None, :, :, None]

    def join(left: tuple[Array, Array], right: tuple[Array, Array]) -> tuple[Array, Array]:
        return left[0] | right[0], jnp.where(right[0], right[1], jnp.maximum(left[1], right[1]))

    return jax.lax.associative_scan(join, (begins, hidden), axis=2)[1]


def _mean(
    hidden: Float[Array, "layer row slot neuron"],
    starts: Int[Array, "row read"],
    ends: Int[Array, "row read"],
    between: Bool[Array, "row slot"] | None,
) -> Float[Array, "row read layer neuron"]:
    """Returns means as a product with each word's share in each slot: 1/pieces inside the word, 0 outside.

    It is a product, and not a scatter, since the order of its summation is fixed on every device.
    """
    slot = jnp.arange(hidden.shape[2], dtype=starts.dtype)[None, None, :]
    inside = (slot >= starts[:, :, None]) & (slot < ends[:, :, None])
    count = ends - starts
    if between is not None:
        inside &= ~between[:, None, :]
        count = inside.sum(axis=2, dtype=starts.dtype)
    share = inside.astype(jnp.float32) / jnp.maximum(count, 1).astype(jnp.float32)[:, :, None]
    return jnp.einsum(
        "rws,lrsn->rwln",
        share,
        hidden.astype(jnp.float32),
        precision=FLOAT32,
        preferred_element_type=jnp.float32,
    )

"""What features are centred and scaled by: mean and deviation over the words, each word counted once.

Summed some words at a time, on every device by itself, and merged by the formulas of Chan, Golub and LeVeque (1983,
"Algorithms for computing the sample variance", (1.1)). So nothing cancels, X is read once, whole or block by block, and
a block's memory is all that it takes: as one sum, XLA's CPU runtime takes as much memory again as X.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from lca_jax.errors import DataError
from lca_jax.machine.devices import fetch
from lca_jax.probing.matrix.rows import Rows
from lca_jax.store.finite import refuse_not_finite

_ROWS = 1024
"""Summed at a time."""
_CONSTANT = 1e-6
"""A feature whose deviation is below this share of its largest magnitude is constant: its weight stays at zero."""


class Spread(NamedTuple):
    """Of some words; zeros for no word."""

    words: Float[Array, ""]
    mean: Float[Array, "*layer feature"]
    squares: Float[Array, "*layer feature"]
    """Summed, around the mean."""
    largest: Float[Array, "*layer feature"]
    """Magnitude."""


@partial(jax.jit, static_argnames="mesh")
def spread_over(X: Float[Array, "*layer word feature"], real: Bool[Array, " word"], *, mesh: Mesh) -> Spread:
    """Of the rows that are words.

    Args:
        X: Its rows split over the devices.
        real: Which of them are words.
        mesh: The devices.
    """
    by_feature = PartitionSpec(*[None] * (X.ndim - 2), "model")

    def of_device(X: Float[Array, "*layer word feature"], real: Bool[Array, " word"]) -> Spread:
        here, axis = len(real), X.ndim - 2
        rows = min(_ROWS, here)
        none = jnp.zeros((*X.shape[:-2], X.shape[-1]), jnp.float32)

        def step(number: Int[Array, ""], total: Spread) -> Spread:
            first = jnp.minimum(number * rows, here - rows)
            some = jax.lax.dynamic_slice_in_dim(X, first, rows, axis)
            new = first + jnp.arange(rows) >= number * rows  # the last rows may have been seen before
            return merge(total, _spread_of(some, new & jax.lax.dynamic_slice_in_dim(real, first, rows)))

        own = jax.lax.fori_loop(0, -(-here // rows), step, Spread(jnp.zeros(()), none, none, none))
        words = jax.lax.psum(own.words, "data")
        mean = jax.lax.psum(own.words * own.mean, "data") / jnp.maximum(words, 1)
        squares = jax.lax.psum(own.squares + own.words * (own.mean - mean) ** 2, "data")
        return Spread(words, mean, squares, jax.lax.pmax(own.largest, "data"))

    return jax.shard_map(
        of_device,
        mesh=mesh,
        in_specs=(PartitionSpec(*[None] * (X.ndim - 2), "data", "model"), PartitionSpec("data")),
        out_specs=Spread(PartitionSpec(), by_feature, by_feature, by_feature),  # pyright: ignore[reportArgumentType] - specs in the shape of a spread
        check_vma=False,
    )(X, real)


def _spread_of(X: Float[Array, "*layer word feature"], real: Bool[Array, " word"]) -> Spread:
    words = real.sum().astype(jnp.float32)
    known = jnp.where(real[:, None], X.astype(jnp.float32), 0.0)
    mean = known.sum(axis=-2) / jnp.maximum(words, 1)
    squares = (jnp.where(real[:, None], known - mean[..., None, :], 0.0) ** 2).sum(axis=-2)
    return Spread(words, mean, squares, jnp.abs(known).max(axis=-2))


@jax.jit
def merge(one: Spread, other: Spread) -> Spread:
    """Of the words of both, which have none in common."""
    words = one.words + other.words
    share = other.words / jnp.maximum(words, 1)
    apart = other.mean - one.mean
    return Spread(
        words,
        one.mean + apart * share,
        one.squares + other.squares + apart**2 * (one.words * share),
        jnp.maximum(one.largest, other.largest),
    )


def choose_scale(
    rows: Rows, spread: Spread, *, standardize: bool
) -> tuple[Float[np.ndarray, "*layer feature"], Float[np.ndarray, "*layer feature"]]:
    """What features are centred by, and what they are divided by: 1 where they are constant or stay as they are.

    Args:
        rows: Where the words are read again if something is wrong with them; every process looks for the place.
        spread: Of all words.
        standardize: Whether features are scaled to deviation 1.

    Raises:
        DataError: Names the first value that is not finite, or the feature whose squares overflow.
    """
    words, mean, squares, largest = (fetch(array) for array in spread)
    deviation = np.sqrt(squares / words)
    wrong = np.flatnonzero(~np.isfinite(deviation))
    if len(wrong):
        refuse_not_finite(rows.read, rows.words, rows.name_place)
        raise DataError(
            f"The squares of feature {wrong[0]} are too large for float32: its largest value is "
            f"{largest.reshape(-1)[wrong[0]]:.1e}. Look for overflow or a broken checkpoint, or scale the activations."
        )
    constant = deviation <= _CONSTANT * np.maximum(largest, 1e-30)
    return mean, (np.where(constant, 1, deviation) if standardize else np.ones_like(deviation)).astype(np.float32)

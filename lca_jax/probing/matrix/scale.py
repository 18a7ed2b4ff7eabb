"""Mean and deviation of every feature over the words, each word counted once: features are centred and scaled by them.

Moments are summed some words at a time, on every device by itself, and merged by the formulas of Chan, Golub and
LeVeque (1983, "Algorithms for computing the sample variance", (1.1)). So nothing cancels, X is read once, whole or
block by block, and the memory needed is that of a block: as one sum, XLA's CPU runtime takes as much memory again as X.
"""

import logging
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from lca_jax.errors import DataError
from lca_jax.machine.devices import fetch
from lca_jax.machine.moments import Moments, merge_moments
from lca_jax.probing.matrix.source import MatrixSource
from lca_jax.store.finite import refuse_not_finite

_WORDS_AT_ONCE = 1024
"""Number of words that are summed at a time."""
_CONSTANT = 1e-6
"""A feature whose deviation is below this share of its largest magnitude is constant: what is left of it is rounding.
Its scale is infinite, so that its weight and its share of every product are exactly zero, whatever its offset."""
_FAINT = 1e-5
"""A feature whose deviation is below this share of the median of its layer is as good as constant. Scaled up, what is
left of it is rounding: it would be ranked by noise."""
_log = logging.getLogger(__name__)


class Scale(NamedTuple):
    """The numbers by which features are centred and scaled."""

    mean: Float[np.ndarray, "*layer feature"]
    scale: Float[np.ndarray, "*layer feature"]


class FeatureMoments(NamedTuple):
    """Moments of the features over some words; all zeros where there is no word."""

    words: Float[Array, ""]
    mean: Float[Array, "*layer feature"]
    squares: Float[Array, "*layer feature"]
    """Sum of the squared distances from the mean."""
    largest: Float[Array, "*layer feature"]
    """Largest magnitude."""


@partial(jax.jit, static_argnames="mesh")
def measure_moments(
    X: Float[Array, "*layer word feature"], real: Bool[Array, " word"], *, mesh: Mesh
) -> FeatureMoments:
    """Measures the moments of the rows of X that are words.

    Args:
        X: Words and padding, split over the devices.
        real: Whether each row is a word.
        mesh: The devices.
    """
    by_feature = PartitionSpec(*[None] * (X.ndim - 2), "model")

    def of_device(X: Float[Array, "*layer word feature"], real: Bool[Array, " word"]) -> FeatureMoments:
        here, axis = len(real), X.ndim - 2
        words_at_once = min(_WORDS_AT_ONCE, here)
        none = jnp.zeros((*X.shape[:-2], X.shape[-1]), jnp.float32)

        def step(number: Int[Array, ""], total: FeatureMoments) -> FeatureMoments:
            first = jnp.minimum(number * words_at_once, here - words_at_once)
            some = jax.lax.dynamic_slice_in_dim(X, first, words_at_once, axis)
            # The last words may have been summed before.
            new = first + jnp.arange(words_at_once) >= number * words_at_once
            return merge(total, _moments_of(some, new & jax.lax.dynamic_slice_in_dim(real, first, words_at_once)))

        steps = -(-here // words_at_once)
        local = jax.lax.fori_loop(0, steps, step, FeatureMoments(jnp.zeros(()), none, none, none))
        words = jax.lax.psum(local.words, "data")
        mean = jax.lax.psum(local.words * local.mean, "data") / jnp.maximum(words, 1)
        squares = jax.lax.psum(local.squares + local.words * (local.mean - mean) ** 2, "data")
        return FeatureMoments(words, mean, squares, jax.lax.pmax(local.largest, "data"))

    return jax.shard_map(
        of_device,
        mesh=mesh,
        in_specs=(PartitionSpec(*[None] * (X.ndim - 2), "data", "model"), PartitionSpec("data")),
        out_specs=FeatureMoments(PartitionSpec(), by_feature, by_feature, by_feature),  # pyright: ignore[reportArgumentType] - specs in the shape of moments
        check_vma=False,
    )(X, real)


def _moments_of(X: Float[Array, "*layer word feature"], real: Bool[Array, " word"]) -> FeatureMoments:
    words = real.sum().astype(jnp.float32)
    values = jnp.where(real[:, None], X.astype(jnp.float32), 0.0)
    mean = values.sum(axis=-2) / jnp.maximum(words, 1)
    squares = (jnp.where(real[:, None], values - mean[..., None, :], 0.0) ** 2).sum(axis=-2)
    return FeatureMoments(words, mean, squares, jnp.abs(values).max(axis=-2))


@jax.jit
def merge(one: FeatureMoments, other: FeatureMoments) -> FeatureMoments:
    """Merges the moments of two sets of words that have no word in common."""
    both = merge_moments(*(Moments(part.words, part.mean, part.squares) for part in (one, other)))
    merged = (jnp.asarray(part) for part in both)
    return FeatureMoments(*merged, largest=jnp.maximum(one.largest, other.largest))


def choose_scale(source: MatrixSource, moments: FeatureMoments, *, standardize: bool) -> Scale:
    """Returns mean and scale of every feature: the scale is 1 where it is not to be scaled, infinite if silent.

    The log counts the silent features: those that are constant and, where features are scaled, those that vary next to
    nothing in their layer.

    Args:
        source: The words are read again from it if something is wrong with them; every process looks for the place.
        moments: Moments over all words.
        standardize: Whether features are scaled to deviation 1.

    Raises:
        DataError: A value is not finite, or the squares of a feature overflow; the message names the first.
    """
    words, mean, squares, largest = (fetch(array) for array in moments)
    deviation = np.sqrt(squares / words)
    wrong = np.flatnonzero(~np.isfinite(deviation))
    if len(wrong):
        refuse_not_finite(source.read, source.words, source.name_place)
        raise DataError(
            f"The squares of feature {wrong[0]} are too large for float32: its largest value is "
            f"{largest.reshape(-1)[wrong[0]]:.1e}. Look for overflow or a broken checkpoint, or scale the activations."
        )
    constant = deviation <= _CONSTANT * np.maximum(largest, 1e-30)
    faint = ~constant & (deviation <= _FAINT * _median_of_layer(deviation, ~constant, source.blocks)) & standardize
    if constant.any() or faint.any():
        _log.info(
            "of %d neurons %d are constant and %d vary by less than %g of the median of their layer: no weight",
            *(deviation.size, constant.sum(), faint.sum(), _FAINT),
        )
    scale = np.where(constant | faint, np.inf, deviation if standardize else 1)
    return Scale(mean, scale.astype(np.float32))


def _median_of_layer(
    deviation: Float[np.ndarray, "*layer feature"],
    varies: Bool[np.ndarray, "*layer feature"],
    blocks: Int[np.ndarray, " feature"] | None,
) -> Float[np.ndarray, "*layer feature"]:
    """Returns for each feature the median deviation of those of its layer that vary; 0 where none does."""
    width = deviation.shape[-1]
    layer = np.arange(deviation.size) // width if blocks is None else blocks
    flat, counted = deviation.reshape(-1), varies.reshape(-1)
    medians = np.zeros(flat.shape)
    for number in np.unique(layer):
        of_layer = layer == number
        if (of_layer & counted).any():
            medians[of_layer] = np.median(flat[of_layer & counted])
    return medians.reshape(deviation.shape)

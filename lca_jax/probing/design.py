"""The activations as a probe sees them: one matrix, standardised inside the products and never copied.

Letters used in this room, problem axis first so that all problems are one matrix product, class axis last in Z and R
(measured on a CPU, a softmax over the last axis is six times faster than over the middle one):

    X (word, feature)            raw activations          W (problem, class, feature)   weights, in the penalised scale
    Z (problem, word, class)     scores without bias      R (problem, word, class)      residuals, weighted by 1/n

With m the mean and s the deviation of each feature, the standardised matrix is (X − 1 m')/s. So Z = (W/s) X' − (W/s) m
and the products with the transpose are (R X − (R 1) m)/s: two products with the raw X an iteration, whatever the
scaling. Each costs 2·word·feature·class·problem operations and reads X once (word·feature·4 bytes); the order of the
axes inside them is the fastest of those measured on a CPU.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lca_jax.devices import data_mesh, shard_rows
from lca_jax.errors import DataError

_PRECISION = jax.lax.Precision.HIGHEST
"""The certificate is only as good as the products: full float32 also where the device would round to bfloat16."""

_CONSTANT = 1e-6
"""A feature whose deviation is below this share of its largest magnitude is constant: its weight stays at zero."""


class Design(NamedTuple):
    """Features of the training words on the device, rows split over the mesh, with how they are centred and scaled."""

    X: Float[Array, "word feature"]
    mean: Float[Array, " feature"]
    scale: Float[Array, " feature"]
    """1 for every feature where the penalty is on raw weights. Centring only moves the (free) bias."""


def put_design(X: Float[np.ndarray, "word feature"], *, standardize: bool) -> Design:
    """Moves activations to the devices and measures mean and deviation of every feature.

    Rows are padded to a multiple of the devices with zeros; the problems mask padded words by their label −1.

    Raises:
        DataError: No word, or a value that is not finite (word and feature are named).
    """
    words = X.shape[0]
    if words == 0:
        raise DataError("A probe needs at least one labelled word with a vector, got none.")
    sharded = shard_rows(data_mesh(), X)
    mean, deviation, largest = (np.asarray(part) for part in _moments(sharded, jnp.asarray(words)))
    if not np.isfinite(deviation).all():
        feature = int(np.flatnonzero(~np.isfinite(deviation))[0])
        word = int(np.flatnonzero(~np.isfinite(X[:, feature]))[0]) if not np.isfinite(X[:, feature]).all() else -1
        place = f"word {word}, feature {feature}" if word >= 0 else f"the sum over feature {feature}"
        raise DataError(
            f"Activations must be finite; {place} is not. Look for overflow (float16) or a broken checkpoint."
        )
    constant = deviation <= _CONSTANT * np.maximum(largest, 1e-30)
    scale = np.where(constant, 1, deviation) if standardize else np.ones_like(deviation)
    return Design(sharded, jnp.asarray(mean), jnp.asarray(scale.astype(np.float32)))


def scores(design: Design, W: Float[Array, "problem class feature"]) -> Float[Array, "problem word class"]:
    """Z: scores of every word without the bias."""
    scaled = W / design.scale[None, None, :]
    offset = jnp.einsum("pcd,d->pc", scaled, design.mean, precision=_PRECISION)
    problems, classes, features = W.shape
    flat = jnp.matmul(scaled.reshape(-1, features), design.X.T, precision=_PRECISION)
    return flat.reshape(problems, classes, -1).transpose(0, 2, 1) - offset[:, None, :]


def correlations(design: Design, R: Float[Array, "problem word class"]) -> Float[Array, "problem class feature"]:
    """Products of word weights with the standardised features: the gradient of the loss where R are the residuals."""
    problems, words, classes = R.shape
    flat = R.transpose(1, 0, 2).reshape(words, -1)
    product = jnp.matmul(flat.T, design.X, precision=_PRECISION).reshape(problems, classes, -1)
    return (product - R.sum(axis=1)[:, :, None] * design.mean[None, None, :]) / design.scale[None, None, :]


class Gram(NamedTuple):
    """The metric in which proximal steps are taken: (1 − r) X'X/n + r I over a sample of words, X standardised."""

    matrix: Float[Array, "feature feature"]
    largest: Float[Array, ""]
    """A bound just above its largest eigenvalue."""


def gram(design: Design, *, words: int) -> Gram:
    """The Gram metric from every k-th word, about three words a feature.

    Any positive definite metric gives the same optimum; measured, three words a feature take as many iterations as all
    words do, and cost 6·feature³ operations once, independent of the corpus.
    """
    features = design.X.shape[1]
    stride = max(1, words // (3 * features))
    return _gram(design, words, stride)


@jax.jit
def _moments(
    X: Float[Array, "word feature"], words: Int[Array, ""]
) -> tuple[Float[Array, " feature"], Float[Array, " feature"], Float[Array, " feature"]]:
    """Mean, deviation and largest magnitude over the first `words` rows, in two passes: no cancellation."""
    count = words.astype(X.dtype)
    mean = X.sum(axis=0) / count
    real = jnp.arange(X.shape[0])[:, None] < words
    centred = jnp.where(real, X - mean[None, :], 0.0)
    return mean, jnp.sqrt((centred**2).sum(axis=0) / count), jnp.abs(X).max(axis=0)


def _gram(design: Design, words: int, stride: int) -> Gram:
    sample = design.X[:words:stride]
    return _gram_of(design._replace(X=sample))


@jax.jit
def _gram_of(design: Design) -> Gram:
    ridge = 0.02
    centred = (design.X - design.mean[None, :]) / design.scale[None, :]
    matrix = jnp.einsum("nd,ne->de", centred, centred, precision=_PRECISION) / centred.shape[0]
    level = jnp.trace(matrix) / matrix.shape[0]
    matrix = (1 - ridge) * matrix + ridge * level * jnp.eye(matrix.shape[0], dtype=matrix.dtype)

    def power_step(_: Int[Array, ""], v: Float[Array, " feature"]) -> Float[Array, " feature"]:
        v = jnp.einsum("de,e->d", matrix, v, precision=_PRECISION)
        return v / jnp.linalg.norm(v)

    start = jnp.ones(matrix.shape[0], matrix.dtype) + jnp.arange(matrix.shape[0], dtype=matrix.dtype) / matrix.shape[0]
    v = jax.lax.fori_loop(0, 60, power_step, start / jnp.linalg.norm(start))
    largest = 1.05 * jnp.einsum("d,de,e->", v, matrix, v, precision=_PRECISION)
    return Gram(matrix, largest)

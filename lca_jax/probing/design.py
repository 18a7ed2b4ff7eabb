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

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lca_jax.devices import data_mesh, shard_rows
from lca_jax.errors import DataError
from lca_jax.probing.finite import NamePlace, name_word_and_feature, refuse_not_finite

_Result = TypeVar("_Result")
_Axes = int | tuple[int | None, ...]

_PRECISION = jax.lax.Precision.HIGHEST
"""The certificate is only as good as the products: full float32 also where the device would round to bfloat16."""

_CONSTANT = 1e-6
"""A feature whose deviation is below this share of its largest magnitude is constant: its weight stays at zero."""


@runtime_checkable
class Products(Protocol):
    """Whatever holds X: its shape, and the two products that everything else is made of."""

    @property
    def layers(self) -> int:
        """Number of matrices of equal width that are solved for side by side; 1 where X is one matrix."""
        ...

    @property
    def features(self) -> int:
        """Columns of a matrix."""
        ...

    @property
    def axis(self) -> int:
        """Place of the problem axis in arrays of this design: 1 behind a layer axis, else 0."""
        ...

    def stack(self, array: np.ndarray) -> np.ndarray:
        """An array with a layer axis in front, without it where X is one matrix."""
        ...

    def flop(self, classes: int) -> float:
        """Operations of the two products of one iteration of one problem."""
        ...

    def scores(self, W: Float[Array, "*layer problem class feature"]) -> Float[Array, "*layer problem word class"]:
        """Scores of every word without the bias."""
        ...

    def correlations(
        self, R: Float[Array, "*layer problem word class"]
    ) -> Float[Array, "*layer problem class feature"]:
        """Products of word weights, of each layer or the same for all, with the standardised features."""
        ...


class Design(NamedTuple):
    """Features of the training words on the device, rows split over the mesh, with how they are centred and scaled.

    Or one such matrix a layer, layer axis first, for the probes of single layers: `over_layers` maps over them.
    """

    X: Float[Array, "*layer word feature"]
    mean: Float[Array, "*layer feature"]
    scale: Float[Array, "*layer feature"]
    """1 for every feature where the penalty is on raw weights. Centring only moves the (free) bias."""

    @property
    def layers(self) -> int:
        """Number of matrices."""
        return 1 if self.X.ndim == 2 else self.X.shape[0]

    @property
    def features(self) -> int:
        """Columns of a matrix."""
        return self.X.shape[-1]

    @property
    def axis(self) -> int:
        """Place of the problem axis in arrays of this design: 1 behind a layer axis, else 0."""
        return self.X.ndim - 2

    def stack(self, array: np.ndarray) -> np.ndarray:
        """An array with a layer axis in front, without it where the design is one matrix."""
        return array if self.axis else array[0]

    def flop(self, classes: int) -> float:
        """Operations of the two products of one iteration of one problem."""
        return 4.0 * self.X.size * classes

    def scores(self, W: Float[Array, "*layer problem class feature"]) -> Float[Array, "*layer problem word class"]:
        """Scores of every word without the bias."""
        return _all_scores(self, W)

    def correlations(
        self, R: Float[Array, "*layer problem word class"]
    ) -> Float[Array, "*layer problem class feature"]:
        """Products of word weights, of each layer or the same for all, with the standardised features."""
        return _all_correlations(self, R)


def put_design(
    X: Float[np.ndarray, "word feature"],
    *,
    standardize: bool,
    layers: int | None = None,
    name_place: NamePlace = name_word_and_feature,
) -> Design:
    """Moves activations to the devices and measures mean and deviation of every feature.

    Mean and deviation are those of the words given, each counted once, whatever weight problems give to them: so one
    design serves all problems. Rows are padded to a multiple of the devices with zeros; the problems mask padded words
    by their label −1.

    Args:
        X: Raw activations.
        standardize: Whether the penalty is on weights of features with deviation 1.
        layers: None for one matrix; a number for that many, of equal widths, whose columns stand side by side in X.
            Layer first is the order in which a CPU multiplies them as fast as the whole; word first, as X has them,
            takes five times as long.
        name_place: What messages call a value of X.

    Raises:
        DataError: No word, or a value that is not finite (its place is named).
    """
    words = X.shape[0]
    if words == 0:
        raise DataError("A probe needs at least one labelled word with a vector, got none.")
    if layers is None:
        sharded = shard_rows(data_mesh(), X)
        moments = _moments(sharded, jnp.asarray(words))
    else:
        sharded = shard_rows(data_mesh(), X.reshape(words, layers, -1).transpose(1, 0, 2), axis=1)
        moments = jax.vmap(_moments, in_axes=(0, None))(sharded, jnp.asarray(words))
    mean, deviation, largest = (np.asarray(part) for part in moments)
    if not np.isfinite(deviation).all():
        refuse_not_finite(X, name_place)
        feature = int(np.flatnonzero(~np.isfinite(deviation))[0])
        raise DataError(
            f"The squares of feature {feature} are too large for float32: its largest value is "
            f"{largest.reshape(-1)[feature]:.1e}. Look for overflow or a broken checkpoint, or scale the activations."
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

    matrix: Float[Array, "*layer feature feature"]
    largest: Float[Array, "*layer"]
    """A bound just above its largest eigenvalue."""


def gram(design: Design, *, words: int) -> Gram:
    """The Gram metric from every k-th word, about three words a feature.

    Any positive definite metric gives the same optimum; measured, three words a feature take as many iterations as all
    words do, and cost 6·feature³ operations once, independent of the corpus. For layers one by one that is layers²
    times less than for all of them together: taking their blocks out of a whole Gram would save nothing.
    """
    stride = max(1, words // (3 * design.X.shape[-1]))
    sample = design._replace(X=design.X[..., :words:stride, :])
    return over_layers(_gram_of, design, 0)(sample)


def over_layers(function: Callable[..., _Result], design: Products, axes: _Axes) -> Callable[..., _Result]:
    """The function itself where the design is one matrix; mapped over the layers where it is a matrix a layer.

    Args:
        function: Of positional arguments.
        design: Decides.
        axes: Where the arguments have their layer axis, None for those that all layers share, as in `jax.vmap`.
    """
    return jax.vmap(function, in_axes=axes) if design.axis else function


@jax.jit
def _all_scores(design: Design, W: Float[Array, "*layer problem class feature"]) -> Float[Array, "..."]:
    return over_layers(scores, design, (0, 0))(design, W)


@jax.jit
def _all_correlations(design: Design, R: Float[Array, "*layer problem word class"]) -> Float[Array, "..."]:
    return over_layers(correlations, design, (0, 0 if R.ndim == 4 else None))(design, R)


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

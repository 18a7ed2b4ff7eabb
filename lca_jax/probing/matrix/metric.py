r"""The metric in which proximal steps are taken: (1 − r) X'X/m + r I over m of the words, X standardised.

It carries the correlations between neurons, so that one curvature a problem is enough. Any positive definite metric
gives the same optimum and the same certificate, so it may come from a sample of the words. It is kept in the form whose
product is cheaper:

- *whole*, as a matrix of feature², from about three words a feature; a product costs 2·feature² operations a column,
- *thin*, as the sampled words themselves: A'A with A of m words, 4·m·feature operations a column. Then neither the time
  nor the memory of feature² is spent: at 9,984 neurons, with 416 words, 12 times fewer operations (feature/2m) and 24
  times less memory (feature/m).

Measured on 8,987 words × 2,688 neurons × 17 classes, iterations to a certificate of 1e-4 with 12 inner steps at
(l1, l2) of (1e-3, 1e-3): whole 51; thin with 1,000, 500, 384, 256 words and r = 50/m: 65, 65, 67, 68. An iteration of
the whole metric takes about twice the time, and its matrix costs as much as ten iterations before the first.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from lca_jax.machine.precision import FLOAT32, float32_way
from lca_jax.probing.matrix.block import over_layers

_THIN_WORDS = 384
"""Number of words in a thin metric, for which `_THIN_RIDGE` makes up: between 256 and 1,000 the time differs by less
than a tenth."""
_THIN_ROWS = 32
"""A thin metric has a multiple of so many rows, the last ones zeros: matrices of about the same size share programs."""
_THIN_RIDGE = 0.13
"""Share of the identity in a thin metric."""
_WHOLE_WORDS_PER_FEATURE = 3
"""Measured, three words a feature take as many iterations as all words do."""
_WHOLE_RIDGE = 0.02
"""Share of the identity in a whole metric."""
_POWER_STEPS = 60
"""Steps of the power method for the largest eigenvalue."""


class Metric(NamedTuple):
    """A metric of one matrix, or of each layer."""

    factor: Float[Array, "*layer row feature"]
    """The matrix itself without the identity, where it has as many rows as features; else A, for A'A."""
    ridge: Float[Array, "*layer"]
    """Weight of the identity."""
    largest: Float[Array, "*layer"]
    """A bound just above the largest eigenvalue."""

    def times(self, change: Float[Array, "problem class feature"]) -> Float[Array, "problem class feature"]:
        """Multiplies weights of one layer by the metric, as products of two matrices."""
        flat, way = change.reshape(-1, change.shape[2]), float32_way()
        if _is_thin(self.factor):
            product = jnp.matmul(jnp.matmul(flat, self.factor.T, precision=way), self.factor, precision=way)
        else:
            product = jnp.matmul(flat, self.factor, precision=way)
        return product.reshape(change.shape) + self.ridge * change


def takes_thin(features: int) -> bool:
    """Tells whether the thin form is the cheaper one."""
    return features > 2 * _THIN_WORDS


def metric_stride(words: int, features: int) -> int:
    """Returns k such that every k-th word goes into the metric."""
    return max(1, words // (_THIN_WORDS if takes_thin(features) else _WHOLE_WORDS_PER_FEATURE * features))


def metric_operations(words: int, features: int) -> int:
    """Returns the operations of a product with the metric, for one column of weights."""
    return 4 * thin_rows(words, features) * features if takes_thin(features) else 2 * features**2


def thin_rows(words: int, features: int) -> int:
    """Returns the number of rows of the thin metric of a matrix."""
    sampled = -(-words // metric_stride(words, features))
    return sampled + -sampled % _THIN_ROWS


def metric_layout(mesh: Mesh, *, layered: bool) -> Metric:
    """Returns how the arrays of a metric lie on the devices: whole over `data`, the factor by column over `model`.

    An inner step multiplies by the factor twice. Were its rows divided among the devices, as a compiler divides them by
    itself, each of these products would be an exchange, in every inner step. A thin factor need not be divided: 416
    rows of 135,168 columns, the residual stream of Llama 7B, take 225 MB (columns × rows × 4 bytes), and of 618,496
    columns, all its sites, 1.03 GB; the whole metric would take 73 GB and 1.5 TB. Where the columns of X are
    split, so are those of the factor. Devices that each have problems of their own make it whole once for all steps;
    groups that share a problem add up class × row numbers of it in every step.

    Args:
        mesh: The devices.
        layered: Whether there is a metric of each layer.

    Returns:
        A sharding in the place of each array.
    """
    columns, everywhere = PartitionSpec(*[None] * layered, None, "model"), PartitionSpec()
    return Metric(*(NamedSharding(mesh, split) for split in (columns, everywhere, everywhere)))  # pyright: ignore[reportArgumentType] - shardings in the place of arrays


def factor_of_words(centred: Float[Array, "word feature"], words: int) -> Float[Array, "row feature"]:
    """Returns what `make_metric` makes the metric of sampled words of: A of A'A where it is thin, else X'X/m.

    Args:
        centred: Standardised features of the words; more rows, of zeros, change nothing.
        words: Number of words among them.
    """
    if takes_thin(centred.shape[1]):
        rows = jnp.pad(centred, ((0, -len(centred) % _THIN_ROWS), (0, 0)))
        return rows / jnp.sqrt(jnp.asarray(words, rows.dtype))
    return jnp.einsum("nd,ne->de", centred, centred, precision=FLOAT32) / words


def make_metric(factor: Float[Array, "*layer row feature"], mesh: Mesh) -> Metric:
    """Makes the metric of one matrix or of each layer, and puts it where `metric_layout` says; in a compiled program.

    Args:
        factor: Of `factor_of_words`, wherever it lies.
        mesh: The devices.
    """
    layered = factor.ndim == 3
    layout = metric_layout(mesh, layered=layered)
    # Before it is multiplied, or every step of the power method would be an exchange.
    placed = jax.lax.with_sharding_constraint(factor, layout.factor)
    return jax.lax.with_sharding_constraint(over_layers(_finish, 0, layered=layered)(placed), layout)


def _is_thin(factor: Float[Array, "row feature"]) -> bool:
    return factor.shape[-2] != factor.shape[-1]


def _finish(factor: Float[Array, "row feature"]) -> Metric:
    """Pulls the metric towards the identity, at the mean of its eigenvalues, and bounds it."""
    features = factor.shape[1]
    thin = _is_thin(factor)
    ridge = _THIN_RIDGE if thin else _WHOLE_RIDGE
    level = ((factor**2).sum() if thin else jnp.trace(factor)) / features
    unbounded = Metric(factor * ((1 - ridge) ** 0.5 if thin else 1 - ridge), ridge * level, level)

    def power_step(_: Int[Array, ""], v: Float[Array, "1 1 feature"]) -> Float[Array, "1 1 feature"]:
        v = unbounded.times(v)
        return v / jnp.linalg.norm(v)

    start = (1 + jnp.arange(features, dtype=factor.dtype) / features)[None, None]
    v = jax.lax.fori_loop(0, _POWER_STEPS, power_step, start / jnp.linalg.norm(start))
    return unbounded._replace(largest=1.05 * (v * unbounded.times(v)).sum())

"""X held on the devices as a whole: read once, then multiplied wherever a product is needed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from lca_jax.machine.devices import aligned_empty, joint_mesh, place_words, replicate
from lca_jax.probing.matrix.block import Block, correlations, over_layers, scores
from lca_jax.probing.matrix.matrix import Stretch, Sweep, Visit
from lca_jax.probing.matrix.metric import Metric, factor_of_words, make_metric, metric_stride
from lca_jax.probing.matrix.scale import Scale, choose_scale, measure_moments
from lca_jax.probing.matrix.sizes import fine_size
from lca_jax.probing.matrix.source import MatrixSource, check_source, read_part
from lca_jax.probing.objective import MatrixDtype
from lca_jax.probing.problems import Problems


@dataclass(frozen=True, kw_only=True)
class HeldMatrix:
    """Features of the training words on the devices; implements `Matrix`."""

    block: Block
    """All words and padding."""
    words: int
    mesh: Mesh

    @property
    def padded_words(self) -> int:
        """Length of the word axis."""
        return self.block.X.shape[-2]

    @property
    def features(self) -> int:
        """Number of columns of a matrix."""
        return self.block.X.shape[-1]

    @property
    def layers(self) -> int:
        """Number of matrices."""
        return self.block.X.shape[0] if self.layered else 1

    @property
    def layered(self) -> bool:
        """Whether X is a matrix per layer."""
        return self.block.layered

    @property
    def mean(self) -> Float[Array, "*layer feature"]:
        """Mean of each feature."""
        return self.block.mean

    @property
    def scale(self) -> Float[Array, "*layer feature"]:
        """Number by which each feature is divided."""
        return self.block.scale

    def scores(self, W: Float[Array, "*layer problem class feature"]) -> Float[Array, "*layer problem class word"]:
        """Returns the scores of every word without the bias."""
        return _scores(self.block, W)

    def correlations(
        self, R: Float[Array, "*shared problem class word"]
    ) -> Float[Array, "*layer problem class feature"]:
        """Returns the products of word weights with the standardised features."""
        return _correlations(self.block, R)

    def metric(self) -> Metric:
        """Returns the metric of proximal steps; it is computed once."""
        return self._metric

    def stretches(self, generator: np.random.Generator) -> Iterator[Stretch]:  # noqa: ARG002 - one part has one order
        """Yields all words at once."""
        yield Stretch(self.block, np.arange(self.words), lambda problems: problems)

    @cached_property
    def _metric(self) -> Metric:
        stride = metric_stride(self.words, self.features)
        return _metric_of(self.block, words=self.words, stride=stride, mesh=self.mesh)


def hold_matrix(
    source: MatrixSource,
    *,
    standardize: bool,
    dtype: MatrixDtype = "float32",
    split_over: int = 1,
    given: Scale | None = None,
) -> HeldMatrix:
    """Moves activations to the devices and measures mean and deviation of every feature, unless they are given.

    Mean and deviation are those of the words given, each counted once, whatever weight problems give to them: so one
    matrix serves all problems. Words are padded with zeros, to a multiple of the devices and to one of few sizes;
    problems mask padding by its label. Of several processes each reads the words of its own devices.

    Args:
        source: Raw activations.
        standardize: Whether the penalty is on weights of features with deviation 1.
        dtype: Dtype in which X is stored.
        split_over: Number of devices that share the columns, for matrices too wide for one.
        given: Mean and scale of another fit, whose objective this one is to have; the values were checked there.

    Raises:
        DataError: There is no word, or a value is not finite (its place is named).
        SettingsError: The devices or the columns cannot be shared out evenly.
    """
    mesh = joint_mesh(split_over)
    check_source(source, mesh)
    *layers, width = source.shape
    padded = fine_size(source.words, multiple_of=mesh.shape["data"])

    def read(first: int, last: int) -> np.ndarray:
        memory = aligned_empty((*layers, last - first, width), jnp.dtype(dtype))
        read_part(source, first, memory)
        return memory

    X = place_words(mesh, (*layers, padded, width), read)
    if given is None:
        moments = measure_moments(X, replicate(mesh, np.arange(padded) < source.words), mesh=mesh)
        given = choose_scale(source, moments, standardize=standardize)
    mean, scale = given
    block = Block(X, replicate(mesh, mean), replicate(mesh, scale))
    return HeldMatrix(block=block, words=source.words, mesh=mesh)


@partial(jax.jit, static_argnames=("visit", "correlate"))
def sweep_block(
    block: Block,
    U: Float[Array, "*layer problem class feature"],
    problems: Problems,
    by_problem: Any,
    by_word: Any,
    *,
    visit: Visit,
    correlate: Callable[[Block, Array], Array] = correlations,
) -> Sweep:
    """Computes both products of `BlockMatrix.sweep` for words that are all at hand, also inside a compiled program.

    `correlate` makes the second one: `correlations`, or the same with its sums where a solver wants them.
    """

    def of_layer(block: Block, U: Array, by_problem: Any, by_word: Any) -> Sweep:
        Z = scores(block, U)
        R, sums = visit(problems, by_problem, by_word, Z)
        return Sweep(Z, correlate(block, R), sums)

    return over_layers(of_layer, (0, 0, 0, 0), layered=block.layered)(block, U, by_problem, by_word)


@jax.jit
def _scores(block: Block, W: Float[Array, "*layer problem class feature"]) -> Float[Array, "..."]:
    return over_layers(scores, (0, 0), layered=block.layered)(block, W)


@jax.jit
def _correlations(block: Block, R: Float[Array, "*shared problem class word"]) -> Float[Array, "..."]:
    return over_layers(correlations, (0, 0 if R.ndim == 4 else None), layered=block.layered)(block, R)


@partial(jax.jit, static_argnames=("words", "stride", "mesh"))
def _metric_of(block: Block, *, words: int, stride: int, mesh: Mesh) -> Metric:
    def of_layer(block: Block) -> Array:
        sample = (block.X[:words:stride].astype(jnp.float32) - block.mean[None, :]) / block.scale[None, :]
        return factor_of_words(sample, sample.shape[0])

    return make_metric(over_layers(of_layer, 0, layered=block.layered)(block), mesh)

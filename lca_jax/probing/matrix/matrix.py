"""The interface of the matrix X of a fit, held on the devices or streamed, and the metric of its words.

A matrix knows its words, padding included, and the mean and scale of its features. Everything else is made of two
products, scores and correlations, one by one or both in one sweep over X; letters as in `block`.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from lca_jax.probing.matrix.block import Block
from lca_jax.probing.matrix.metric import Metric
from lca_jax.probing.problems import Problems


class Stretch(NamedTuple):
    """Some of the words, on the devices: mini-batches are drawn from it."""

    block: Block
    real: Int[np.ndarray, " word"]
    """Places in the block that are words; the others are padding."""
    of_problems: Callable[[Problems], Problems]
    """Cuts the arrays of problems to the words of the block."""


class Sweep(NamedTuple):
    """The results of one reading of X."""

    Z: Float[Array, "*layer problem class word"]
    """Scores of the weights."""
    products: Float[Array, "*layer problem class feature"]
    """Products of X with the word weights that `visit` returned."""
    sums: Any
    """The sums that `visit` returned, over all words."""


Visit = Callable[..., tuple[Float[Array, "problem class word"], Any]]
"""Function of (problems, by_problem, by_word, Z), as in `BlockMatrix.sweep`: returns word weights to be multiplied with
X, and a tree of sums (problem, …) over the words."""


@runtime_checkable
class Matrix(Protocol):
    """The features of the words of a fit."""

    @property
    def words(self) -> int:
        """Number of words, without padding."""
        ...

    @property
    def padded_words(self) -> int:
        """Length of the word axis: words and padding."""
        ...

    @property
    def features(self) -> int:
        """Number of columns of a matrix."""
        ...

    @property
    def layers(self) -> int:
        """Number of matrices of equal width that are solved for side by side; 1 where X is one matrix."""
        ...

    @property
    def layered(self) -> bool:
        """Whether X is a matrix per layer: then the layer axis comes first in all arrays."""
        ...

    @property
    def block(self) -> Block | None:
        """All words as one block; None where X is read in blocks (`BlockMatrix`), and every product costs a reading."""
        ...

    @property
    def mesh(self) -> Mesh:
        """Devices of X."""
        ...

    @property
    def mean(self) -> Float[Array, "*layer feature"]:
        """Mean of each feature, which is subtracted from it."""
        ...

    @property
    def scale(self) -> Float[Array, "*layer feature"]:
        """Number by which each feature is divided."""
        ...

    def scores(self, W: Float[Array, "*layer problem class feature"]) -> Float[Array, "*layer problem class word"]:
        """Returns the scores of every word without the bias."""
        ...

    def correlations(
        self, R: Float[Array, "*shared problem class word"]
    ) -> Float[Array, "*layer problem class feature"]:
        """Returns the products of word weights, one set per layer or one for all, with the standardised features."""
        ...

    def metric(self) -> Metric:
        """Returns the metric of proximal steps; it is computed once."""
        ...

    def stretches(self, generator: np.random.Generator) -> Iterator[Stretch]:
        """Yields all words in parts, in an order drawn from the generator."""
        ...


@runtime_checkable
class BlockMatrix(Matrix, Protocol):
    """A matrix that is read in blocks, and so makes both products of an iteration in one reading.

    Where X is whole, both are part of one compiled program of many iterations (`held.sweep_block`).
    """

    def sweep(
        self,
        visit: Visit,
        U: Float[Array, "*layer problem class feature"],
        problems: Problems,
        by_problem: Any,
        by_word: Any,
    ) -> Sweep:
        """Computes scores of weights, and the products of X with word weights that follow from them, in one reading.

        Args:
            visit: Function of one layer. It is given any part of the words, so what it sums are sums over words. Equal
                functions share a compiled program.
            U: The weights.
            problems: Passed to `visit`, cut to its words.
            by_problem: A tree of arrays (*layer, problem, …), passed to `visit`.
            by_word: A tree of arrays (*layer, problem, class, word), passed to `visit`, cut to its words.
        """
        ...

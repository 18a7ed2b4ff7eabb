"""The activations as a probe sees them: one matrix, standardised inside the products and never copied.

Letters used in this room, problem axis first so that all problems are one matrix product, class axis last in Z and R
(measured on a CPU, a softmax over the last axis is six times faster than over the middle one):

    X (word, feature)            raw activations          W (problem, class, feature)   weights, in the penalised scale
    Z (problem, word, class)     scores without bias      R (problem, word, class)      residuals, weighted by 1/n

With m the mean and s the deviation of each feature, the standardised matrix is (X − 1 m')/s. So Z = (W/s) X' − (W/s) m
and the products with the transpose are (R X − (R 1) m)/s: two products with the raw X an iteration, whatever the
scaling. Each costs 2·word·feature·class·problem operations and reads X once (word·feature·4 bytes); the order of the
axes inside them is the fastest of those measured on a CPU.

X may be held in bfloat16, in half of the memory. Its products are float32 all the same: W and R are split into three
bfloat16 parts, whose products with X are exact and summed in float32. So no step is coarser than another, and what is
certified is the optimum for the rounded X. Three such products are a third of what an accelerator does in bfloat16, and
more than it does in float32.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from lca_jax.errors import SettingsError
from lca_jax.machine.devices import aligned_empty, joint_mesh, place_parts, replicate
from lca_jax.probing.matrix.rows import Rows, read_part, refuse_no_words
from lca_jax.probing.matrix.scale import choose_scale, spread_over
from lca_jax.probing.problems import Problems

_Result = TypeVar("_Result")
_Axes = int | tuple[int | None, ...]
MatrixDtype = Literal["float32", "bfloat16"]
"""In which X is held."""

_PRECISION = jax.lax.Precision.HIGHEST
"""The certificate is only as good as the products: full float32 also where the device would round to bfloat16."""

_RIDGE = 0.02
"""Share of the identity in the metric."""
_PARTS = 3
"""Of 8 bits each: the 24 of a float32."""


class Stretch(NamedTuple):
    """Some of the words, on the devices: what mini-batches are drawn from."""

    design: "Design"
    real: Int[np.ndarray, " word"]
    """Rows of it that are words; the others are padding."""
    of_problems: Callable[[Problems], Problems]
    """Takes the same words of what problems own."""


class Swept(NamedTuple):
    """What one reading of X gives."""

    Z: Float[Array, "*layer problem word class"]
    """Scores of the weights."""
    products: Float[Array, "*layer problem class feature"]
    """Of X with what `visit` returned."""
    sums: Any
    """What it summed, over all words."""


Visit = Callable[..., tuple[Float[Array, "problem word class"], Any]]
"""Of (problems, known, by_word, Z), as in `Products.sweep`: word weights to be multiplied with X, and a tree of sums
(problem, …) over the words."""


@runtime_checkable
class Products(Protocol):
    """Whatever holds X: its shape, and the two products that everything else is made of, one by one or in one sweep."""

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

    @property
    def rows(self) -> int:
        """Words, padding included."""
        ...

    def devices(self) -> Mesh:
        """Where it lies."""
        ...

    @property
    def mean(self) -> Float[Array, "*layer feature"]:
        """Subtracted from the features."""
        ...

    @property
    def scale(self) -> Float[Array, "*layer feature"]:
        """What they are divided by."""
        ...

    def scores(self, W: Float[Array, "*layer problem class feature"]) -> Float[Array, "*layer problem word class"]:
        """Scores of every word without the bias."""
        ...

    def correlations(
        self, R: Float[Array, "*shared problem word class"]
    ) -> Float[Array, "*layer problem class feature"]:
        """Products of word weights, of each layer or the same for all, with the standardised features."""
        ...

    def sweep(
        self,
        visit: "Visit",
        U: Float[Array, "*layer problem class feature"],
        problems: Problems,
        known: Any,
        by_word: Any,
    ) -> "Swept":
        """Scores of weights, and the products of X with what follows from them word by word: both in one reading.

        Args:
            visit: Of one layer; it may be given any part of the words, so what it sums are sums over words.
            U: The weights.
            problems: Passed to `visit`, cut to its words.
            known: A tree of arrays (*layer, problem, …), passed to it.
            by_word: A tree of arrays (*layer, problem, word, …), passed to it cut to its words.
        """
        ...

    def metric(self, words: int) -> "Gram":
        """The Gram metric of the first `words` rows."""
        ...

    def stretches(self, words: int, generator: np.random.Generator) -> Iterator[Stretch]:
        """The first `words` rows in parts, in an order of the generator's."""
        ...


class Design(NamedTuple):
    """Features of the training words on the devices, rows split over the mesh, with how they are centred and scaled.

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
    def rows(self) -> int:
        """Words, padding included."""
        return self.X.shape[-2]

    @property
    def features(self) -> int:
        """Columns of a matrix."""
        return self.X.shape[-1]

    @property
    def axis(self) -> int:
        """Place of the problem axis in arrays of this design: 1 behind a layer axis, else 0."""
        return self.X.ndim - 2

    def devices(self) -> Mesh:
        """Where it lies."""
        sharding = self.X.sharding
        assert isinstance(sharding, NamedSharding)
        assert isinstance(sharding.mesh, Mesh)
        return sharding.mesh

    def scores(self, W: Float[Array, "*layer problem class feature"]) -> Float[Array, "*layer problem word class"]:
        """Scores of every word without the bias."""
        return _all_scores(self, W)

    def correlations(
        self, R: Float[Array, "*shared problem word class"]
    ) -> Float[Array, "*layer problem class feature"]:
        """Products of word weights, of each layer or the same for all, with the standardised features."""
        return _all_correlations(self, R)

    def sweep(
        self,
        visit: "Visit",
        U: Float[Array, "*layer problem class feature"],
        problems: Problems,
        known: Any,
        by_word: Any,
    ) -> "Swept":
        """As in `Products`; X, being at hand, is read by each of the two products."""
        return _sweep(self, U, problems, known, by_word, visit=visit)

    def metric(self, words: int) -> "Gram":
        """The Gram metric of the first `words` rows."""
        return gram(self, words=words)

    def stretches(self, words: int, generator: np.random.Generator) -> Iterator[Stretch]:  # noqa: ARG002
        """All words at once."""
        yield Stretch(self, np.arange(words), lambda problems: problems)


def put_design(rows: Rows, *, standardize: bool, dtype: MatrixDtype = "float32", split_over: int = 1) -> Design:
    """Moves activations to the devices and measures mean and deviation of every feature.

    Mean and deviation are those of the words given, each counted once, whatever weight problems give to them: so one
    design serves all problems. Rows are padded to a multiple of the devices with zeros; the problems mask padded words
    by their label −1. Of several processes each reads the rows of its own devices.

    Args:
        rows: Raw activations.
        standardize: Whether the penalty is on weights of features with deviation 1.
        dtype: In which X is held.
        split_over: Devices that share the columns, for matrices too wide for one.

    Raises:
        DataError: No word, or a value that is not finite (its place is named).
        SettingsError: The devices or the columns cannot be shared out evenly.
    """
    refuse_no_words(rows.words)
    mesh = joint_mesh(split_over)
    *layers, width = rows.shape
    if width % split_over:
        raise SettingsError(f"{width} columns cannot be split over {split_over} devices: give a divisor of it.")
    padded = rows.words + -rows.words % mesh.shape["data"]
    split = PartitionSpec(*[None for _ in layers], "data", "model")
    held = jnp.dtype(dtype)

    def part(index: tuple[slice, ...]) -> np.ndarray:
        words = index[-2]
        own = aligned_empty((*layers, words.stop - words.start, width), held)
        read_part(rows, words.start, own)
        return own[..., index[-1]]

    X = place_parts(mesh, (*layers, padded, width), split, part)
    spread = spread_over(X, replicate(mesh, np.arange(padded) < rows.words), mesh=mesh)
    mean, scale = choose_scale(rows, spread, standardize=standardize)
    return Design(X, replicate(mesh, mean), replicate(mesh, scale))


def scores(design: Design, W: Float[Array, "problem class feature"]) -> Float[Array, "problem word class"]:
    """Z: scores of every word without the bias."""
    scaled = W / design.scale[None, None, :]
    offset = jnp.einsum("pcd,d->pc", scaled, design.mean, precision=_PRECISION)
    problems, classes, features = W.shape
    flat = _product(scaled.reshape(-1, features), design.X.T)
    return flat.reshape(problems, classes, -1).transpose(0, 2, 1) - offset[:, None, :]


def correlations(design: Design, R: Float[Array, "problem word class"]) -> Float[Array, "problem class feature"]:
    """Products of word weights with the standardised features: the gradient of the loss where R are the residuals."""
    problems, words, classes = R.shape
    flat = R.transpose(1, 0, 2).reshape(words, -1)
    product = _product(flat.T, design.X).reshape(problems, classes, -1)
    return (product - R.sum(axis=1)[:, :, None] * design.mean[None, None, :]) / design.scale[None, None, :]


def _product(A: Float[Array, "row inner"], X: Float[Array, "inner column"]) -> Float[Array, "row column"]:
    """A X in float32, whatever X is held in."""
    if X.dtype == jnp.float32:
        return jnp.matmul(A, X, precision=_PRECISION)
    parts, rest = [], A
    for _ in range(_PARTS):
        parts.append(rest.astype(X.dtype))
        rest = rest - parts[-1].astype(A.dtype)
    products = [jnp.matmul(part, X, preferred_element_type=jnp.float32) for part in reversed(parts)]
    return sum(products[1:], products[0])


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
    return over_layers(partial(_gram_of, words=words, stride=gram_stride(words, design.features)), design, 0)(design)


def gram_stride(words: int, features: int) -> int:
    """Which words the Gram metric is made of: every so many-th."""
    return max(1, words // (3 * features))


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
def _all_correlations(design: Design, R: Float[Array, "*shared problem word class"]) -> Float[Array, "..."]:
    return over_layers(correlations, design, (0, 0 if R.ndim == 4 else None))(design, R)


@partial(jax.jit, static_argnames="visit")
def _sweep(
    design: Design,
    U: Float[Array, "*layer problem class feature"],
    problems: Problems,
    known: Any,
    by_word: Any,
    *,
    visit: Visit,
) -> Swept:
    def of_layer(design: Design, U: Array, known: Any, by_word: Any) -> Swept:
        Z = scores(design, U)
        R, sums = visit(problems, known, by_word, Z)
        return Swept(Z, correlations(design, R), sums)

    return over_layers(of_layer, design, (0, 0, 0, 0))(design, U, known, by_word)


@partial(jax.jit, static_argnames=("words", "stride"))
def _gram_of(design: Design, *, words: int, stride: int) -> Gram:
    centred = (design.X[:words:stride].astype(jnp.float32) - design.mean[None, :]) / design.scale[None, :]
    return metric_of(jnp.einsum("nd,ne->de", centred, centred, precision=_PRECISION) / centred.shape[0])


def metric_of(matrix: Float[Array, "feature feature"]) -> Gram:
    """The metric of X'X/n over a sample of words: pulled towards the identity, and bounded."""
    level = jnp.trace(matrix) / matrix.shape[0]
    matrix = (1 - _RIDGE) * matrix + _RIDGE * level * jnp.eye(matrix.shape[0], dtype=matrix.dtype)

    def power_step(_: Int[Array, ""], v: Float[Array, " feature"]) -> Float[Array, " feature"]:
        v = jnp.einsum("de,e->d", matrix, v, precision=_PRECISION)
        return v / jnp.linalg.norm(v)

    start = jnp.ones(matrix.shape[0], matrix.dtype) + jnp.arange(matrix.shape[0], dtype=matrix.dtype) / matrix.shape[0]
    v = jax.lax.fori_loop(0, 60, power_step, start / jnp.linalg.norm(start))
    largest = 1.05 * jnp.einsum("d,de,e->", v, matrix, v, precision=_PRECISION)
    return Gram(matrix, largest)

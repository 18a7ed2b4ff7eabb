"""X read in blocks whenever it is multiplied: for matrices that fit neither the devices nor the host.

It gives the same numbers as a `HeldMatrix`, by the same two products, block by block: while one block is multiplied,
another thread reads and copies the next ones. The gradient is still that of all words, so the exact solver is exact.
Memory holds the blocks in flight, the metric, and the arrays of the problems: (problem, class, word).

An iteration of the exact solver reads X once: both products are made of a block while it is there. With n words and d
features, n·d·4 bytes are read for 4·n·d·k·p operations of p problems of k classes: a disk of 1 GB/s feeds k·p GFLOP/s,
so it is the many problems of a fit that hide the reading.

Each of several devices has a stretch of neighbouring words, and a block is the next few words of every stretch; so the
arrays of the problems lie where they are used. Each of several processes reads the words of its own devices.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from lca_jax.machine.devices import aligned_empty, joint_mesh, place_words, replicate, zeros_by_word
from lca_jax.machine.prefetch import prefetch
from lca_jax.probing.matrix.block import Block, over_layers
from lca_jax.probing.matrix.matrix import Stretch, Sweep, Visit
from lca_jax.probing.matrix.metric import Metric, factor_of_words, make_metric, metric_stride, takes_thin
from lca_jax.probing.matrix.programs import BlockPrograms, add_gram, block_programs
from lca_jax.probing.matrix.scale import FeatureMoments, choose_scale, measure_moments, merge
from lca_jax.probing.matrix.source import MatrixSource, check_source, read_part
from lca_jax.probing.objective import MatrixDtype
from lca_jax.probing.problems import Problems
from lca_jax.store.folder import CHUNK_WORDS

_Tree = TypeVar("_Tree")
_BLOCK_BYTES = 64e6
"""Size of a block of X on all devices together: enough for the full speed of a disk and of a matrix product."""
BLOCKS_AHEAD = 2
"""Number of blocks that are read before they are needed."""


@dataclass(frozen=True, kw_only=True)
class StreamedMatrix:
    """Features of the training words, read when they are multiplied; implements `BlockMatrix`."""

    source: MatrixSource
    dtype: MatrixDtype
    mesh: Mesh
    block_words: int
    """Words of one block on one device."""
    blocks: int
    """Blocks of the stretch of words of one device; the last ones of the last devices may be short or empty."""
    mean: Float[Array, "*layer feature"]
    scale: Float[Array, "*layer feature"]

    @property
    def words(self) -> int:
        """Number of words, without padding."""
        return self.source.words

    @property
    def padded_words(self) -> int:
        """Length of the word axis."""
        return self.mesh.shape["data"] * self.blocks * self.block_words

    @property
    def features(self) -> int:
        """Number of columns of a matrix."""
        return self.source.shape[-1]

    @property
    def layers(self) -> int:
        """Number of matrices."""
        return self.source.layers or 1

    @property
    def layered(self) -> bool:
        """Whether X is a matrix per layer."""
        return self.source.layers is not None

    @property
    def block(self) -> Block | None:
        """None: no block has all words."""
        return None

    def scores(self, W: Float[Array, "*layer problem class feature"]) -> Float[Array, "*layer problem class word"]:
        """Returns the scores of every word without the bias; reads X once."""
        *before, _ = W.shape
        Z = zeros_by_word(self.mesh, (*before, self.padded_words))
        for number, block in self._read(range(self.blocks)):
            Z = jax.block_until_ready(self._programs.add_scores(Z, block, W, np.int32(number)))
        return Z

    def correlations(
        self, R: Float[Array, "*shared problem class word"]
    ) -> Float[Array, "*layer problem class feature"]:
        """Returns the products of word weights with the standardised features; reads X once."""
        correlate = self._programs.correlate[R.ndim == 3]
        total = None
        for number, block in self._read(range(self.blocks)):
            part = correlate(block, R, np.int32(number))
            total = jax.block_until_ready(part if total is None else total + part)
        assert total is not None  # there is a block where there is a word
        return total

    def sweep(
        self,
        visit: Visit,
        U: Float[Array, "*layer problem class feature"],
        problems: Problems,
        by_problem: Any,
        by_word: Any,
    ) -> Sweep:
        """Computes both products of `BlockMatrix.sweep`; reads X once."""
        *before, _ = U.shape
        Z = zeros_by_word(self.mesh, (*before, self.padded_words))
        total = None
        for number, block in self._read(range(self.blocks)):
            arrays = (U, problems, by_problem, by_word, np.int32(number))
            Z, part = self._programs.visit(Z, block, *arrays, visit=visit)
            total = jax.block_until_ready(part if total is None else _add(total, part))
        assert total is not None  # there is a block where there is a word
        return Sweep(Z, *total)

    def metric(self) -> Metric:
        """Returns the metric of the same words as a `HeldMatrix` takes; the first call reads X once."""
        return self._metric

    def stretches(self, generator: np.random.Generator) -> Iterator[Stretch]:
        """Yields the blocks in an order drawn from the generator."""
        order = generator.permutation(self.blocks)
        for number, block in self._read(order.tolist()):
            real = np.flatnonzero(self._words_of(number) < self.words)
            take = partial(self._programs.take_words, number=np.int32(number))
            if len(real):
                yield Stretch(block, real, take)

    def measure_moments(self) -> FeatureMoments:
        """Returns the moments of the features; reads X once."""
        total = None
        for number, block in self._read(range(self.blocks)):
            real = replicate(self.mesh, self._words_of(number) < self.words)
            part = measure_moments(block.X, real, mesh=self.mesh)
            total = jax.block_until_ready(part if total is None else merge(total, part))
        assert total is not None  # there is a block where there is a word
        return total

    @property
    def _programs(self) -> BlockPrograms:
        return block_programs(self.mesh, self.block_words, layered=self.layered)

    @cached_property
    def _metric(self) -> Metric:
        stride = metric_stride(self.words, self.features)
        words = -(-self.words // stride)
        blocks = self._read(range(self.blocks), stride=stride)
        sampled = ((block, self._words_of(number, stride) < self.words) for number, block in blocks)
        if takes_thin(self.features):
            parts = [jax.block_until_ready(_centred(block, np.flatnonzero(real))) for block, real in sampled]
            return _join_sample(parts, words=words, mesh=self.mesh)
        total = None
        for block, real in sampled:
            total = jax.block_until_ready(add_gram(total, block, real))
        assert total is not None  # there is a block where there is a word
        return _metric_of(total / words, mesh=self.mesh)

    def _words_of(self, number: int, stride: int = 1) -> Int[np.ndarray, " place"]:
        """Numbers of the words in a block, or of every k-th of them; the number of words stands for padding."""
        first = (np.arange(self.mesh.shape["data"])[:, None] * self.blocks + number) * self.block_words
        words = -(-first // stride) * stride + np.arange(0, self.block_words, stride)
        return np.where(words < first + self.block_words, words, self.words).reshape(-1)

    def _read(self, numbers: Sequence[int], stride: int = 1) -> Iterator[tuple[int, Block]]:
        """Yields blocks on the devices while the next few are read; each is valid until the next is asked for.

        Args:
            numbers: Numbers of the blocks.
            stride: Takes every k-th word only.
        """
        words = -(-self.block_words // stride)
        *layers, _ = self.source.shape
        shape = (*layers, self.mesh.shape["data"] * words, self.features)
        # A block is used up before the next is asked for: its memory is free for the one that is read then.
        memories: list[dict[int, np.ndarray]] = [{} for _ in range(BLOCKS_AHEAD + 1)]

        def read(placed: tuple[int, int]) -> tuple[int, Block]:
            place, number = placed
            memory = memories[place % len(memories)]

            def read_words(start: int, _: int) -> np.ndarray:
                device = start // words
                first = (device * self.blocks + number) * self.block_words
                if device not in memory:
                    memory[device] = aligned_empty((*layers, self.block_words, self.features), jnp.dtype(self.dtype))
                X = memory[device]
                read_part(self.source, first, X)
                if stride == 1:
                    return X
                chosen = self._words_of(number, stride).reshape(-1, words)[device]
                return X[..., np.clip(chosen - first, 0, self.block_words - 1), :]

            X = place_words(self.mesh, shape, read_words).block_until_ready()
            return number, Block(X, self.mean, self.scale)

        ahead = 0 if self.source.in_step else BLOCKS_AHEAD
        yield from prefetch(read, enumerate(numbers), ahead=ahead, name="block-reader")


def stream_matrix(
    source: MatrixSource,
    *,
    standardize: bool,
    dtype: MatrixDtype = "float32",
    split_over: int = 1,
    block_bytes: float = _BLOCK_BYTES,
) -> StreamedMatrix:
    """Makes a matrix that is read from its source whenever it is multiplied; reads it once for mean and deviation.

    Arguments and errors are those of `hold_matrix`.

    Args:
        source: Raw activations.
        standardize: Whether the penalty is on weights of features with deviation 1.
        dtype: Dtype in which blocks are stored.
        split_over: Number of devices that share the columns.
        block_bytes: Size of a block on all devices together.
    """
    mesh = joint_mesh(split_over)
    check_source(source, mesh)
    stretch = -(-source.words // mesh.shape["data"])
    block_words = _even_blocks(stretch, max(1, int(block_bytes / (4 * source.features * mesh.shape["data"]))))
    zeros = np.zeros(source.shape, np.float32)
    raw = StreamedMatrix(
        source=source,
        dtype=dtype,
        mesh=mesh,
        block_words=block_words,
        blocks=-(-stretch // block_words),
        mean=replicate(mesh, zeros),
        scale=replicate(mesh, zeros + 1),
    )
    mean, scale = choose_scale(source, raw.measure_moments(), standardize=standardize)
    return replace(raw, mean=replicate(mesh, mean), scale=replicate(mesh, scale))


def _even_blocks(words: int, most: int) -> int:
    """Returns the words of a block: of as few blocks as may be, and of about the same size, as the last one is padded.

    Chunks of a store are read whole: a block that ends inside one reads it twice.
    """
    chunk = CHUNK_WORDS if min(words, most) > CHUNK_WORDS else 1
    blocks = -(-words // (most // chunk * chunk))
    return -(-words // (blocks * chunk)) * chunk


@jax.jit
def _centred(block: Block, places: Int[Array | np.ndarray, " place"]) -> Float[Array, "*layer place feature"]:
    """Returns the standardised features of some words of a block."""
    some = jnp.take(block.X, places, axis=-2).astype(jnp.float32)
    return (some - block.mean[..., None, :]) / block.scale[..., None, :]


@partial(jax.jit, static_argnames=("words", "mesh"))
def _join_sample(parts: list[Float[Array, "*layer _ feature"]], *, words: int, mesh: Mesh) -> Metric:
    """Makes the metric of sampled words that come in parts."""
    centred = jnp.concatenate(parts, axis=-2)
    of_layer = partial(factor_of_words, words=words)
    return make_metric(over_layers(of_layer, 0, layered=centred.ndim == 3)(centred), mesh)


@partial(jax.jit, static_argnames="mesh", donate_argnums=0)
def _metric_of(gram: Float[Array, "*layer feature feature"], *, mesh: Mesh) -> Metric:
    return make_metric(gram, mesh)


@partial(jax.jit, donate_argnums=0)
def _add(one: _Tree, other: _Tree) -> _Tree:
    return jax.tree.map(jnp.add, one, other)

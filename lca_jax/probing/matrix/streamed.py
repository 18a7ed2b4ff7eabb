"""X read in blocks whenever it is multiplied: for matrices that fit neither the devices nor the host.

The same numbers as a `Design` gives, by the same two products, block by block: while one block is multiplied, the next
ones are read and copied by another thread. The gradient is still that of all words, so the exact solver is exact. What
stays in memory is the blocks in flight, the Gram matrix, and what problems own: (problem, word, class).

An iteration of the exact solver reads X once: both products are made of a block while it is there. With n words and d
features, n·d·4 bytes are read for 4·n·d·k·p operations of p problems of k classes: a disk of 1 GB/s feeds k·p GFLOP/s,
so it is the many problems of a fit that hide the reading.

Of several devices each has a stretch of neighbouring words, and a block is the next few words of every stretch; so what
problems own lies where it is used. Of several processes each reads its own devices' words.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from lca_jax.machine.devices import aligned_empty, free_bytes, joint_mesh, place_parts, replicate, zeros_by_word
from lca_jax.machine.prefetch import prefetch
from lca_jax.probing.matrix.held import (
    Design,
    Gram,
    MatrixDtype,
    Stretch,
    Swept,
    Visit,
    correlations,
    gram_stride,
    metric_of,
    over_layers,
    scores,
)
from lca_jax.probing.matrix.rows import Rows, read_part, refuse_no_words
from lca_jax.probing.matrix.scale import choose_scale, merge, spread_over
from lca_jax.probing.problems import Problems
from lca_jax.store.folder import CHUNK_WORDS

_log = logging.getLogger(__name__)
_Tree = TypeVar("_Tree")
_BLOCK_BYTES = 64e6
"""Of X on all devices together: enough for a disk's full speed and for a matrix product's."""
_BLOCKS_AHEAD = 2


@dataclass(frozen=True, kw_only=True)
class StreamedDesign:
    """Features of the training words, read when they are multiplied; see `Products`."""

    source: Rows
    held: MatrixDtype
    mesh: Mesh
    block: int
    """Words of one block on one device."""
    blocks: int
    """Blocks of one device's stretch of words; the last ones of the last devices may be short or empty."""
    mean: Float[Array, "*layer feature"]
    scale: Float[Array, "*layer feature"]

    @property
    def layers(self) -> int:
        """Number of matrices."""
        return self.source.layers or 1

    @property
    def rows(self) -> int:
        """Words, padding included."""
        return self.mesh.shape["data"] * self.blocks * self.block

    @property
    def features(self) -> int:
        """Columns of a matrix."""
        return self.source.shape[-1]

    def devices(self) -> Mesh:
        """Where its blocks go."""
        return self.mesh

    @property
    def axis(self) -> int:
        """Place of the problem axis in arrays of this design."""
        return len(self.source.shape) - 1

    def scores(self, W: Float[Array, "*layer problem class feature"]) -> Float[Array, "*layer problem word class"]:
        """Scores of every word without the bias; reads X once."""
        programs = _programs(self.mesh, self.axis, self.block)
        *before, classes, _ = W.shape
        Z = zeros_by_word(self.mesh, (*before, self.rows, classes))
        for number, X in self._read(range(self.blocks)):
            Z = programs.add_scores(Z, Design(X, self.mean, self.scale), W, np.int32(number))
            jax.block_until_ready(Z)
        return Z

    def correlations(
        self, R: Float[Array, "*shared problem word class"]
    ) -> Float[Array, "*layer problem class feature"]:
        """Products of word weights with the standardised features; reads X once."""
        programs = _programs(self.mesh, self.axis, self.block)
        shared = R.ndim == 3
        total = None
        for number, X in self._read(range(self.blocks)):
            part = programs.correlate[shared](Design(X, self.mean, self.scale), R, np.int32(number))
            total = jax.block_until_ready(part if total is None else total + part)
        assert total is not None  # there is a block where there is a word
        return total

    def sweep(
        self,
        visit: Visit,
        U: Float[Array, "*layer problem class feature"],
        problems: Problems,
        known: Any,
        by_word: Any,
    ) -> Swept:
        """As in `Products`; reads X once."""
        programs = _programs(self.mesh, self.axis, self.block)
        *before, classes, _ = U.shape
        Z = zeros_by_word(self.mesh, (*before, self.rows, classes))
        total = None
        for number, X in self._read(range(self.blocks)):
            here = Design(X, self.mean, self.scale)
            Z, part = programs.visit(Z, here, U, problems, known, by_word, np.int32(number), visit=visit)
            total = jax.block_until_ready(part if total is None else _add(total, part))
        assert total is not None  # there is a block where there is a word
        return Swept(Z, *total)

    def metric(self, words: int) -> Gram:  # noqa: ARG002 - a design on the devices does not know its padding
        """The Gram metric of the same words as a design on the devices takes; reads X once."""
        return self._metric

    def stretches(self, words: int, generator: np.random.Generator) -> Iterator[Stretch]:
        """The blocks in an order of the generator's."""
        programs = _programs(self.mesh, self.axis, self.block)
        order = generator.permutation(self.blocks)
        for number, X in self._read(order.tolist()):
            real = np.flatnonzero(self._words_of(number) < words)
            take = partial(programs.take_words, number=np.int32(number))
            if len(real):
                yield Stretch(Design(X, self.mean, self.scale), real, take)

    @cached_property
    def _metric(self) -> Gram:
        stride = gram_stride(self.source.words, self.features)
        total = None
        for number, X in self._read(range(self.blocks), stride=stride):
            real = self._words_of(number, stride) < self.source.words
            total = jax.block_until_ready(_add_gram(total, Design(X, self.mean, self.scale), real))
        assert total is not None  # there is a block where there is a word
        finish = jax.jit(over_layers(metric_of, self, 0), donate_argnums=0)
        return finish(total / -(-self.source.words // stride))

    def _words_of(self, number: int, stride: int = 1) -> Int[np.ndarray, " row"]:
        """The word in each row of a block, or of every so many-th of its words; the number of words for none."""
        first = np.arange(self.mesh.shape["data"])[:, None] * self.blocks * self.block + number * self.block
        words = -(-first // stride) * stride + np.arange(0, self.block, stride)
        return np.where(words < first + self.block, words, self.source.words).reshape(-1)

    def _read(self, numbers: Sequence[int], stride: int = 1) -> Iterator[tuple[int, Array]]:
        """Blocks on the devices, the next few read meanwhile; each is there until the next is asked for.

        Args:
            numbers: Which blocks.
            stride: Takes every so many-th word only.
        """
        rows = -(-self.block // stride)
        *layers, _ = self.source.shape
        shape = (*layers, self.mesh.shape["data"] * rows, self.features)
        split = PartitionSpec(*[None for _ in layers], "data", "model")

        # Who takes a block is done with it before the next: its memory is free for the one that is read then.
        memories: list[dict[int, np.ndarray]] = [{} for _ in range(_BLOCKS_AHEAD + 1)]

        def read(placed: tuple[int, int]) -> tuple[int, Array]:
            place, number = placed
            memory = memories[place % len(memories)]

            def part(index: tuple[slice, ...]) -> np.ndarray:
                device = index[-2].start // rows
                first = (device * self.blocks + number) * self.block
                if device not in memory:
                    memory[device] = aligned_empty((*layers, self.block, self.features), jnp.dtype(self.held))
                X = memory[device]
                read_part(self.source, first, X)
                if stride > 1:
                    own = self._words_of(number, stride).reshape(-1, rows)[device]
                    X = X[..., np.clip(own - first, 0, self.block - 1), :]
                return X[..., index[-1]]

            return number, place_parts(self.mesh, shape, split, part).block_until_ready()

        yield from prefetch(read, enumerate(numbers), ahead=_BLOCKS_AHEAD, name="block-reader")


def choose_streaming(rows: Rows, *, dtype: MatrixDtype) -> bool:
    """Whether X is better read anew at every iteration: where it would take more than half of the memory at hand.

    Half, since on its way to the devices it is in memory twice, and problems need some too.
    """
    here = rows.words * rows.features * (4 if dtype == "float32" else 2) / jax.process_count()
    free = free_bytes()
    streamed = free is not None and here > free / 2
    _log.info(
        "X: %d words of %d neurons, %.2f GB here, of %s free: %s",
        rows.words,
        rows.features,
        here / 1e9,
        "unknown" if free is None else f"{free / 1e9:.2f} GB",
        "read in blocks at every iteration" if streamed else "held on the devices",
    )
    return streamed


def stream_design(
    rows: Rows,
    *,
    standardize: bool,
    dtype: MatrixDtype = "float32",
    split_over: int = 1,
    block_bytes: float = _BLOCK_BYTES,
) -> StreamedDesign:
    """A design that is read from its source whenever it is multiplied; reads it once for mean and deviation.

    Arguments and errors as in `put_design`.

    Args:
        rows: Raw activations.
        standardize: Whether the penalty is on weights of features with deviation 1.
        dtype: In which blocks are held.
        split_over: Devices that share the columns.
        block_bytes: Of a block on all devices together.
    """
    refuse_no_words(rows.words)
    mesh = joint_mesh(split_over)
    stretch = -(-rows.words // mesh.shape["data"])
    block = min(stretch, max(1, int(block_bytes / (4 * rows.features * mesh.shape["data"]))))
    # Chunks of a store are read whole: a block that ends inside one reads it twice.
    block -= block % CHUNK_WORDS if block > CHUNK_WORDS else 0
    unknown = np.zeros(rows.shape, np.float32)
    design = StreamedDesign(
        source=rows,
        held=dtype,
        mesh=mesh,
        block=block,
        blocks=-(-stretch // block),
        mean=replicate(mesh, unknown),
        scale=replicate(mesh, unknown + 1),
    )
    spread = None
    for number, X in design._read(range(design.blocks)):
        real = replicate(mesh, design._words_of(number) < rows.words)
        block = spread_over(X, real, mesh=mesh)
        spread = jax.block_until_ready(block if spread is None else merge(spread, block))
    assert spread is not None  # there is a block where there is a word
    mean, scale = choose_scale(rows, spread, standardize=standardize)
    return replace(design, mean=replicate(mesh, mean), scale=replicate(mesh, scale))


@partial(jax.jit, donate_argnums=0)
def _add_gram(total: Float[Array, "..."] | None, design: Design, real: Bool[Array, " word"]) -> Float[Array, "..."]:
    def of_layer(design: Design) -> Array:
        centred = (design.X.astype(jnp.float32) - design.mean[None, :]) / design.scale[None, :]
        known = jnp.where(real[:, None], centred, 0.0)
        return jnp.einsum("nd,ne->de", known, known, precision=jax.lax.Precision.HIGHEST)

    part = over_layers(of_layer, design, 0)(design)
    return part if total is None else total + part


@partial(jax.jit, donate_argnums=0)
def _add(one: _Tree, other: _Tree) -> _Tree:
    return jax.tree.map(jnp.add, one, other)


class _Programs(NamedTuple):
    """What is done with a block, compiled once for a mesh and a block's size."""

    add_scores: Callable[[Array, Design, Array, np.int32], Array]
    correlate: dict[bool, Callable[[Design, Array, np.int32], Array]]
    """By whether all layers share the word weights."""
    visit: Callable[..., tuple[Array, tuple[Array, Any]]]
    """Scores, and what of them is multiplied with the same block again."""
    take_words: Callable[..., Problems]


@lru_cache(maxsize=16)
def _programs(mesh: Mesh, axis: int, block: int) -> _Programs:
    """The programs of blocks; `axis` is 1 where there is a layer axis."""
    layer = [None] * axis
    by_feature = PartitionSpec(*layer, "model")
    of_X: Any = Design(X=PartitionSpec(*layer, "data", "model"), mean=by_feature, scale=by_feature)  # pyright: ignore[reportArgumentType] - specs in the shape of a design
    of_W, of_Z = PartitionSpec(*layer, None, None, "model"), PartitionSpec(*layer, None, "data", None)
    shared_Z, whole = PartitionSpec(None, "data", None), PartitionSpec()

    def split_problems(problems: Problems) -> Any:
        by_word = PartitionSpec(None, "data")
        owned = {"labels": by_word, "weights": None if problems.weights is None else by_word}
        return Problems(**{field: owned.get(field, whole) for field in Problems._fields})

    def cut(array: Array, number: Array, axis: int) -> Array:
        return jax.lax.dynamic_slice_in_dim(array, number * block, block, axis)

    def cut_problems(problems: Problems, number: Array) -> Problems:
        weights = None if problems.weights is None else cut(problems.weights, number, 1)
        return problems._replace(labels=cut(problems.labels, number, 1), weights=weights)

    def set_scores(Z: Array, part: Array, number: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(Z, part, number * block, axis=axis + 1)

    def score(design: Design, W: Array) -> Array:
        return jax.lax.psum(over_layers(scores, design, (0, 0))(design, W), "model")

    def add_scores(Z: Array, design: Design, W: Array, number: Array) -> Array:
        return set_scores(Z, score(design, W), number)

    def correlate(design: Design, R: Array, number: Array, *, shared: bool) -> Array:
        mapped = over_layers(correlations, design, (0, None if shared else 0))
        return jax.lax.psum(mapped(design, cut(R, number, R.ndim - 2)), "data")

    def visit_own(
        Z: Array, design: Design, U: Array, problems: Problems, known: Any, by_word: Any, number: Array, *, visit: Visit
    ) -> tuple[Array, tuple[Array, Any]]:
        part = score(design, U)
        here = jax.tree.map(lambda array: cut(array, number, axis + 1), by_word)
        R, sums = over_layers(partial(visit, cut_problems(problems, number)), design, (0, 0, 0))(known, here, part)
        products = over_layers(correlations, design, (0, 0))(design, R)
        return set_scores(Z, part, number), jax.lax.psum((products, sums), "data")

    @partial(jax.jit, static_argnames="visit", donate_argnums=0)
    def visit_block(
        Z: Array, design: Design, U: Array, problems: Problems, known: Any, by_word: Any, number: Array, *, visit: Visit
    ) -> tuple[Array, tuple[Array, Any]]:
        return jax.shard_map(
            partial(visit_own, visit=visit),
            mesh=mesh,
            in_specs=(of_Z, of_X, of_W, split_problems(problems), whole, of_Z, whole),
            out_specs=(of_Z, (of_W, whole)),
        )(Z, design, U, problems, known, by_word, number)

    @jax.jit
    def take_words(problems: Problems, number: Array) -> Problems:
        split = split_problems(problems)
        return jax.shard_map(cut_problems, mesh=mesh, in_specs=(split, whole), out_specs=split)(problems, number)

    correlating = {
        shared: jax.jit(
            jax.shard_map(
                partial(correlate, shared=shared),
                mesh=mesh,
                in_specs=(of_X, shared_Z if shared else of_Z, whole),
                out_specs=of_W,
            )
        )
        for shared in (False, True)
    }
    adding = jax.shard_map(add_scores, mesh=mesh, in_specs=(of_Z, of_X, of_W, whole), out_specs=of_Z)
    return _Programs(
        add_scores=jax.jit(adding, donate_argnums=0),
        correlate=correlating,
        visit=visit_block,
        take_words=take_words,
    )

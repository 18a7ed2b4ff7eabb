"""Compiles the programs of the package for a mesh of devices that need not exist.

What is compiled are the package's own programs, given shapes in the place of arrays, placed as a run places them, with
products of float32 as a run on these devices makes them.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.stages import Compiled

from lca_jax.extraction.running import read_vectors
from lca_jax.hugging_face import AutoConfig
from lca_jax.machine.devices import platform_of
from lca_jax.machine.precision import IN_PASSES
from lca_jax.models.families import FAMILIES
from lca_jax.models.loading.placement import sharding
from lca_jax.models.stack.config import Precision, StackConfig
from lca_jax.models.stack.stack import Batch, build
from lca_jax.models.writing.generation import Search, TextRules, write_pieces
from lca_jax.probing.choices import loss_named, penalty_named
from lca_jax.probing.matrix.block import Block
from lca_jax.probing.matrix.metric import Metric, metric_layout, takes_thin, thin_rows
from lca_jax.probing.matrix.programs import block_programs
from lca_jax.probing.objective import LossName, MatrixDtype, PenaltyName
from lca_jax.probing.problems import Problems
from lca_jax.probing.solvers.iteration import look
from lca_jax.probing.solvers.sharing import Share, by_problem, share_of
from lca_jax.probing.solvers.state import Point, Scores, Steps, begin
from lca_jax.probing.solvers.stepping import advance_whole

Options = dict[str, Any]
"""Options of the compiler."""


@dataclass(frozen=True, kw_only=True)
class FitSize:
    """The sizes of a fit."""

    words: int
    features: int
    classes: int
    problems: int
    """Problems that are solved at a time."""
    dtype: MatrixDtype = "float32"
    loss: LossName = "cross_entropy"
    penalty: PenaltyName = "elastic_net"

    @property
    def metric_rows(self) -> int:
        """Rows of the metric's factor."""
        return thin_rows(self.words, self.features) if takes_thin(self.features) else self.features


def compile_iteration(mesh: Mesh, size: FitSize, *, options: Options | None = None) -> Compiled:
    """Compiles the iterations of the exact solver where X is held on the devices."""
    loss, penalty = loss_named(size.loss), penalty_named(size.penalty)
    records = {"loss": loss, "penalty": penalty, "share": share_of(mesh, size.problems)}
    with products_as_on(mesh):
        lowered = advance_whole.lower(*iteration_arrays(mesh, size), **records)
    return lowered.compile(compiler_options=options)


def iteration_arrays(mesh: Mesh, size: FitSize) -> Sequence[Any]:
    """Returns the shapes of the arrays of `advance_whole`, placed as a fit places them."""
    counts = (
        _shape(size.problems),
        _shape(size.problems, dtype=bool),
        _shape(dtype=jnp.int32),
        _shape(dtype=jnp.int32),
    )
    state = jax.eval_shape(partial(begin, whole=True), *_starts(size))
    arrays = (state, _block(size, size.words), _problems(size), _weights(size), *counts)
    share = share_of(mesh, size.problems)
    shared = (share, _weights(size).shape) if share and share.groups is None else None
    state, block, *others = _split_words(mesh, arrays, size.words, shared=shared)
    block = block._replace(X=_placed(mesh, PartitionSpec("data", "model"), block.X))
    return state, block, _metric(mesh, size), *others


def compile_visit(mesh: Mesh, size: FitSize, *, block_words: int, options: Options | None = None) -> Compiled:
    """Compiles what an iteration does with one block of X, where X is read in blocks.

    Args:
        mesh: The devices.
        size: Sizes of the fit; the words of a device are a multiple of those of a block.
        block_words: Words of a block on one device.
        options: Options of the compiler.
    """
    programs = block_programs(mesh, block_words, layered=False)
    by_word = _shape(size.problems, size.classes, size.words)
    bias, each = _shape(size.problems, size.classes), _shape(size.problems)
    point = Point(each, bias)  # pyright: ignore[reportArgumentType] - shapes in the place of arrays
    steps, scores = Steps(point, point, bias), Scores(by_word, by_word, None)  # pyright: ignore[reportArgumentType]
    block = _block(size, block_words * mesh.shape["data"])
    here = _split_words(mesh, block, block_words * mesh.shape["data"])
    arrays = (by_word, _weights(size), _problems(size), steps, scores, _shape(dtype=jnp.int32))
    Z, *others = _split_words(mesh, arrays, size.words)
    visit = partial(look, loss=loss_named(size.loss), whole=False)
    visited: Any = programs.visit
    with products_as_on(mesh):
        return visited.lower(Z, here, *others, visit=visit).compile(compiler_options=options)


def config_of(model_type: str, dtype: Precision = "float32", **changes: object) -> StackConfig:
    """Returns the stack of a family at the sizes that `transformers` has as its defaults: BERT-base, Llama 7B."""
    return FAMILIES[model_type].read_config(AutoConfig.for_model(model_type, **changes), dtype)


def compile_extraction(
    mesh: Mesh,
    config: StackConfig,
    *,
    rows: int,
    slots: int,
    pool: Literal["last", "mean"] = "last",
    dtype: Literal["float32", "bfloat16"] = "float32",
    options: Options | None = None,
) -> Compiled:
    """Compiles the reading of all layers of the residual stream from one batch.

    Args:
        mesh: The devices; parameters are split over its axis `model`.
        config: The stack, without its head.
        rows: Rows of a batch.
        slots: Slots of a row, and words that are read from it at most.
        pool: How pieces become words.
        dtype: Dtype of the vectors.
        options: Options of the compiler.
    """
    with products_as_on(mesh):
        graph, params = _params(mesh, config)
    by_row = partial(_placed, mesh, PartitionSpec("data"))
    piece = by_row(_shape(rows, slots, dtype=jnp.int32))
    batch = Batch(piece, piece, piece)  # pyright: ignore[reportArgumentType] - shapes in the place of arrays
    reads = (("residual", tuple(range(config.layers + 1))),)
    records = {"graph": graph, "reads": reads, "pool": pool, "dtype": dtype, "mesh": mesh}
    return read_vectors.lower(params, {}, batch, piece, piece, None, {}, **records).compile(compiler_options=options)


def compile_generation(
    mesh: Mesh,
    config: StackConfig,
    *,
    rows: int,
    slots: int,
    longest: int,
    beams: int = 1,
    options: Options | None = None,
) -> Compiled:
    """Compiles the writing of texts after prompts.

    Args:
        mesh: The devices.
        config: The stack, with its head.
        rows: Prompts that are continued at a time, on every device that has all or a part of the model.
        slots: Slots of a prompt.
        longest: Largest number of generated pieces.
        beams: Texts that are followed at a time.
        options: Options of the compiler.
    """
    graph, params = _params(mesh, config)
    piece = _placed(mesh, PartitionSpec(), _shape(rows, slots, dtype=jnp.int32))
    batch = Batch(piece, piece, piece)  # pyright: ignore[reportArgumentType] - shapes in the place of arrays
    write = partial(write_pieces, graph, rules=TextRules(ends=(2,)), search=Search(longest=longest, beams=beams))
    return jax.jit(write).lower(params, batch).compile(compiler_options=options)


def products_as_on(mesh: Mesh) -> AbstractContextManager[None]:
    """Chooses the way of float32 products that a run on these devices would take by itself."""
    in_passes = platform_of(mesh) == "cuda" and mesh.size == 1
    return jax.default_matmul_precision(IN_PASSES.name) if in_passes else nullcontext()


def _params(mesh: Mesh, config: StackConfig) -> tuple[Any, Any]:
    graph, shapes = build(config)

    def placed(path: tuple, shape: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        where = sharding(jax.tree_util.keystr(path, simple=True, separator="."), shape.shape, mesh)
        return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=where)

    return graph, jax.tree_util.tree_map_with_path(placed, shapes)


def _shape(*sides: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sides, dtype)


def _weights(size: FitSize) -> jax.ShapeDtypeStruct:
    return _shape(size.problems, size.classes, size.features)


def _starts(size: FitSize) -> Sequence[jax.ShapeDtypeStruct]:
    """The arguments of `begin`."""
    by_word, bias = _shape(size.problems, size.classes, size.words), _shape(size.problems, size.classes)
    return _weights(size), by_word, bias, _shape(size.problems)


def _problems(size: FitSize) -> Any:
    each, label = _shape(size.problems), loss_named(size.loss).mask_label
    return Problems(
        labels=_shape(size.problems, size.words, dtype=label.dtype),  # pyright: ignore[reportArgumentType]
        weights=None,
        shares=_shape(size.problems, size.classes),  # pyright: ignore[reportArgumentType]
        l1=each,  # pyright: ignore[reportArgumentType]
        l2=each,  # pyright: ignore[reportArgumentType]
        keep=_shape(size.problems, size.features, dtype=bool),  # pyright: ignore[reportArgumentType]
        total=each,  # pyright: ignore[reportArgumentType]
    )


def _block(size: FitSize, words: int) -> Any:
    by_feature = _shape(size.features)
    return Block(_shape(words, size.features, dtype=jnp.dtype(size.dtype)), by_feature, by_feature)  # pyright: ignore[reportArgumentType]


def _metric(mesh: Mesh, size: FitSize) -> Metric:
    shapes = _shape(size.metric_rows, size.features), _shape(), _shape()
    layout = metric_layout(mesh, layered=False)
    placed = [
        jax.ShapeDtypeStruct(one.shape, one.dtype, sharding=where) for one, where in zip(shapes, layout, strict=True)
    ]
    return Metric(*placed)  # pyright: ignore[reportArgumentType] - shapes in the place of arrays


def _split_words(mesh: Mesh, arrays: Any, words: int, *, shared: tuple[Share, tuple[int, ...]] | None = None) -> Any:
    """Places arrays as a fit does: those with an axis of this many words split along it, the others everywhere.

    Those of the shape in `shared` are divided among the devices by problem.
    """

    def place(shape: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        if shared is not None and shape.shape == shared[1]:
            return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=by_problem(shared[0], 0))
        axis = shape.shape.index(words) if words in shape.shape else None
        split = PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, "data")
        return _placed(mesh, split, shape)

    return jax.tree.map(place, arrays)


def _placed(mesh: Mesh, split: PartitionSpec, shape: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=NamedSharding(mesh, split))


def memory_bytes(compiled: Compiled) -> int:
    """Bytes that a program needs on one device: arguments, results that are not donated, and what lies between."""
    stats = compiled.memory_analysis()
    assert stats is not None
    results = stats.output_size_in_bytes - stats.alias_size_in_bytes
    return int(np.sum([stats.argument_size_in_bytes, results, stats.temp_size_in_bytes]))

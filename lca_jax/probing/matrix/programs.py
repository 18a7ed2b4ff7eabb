"""The compiled programs of a streamed matrix: everything that is done with one block of X, on all devices at once."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float

from lca_jax.machine.precision import FLOAT32
from lca_jax.probing.matrix.block import Block, correlations, over_layers, scores
from lca_jax.probing.matrix.matrix import Visit
from lca_jax.probing.problems import Problems

_REPLICATED = PartitionSpec()


class BlockPrograms(NamedTuple):
    """The programs for blocks of one size; each takes the number of its block, and compiles once for all blocks."""

    add_scores: Callable[[Array, Block, Array, np.int32], Array]
    """(Z, block, W, number): writes the scores of the block's words into Z, whose memory it takes over."""
    correlate: dict[bool, Callable[[Block, Array, np.int32], Array]]
    """(block, R, number): products of the block with its words of R; by whether all layers share R."""
    visit: Callable[..., tuple[Array, tuple[Array, Any]]]
    """(Z, block, U, problems, by_problem, by_word, number, visit=…): `BlockMatrix.sweep` for the words of the block."""
    take_words: Callable[..., Problems]
    """(problems, number): problems cut to the words of the block."""


@lru_cache(maxsize=16)
def block_programs(mesh: Mesh, block_words: int, *, layered: bool) -> BlockPrograms:
    """Returns the programs for blocks of a number of words per device."""
    layout = _Layout(block_words, layered)
    on_blocks = partial(jax.shard_map, mesh=mesh)

    @jax.jit
    def take_words(problems: Problems, number: Array) -> Problems:
        split = layout.split_problems(problems)
        return on_blocks(layout.cut_problems, in_specs=(split, _REPLICATED), out_specs=split)(problems, number)

    def add_scores(Z: Array, block: Block, W: Array, number: Array) -> Array:
        return layout.set_scores(Z, _score(block, W), number)

    adding = on_blocks(
        add_scores,
        in_specs=(layout.scores_spec, layout.block_spec, layout.weights_spec, _REPLICATED),
        out_specs=layout.scores_spec,
    )
    return BlockPrograms(
        add_scores=jax.jit(adding, donate_argnums=0),
        correlate={shared: _correlate_program(layout, on_blocks, shared=shared) for shared in (False, True)},
        visit=_visit_program(layout, on_blocks),
        take_words=take_words,
    )


@partial(jax.jit, donate_argnums=0)
def add_gram(total: Float[Array, "..."] | None, block: Block, real: Bool[Array, " word"]) -> Float[Array, "..."]:
    """Adds X'X of the words of a block to a total, X standardised."""

    def of_layer(block: Block) -> Array:
        centred = (block.X.astype(jnp.float32) - block.mean[None, :]) / block.scale[None, :]
        of_words = jnp.where(real[:, None], centred, 0.0)
        return jnp.einsum("nd,ne->de", of_words, of_words, precision=FLOAT32)

    part = over_layers(of_layer, 0, layered=block.layered)(block)
    return part if total is None else total + part


class _Layout(NamedTuple):
    """How arrays are split over the mesh (words over `data`, features over `model`), and which words a block has."""

    block_words: int
    layered: bool

    @property
    def block_spec(self) -> Any:
        by_feature = self._spec("model")
        return Block(X=self._spec("data", "model"), mean=by_feature, scale=by_feature)  # pyright: ignore[reportArgumentType] - specs in the shape of a block

    @property
    def weights_spec(self) -> PartitionSpec:
        return self._spec(None, None, "model")

    @property
    def scores_spec(self) -> PartitionSpec:
        return self._spec(None, None, "data")

    def split_problems(self, problems: Problems) -> Any:
        """Specs in the shape of problems."""
        by_word = PartitionSpec(None, "data")
        split = {"labels": by_word, "weights": None if problems.weights is None else by_word}
        return Problems(**{field: split.get(field, _REPLICATED) for field in Problems._fields})

    def cut(self, array: Array, number: Array, axis: int) -> Array:
        """The words of a block, out of all words of a device."""
        return jax.lax.dynamic_slice_in_dim(array, number * self.block_words, self.block_words, axis)

    def cut_problems(self, problems: Problems, number: Array) -> Problems:
        """Problems on the words of a block."""
        weights = None if problems.weights is None else self.cut(problems.weights, number, 1)
        return problems._replace(labels=self.cut(problems.labels, number, 1), weights=weights)

    def set_scores(self, Z: Array, part: Array, number: Array) -> Array:
        """Z with the scores of a block's words put in."""
        return jax.lax.dynamic_update_slice_in_dim(Z, part, number * self.block_words, axis=Z.ndim - 1)

    def _spec(self, *axes: str | None) -> PartitionSpec:
        return PartitionSpec(*[None] * self.layered, *axes)


def _score(block: Block, W: Array) -> Array:
    return jax.lax.psum(over_layers(scores, (0, 0), layered=block.layered)(block, W), "model")


def _correlate_program(layout: _Layout, on_blocks: Callable[..., Any], *, shared: bool) -> Callable[..., Array]:
    def correlate(block: Block, R: Array, number: Array) -> Array:
        mapped = over_layers(correlations, (0, None if shared else 0), layered=layout.layered)
        return jax.lax.psum(mapped(block, layout.cut(R, number, R.ndim - 1)), "data")

    of_R = PartitionSpec(None, None, "data") if shared else layout.scores_spec
    return jax.jit(on_blocks(correlate, in_specs=(layout.block_spec, of_R, _REPLICATED), out_specs=layout.weights_spec))


def _visit_program(layout: _Layout, on_blocks: Callable[..., Any]) -> Callable[..., tuple[Array, tuple[Array, Any]]]:
    def visit_here(
        Z: Array,
        block: Block,
        U: Array,
        problems: Problems,
        by_problem: Any,
        by_word: Any,
        number: Array,
        *,
        visit: Visit,
    ) -> tuple[Array, tuple[Array, Any]]:
        part = _score(block, U)
        here = jax.tree.map(lambda array: layout.cut(array, number, array.ndim - 1), by_word)
        mapped = over_layers(partial(visit, layout.cut_problems(problems, number)), (0, 0, 0), layered=layout.layered)
        R, sums = mapped(by_problem, here, part)
        products = over_layers(correlations, (0, 0), layered=layout.layered)(block, R)
        return layout.set_scores(Z, part, number), jax.lax.psum((products, sums), "data")

    @partial(jax.jit, static_argnames="visit", donate_argnums=0)
    def visit_block(
        Z: Array,
        block: Block,
        U: Array,
        problems: Problems,
        by_problem: Any,
        by_word: Any,
        number: Array,
        *,
        visit: Visit,
    ) -> tuple[Array, tuple[Array, Any]]:
        split = layout.split_problems(problems)
        return on_blocks(
            partial(visit_here, visit=visit),
            in_specs=(
                layout.scores_spec,
                layout.block_spec,
                layout.weights_spec,
                split,
                _REPLICATED,
                layout.scores_spec,
                _REPLICATED,
            ),
            out_specs=(layout.scores_spec, (layout.weights_spec, _REPLICATED)),
        )(Z, block, U, problems, by_problem, by_word, number)

    return visit_block

"""Summed products of the columns of one or several tables of the same words: one pass, block by block, on the devices.

A table is the vectors of some words by one model. Every wanted product is a block X'Y, of some columns of one table
with some of another or of the same. All products of a pass are made of each block of words while it is on the device,
so the words are read once; memory on the devices is the products and two blocks of words.

Sums are of distances from a centre near the mean, so that a neuron far from zero loses no digits (`gathering.moments`
has the argument); they are moved to the mean at the end. On several devices the words of a block are split over them.

Cost of n words: 2·n·c·d operations for a product of c columns with d; every table is read once, n·d·4 bytes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float32, Float64, Int32

from lca_jax.errors import DataError
from lca_jax.machine.devices import data_mesh, fetch, replicate, shard_rows
from lca_jax.machine.precision import FLOAT32
from lca_jax.machine.prefetch import prefetch

BLOCK_BYTES = 64e6
"""Bytes of the blocks of words that are read one after the other, of all tables together."""


class Table(NamedTuple):
    """The vectors of some words by one model."""

    read: Callable[[int, int], Float32[np.ndarray, "word feature"]]
    """Function that returns the vectors of the words `first, …, last - 1`."""
    features: int
    """Number of columns."""


class Columns(NamedTuple):
    """Neighbouring columns of one table."""

    table: int
    first: int
    last: int
    """Number of the column after the last one."""


Product = tuple[Columns, Columns]
"""A block of products that is wanted: of the first columns (its rows) with the second."""


class Shuffle(NamedTuple):
    """Products of some columns of a table, taken at other words, with all columns of another: what chance gives."""

    table: int
    columns: tuple[int, ...]
    """The columns whose words are shuffled."""
    other: int


class Sums(NamedTuple):
    """Sums over all words, on the host."""

    means: tuple[Float64[np.ndarray, " _feature"], ...]
    """Means of the columns of every table."""
    squares: tuple[Float64[np.ndarray, " _feature"], ...]
    """Summed squares of the distances from the mean."""
    products: tuple[Float32[np.ndarray, "_column _feature"], ...]
    """Summed products of the distances from the means, one block for each product."""
    shuffled: tuple[Float32[np.ndarray, "_column _feature"], ...]
    """The same for shuffled words."""


class _Running(NamedTuple):
    """Sums so far, of distances from the centres."""

    sums: tuple[Float32[Array, " _feature"], ...]
    squares: tuple[Float32[Array, " _feature"], ...]
    products: tuple[Float32[Array, "_column _feature"], ...]
    shuffled: tuple[Float32[Array, "_column _feature"], ...]


def block_words(tables: Sequence[Table], words: int, block_bytes: float = BLOCK_BYTES) -> int:
    """Returns the number of words that are read at once."""
    return max(1, min(words, int(block_bytes / (4 * sum(table.features for table in tables)))))


def sum_products(
    tables: Sequence[Table],
    words: int,
    products: Sequence[Product],
    *,
    shuffles: Sequence[Shuffle] = (),
    seed: int = 0,
    block_bytes: float = BLOCK_BYTES,
) -> Sums:
    """Sums products over all words in one pass.

    Args:
        tables: Vectors of the same words.
        words: Their number.
        products: The blocks that are wanted.
        shuffles: Products with shuffled words. The words of each block are shuffled among themselves, so that nothing
            is read twice; all columns of one table meet the same shuffle.
        seed: Seed of the shuffles.
        block_bytes: Bytes of the blocks of words.

    Raises:
        DataError: There is no word.
    """
    mesh = data_mesh()
    rows = block_words(tables, words, block_bytes)
    rows += -rows % mesh.shape["data"]
    add = partial(_add, products=tuple(products), shuffles=tuple(shuffles))
    generator, centres, total = np.random.default_rng(seed), (), None
    ranges = [range(first, min(first + rows, words)) for first in range(0, words, rows)]
    reading = prefetch(lambda some: _read(tables, some, rows), ranges, name="product-reader")
    for some, blocks in zip(ranges, reading, strict=True):
        if total is None:
            centres = tuple(_centre(block[: len(some)]) for block in blocks)
            total = _none(mesh, tables, products, shuffles)
        order = np.arange(rows, dtype=np.int32)
        order[: len(some)] = generator.permutation(len(some))
        put = tuple(shard_rows(mesh, block) for block in blocks)
        # Without waiting, blocks would pile up on the devices.
        total = jax.block_until_ready(add(total, put, centres, np.int32(len(some)), order))
    if total is None:
        raise DataError("Products need at least one word with a vector in every model, got none.")
    return _at_the_means(total, centres, words, products, shuffles)


def as_held(squares: Float64[np.ndarray, " feature"]) -> Float64[np.ndarray, " feature"]:
    """Returns summed squares with 0 for those that float32 cannot hold: such a neuron (1e-32, say) never changes."""
    return np.where(squares < np.finfo(np.float32).tiny, 0.0, squares)


def _read(tables: Sequence[Table], some: range, rows: int) -> list[Float32[np.ndarray, "row _feature"]]:
    """Reads some words of all tables; zeros stand behind the last of them."""
    blocks = []
    for table in tables:
        block = table.read(some.start, some.stop)
        if len(block) < rows:
            block = np.concatenate([block, np.zeros((rows - len(block), table.features), np.float32)])
        blocks.append(block)
    return blocks


def _centre(block: Float32[np.ndarray, "word feature"]) -> Float32[np.ndarray, " feature"]:
    """Returns the means of a block; of a neuron that never changes in it its value, so that nothing is left of it."""
    means = block.mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.where((block == block[0]).all(axis=0), block[0], means)


def _none(mesh: Mesh, tables: Sequence[Table], products: Sequence[Product], shuffles: Sequence[Shuffle]) -> _Running:
    """Returns the sums of no words."""
    put = partial(replicate, mesh)
    sums, squares = (tuple(put(np.zeros(table.features, np.float32)) for table in tables) for _ in range(2))
    blocks = tuple(
        put(np.zeros((one.last - one.first, other.last - other.first), np.float32)) for one, other in products
    )
    shuffled = tuple(put(np.zeros((len(each.columns), tables[each.other].features), np.float32)) for each in shuffles)
    return _Running(sums, squares, blocks, shuffled)


@partial(jax.jit, donate_argnums=0, static_argnames=("products", "shuffles"))
def _add(
    total: _Running,
    blocks: tuple[Float32[Array, "row _feature"], ...],
    centres: tuple[Float32[np.ndarray | Array, " _feature"], ...],
    count: Int32[np.ndarray | Array, ""],
    order: Int32[np.ndarray | Array, " row"],
    *,
    products: tuple[Product, ...],
    shuffles: tuple[Shuffle, ...],
) -> _Running:
    """Adds the first `count` words of a block."""
    counted = (jnp.arange(len(blocks[0])) < count)[:, None]
    moved = [jnp.where(counted, block - centre[None], 0.0) for block, centre in zip(blocks, centres, strict=True)]
    multiply = partial(jnp.einsum, "nc,nd->cd", precision=FLOAT32)
    return _Running(
        sums=tuple(old + of.sum(axis=0) for old, of in zip(total.sums, moved, strict=True)),
        squares=tuple(old + (of**2).sum(axis=0) for old, of in zip(total.squares, moved, strict=True)),
        products=tuple(
            old + multiply(*(moved[part.table][:, part.first : part.last] for part in pair))
            for old, pair in zip(total.products, products, strict=True)
        ),
        shuffled=tuple(
            old + multiply(moved[each.table][order][:, np.array(each.columns)], moved[each.other])
            for old, each in zip(total.shuffled, shuffles, strict=True)
        ),
    )


def _at_the_means(
    total: _Running,
    centres: Sequence[Float32[np.ndarray, " _feature"]],
    words: int,
    products: Sequence[Product],
    shuffles: Sequence[Shuffle],
) -> Sums:
    """Moves sums of distances from the centres to the means."""
    sums, squares = ([fetch(part).astype(np.float64) for part in parts] for parts in (total.sums, total.squares))

    def moved(
        block: Float32[Array, "_column _feature"],
        one: Float64[np.ndarray, " _column"],
        other: Float64[np.ndarray, " _f"],
    ) -> Float32[np.ndarray, "_column _feature"]:
        return fetch(_less(block, (one / words).astype(np.float32), other.astype(np.float32)))

    pairs = [[sums[part.table][part.first : part.last] for part in pair] for pair in products]
    drawn = [(sums[each.table][list(each.columns)], sums[each.other]) for each in shuffles]
    return Sums(
        means=tuple(centre + of / words for centre, of in zip(centres, sums, strict=True)),
        squares=tuple(as_held(of - own**2 / words) for of, own in zip(squares, sums, strict=True)),
        products=tuple(moved(block, *ends) for block, ends in zip(total.products, pairs, strict=True)),
        shuffled=tuple(moved(block, *ends) for block, ends in zip(total.shuffled, drawn, strict=True)),
    )


@partial(jax.jit, donate_argnums=0)
def _less(
    block: Float32[Array, "column feature"],
    one: Float32[np.ndarray | Array, " column"],
    other: Float32[np.ndarray | Array, " feature"],
) -> Float32[Array, "column feature"]:
    return block - one[:, None] * other[None, :]

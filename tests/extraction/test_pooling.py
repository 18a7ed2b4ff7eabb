"""Pooling of pieces to words, against the same written out in NumPy word by word."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lca_jax.extraction.pooling import finite_rows, pool_words
from lca_jax.store.recipe import Pool

LAYERS, ROWS, SLOTS, NEURONS = 3, 4, 16, 5
pool = jax.jit(pool_words, static_argnames="pool")


def draw_words(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Words of one to five pieces side by side after a special piece; the rest of each row is padding."""
    starts, ends = np.zeros((ROWS, SLOTS), np.int32), np.zeros((ROWS, SLOTS), np.int32)
    for row in range(ROWS - 1):  # the last row stays empty
        slot = 1
        for place, size in enumerate(generator.integers(1, 6, SLOTS)):
            if slot + size > SLOTS:
                break
            starts[row, place], ends[row, place] = slot, slot + size
            slot += size
    return starts, ends


def pool_in_numpy(hidden: np.ndarray, starts: np.ndarray, ends: np.ndarray, how: str) -> np.ndarray:
    pooled = np.zeros((ROWS, SLOTS, LAYERS, NEURONS), np.float64)
    for row, place in zip(*np.nonzero(ends > starts), strict=True):
        pieces = hidden[:, row, starts[row, place] : ends[row, place]].astype(np.float64)
        ways = {"first": pieces[:, 0], "mean": pieces.mean(axis=1), "max": pieces.max(axis=1)}
        pooled[row, place] = ways.get(how.removeprefix("sentence-"), pieces[:, -1])
    return pooled


@pytest.mark.parametrize("how", get_args(Pool))
def test_equals_numpy(how: Pool) -> None:
    generator = np.random.default_rng(0)
    hidden = generator.standard_normal((LAYERS, ROWS, SLOTS, NEURONS)).astype(np.float32)
    starts, ends = draw_words(generator)
    pooled = np.asarray(pool(hidden, starts, ends, pool=how))
    real = ends > starts
    expected = pool_in_numpy(hidden, starts, ends, how)[real]
    np.testing.assert_allclose(pooled[real], expected, rtol=0, atol=1e-6 if "mean" in how else 0)
    assert np.isfinite(pooled).all(), "padding must not divide by zero"


def test_special_pieces_between_two_texts_do_not_count() -> None:
    hidden = np.random.default_rng(2).standard_normal((LAYERS, 1, 8, NEURONS)).astype(np.float32)
    starts, ends = np.array([[1]], np.int32), np.array([[6]], np.int32)
    between = np.array([[slot in (3, 4) for slot in range(8)]])
    pooled = np.asarray(pool(hidden, starts, ends, pool="sentence-mean", between=between))[0, 0]
    np.testing.assert_allclose(pooled, hidden[:, 0, [1, 2, 5]].mean(axis=1), rtol=0, atol=1e-6)


def test_mean_of_bfloat16_is_summed_in_float32() -> None:
    # 256 + 1 is no bfloat16 number: a sum in bfloat16 would lose the ones.
    hidden = np.ones((1, 1, 8, 1), np.float32)
    hidden[0, 0, 0] = 256
    starts, ends = np.zeros((1, 8), np.int32), np.zeros((1, 8), np.int32)
    ends[0, 0] = 8
    pooled = pool(jnp.asarray(hidden, jnp.bfloat16), starts, ends, pool="mean")
    assert pooled.dtype == jnp.float32
    assert pooled[0, 0, 0, 0] == (256 + 7) / 8


def test_words_do_not_see_other_words() -> None:
    generator = np.random.default_rng(1)
    hidden = generator.standard_normal((LAYERS, ROWS, SLOTS, NEURONS)).astype(np.float32)
    starts, ends = draw_words(generator)
    changed = hidden.copy()
    changed[:, 0, ends[0, 0] :] = 1e30
    for how in get_args(Pool):
        before, after = pool(hidden, starts, ends, pool=how), pool(changed, starts, ends, pool=how)
        np.testing.assert_array_equal(before[0, 0], after[0, 0], err_msg=how)


def test_finite_asks_real_words_only() -> None:
    starts, ends = jnp.asarray([[0, 0]]), jnp.asarray([[1, 0]])
    vectors = np.zeros((1, 2, 1, 3), np.float32)
    vectors[0, 1] = np.nan
    assert finite_rows(jnp.asarray(vectors), starts, ends).tolist() == [True]
    vectors[0, 0, 0, 2] = np.inf
    assert finite_rows(jnp.asarray(vectors), starts, ends).tolist() == [False]

"""Moments merged in any split, of NumPy's arrays and of JAX's, against NumPy in float64."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lca_jax.machine.moments import Moments, merge_moments, merge_products


def measure(X: np.ndarray) -> tuple[Moments, np.ndarray]:
    mean = X.mean(axis=0) if len(X) else np.zeros(X.shape[1])
    apart = X - mean
    return Moments(np.array([len(X)]), mean, (apart**2).sum(axis=0)), apart.T @ apart


@pytest.mark.parametrize("cuts", [(), (20,), (0, 1, 1, 39), (40, 40)])
def test_any_split_gives_the_whole(cuts: tuple[int, ...]) -> None:
    X = 1e4 + np.random.default_rng(0).normal(size=(40, 3))
    parts = [X[first:last] for first, last in pairwise([0, *cuts, 40])]
    merged, products = measure(parts[0])
    for part in parts[1:]:
        moments, of_part = measure(part)
        merged, products = merge_moments(merged, moments), merge_products(merged, products, moments, of_part)
    assert merged.number.tolist() == [40]
    np.testing.assert_allclose(merged.mean, X.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(merged.squares, 40 * X.var(axis=0), rtol=1e-9)
    np.testing.assert_allclose(products, 40 * np.cov(X.T, ddof=0), atol=1e-7)


def test_no_sample_at_all() -> None:
    empty, products = measure(np.zeros((0, 2)))
    both = merge_moments(empty, empty)
    assert both.number.tolist() == [0]
    assert (both.mean == 0).all()
    assert (merge_products(empty, products, empty, products) == 0).all()


def test_the_arrays_of_jax_are_traced() -> None:
    X = np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32)
    one, other = (
        Moments(*(jnp.asarray(part, jnp.float32) for part in measure(half.astype(np.float64))[0]))
        for half in (X[:10], X[10:])
    )
    merged = jax.jit(merge_moments)(one, other)
    assert merged.mean.dtype == jnp.float32
    np.testing.assert_allclose(merged.mean, X.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(merged.squares, 30 * X.var(axis=0), rtol=1e-5)

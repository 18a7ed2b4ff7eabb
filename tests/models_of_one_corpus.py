"""Vectors of several models of the same words, with planted likenesses, for the tests across models."""

import numpy as np

WORDS, LAYERS, WIDTH = 600, 3, 10
CONSTANT = 5
"""The column of a neuron that never changes."""


def mixed(seed: int = 0, *, words: int = WORDS, layers: int = LAYERS, width: int = WIDTH) -> np.ndarray:
    """Vectors (word, layer, neuron) of correlated neurons, some far from zero, of different scales, one constant."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(words, layers * width)) @ (
        np.eye(layers * width) + 0.3 * rng.normal(size=(layers * width,) * 2)
    )
    X = X * rng.uniform(0.1, 5, layers * width)
    X[:, 4] += 1000.0
    X[:, CONSTANT] = 0.25
    return X.astype(np.float32).reshape(words, layers, width)


def noisy_copy(X: np.ndarray, *, sigma: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A permuted, flipped, scaled copy with noise of `sigma` deviations; the place of every neuron, and its sign."""
    rng = np.random.default_rng(seed)
    flat = X.reshape(len(X), -1).astype(np.float64)
    noise = sigma * flat.std(axis=0) * rng.normal(size=flat.shape)
    order, signs = rng.permutation(flat.shape[1]), rng.choice([-1.0, 1.0], flat.shape[1])
    copy = ((flat + noise) * signs * rng.uniform(0.5, 20, flat.shape[1]))[:, order]
    return copy.astype(np.float32), np.argsort(order), signs


def plain_correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pearson's correlations in float64; 0 with a neuron that never changes."""
    X, Y = (part.reshape(len(part), -1).astype(np.float64) for part in (one, other))
    X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    both = np.sqrt((X**2).sum(axis=0))[:, None] * np.sqrt((Y**2).sum(axis=0))
    return np.divide(X.T @ Y, both, out=np.zeros_like(both), where=both > 1e-9)

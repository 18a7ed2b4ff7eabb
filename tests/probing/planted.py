"""Matrices with planted classes, their objective in NumPy, and how near two solutions must be."""

import numpy as np

from lca_jax import ElasticNet
from lca_jax.probing.fit import fit_problems
from lca_jax.probing.labelling import Labelling
from lca_jax.probing.probe import Probe
from lca_jax.probing.problems import Start

TIGHT = 3e-6
"""Of the null objective: float32 sums over the words end at about 2e-6."""


def planted(
    words: int, features: int, shares: list[float], *, noise: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Features around class centres, features correlated and of different loudness and offset; labels by shares."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(shares), size=words, p=shares)
    labels[: len(shares)] = np.arange(len(shares))
    mixing = np.eye(features) + 0.3 * rng.normal(size=(features, features))
    centred = (rng.normal(size=(len(shares), features))[labels] + noise * rng.normal(size=(words, features))) @ mixing
    return (centred * rng.uniform(0.2, 5, features) + rng.normal(size=features)).astype(np.float32), labels


SHAPES = {
    "usual": planted(300, 12, [0.4, 0.3, 0.2, 0.1], noise=2.0),
    "more features than words": planted(40, 60, [0.4, 0.3, 0.3], noise=2.0),
    "rare classes": planted(300, 12, [0.95, 0.03, 0.02], noise=2.0),
    "separable": planted(120, 12, [0.5, 0.5], noise=0.05),
}


def objective(
    W: np.ndarray, b: np.ndarray, X: np.ndarray, y: np.ndarray, l1: float, l2: float, *, neurox: bool = False
) -> float:
    """Formula (1) of `probing.objective`, in float64."""
    scores = X.astype(np.float64) @ W + b
    top = scores.max(axis=1, keepdims=True)
    loss = (np.log(np.exp(scores - top).sum(axis=1)) + top[:, 0] - scores[np.arange(len(y)), y]).mean()
    second = np.sqrt((W**2).sum()) * l2 if neurox else l2 / 2 * (W**2).sum()
    return float(loss + l1 * np.abs(W).sum() + second)


def assert_same_weights(found: np.ndarray, expected: np.ndarray) -> None:
    """Two solves to a gap of 3e-6 leave their weights within some per cent (see `test_agrees_with_saga`)."""
    assert np.linalg.norm(found - expected) <= 0.03 * np.linalg.norm(expected)


def problems_of(
    X: np.ndarray,
    y: np.ndarray,
    settings: ElasticNet,
    *,
    keep: np.ndarray | None = None,
    start: Start | None = None,
) -> list[Probe]:
    classes = tuple(str(name) for name in range(y.max() + 1))
    labelling = Labelling(task="t", control=False, classes=classes, numbers=y.astype(np.int32))
    return fit_problems(X, [labelling], settings, keep=keep, start=start)

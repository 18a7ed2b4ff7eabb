"""Statistics of a store in plain NumPy and float64."""

import numpy as np

from lca_jax import Statistics
from lca_jax.store.store import ActivationStore


def check_against_numpy(found: Statistics, store: ActivationStore, *, rtol: float = 1e-6) -> None:
    """Everything, written plainly in float64; differences are counted in deviations."""
    X = store.matrix(store.usable).astype(np.float64)
    unit = np.maximum(X.std(axis=0), 1e-12)
    assert found.words == len(X)
    assert found.axis == store.axis()
    assert (np.abs(found.mean - X.mean(axis=0)) / unit).max() < rtol
    assert (np.abs(found.variance - X.var(axis=0)) / unit**2).max() < rtol
    np.testing.assert_array_equal(found.smallest, X.min(axis=0))
    np.testing.assert_array_equal(found.largest, X.max(axis=0))
    start = 0
    for block in found.axis.blocks:
        own = slice(start, start + block.width)
        expected = np.cov(X[:, own].T, ddof=0)
        both = unit[own, None] * unit[None, own]
        assert (np.abs(found.covariance(block.site, block.layer) - expected) / both).max() < rtol
        start += block.width
    for task in store.tasks:
        labels = np.array(store.labels(task), object)
        of_task = found.of_task(task)
        assert of_task.classes == tuple(sorted({label for label in labels if label is not None}))
        for number, name in enumerate(of_task.classes):
            mine = store.matrix(store.usable & (labels == name)).astype(np.float64)
            assert of_task.counts[number] == len(mine)
            assert (np.abs(of_task.mean[number] - mine.mean(axis=0)) / unit).max() < rtol
            assert (np.abs(of_task.variance[number] - mine.var(axis=0)) / unit**2).max() < rtol

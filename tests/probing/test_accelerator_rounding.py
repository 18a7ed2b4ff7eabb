"""Certificates on devices that round where they may: the liberties of TPU and GPU compilers, taken on a CPU."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lca_jax.probing.choices import loss_named, penalty_named
from lca_jax.probing.matrix.block import Block, correlations, scores
from lca_jax.probing.matrix.held import hold_matrix
from lca_jax.probing.matrix.source import MatrixSource
from lca_jax.probing.objective import MatrixDtype
from lca_jax.probing.problems import Question
from lca_jax.probing.solvers.lanes import PlacedLabels, lane_of
from lca_jax.probing.solvers.stepping import advance_whole
from tests.probing.planted import planted
from tests.rounding import as_accelerators_compute


def test_the_liberties_are_taken() -> None:
    """A product without a name loses digits, a named one does not; a rounding that may be skipped is skipped."""
    rng = np.random.default_rng(0)
    A, B = (jnp.asarray(rng.normal(size=(30, 30)).astype(np.float32)) for _ in "AB")

    def error(function) -> float:
        exact = np.asarray(A, np.float64) @ np.asarray(B, np.float64)
        return float(np.abs(np.asarray(as_accelerators_compute(function)(A, B)) - exact).max())

    assert error(jnp.matmul) > 1e-2
    assert error(partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)) < 1e-5

    def rest(x: jax.Array) -> jax.Array:
        return x - x.astype(jnp.bfloat16).astype(jnp.float32)

    assert np.asarray(rest(A)).any()
    assert not np.asarray(as_accelerators_compute(rest)(A)).any()


def test_products_of_a_matrix_in_bfloat16_keep_the_digits_of_the_weights() -> None:
    rng = np.random.default_rng(1)
    X = jnp.asarray(rng.normal(size=(200, 30)).astype(np.float32)).astype(jnp.bfloat16)
    block = Block(X, jnp.zeros(30, jnp.float32), jnp.ones(30, jnp.float32))
    W = rng.normal(size=(2, 5, 30)).astype(np.float32)
    R = rng.normal(size=(2, 5, 200)).astype(np.float32)
    wide = np.asarray(X.astype(jnp.float32), np.float64)
    found = as_accelerators_compute(scores)(block, jnp.asarray(W))
    np.testing.assert_allclose(found, W.astype(np.float64) @ wide.T, atol=2e-5)
    found = as_accelerators_compute(correlations)(block, jnp.asarray(R))
    np.testing.assert_allclose(found, R.astype(np.float64) @ wide, atol=1e-4)


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 1e-4), (1e-5, 1e-5)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weakly_penalised_problems_are_certified(l1: float, l2: float, dtype: MatrixDtype) -> None:
    X, y = planted(3000, 60, [0.3, 0.3, 0.2, 0.1, 0.05, 0.03, 0.01, 0.01], noise=1.0)
    loss, penalty = loss_named("cross_entropy"), penalty_named("elastic_net")
    matrix = hold_matrix(MatrixSource.of(X), standardize=True, dtype=dtype)
    question = Question(y.astype(np.int32), None, 8, l1, l2, np.ones(60, bool))
    labels = PlacedLabels.of(question, matrix, loss, classes=8, weighted=False)
    lanes = lane_of(question, labels, None, matrix, tolerance=1e-4)
    arrays = (lanes.problems, lanes.means, lanes.limits, np.array([True]), np.int32(1), np.int32(200))

    def solve(*arrays):
        return advance_whole(*arrays, loss=loss, penalty=penalty)

    state = as_accelerators_compute(solve)(lanes.state, matrix.block, matrix.metric(), *arrays)
    assert np.asarray(state.done).all(), f"gap {np.asarray(state.gap)[0] / labels.null_objective:.1e}"

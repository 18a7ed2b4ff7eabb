"""Products in passes: as exact as float32, by numbers; that GPUs make them so is seen in `tests/compiled`."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from lca_jax.machine.precision import FLOAT32, IN_PASSES, NARROW, float32_way, precision_of


def parts_of(full: np.ndarray) -> list[np.ndarray]:
    """Three parts in bfloat16, the largest first; their sum is the number."""
    parts = []
    for _ in range(3):
        parts.append(full.astype(ml_dtypes.bfloat16).astype(np.float32))
        full = full - parts[-1]
    return parts


def in_passes(A: np.ndarray, B: np.ndarray, sums: type = np.float32) -> np.ndarray:
    """The six largest products of parts, the smallest first, summed in a type."""
    wanted = sorted(((i, j) for i in range(3) for j in range(3) if i + j <= 2), key=sum, reverse=True)
    of_A, of_B = parts_of(A), parts_of(B)
    total = np.zeros((len(A), B.shape[1]), sums)
    for i, j in wanted:
        total += np.dot(of_A[i].astype(sums), of_B[j].astype(sums))
    return total


@pytest.mark.parametrize("spread", [0.0, 4.0], ids=["normal", "huge neurons"])
def test_six_passes_are_as_exact_as_float32(spread: float) -> None:
    """Of weights and activations, of which some neurons are thousands of times larger than others."""
    generator = np.random.default_rng(0)
    A = generator.normal(size=(32, 2048)).astype(np.float32)
    B = (generator.normal(size=(2048, 48)) * np.exp(spread * generator.normal(size=(2048, 1)))).astype(np.float32)
    exact = np.dot(A.astype(np.float64), B.astype(np.float64))
    size = np.dot(np.abs(A).astype(np.float64), np.abs(B).astype(np.float64))
    of_passes, of_parts, of_float32, of_one = (
        np.abs((product - exact) / size).max()
        for product in (
            in_passes(A, B),
            in_passes(A, B, np.float64),
            np.dot(A, B),
            np.dot(parts_of(A)[0], parts_of(B)[0]),
        )
    )
    assert of_parts < 2**-24  # half of a float32's last digit
    assert of_passes < 3 * of_float32  # the order of the sums costs more; measured .36 and .54
    assert of_one > 1e-5  # one pass would be seen


def test_the_way_of_float32_is_chosen_by_its_name() -> None:
    assert float32_way() == FLOAT32  # no GPU is here
    with jax.default_matmul_precision("BF16_BF16_F32_X6"):
        assert (float32_way(), precision_of(jnp.bfloat16)) == (IN_PASSES, NARROW)
        assert precision_of(jnp.float32) == IN_PASSES
    with jax.default_matmul_precision("bfloat16"):
        assert float32_way() == FLOAT32  # less than float32 is no way to make float32

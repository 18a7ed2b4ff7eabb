"""Products in passes: as exact as float32, by numbers; that GPUs make them so is seen in `tests/compiled`."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from lca_jax.machine.precision import FLOAT32, IN_PASSES, IN_TF32_PASSES, NARROW, float32_way, precision_of


def to_bfloat16(full: np.ndarray) -> np.ndarray:
    return full.astype(ml_dtypes.bfloat16).astype(np.float32)


def to_tf32(full: np.ndarray) -> np.ndarray:
    """The nearest number with ten explicit bits of its mantissa; halves go away from zero, as `cvt.rna.tf32` has it."""
    bits = (full.view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    return bits.view(np.float32)


WAYS = {"X6": (to_bfloat16, 3), "X3": (to_tf32, 2)}
"""How a number is rounded to a part, and how many parts it has."""


def parts_of(full: np.ndarray, way: str) -> list[np.ndarray]:
    """Parts in a narrow type, the largest first; their sum is the number, or nearly."""
    rounded, count = WAYS[way]
    parts = []
    for _ in range(count):
        parts.append(rounded(full))
        full = full - parts[-1]
    return parts


def in_passes(A: np.ndarray, B: np.ndarray, way: str, sums: type = np.float32) -> np.ndarray:
    """The largest products of parts (six of nine, three of four), the smallest first, summed in a type."""
    of_A, of_B = parts_of(A, way), parts_of(B, way)
    count = len(of_A)
    wanted = sorted(((i, j) for i in range(count) for j in range(count) if i + j < count), key=sum, reverse=True)
    total = np.zeros((len(A), B.shape[1]), sums)
    for i, j in wanted:
        total += np.dot(of_A[i].astype(sums), of_B[j].astype(sums))
    return total


def factors(length: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and activations of which some neurons are thousands of times larger than others."""
    generator = np.random.default_rng(0)
    A = generator.normal(size=(32, length)).astype(np.float32)
    B = (generator.normal(size=(length, 48)) * np.exp(spread * generator.normal(size=(length, 1)))).astype(np.float32)
    return A, B


def error_of(product: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(product - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("spread", [0.0, 4.0], ids=["normal", "huge neurons"])
def test_six_passes_are_as_exact_as_float32(spread: float) -> None:
    A, B = factors(2048, spread)
    exact = np.dot(A.astype(np.float64), B.astype(np.float64))
    size = np.dot(np.abs(A).astype(np.float64), np.abs(B).astype(np.float64))
    of_passes, of_parts, of_float32, of_one = (
        np.abs((product - exact) / size).max()
        for product in (
            in_passes(A, B, "X6"),
            in_passes(A, B, "X6", np.float64),
            np.dot(A, B),
            np.dot(parts_of(A, "X6")[0], parts_of(B, "X6")[0]),
        )
    )
    assert of_parts < 2**-24  # half of a float32's last digit
    assert of_passes < 3 * of_float32  # the order of the sums costs more; measured .36 and .54
    assert of_one > 1e-5  # one pass would be seen


@pytest.mark.parametrize("spread", [0.0, 4.0], ids=["normal", "huge neurons"])
@pytest.mark.parametrize("length", [64, 768, 9_984, 65_536])
def test_six_passes_in_bfloat16_are_nearer_than_three_in_tf32(length: int, spread: float) -> None:
    """Of the widths of heads, BERT-base and the headline fit, and of many words: why `machine.precision` takes the six.

    Both are as fast on paper, and without the errors of the sums the six are 12 to 19 times as near. With NumPy's sums
    the six are .39 to 1.06 times as far as NumPy's float32, the three 1.0 to 1.2 times.
    """
    A, B = factors(length, spread)
    exact = np.dot(A.astype(np.float64), B.astype(np.float64))
    six, three = (error_of(in_passes(A, B, way, np.float64), exact) for way in WAYS)
    assert six < 2**-26
    assert 8 * six < three < 2**-22
    of_float32 = error_of(np.dot(A, B), exact)
    of_six, of_three = (error_of(in_passes(A, B, way), exact) for way in WAYS)
    assert of_six < 1.5 * of_float32
    assert of_six < 1.2 * of_three
    assert of_three < 2 * of_float32


def test_the_way_of_float32_is_chosen_by_its_name() -> None:
    assert float32_way() == FLOAT32  # no GPU is here
    with jax.default_matmul_precision("BF16_BF16_F32_X6"):
        assert (float32_way(), precision_of(jnp.bfloat16)) == (IN_PASSES, NARROW)
        assert precision_of(jnp.float32) == IN_PASSES
    with jax.default_matmul_precision("TF32_TF32_F32_X3"):
        assert (float32_way(), precision_of(jnp.bfloat16)) == (IN_TF32_PASSES, NARROW)
    with jax.default_matmul_precision("TF32_TF32_F32"):
        assert float32_way() == FLOAT32  # one pass is no way to make float32
    with jax.default_matmul_precision("bfloat16"):
        assert float32_way() == FLOAT32  # less than float32 is no way to make float32

"""The exact solver, compiled for TPUs and GPUs: certificates rest on float32, and devices exchange little."""

from dataclasses import replace
from functools import cache

import jax
import pytest
from jax.stages import Compiled

from benchmarks.compiled.programs import FitSize, compile_iteration, compile_visit, memory_bytes
from benchmarks.compiled.reading import CompiledText, Product
from benchmarks.compiled.targets import TARGETS
from lca_jax.probing.objective import MatrixDtype
from lca_jax.probing.solvers.iteration import iteration_operations
from tests.compiled.targets import GPU, ONE_GPU, POD, QUICK, TPU, devices

pytestmark = pytest.mark.compilers

IN_PASSES = "bf16_bf16_f32_x6"
WORDS, FEATURES, CLASSES, PROBLEMS = 2048, 896, 5, 4


def size_on(name: str, dtype: MatrixDtype = "float32") -> FitSize:
    """So many words on each device."""
    words = WORDS * devices(name).size
    return FitSize(words=words, features=FEATURES, classes=CLASSES, problems=PROBLEMS, dtype=dtype)


@cache
def iteration(name: str, dtype: MatrixDtype = "float32") -> tuple[Compiled, CompiledText]:
    options = QUICK if TARGETS[name].platform == "tpu" else None
    compiled = compile_iteration(devices(name), size_on(name, dtype), options=options)
    return compiled, CompiledText.of(compiled.as_text() or "").iteration()


@cache
def visit(name: str, dtype: MatrixDtype = "float32") -> tuple[Compiled, CompiledText]:
    compiled = compile_visit(devices(name), size_on(name, dtype), block_words=WORDS // 2)
    return compiled, CompiledText.of(compiled.as_text() or "")


def is_float32(product: Product) -> bool:
    return product.kinds == ("f32", "f32") and product.precision in ("highest", IN_PASSES)


@pytest.mark.parametrize("name", [TPU, GPU, ONE_GPU, pytest.param(POD, marks=pytest.mark.slow)])
@pytest.mark.parametrize("program", [iteration, visit])
def test_every_product_is_one_of_float32(program, name: str) -> None:
    products = program(name)[1].products
    assert len(products) >= 2
    assert [product for product in products if not is_float32(product)] == []


@pytest.mark.parametrize("program", [iteration, visit])
def test_one_gpu_makes_float32_on_its_matrix_units(program) -> None:
    """All but the small products of the bias: 2.5 times the rate of its units of float32, on paper."""
    products = program(ONE_GPU)[1].products
    in_passes = sum(one.flop * one.times for one in products if one.precision == IN_PASSES)
    assert in_passes > 0.98 * sum(one.flop * one.times for one in products)


def test_several_gpus_would_forget_how_a_product_is_made() -> None:
    """Why `machine.precision` leaves the passes to one GPU; where this fails, JAX has mended it."""
    with jax.default_matmul_precision(IN_PASSES.upper()):
        text = CompiledText.of(compile_iteration(devices(GPU), size_on(GPU)).as_text() or "")
    assert "default" in {product.precision for product in text.products}


@pytest.mark.parametrize("name", [GPU, pytest.param(TPU, marks=pytest.mark.slow)])
@pytest.mark.parametrize("program", [iteration, visit])
def test_parts_of_bfloat16_keep_their_digits(program, name: str) -> None:
    """Three products with X, each in one pass, of three parts of which none is zero."""
    text = program(name, "bfloat16")[1]
    narrow = [product for product in text.products if product.kinds == ("bf16", "bf16")]
    words = WORDS if program is iteration else WORDS // 2
    assert sum(product.flop for product in narrow) == 3 * 2 * 2 * PROBLEMS * CLASSES * words * FEATURES
    assert all(is_float32(product) for product in text.products if product not in narrow)
    assert text.subtracts_from_itself() == []


@pytest.mark.parametrize("name", [GPU, pytest.param(POD, marks=pytest.mark.slow)])
def test_fewer_problems_than_devices_are_shared_out_over_groups(name: str) -> None:
    """No device makes the inner products of all problems; none has its part of the sums more often than it must."""
    _, text = iteration(name)
    with_X, inner, bias = operations(size_on(name))
    assert text.flop == pytest.approx(with_X / devices(name).size + inner / PROBLEMS + bias, rel=0.01)
    weights = 4 * PROBLEMS * CLASSES * FEATURES
    # The sums of the gradients are added up where their problem is, and the next weights sent to all: 1.8 times the
    # weights on 8 GPUs, 2.3 times on 256 chips, where 64 have the same problem.
    assert text.sent_bytes < 2.4 * weights
    assert "reduce-scatter" in {one.opcode for one in text.collectives}
    assert text.donated == 19  # a state lies after as it did before


@pytest.mark.parametrize(
    ("name", "features", "classes", "most"),
    [(TPU, FEATURES, CLASSES, 1.65), pytest.param(POD, 9_984, 17, 2.1, marks=pytest.mark.slow)],
)
def test_each_device_makes_the_inner_products_of_its_own_problems(
    name: str, features: int, classes: int, most: float
) -> None:
    """No product of all problems on every device; the sums of the gradients and the next weights go around once each.

    Weights of less than about 10 MB go around twice on 256 chips: the compiler chooses fewer steps, an all-reduce.
    """
    count = devices(name).size
    size = replace(size_on(name), problems=count, features=features, classes=classes)
    options = QUICK if TARGETS[name].platform == "tpu" else None
    compiled = compile_iteration(devices(name), size, options=options)
    text = CompiledText.of(compiled.as_text() or "").iteration()
    with_X, inner, bias = operations(size)
    assert text.flop == pytest.approx((with_X + inner) / count + bias, rel=0.02)
    weights = 4 * count * classes * features
    assert weights < text.sent_bytes < most * weights  # the least is 1.5 times the weights on 4 devices, 1.99 on 256
    assert {"reduce-scatter", "all-gather"} <= {one.opcode for one in text.collectives}
    assert text.donated == 19  # a state lies after as it did before


def operations(size: FitSize) -> tuple[int, int, int]:
    """Operations of an iteration on all devices: products with X, in the metric, and of the bias on one of them."""
    counted = size.problems * iteration_operations(size.words, size.features, size.classes)
    with_X = size.problems * size.classes * 4 * size.words * size.features
    return with_X, counted - with_X, 2 * size.problems * WORDS * size.classes**2


@pytest.mark.parametrize("name", [TPU, GPU])
def test_the_state_takes_the_memory_of_the_one_before(name: str) -> None:
    compiled, text = iteration(name)
    assert text.donated == 19  # the arrays of a state
    by_word = 4 * PROBLEMS * CLASSES * WORDS
    by_feature = 4 * PROBLEMS * CLASSES * FEATURES
    X, metric = 4 * WORDS * FEATURES, 4 * size_on(name).metric_rows * FEATURES
    # Ten arrays with a number for each word, as `probing.batching` counts them, and as many of the weights' size.
    assert memory_bytes(compiled) < 1.5 * (X + metric + 12 * by_word + 14 * by_feature)
    assert visit(name)[1].donated == 1


@pytest.mark.parametrize("name", [TPU, GPU, pytest.param(POD, marks=pytest.mark.slow)])
def test_a_block_takes_the_memory_of_its_words(name: str) -> None:
    """The block, arrays of the scores of a device's words, and weights: never the X of all words of a device."""
    compiled, _ = visit(name)
    by_word, by_feature = 4 * PROBLEMS * CLASSES * WORDS, 4 * PROBLEMS * CLASSES * FEATURES
    block = 4 * (WORDS // 2) * FEATURES
    assert memory_bytes(compiled) < 1.1 * block + 7 * by_word + 4 * by_feature


@pytest.mark.parametrize("name", [TPU, GPU])
def test_a_block_is_summed_over_the_devices_once(name: str) -> None:
    _, text = visit(name)
    assert {one.opcode for one in text.collectives} == {"all-reduce"}
    assert text.collective_bytes < 1.1 * 4 * PROBLEMS * CLASSES * FEATURES + 4096
    assert text.flop == pytest.approx(2 * 2 * PROBLEMS * CLASSES * (WORDS // 2) * FEATURES, rel=0.01)

"""Models, compiled for TPUs and GPUs: products of float32 where parity rests on them, and no exchange between rows."""

import pytest
from jax.stages import Compiled

from benchmarks.compiled.programs import compile_extraction, compile_generation, config_of, memory_bytes
from benchmarks.compiled.reading import CompiledText
from benchmarks.compiled.targets import TARGETS
from lca_jax.models.stack import cudnn, fused
from lca_jax.models.stack.config import Precision, StackConfig
from lca_jax.models.stack.splash import SHORTEST_ROW
from tests.compiled.targets import GPU, ONE_GPU, POD, QUICK, TPU, devices

pytestmark = pytest.mark.compilers

SLOTS = 128
IN_PASSES = "bf16_bf16_f32_x6"
ONE_KIND = [GPU, pytest.param(TPU, marks=pytest.mark.slow)]
ON_A_POD = pytest.param(POD, marks=pytest.mark.slow)
TINY_LLAMA = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1024,
}


def options(name: str) -> dict[str, float] | None:
    return QUICK if TARGETS[name].platform == "tpu" else None


def text_of(compiled: Compiled) -> CompiledText:
    return CompiledText.of(compiled.as_text() or "")


def matrix_operations(config: StackConfig, slots: int) -> float:
    """Operations of the products of a row, by hand: the matrices of every block, and the attention's two products."""
    width, heads = config.residual_width, config.heads_width
    keys = config.attention.key_heads * config.attention.head_width
    mlp = (3 if config.mlp.gated else 2) * width * config.mlp.width
    of_slot = 2 * (2 * width * heads + 2 * width * keys + mlp) + 4 * slots * heads
    return float(config.layers * slots * of_slot)


def scores(config: StackConfig, slots: int) -> float:
    """Operations of the attention's two products alone."""
    return float(config.layers * slots * 4 * slots * config.heads_width)


@pytest.mark.parametrize("name", [*ONE_KIND, ONE_GPU, ON_A_POD])
@pytest.mark.parametrize("pool", ["last", "mean"])
def test_bert_base_is_read_in_float32_without_an_exchange(name: str, pool) -> None:
    if pool == "mean" and TARGETS[name].platform == "tpu":
        pytest.skip("the GPU's program says it, and the TPU's takes a minute to compile")
    mesh, config = devices(name), config_of("bert", num_hidden_layers=1)
    compiled = compile_extraction(mesh, config, rows=mesh.size, slots=SLOTS, pool=pool, options=options(name))
    text = text_of(compiled)
    assert {product.kinds for product in text.products} == {("f32", "f32")}
    ways = {product.precision for product in text.products}
    assert ways == {IN_PASSES} if name == ONE_GPU and pool == "last" else ways <= {IN_PASSES, "highest"}
    assert text.collectives == []
    pooling = 2 * SLOTS * SLOTS * config.residual_width * (config.layers + 1) if pool == "mean" else 0
    assert text.flop == pytest.approx(matrix_operations(config, SLOTS) + pooling, rel=0.01)
    parameters = 4 * (30_522 + 512 + 2) * 768 + 4 * config.layers * (12 * 768**2 + 13 * 768)
    captured = 4 * SLOTS * 768 * (config.layers + 1)
    assert memory_bytes(compiled) < 1.1 * parameters + 20 * captured


@pytest.mark.parametrize("name", [*ONE_KIND, ON_A_POD])
def test_a_split_llama_is_summed_twice_a_block(name: str) -> None:
    """Its matrices are split over four devices; a block adds up its attention and its feed-forward part."""
    mesh, config = devices(name, parts=4), config_of("llama", "bfloat16", num_hidden_layers=2)
    rows = mesh.shape["data"]
    made = compile_extraction(mesh, config, rows=rows, slots=SLOTS, dtype="bfloat16", options=options(name))
    text = text_of(made)
    assert all(set(product.kinds) == {"bf16"} for product in text.products)
    assert text.flop == pytest.approx(matrix_operations(config, SLOTS) / 4, rel=0.01)
    states = SLOTS * config.residual_width
    # The others are of one number a slot, for the norms.
    exchanges = [one for one in text.collectives if one.bytes > 4 * SLOTS]
    sums = [one for one in exchanges if one.opcode in ("all-reduce", "reduce-scatter")]
    if name == POD:  # its compiler adds half of the sums up while it multiplies, in steps from chip to chip
        steps = [one for one in exchanges if one.opcode == "collective-permute"]
        assert len(sums) == len(steps) / 4 == config.layers
        assert sum(one.sent_bytes * one.times for one in exchanges) < 1.1 * 2 * config.layers * 1.5 * 2 * states
    else:
        assert len(sums) == 2 * config.layers
    assert sum(one.bytes * one.times for one in text.collectives) <= 4 * states * (2 * config.layers + 1)
    quarter = 2 * (config.layers * (4 * 4096**2 + 3 * 4096 * 11_008) + 32_000 * 4096) / 4
    assert memory_bytes(made) < 1.1 * quarter + 2**27


@pytest.mark.parametrize(
    ("model_type", "dtype", "parts"),
    [("llama", "bfloat16", 2), pytest.param("bert", "float32", 1, marks=pytest.mark.slow)],
)
def test_long_rows_on_a_tpu_are_attended_without_scores(model_type: str, dtype: Precision, parts: int) -> None:
    """By a kernel on every device's own rows and heads: nothing is exchanged for it."""
    mesh, slots = devices(TPU, parts=parts), SHORTEST_ROW[dtype]
    changes = TINY_LLAMA | {"intermediate_size": 768}  # not as many as slots
    config = config_of(model_type, dtype, num_hidden_layers=1, **changes)
    rows = mesh.shape["data"]
    made = compile_extraction(mesh, config, rows=rows, slots=slots, dtype=dtype, options=options(TPU))
    text = text_of(made)
    assert "splash_mha_fwd_segmented" in text.text
    every = (one for listed in text.computations.values() for one in listed)
    assert [one.name for one in every if any(shape.sides.count(slots) > 1 for shape in one.shapes)] == []
    assert text.flop == pytest.approx((matrix_operations(config, slots) - scores(config, slots)) / parts, rel=0.01)
    gathered = [one for one in text.collectives if one.opcode in ("all-gather", "all-to-all", "collective-permute")]
    assert sum(one.bytes * one.times for one in gathered) <= 4 * slots * config.residual_width


@pytest.mark.parametrize(("name", "parts"), [(ONE_GPU, 1), (GPU, 2)])
def test_long_rows_on_a_gpu_are_attended_without_scores(name: str, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By cuDNN's kernel: the bias that it reads is made once for both layers, and heads stay where they are.

    The trial and the library need a GPU; XLA compiles the call without them.
    """
    monkeypatch.setattr("jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version", lambda: 91_000)
    mesh, slots = devices(name, parts=parts), cudnn.SHORTEST_ROW + 128  # as many as nothing else
    config = config_of("llama", "bfloat16", num_hidden_layers=2, **TINY_LLAMA)

    def compiled(*, answers: bool) -> CompiledText:
        monkeypatch.setattr(fused, "cudnn_answers", lambda _: answers)
        return text_of(compile_extraction(mesh, config, rows=mesh.shape["data"], slots=slots, dtype="bfloat16"))

    text, ordinary = compiled(answers=True), compiled(answers=False)
    assert sum("__cudnn$fmhaScaleBiasSoftmax" in one.text for one in text.operations) == 2
    every = (one for listed in text.computations.values() for one in listed)
    squares = [(one, shape) for one in every for shape in one.shapes if shape.sides.count(slots) > 1]
    assert {shape.size for _, shape in squares} == {slots**2}, "scores have heads"
    assert len([one for one, _ in squares if one.opcode == "fusion"]) == 1
    assert text.flop == pytest.approx((matrix_operations(config, slots) - scores(config, slots)) / parts, rel=0.01)
    assert [one.bytes for one in text.collectives] == [one.bytes for one in ordinary.collectives]


@pytest.mark.parametrize("name", [TPU, GPU, ON_A_POD])
def test_a_step_of_writing_multiplies_the_newest_pieces_alone(name: str) -> None:
    mesh, slots, rows, longest = devices(name), 16, 8, 16
    config = config_of("llama", "bfloat16", num_hidden_layers=1, **TINY_LLAMA)
    made = compile_generation(mesh, config, rows=rows, slots=slots, longest=longest, options=options(name))
    text = text_of(made)
    assert text.collectives == []
    places = slots + longest
    head = 2 * config.residual_width * 1024
    prompt = slots * (matrix_operations(config, places) / places) + head
    step = matrix_operations(config, places) / places + head
    # The search goes on until all texts end: the reader counts one step.
    # The compiler may make a product with the head twice rather than keep its result.
    assert 0.999 * rows * (prompt + step) < text.flop < 1.001 * rows * (prompt + step + head)
    parameters = 2 * (2 * 1024 * 256 + matrices(config))
    assert memory_bytes(made) < parameters + 2**22  # the cache is .13 MB, scores of the prompt 1 MB


@pytest.mark.parametrize("name", ONE_KIND)
def test_a_split_llama_writes_with_two_sums_a_block(name: str) -> None:
    """The shapes of Llama 7B: the prompt and a step each add up two results a block, and one of the head."""
    mesh, slots, rows, longest = devices(name, parts=4), 16, 8, 16
    config = config_of("llama", "bfloat16", num_hidden_layers=1)
    made = compile_generation(mesh, config, rows=rows, slots=slots, longest=longest, options=options(name))
    text, places = text_of(made), slots + longest
    head = 2 * config.residual_width * 32_000
    of_slot = matrix_operations(config, places) / places
    assert text.flop == pytest.approx(rows * ((slots + 1) * of_slot + 2 * head) / 4, rel=0.01)
    sums = [one for one in text.collectives if one.opcode in ("all-reduce", "reduce-scatter")]
    assert len([one for one in sums if one.bytes > 4 * rows * slots]) == 2 * (2 * config.layers + 1)
    assert {one.devices for one in text.collectives} == {4}, "copies of the model have nothing to tell each other"
    parameters = 2 * (2 * 32_000 * 4096 + matrices(config)) / 4
    assert memory_bytes(made) < 1.1 * parameters + 4 * cache_bytes(config, rows, places) + 16 * rows * 32_000


def matrices(config: StackConfig) -> float:
    """Numbers in the matrices of all blocks: a slot multiplies each of them once."""
    return (matrix_operations(config, 1) - scores(config, 1)) / 2


def cache_bytes(config: StackConfig, rows: int, places: int) -> int:
    """Bytes of the keys and values of all blocks in bfloat16."""
    keys = config.attention.key_heads * config.attention.head_width
    return 2 * 2 * config.layers * rows * places * keys

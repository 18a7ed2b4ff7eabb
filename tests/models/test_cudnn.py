"""Attention of GPUs: what is asked of cuDNN, when, and what happens where cuDNN refuses, as it does here.

A CPU has no cuDNN. JAX computes the same call by its other implementation, and lowers it for CUDA without a GPU.
"""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.sharding import Mesh

from lca_jax.machine.devices import data_mesh, model_mesh
from lca_jax.machine.precision import NARROW
from lca_jax.models.stack import cudnn, fused
from lca_jax.models.stack.attention_config import AttentionKind
from lca_jax.models.stack.config import Precision
from lca_jax.models.stack.fused import Windows, attend_fused, cudnn_answers, windows_of
from lca_jax.models.stack.stack import Batch, build, forward
from lca_jax.models.stack.trial import Call, find_fault
from tests.models.kernels import Case, config_of, kernel_answers, packed, program

LLAMA = "llama, grouped queries"
LOG = "lca_jax.models.stack.fused"


@pytest.fixture
def as_on_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Programs are traced as for GPUs."""
    monkeypatch.setattr(fused, "platform_of", lambda _: "cuda")
    cudnn_answers.cache_clear()
    yield
    cudnn_answers.cache_clear()


@pytest.fixture
def with_cudnn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial is passed, and JAX believes that the library is there: programs are traced and lowered, not run."""
    monkeypatch.setattr(fused, "find_fault", lambda *_: None)
    monkeypatch.setattr("jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version", lambda: 91_000)


@pytest.mark.parametrize(
    "case",
    [
        Case(causal=False),
        Case(causal=False, reach=70),
        Case(causal=True, key_heads=1),
        Case(causal=True, reach=9),
        Case(causal=True, reach=70, dtype="bfloat16"),
        Case(causal=False, key_heads=1, dtype="bfloat16"),
    ],
)
def test_the_call_answers_as_the_ordinary_attention(case: Case) -> None:
    kernel_answers(case, "cudnn")


@pytest.mark.usefixtures("as_on_gpu", "with_cudnn")
def test_where_the_kernel_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    kind, mesh, long = AttentionKind(reach=3), data_mesh(), np.zeros((8, 1_024), np.int32)
    config = config_of(LLAMA, "bfloat16")
    chosen = windows_of(long, config, kind, mesh=mesh)
    assert chosen is not None
    assert (chosen.causal, chosen.reach, chosen.mesh, chosen.kernel) == (True, 3, mesh, "cudnn")

    def used(**changes) -> bool:
        changed = replace(config, attention=replace(config.attention, **changes))
        return windows_of(long, changed, kind, mesh=mesh) is not None

    assert used(head_width=128)
    assert used(head_width=40)
    assert not used(head_width=36)
    assert not used(head_width=136)
    assert not used(softcap=30.0)
    assert windows_of(long, config_of(LLAMA, "float32"), kind, mesh=mesh) is None
    assert windows_of(long[:, :600], config, kind, mesh=mesh) is None
    assert windows_of(long[:, :384], config, kind, mesh=mesh) is None
    assert windows_of(long, config, kind, mesh=None) is None
    assert windows_of(long, config_of("t5", "bfloat16"), kind, mesh=mesh) is None
    monkeypatch.setattr(fused, "processes_of", lambda _: (0, 1))
    assert windows_of(long, config, kind, mesh=mesh) is None, "two processes may not answer alike"


@pytest.mark.usefixtures("as_on_gpu", "with_cudnn")
@pytest.mark.parametrize(("name", "mask"), [("bert", "NO_MASK"), (LLAMA, "CAUSAL")])
def test_a_program_for_cuda_calls_cudnn_and_has_no_scores(name: str, mask: str) -> None:
    config, slots = config_of(name, "bfloat16"), 640
    text = program(name, "bfloat16", slots=slots).lower(lowering_platforms=("cuda",)).as_text()
    calls = [line for line in text.splitlines() if "@__cudnn$fmhaScaleBiasSoftmax(" in line]
    assert calls
    for call in calls:
        written = call.partition('backend_config = "')[2].partition('"')[0].replace("\\22", '"')
        settings = json.loads(written)["cudnn_fmha_backend_config"]
        assert settings["mask_type"] == mask
        assert settings["fmha_scale"] == config.attention.scale
        assert settings["sliding_window_length"] == settings["dropout_rate"] == 0
        # Of a device's own row: eight devices share eight.
        assert f"tensor<1x1x{slots}x{slots}xbf16>" in call
    heads = config.attention.heads
    assert f"tensor<1x{heads}x{slots}x{slots}x" not in text
    assert f"tensor<8x{heads}x{slots}x{slots}x" not in text


def read(dtype: Precision, mesh: Mesh | None) -> np.ndarray:
    """All layers of the residual stream of a tiny Llama, at the pieces of packed rows."""
    config = config_of(LLAMA, dtype)
    graph, shapes = build(config)
    generator = np.random.default_rng(0)
    params = jax.tree.map(lambda shape: jnp.asarray(generator.normal(size=shape.shape) / 8, shape.dtype), shapes)
    places = packed(8, 512)
    pieces = generator.integers(0, config.embedding.vocabulary, places.segments.shape).astype(np.int32)
    batch = Batch(pieces, places.positions, places.segments)
    reads = {"residual": tuple(range(config.layers + 1))}
    states = jax.jit(lambda params, batch: forward(graph, params, batch, reads=reads, mesh=mesh))(params, batch)
    return np.asarray(states["residual"], np.float32)[:, places.segments > 0]


@pytest.mark.usefixtures("as_on_gpu")
def test_where_cudnn_refuses_the_ordinary_way_is_taken_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Here it refuses, as there is none; the kernel is asked while a program is traced."""
    caplog.set_level(logging.INFO, logger=LOG)
    np.testing.assert_array_equal(read("bfloat16", data_mesh()), read("bfloat16", None))
    read("bfloat16", data_mesh())
    lines = [record.getMessage() for record in caplog.records if record.name == LOG]
    assert len(lines) == 1
    assert "without cuDNN's kernel (8 rows of 512 slots, 4 heads of 64): cuDNN" in lines[0]


@pytest.mark.usefixtures("as_on_gpu")
def test_a_program_with_the_kernel_reads_as_the_ordinary_one(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it but the library: the call is tried, found right and used, by JAX's other implementation."""
    caplog.set_level(logging.INFO, logger=LOG)
    read_rows = cudnn.read_rows
    monkeypatch.setattr(
        cudnn, "read_rows", lambda *arrays, **options: read_rows(*arrays, **options | {"interpret": True})
    )
    found, ordinary, exact = read("bfloat16", data_mesh()), read("bfloat16", None), read("float32", None)
    assert cudnn_answers.cache_info().misses == 1
    assert caplog.records == []
    size = np.abs(exact).mean()
    apart = [float(np.abs(one - exact).mean() / size) for one in (found, ordinary)]
    assert not np.array_equal(found, ordinary)
    assert apart[0] < 1.2 * apart[1] < 0.06


CALL = Call(data_mesh(), 8, 512, 4, 2, 64, "bfloat16", True, 100, 0.125)
"""Grouped queries, causal, with a reach."""


def by_other_means(call: Call, segments: Callable[[Array], Array] = lambda numbers: numbers) -> Callable[..., Array]:
    """The kernel as JAX computes it by other means, with windows that may be changed."""

    def attend(query: Array, key: Array, value: Array, numbers: Array) -> Array:
        windows = Windows(segments(numbers), call.causal, call.reach, call.mesh, "cudnn", interpret=True)
        return attend_fused(query, key, value, windows=windows, scale=call.scale, softcap=None, precision=NARROW)

    return attend


@pytest.mark.parametrize(
    "call",
    [
        CALL,
        CALL._replace(mesh=model_mesh(2), rows=4, scale=1.0),
        CALL._replace(causal=False, reach=None, slots=1_024),
    ],
)
def test_a_trial_finds_no_fault_where_the_answers_are_right(call: Call) -> None:
    assert find_fault(by_other_means(call), call) is None


def test_a_trial_finds_wrong_answers() -> None:
    right = by_other_means(CALL)
    wrong = {
        "windows are not kept apart": by_other_means(CALL, jnp.ones_like),
        "padding is of the last window": by_other_means(CALL, lambda numbers: jnp.where(numbers == 0, 2, numbers)),
        "the future is seen": by_other_means(CALL._replace(causal=False)),
        "one slot too many": by_other_means(CALL._replace(reach=101)),
        "the windows of the next row": by_other_means(CALL, lambda numbers: jnp.roll(numbers, 1, axis=0)),
        "another scale": by_other_means(CALL._replace(scale=0.15)),
        "heads in another order": lambda *arrays: jnp.flip(right(*arrays), axis=2),
        "not a number": lambda *arrays: right(*arrays).at[-1, -1, -1, -1].set(jnp.nan),
    }
    for what, attend in wrong.items():
        fault = find_fault(attend, CALL)
        assert fault is not None, what
        assert "from the right ones" in fault, what


def test_a_trial_finds_a_kernel_that_does_not_run() -> None:
    def refuse(*_: Array) -> Array:
        raise NotImplementedError("The head dim must be 64.\nSee the table.")

    assert find_fault(refuse, CALL) == "The head dim must be 64."


def test_a_cpu_keeps_the_ordinary_way() -> None:
    assert "dot_product_attention" not in str(program("bert", "bfloat16", slots=512).jaxpr)

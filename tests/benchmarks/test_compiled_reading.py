"""The reader of compiled programs, against counts by hand, on programs of the CPU and on lines of an accelerator's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from benchmarks.compiled.reading import CompiledText


def text_of(function, *shapes: tuple[int, ...]) -> CompiledText:
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return CompiledText.of(jax.jit(function).lower(*arrays).compile().as_text() or "")


def test_products_in_loops_count_as_often_as_they_run() -> None:
    def function(A: jax.Array, B: jax.Array) -> jax.Array:
        once = jnp.matmul(A, B, precision="highest")
        return jax.lax.fori_loop(0, 7, lambda _, C: jnp.tanh(jnp.matmul(C, B)), once)

    program = text_of(function, (64, 32), (32, 32))
    assert program.flop == 8 * 2 * 64 * 32 * 32
    assert sorted((product.precision, product.times) for product in program.products) == [
        ("default", 7.0),
        ("highest", 1.0),
    ]


def test_exchanges_and_donated_memory_are_seen() -> None:
    mesh = Mesh(np.array(jax.devices()[:4]), ("data",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("data"))
    X = jax.ShapeDtypeStruct((64, 16), jnp.float32, sharding=split)
    program = CompiledText.of(jax.jit(lambda X: X.sum(axis=0)).lower(X).compile().as_text() or "")
    assert [(one.opcode, one.bytes, one.times) for one in program.collectives] == [("all-reduce", 64.0, 1.0)]
    assert program.donated == 0
    donating = jax.jit(lambda X: X + 1, donate_argnums=0).lower(X).compile().as_text()
    assert CompiledText.of(donating or "").donated == 1


PROGRAM = """\
HloModule jit_f, is_scheduled=true, input_output_alias={ {0}: (0, {}, may-alias) }

%fused (param_0.1: f32[64,32], param_1.1: f32[32,32]) -> f32[64,32] {
  %param_0.1 = f32[64,32]{1,0:T(8,128)} parameter(0)
  %param_1.1 = f32[32,32]{1,0:T(8,128)S(1)} parameter(1)
  %rest = f32[64,32]{1,0:T(8,128)} subtract(%param_0.1, %param_0.1), metadata={op_name="jit(f)/sub"}
  ROOT %product.1 = f32[64,32]{1,0} convolution(%param_0.1, %param_1.1), dim_labels=bf_io->bf, HIGHEST
}

%batch (param_0.2: f32[8,17,50], param_1.2: f32[8,17,50]) -> f32[8,17,17] {
  %param_0.2 = f32[8,17,50]{2,1,0} parameter(0)
  %param_1.2 = f32[8,17,50]{2,1,0} parameter(1)
  ROOT %product.2 = f32[8,17,17]{2,1,0} convolution(%param_0.2, %param_1.2), WINDOW, dim_labels=0bf_0oi->0bf
}

ENTRY %main (a: f32[64,32], b: f32[32,32], c: f32[8,17,50]) -> f32[64,32] {
  %a = f32[64,32]{1,0:T(8,128)} parameter(0)
  %b = f32[32,32]{1,0:T(8,128)S(1)} parameter(1)
  %c = f32[8,17,50]{2,1,0} parameter(2)
  %pair = f32[8,17,17]{2,1,0:S(1)} fusion(%c, %c), kind=kOutput, calls=%batch
  ROOT %fusion = f32[64,32]{1,0:T(8,128)} fusion(%a, %b), kind=kOutput, calls=%fused
}
""".replace("HIGHEST", "operand_precision={highest,highest}").replace("WINDOW", "window={size=8 stride=7 lhs_dilate=8}")


def test_products_that_a_tpu_writes_as_convolutions_are_counted() -> None:
    program = CompiledText.of(PROGRAM)
    assert [(product.flop, product.precision) for product in program.products] == [
        (2.0 * 8 * 17 * 17 * 50, "default"),
        (2.0 * 64 * 32 * 32, "highest"),
    ]
    assert program.subtracts_from_itself() == ["rest"]
    assert program.donated == 1


SCATTER = """\
HloModule jit_f, num_partitions=4

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%all-reduce-scatter.1 (input: f32[4,5,896]) -> f32[1,5,896] {
  %input = f32[4,5,896]{2,1,0} parameter(0)
  %all-reduce = f32[4,5,896]{2,1,0} all-reduce(%input), replica_groups={{0,1,2,3}}, to_apply=%add
  ROOT %own = f32[1,5,896]{2,1,0} dynamic-slice(%all-reduce), dynamic_slice_sizes={1,5,896}
}

%once (c: (f32[4,5,896], pred[])) -> pred[] {
  %c = (f32[4,5,896], pred[]) parameter(0)
  ROOT %going = pred[] get-tuple-element(%c), index=1
}

%body (b: (f32[4,5,896], pred[])) -> (f32[4,5,896], pred[]) {
  %b = (f32[4,5,896], pred[]) parameter(0)
  %weights = f32[4,5,896]{2,1,0} get-tuple-element(%b), index=0
  %flag = pred[] get-tuple-element(%b), index=1
  %fusion = f32[1,5,896]{2,1,0} fusion(%weights), kind=kCustom, calls=%all-reduce-scatter.1
  %all = f32[4,5,896]{2,1,0} all-gather(%fusion), replica_groups={{0,1,2,3}}, dimensions={0}
  ROOT %next = (f32[4,5,896], pred[]) tuple(%all, %flag)
}

ENTRY %main (a: (f32[4,5,896], pred[])) -> f32[4,5,896] {
  %a = (f32[4,5,896], pred[]) parameter(0)
  %while = (f32[4,5,896], pred[]) while(%a), condition=%once, body=%body
  %last = f32[4,5,896]{2,1,0} get-tuple-element(%while), index=0
  ROOT %whole = f32[4,5,896]{2,1,0} all-gather(%last), replica_groups={{0,1,2,3}}, dimensions={0}
}
"""


def test_a_sum_that_a_tpu_divides_while_it_adds_it_up_goes_around_once() -> None:
    weights = 4 * 4 * 5 * 896
    in_loop, after = CompiledText.of(SCATTER).iteration(), CompiledText.of(SCATTER)
    assert [one.opcode for one in in_loop.collectives] == ["reduce-scatter", "all-gather"]
    assert in_loop.sent_bytes == 2 * 3 / 4 * weights
    assert after.sent_bytes == 3 * 3 / 4 * weights, "what is sent when the loop has ended counts for the whole alone"


@pytest.mark.parametrize(
    ("groups", "devices"),
    [
        ("{{0,1,2,3},{4,5,6,7}}", 4),
        ("[4,2]<=[8]", 2),
        ("mesh['data'=2,'model'=4] {'model'}", 4),
        ("mesh['axis_0'=1,'axis_1'=4,'axis_2'=2], device_ids=([2,4]T(1,0)) {'axis_1'}", 4),
    ],
)
def test_devices_that_exchange_are_counted_however_they_are_named(groups: str, devices: int) -> None:
    text = f"""\
HloModule jit_f, num_partitions=8

ENTRY %main (a: f32[100]) -> f32[100] {{
  %a = f32[100]{{0}} parameter(0)
  ROOT %sum = f32[100]{{0}} all-reduce(%a), replica_groups={groups}, to_apply=%add
}}
"""
    (exchange,) = CompiledText.of(text).collectives
    assert exchange.devices == devices
    assert exchange.sent_bytes == 2 * (devices - 1) / devices * 400


HEADS = """\
HloModule jit_f

ENTRY %main (a: bf16[128,1,4096], b: bf16[8,128,4096]) -> bf16[128,8,128] {
  %a = bf16[128,1,4096]{2,1,0} parameter(0)
  %b = bf16[8,128,4096]{2,1,0} parameter(1)
  ROOT %heads = bf16[128,8,128]{0,2,1} convolution(%a, %b), WINDOW, dim_labels=b0f_0oi->b0f
}
"""


def test_what_a_window_meets_of_its_padding_is_no_product() -> None:
    """The heads of a split model: a window of eight over one number, which each position meets once."""
    window = "window={size=8 pad=7_7 rhs_reversal=1}"
    (product,) = CompiledText.of(HEADS.replace("WINDOW", window)).products
    assert product.flop == 2.0 * 128 * 8 * 128 * 4096


def test_bytes_are_those_of_the_main_memory() -> None:
    """The matrix marked S(1) lies on the chip; both operands of the other fusion are read."""
    assert CompiledText.of(PROGRAM).bytes == 2 * 4 * 64 * 32 + 2 * 4 * 8 * 17 * 50

"""Attention on NVIDIA GPUs: the kernel of NVIDIA's library cuDNN, called by `jax.nn.dot_product_attention`.

cuDNN reads numbers of 16 bits. It knows no windows of a packed row: which slots of a row see each other is a bias of
two bytes for each (row, slot, slot), the same for all heads and layers of a kind. That rows are causal is said beside
it, so that the kernel leaves out the tiles after the diagonal. Every slot sees itself, padding too, so no slot is
without a key, and the bias of a hidden key is a large number and not an infinite one: nothing becomes NaN.

cuDNN's layout of windows one after the other would need no bias, but it is no public function of JAX, wants a GPU of
NVIDIA's Hopper generation and leaves what it returns for padding open.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lca_jax.machine.precision import ProductPrecision, products_in
from lca_jax.models.stack.config import StackConfig

SHORTEST_ROW = 512
"""Slots of the shortest rows that the kernel reads. There its least time on paper is a sixth of the ordinary way's, and
a layer is 1.2 to 2.5 times as fast (`benchmarks/README.md`, On paper). Usual rows have 128 slots, where the layer of a
large model gains a tenth at best: they keep the ordinary way until it was measured (`benchmarks.bench_attention`)."""
_WIDEST_HEAD, _HEAD_STEP = 128, 8
"""cuDNN takes heads of a multiple of 8 units, up to 128 on every GPU that has its kernel."""
_LANES = 128
"""Rows have a multiple of as many slots, so that the kernel has whole tiles."""


def takes(config: StackConfig, slots: int) -> bool:
    """Whether the kernel is to read rows of this stack, where cuDNN does not refuse them."""
    shape = config.attention
    known = shape.head_width % _HEAD_STEP == 0 and shape.head_width <= _WIDEST_HEAD and shape.softcap is None
    return known and config.dtype == "bfloat16" and slots >= SHORTEST_ROW and slots % _LANES == 0


def read_rows(
    query: Float[Array, "row slot head unit"],
    key: Float[Array, "row slot key_head unit"],
    value: Float[Array, "row slot key_head unit"],
    segments: Int[Array, "row slot"],
    *,
    causal: bool,
    reach: int | None,
    scale: float,
    precision: ProductPrecision,
    interpret: bool,
) -> Float[Array, "row slot head unit"]:
    """Calls the kernel for all rows, or where it is interpreted what JAX computes in its place.

    Raises:
        RuntimeError: cuDNN is missing or does not take the call.
    """
    # JAX's function counts on JAX's promotion of types, whatever the caller has set.
    with products_in(precision), jax.numpy_dtype_promotion("standard"):
        return jax.nn.dot_product_attention(
            query,
            key,
            value,
            mask=visible(segments, reach=reach),
            is_causal=causal,
            scale=scale,
            implementation="xla" if interpret else "cudnn",
        )


def visible(segments: Int[Array, "row slot"], *, reach: int | None) -> Bool[Array, "row 1 slot slot"]:
    """Returns which slots see each other, but for the order in time; slots are as far apart as positions."""
    seen = segments[:, :, None] == segments[:, None, :]
    if reach is not None:
        number = jnp.arange(segments.shape[1], dtype=jnp.int32)
        seen &= jnp.abs(number[:, None] - number[None, :])[None] <= reach
    return seen[:, None]

"""Attention on TPUs: JAX's splash attention, which keeps the scores of one tile of queries and keys on the chip."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lca_jax.machine.precision import ProductPrecision, products_in
from lca_jax.models.stack.config import StackConfig

SHORTEST_ROW = {"bfloat16": 512, "float32": 2_048}
"""Slots of the shortest rows that the kernel reads, by the type of the model's numbers: from there on a layer is faster
by the compiler's own count (`benchmarks/README.md`, On paper). In shorter rows the scores are few."""
_HEAD_WIDTHS = (64, 128)
"""Those for which it was counted."""
TILE = 512
"""Queries, and keys, that are on the chip at a time, unless a row has fewer: their scores take 1 MB. Longer rows have a
multiple of as many slots."""


def takes(config: StackConfig, slots: int) -> bool:
    """Whether the kernel is to read rows of this stack."""
    known = config.attention.head_width in _HEAD_WIDTHS
    return known and slots >= SHORTEST_ROW[config.dtype] and slots % TILE == 0


def read_rows(
    query: Float[Array, "row slot head unit"],
    key: Float[Array, "row slot key_head unit"],
    value: Float[Array, "row slot key_head unit"],
    segments: Int[Array, "row slot"],
    *,
    causal: bool,
    reach: int | None,
    scale: float,
    softcap: float | None,
    precision: ProductPrecision,
    interpret: bool,
) -> Float[Array, "row slot head unit"]:
    """Runs the kernel for every row; the head axis comes first inside."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    slots, heads = query.shape[1:3]
    shape = (slots, slots)
    mask = masks.CausalMask(shape) if causal else masks.FullMask(shape)
    if reach is not None:
        mask = masks.LocalMask(shape, (reach, 0 if causal else reach), 0)
    tile = min(slots, TILE)
    kernel = splash.make_splash_mha_single_device(
        masks.MultiHeadMask([mask] * heads),
        block_sizes=splash.BlockSizes(block_q=tile, block_kv=tile),
        attn_logits_soft_cap=softcap,
        interpret=interpret,
    )

    def read_row(query: Array, key: Array, value: Array, segments: Array) -> Array:
        mixed = kernel(query, key, value, segment_ids=splash.SegmentIds(segments, segments))
        assert isinstance(mixed, Array)  # residuals come beside it where they are asked for
        return mixed

    query = query * jnp.asarray(scale, query.dtype)
    queries, keys, values = (jnp.swapaxes(each, 1, 2) for each in (query, key, value))
    with products_in(precision):
        mixed = jax.vmap(read_row)(queries, keys, values, segments)
    return jnp.swapaxes(mixed, 1, 2)

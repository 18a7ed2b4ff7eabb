"""Attention by one kernel that keeps no scores: what it reads, where it is used, and how it is called.

The ordinary way (`attention.attend`) writes a float32 score for each (row, head, slot, slot), and three to five times
one is written or read. A kernel makes the scores of some queries and keys in the memory on the chip and keeps sums of
them alone, so that the main memory holds queries, keys, values and what is mixed of them. It answers as the ordinary
way does, but for rounding (`tests/models/test_fused.py`).

Windows lie in rows without gaps, their pieces in order. So a slot before another one of its window has the smaller
position, and slots are as far apart as positions. What a kernel does not know keeps the ordinary way: terms of distance
that are learned or depend on content, dropout, the cache of a growing text, and the states of an encoder.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from lca_jax.machine.devices import platform_of
from lca_jax.machine.precision import ProductPrecision, products_in
from lca_jax.models.stack.attention_config import AttentionKind
from lca_jax.models.stack.config import StackConfig

SHORTEST_ROW = {"bfloat16": 512, "float32": 2_048}
"""Slots of the shortest rows that a kernel reads, by the type of the model's numbers: from there on a layer is faster
by the compiler's own count (`benchmarks/README.md`, On paper). In shorter rows the scores are few."""
_HEAD_WIDTHS = (64, 128)
"""Those for which it was counted."""
TILE = 512
"""Queries, and keys, that are on the chip at a time, unless a row has fewer: their scores take 1 MB. Longer rows have a
multiple of as many slots."""


class Windows(NamedTuple):
    """What a kernel reads in the place of a bias."""

    segments: Int[Array | np.ndarray, "row slot"]
    """Number of the window that each slot belongs to; padding, number 0, sees padding."""
    causal: bool
    reach: int | None
    """As in `positions.visibility_bias`."""
    mesh: Mesh
    """The devices; rows are split over its axis `data`, heads over `model` where they can be."""
    interpret: bool = False
    """Whether JAX runs the kernel step by step, on any device."""


def windows_of(
    segments: Int[Array | np.ndarray, "row slot"], config: StackConfig, kind: AttentionKind, *, mesh: Mesh | None
) -> Windows | None:
    """Returns what a kernel reads of a batch of whole windows; None where there is to be no kernel.

    Args:
        segments: Number of the window that each slot belongs to.
        config: The stack.
        kind: Attention of the layer.
        mesh: The devices; None where they are not known.
    """
    shape, slots = config.attention, segments.shape[1]
    if mesh is None or platform_of(mesh) != "tpu" or shape.buckets is not None or shape.relative is not None:
        return None
    if slots < SHORTEST_ROW[config.dtype] or slots % TILE or shape.head_width not in _HEAD_WIDTHS:
        return None
    return Windows(segments, shape.causal, kind.reach, mesh)


def attend_fused(
    query: Float[Array, "row slot head unit"],
    key: Float[Array, "row slot key_head unit"],
    value: Float[Array, "row slot key_head unit"],
    *,
    windows: Windows,
    scale: float,
    softcap: float | None,
    precision: ProductPrecision,
) -> Float[Array, "row slot head unit"]:
    """Computes what `attention.attend` does, with the bias that follows from the windows, without an array of scores.

    The kernel is JAX's splash attention for TPUs. A program that is split over devices cannot split a kernel by itself,
    so every device is told to run it on its own rows and heads.
    """
    key_heads, parts = key.shape[2], windows.mesh.shape["model"]
    by_head = PartitionSpec("data", None, "model" if key_heads % parts == 0 else None, None)
    read = partial(_read_rows, windows=windows, softcap=softcap, precision=precision)
    on_devices = jax.shard_map(
        read,
        mesh=windows.mesh,
        in_specs=(by_head, by_head, by_head, PartitionSpec("data")),
        out_specs=by_head,
        check_vma=False,  # kernels do not say over which axes their results differ
    )
    return on_devices(query * jnp.asarray(scale, query.dtype), key, value, jnp.asarray(windows.segments))


def _read_rows(
    query: Float[Array, "row slot head unit"],
    key: Float[Array, "row slot key_head unit"],
    value: Float[Array, "row slot key_head unit"],
    segments: Int[Array, "row slot"],
    *,
    windows: Windows,
    softcap: float | None,
    precision: ProductPrecision,
) -> Float[Array, "row slot head unit"]:
    """Runs the kernel for every row; the head axis comes first inside."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    slots, heads = query.shape[1:3]
    shape = (slots, slots)
    mask = masks.CausalMask(shape) if windows.causal else masks.FullMask(shape)
    if windows.reach is not None:
        mask = masks.LocalMask(shape, (windows.reach, 0 if windows.causal else windows.reach), 0)
    tile = min(slots, TILE)
    kernel = splash.make_splash_mha_single_device(
        masks.MultiHeadMask([mask] * heads),
        block_sizes=splash.BlockSizes(block_q=tile, block_kv=tile),
        attn_logits_soft_cap=softcap,
        interpret=windows.interpret,
    )

    def read_row(query: Array, key: Array, value: Array, segments: Array) -> Array:
        mixed = kernel(query, key, value, segment_ids=splash.SegmentIds(segments, segments))
        assert isinstance(mixed, Array)  # residuals come beside it where they are asked for
        return mixed

    queries, keys, values = (jnp.swapaxes(each, 1, 2) for each in (query, key, value))
    with products_in(precision):
        mixed = jax.vmap(read_row)(queries, keys, values, segments)
    return jnp.swapaxes(mixed, 1, 2)

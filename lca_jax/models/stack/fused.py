"""Attention by one kernel that keeps no scores: what it reads, and where it is used.

The ordinary way (`attention.attend`) writes a float32 score for each (row, head, slot, slot), and three to five times
one is written or read. A kernel makes the scores of some queries and keys in the memory on the chip and keeps sums of
them alone, so that the main memory holds queries, keys, values and what is mixed of them. It answers as the ordinary
way does, but for rounding (`tests/models/test_fused.py`, `test_cudnn.py`). TPUs have `splash`, NVIDIA's GPUs `cudnn`.

Windows lie in rows without gaps, their pieces in order. So a slot before another one of its window has the smaller
position, and slots are as far apart as positions. What a kernel does not know keeps the ordinary way: terms of distance
that are learned or depend on content, dropout, the cache of a growing text, and the states of an encoder.

cuDNN is a library of the machine, and which calls it takes depends on its version and on the GPU. So each call is tried
(`trial`) when a program that could use it is traced. Where cuDNN fails, the program has the ordinary way and the log a
line. The processes of a job try for themselves, as each has a program of its own. Where one program is for several
processes, they would have to agree, and cuDNN is not used.
"""

import logging
from functools import cache, partial
from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from lca_jax.machine.devices import platform_of, processes_of
from lca_jax.machine.precision import NARROW, ProductPrecision
from lca_jax.models.stack import cudnn, splash
from lca_jax.models.stack.attention_config import AttentionKind
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.trial import Call, find_fault

_log = logging.getLogger(__name__)
Kernel: TypeAlias = Literal["splash", "cudnn"]


class Windows(NamedTuple):
    """What a kernel reads in the place of a bias."""

    segments: Int[Array | np.ndarray, "row slot"]
    """Number of the window that each slot belongs to; padding, number 0, sees padding."""
    causal: bool
    reach: int | None
    """As in `positions.visibility_bias`."""
    mesh: Mesh
    """The devices; rows are split over its axis `data`, heads over `model` where they can be."""
    kernel: Kernel
    interpret: bool = False
    """Whether JAX computes what the kernel does by other means, on any device."""


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
    shape, (rows, slots) = config.attention, segments.shape
    if mesh is None or shape.buckets is not None or shape.relative is not None:
        return None
    platform = platform_of(mesh)
    if platform == "tpu" and splash.takes(config, slots):
        return Windows(segments, shape.causal, kind.reach, mesh, "splash")
    if platform == "cuda" and cudnn.takes(config, slots) and len(processes_of(mesh)) == 1:
        sizes = (rows, slots, shape.heads, shape.key_heads, shape.head_width)
        call = Call(mesh, *sizes, config.dtype, shape.causal, kind.reach, shape.scale * kind.factor)
        if cudnn_answers(call):
            return Windows(segments, shape.causal, kind.reach, mesh, "cudnn")
    return None


@cache
def cudnn_answers(call: Call) -> bool:
    """Whether cuDNN takes a call and answers rightly; it is asked once, and the log says where it does not."""

    def attend(query: Array, key: Array, value: Array, segments: Array) -> Array:
        windows = Windows(segments, call.causal, call.reach, call.mesh, "cudnn")
        return attend_fused(query, key, value, windows=windows, scale=call.scale, softcap=None, precision=NARROW)

    fault = find_fault(attend, call)
    if fault is not None:
        rows = f"{call.rows} rows of {call.slots} slots, {call.heads} heads of {call.units}"
        _log.info("Attention is computed without cuDNN's kernel (%s): %s", rows, fault)
    return fault is None


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

    A program that is split over devices cannot split a kernel by itself, so every device is told to run it on its own
    rows and heads.
    """
    key_heads, parts = key.shape[2], windows.mesh.shape["model"]
    by_head = PartitionSpec("data", None, "model" if key_heads % parts == 0 else None, None)
    options = {"causal": windows.causal, "reach": windows.reach, "interpret": windows.interpret}
    options |= {"scale": scale, "precision": precision}
    if windows.kernel == "splash":
        read = partial(splash.read_rows, softcap=softcap, **options)
    else:
        assert softcap is None  # `cudnn.takes` says so
        read = partial(cudnn.read_rows, **options)
    on_devices = jax.shard_map(
        read,
        mesh=windows.mesh,
        in_specs=(by_head, by_head, by_head, PartitionSpec("data")),
        out_specs=by_head,
        check_vma=False,  # kernels do not say over which axes their results differ
    )
    return on_devices(query, key, value, jnp.asarray(windows.segments))

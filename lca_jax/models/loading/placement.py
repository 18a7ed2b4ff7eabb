"""Where the parameters of a stack lie: on one device, or on a mesh, where matrices are split over its axis `model`.

The two matrices of a pair are split along the width between them (heads; units of the feed-forward part), so that a
block sums over devices twice and nothing else is exchanged (Shoeybi et al. 2019, section 3). Piece vectors are split
along their width. What has no such axis, or one that the devices do not divide, lies whole on every device.
"""

import math
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding
from jaxtyping import Array, Shaped

from lca_jax.machine.devices import default_device

_MADE_WIDE = ("query", "key", "value", "gate", "expand")
_READ_WIDE = ("output", "contract")
_ALIGNMENT = 64
"""Bytes. JAX's CPU devices take over host memory that begins at a multiple of them, and copy all other."""
_BYTES_PER_RUN = 2**20
"""What is cast at once: little beside a large tensor, and near enough to be copied from the processor's cache."""


def move(array: Shaped[Array, "..."], path: str, mesh: Mesh | None) -> Shaped[Array, "..."]:
    """Moves a parameter from the device it is on to where it belongs."""
    return jax.device_put(array, sharding(path, array.shape, mesh))


def place(
    tensor: Shaped[np.ndarray, "row *axes"],
    path: str,
    mesh: Mesh | None,
    *,
    dtype: np.dtype,
    see: Callable[[Shaped[np.ndarray, "_row *axes"]], None],
) -> Shaped[Array, "row *axes"]:
    """Puts a parameter where it belongs, straight from the host; only a device's own part is sent to it.

    The host holds the tensor and its parts, never the whole parameter beside them.

    Args:
        tensor: The whole parameter, in any memory order and precision.
        path: Its dotted path in the stack.
        mesh: A mesh with an axis `model`; None for JAX's default device.
        dtype: The parameter's precision.
        see: Is given the rows in this precision, some at a time from first to last; the same on every mesh.
    """
    where = sharding(path, tensor.shape, mesh)
    bounds = {device: _bounds(index, tensor.shape) for device, index in where.devices_indices_map(tensor.shape).items()}
    # Devices that hold the same part are sent the same memory.
    parts = {part: _allocate(tuple(end - start for start, end in part), dtype) for part in bounds.values()}
    for first, rows in _cast_rows(tensor, dtype):
        see(rows)
        for ((start, end), *others), part in parts.items():
            here, past = (min(max(row, start), end) for row in (first, first + len(rows)))
            cut = (slice(here - first, past - first), *(slice(*other) for other in others))
            part[here - start : past - start] = rows[cut]
    sent = [jax.device_put(parts[part], device) for device, part in bounds.items()]
    return jax.make_array_from_single_device_arrays(tensor.shape, where, sent)


def _bounds(index: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    return tuple(part.indices(size)[:2] for part, size in zip(index, shape, strict=True))


def _allocate(shape: tuple[int, ...], dtype: np.dtype) -> Shaped[np.ndarray, "..."]:
    """Memory that a CPU device need not copy."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def _cast_rows(
    tensor: Shaped[np.ndarray, "row *axes"], dtype: np.dtype
) -> Iterator[tuple[int, Shaped[np.ndarray, "_row *axes"]]]:
    """Runs of rows in another precision and in row order, each with the number of its first row."""
    count = max(1, _BYTES_PER_RUN * len(tensor) // (tensor.size * dtype.itemsize))
    for first in range(0, len(tensor), count):
        yield first, np.ascontiguousarray(tensor[first : first + count], dtype)


def sharding(path: str, shape: tuple[int, ...], mesh: Mesh | None) -> Sharding:
    """Where a parameter belongs.

    Args:
        path: Its dotted path in the stack.
        shape: Of the whole parameter.
        mesh: A mesh with an axis `model`; None for JAX's default device.
    """
    if mesh is None:
        return default_device()
    *_, module, leaf = path.split(".")
    axis = None
    if module in _MADE_WIDE or leaf == "embedding":
        axis = len(shape) - 1
    elif module in _READ_WIDE and leaf == "kernel":
        axis = 0
    if axis is None or shape[axis] % mesh.shape["model"]:
        return NamedSharding(mesh, PartitionSpec())
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "model"))

"""Places the parameters of a stack: on one device, or on a mesh, where matrices are split over its axis `model`.

The two matrices of a pair are split along the width between them (heads; units of the feed-forward part), so that a
block sums over devices twice and nothing else is exchanged (Shoeybi et al. 2019, section 3). Piece vectors are split
along their width. A parameter that does not have such an axis, or one that the number of devices does not divide, lies
whole on every device.
"""

from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding
from jaxtyping import Array, Shaped

from lca_jax.machine.devices import aligned_empty, default_device, put

_SPLIT_ALONG_OUTPUTS = ("query", "key", "value", "gate", "expand")
_SPLIT_ALONG_INPUTS = ("output", "contract")
_BYTES_PER_RUN = 2**20
"""Bytes that are cast at once: few beside a large tensor, and few enough to be copied from the processor's cache."""


def move(array: Shaped[Array, "..."], path: str, mesh: Mesh | None) -> Shaped[Array, "..."]:
    """Moves a parameter from the device it is on to the devices where it belongs."""
    return put(array, sharding(path, array.shape, mesh))


def place(
    tensor: Shaped[np.ndarray, "entry *axes"],
    path: str,
    mesh: Mesh | None,
    *,
    dtype: np.dtype,
    see: Callable[[Shaped[np.ndarray, "_entry *axes"]], None],
) -> Shaped[Array, "entry *axes"]:
    """Puts a parameter where it belongs, straight from the host; each device gets only its own part.

    Of several processes each makes the parts of its own devices.

    The host holds the tensor and its parts, never the whole parameter beside them.

    Args:
        tensor: The whole parameter, in any memory order and precision.
        path: Its dotted path in the stack.
        mesh: A mesh with an axis `model`; None for JAX's default device.
        dtype: The parameter's precision.
        see: Called with the parameter in this precision, a run of entries of its first axis at a time, from first to
            last; what it is given does not depend on the mesh.
    """
    where = sharding(path, tensor.shape, mesh)
    own = where.addressable_devices_indices_map(tensor.shape)
    bounds = {device: _bounds(index or (), tensor.shape) for device, index in own.items()}
    # Devices that hold the same part are sent the same memory.
    parts = {part: aligned_empty(tuple(end - start for start, end in part), dtype) for part in bounds.values()}
    for first, run in _cast_in_runs(tensor, dtype):
        see(run)
        for ((start, end), *others), part in parts.items():
            here, past = (min(max(entry, start), end) for entry in (first, first + len(run)))
            cut = (slice(here - first, past - first), *(slice(*other) for other in others))
            part[here - start : past - start] = run[cut]
    sent = [jax.device_put(parts[part], device) for device, part in bounds.items()]
    return jax.make_array_from_single_device_arrays(tensor.shape, where, sent)


def sharding(path: str, shape: tuple[int, ...], mesh: Mesh | None) -> Sharding:
    """Returns the devices that a parameter belongs on, and how it is split over them.

    Args:
        path: Its dotted path in the stack.
        shape: Shape of the whole parameter.
        mesh: A mesh with an axis `model`; None for JAX's default device.
    """
    if mesh is None:
        return default_device()
    *_, module, leaf = path.split(".")
    axis = None
    if module in _SPLIT_ALONG_OUTPUTS or leaf == "embedding":
        axis = len(shape) - 1
    elif module in _SPLIT_ALONG_INPUTS and leaf == "kernel":
        axis = 0
    if axis is None or shape[axis] % mesh.shape["model"]:
        return NamedSharding(mesh, PartitionSpec())
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "model"))


def _bounds(index: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    return tuple(part.indices(size)[:2] for part, size in zip(index, shape, strict=True))


def _cast_in_runs(
    tensor: Shaped[np.ndarray, "entry *axes"], dtype: np.dtype
) -> Iterator[tuple[int, Shaped[np.ndarray, "_entry *axes"]]]:
    """Yields the tensor in another precision, in runs along its first axis, each with the index of its first entry."""
    count = max(1, _BYTES_PER_RUN * len(tensor) // (tensor.size * dtype.itemsize))
    for first in range(0, len(tensor), count):
        yield first, np.ascontiguousarray(tensor[first : first + count], dtype)

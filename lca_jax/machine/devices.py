"""Names devices, as the only module that does: the mesh, shardings of rows, and what a run records about its machine.

The mesh has the axis `data` (words, sentences), and `model` where a model, or the columns of a very wide matrix, are
split over devices. A matrix whose row count is not a multiple of the device count is padded here; callers mask or cut
the padding of results. Several processes that were joined (`job`) make one mesh for probes
(`joint_mesh`), and each puts and reads only what lies on its own devices. Each process runs models for itself.
"""

import os
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding
from jaxtyping import Array, Shaped
from numpy.typing import DTypeLike

from lca_jax.errors import SettingsError

_ALIGNMENT = 64
"""Multiple of bytes at which a CPU device wants memory to begin."""


def data_mesh() -> Mesh:
    """Returns the mesh of all devices of this process along the axis `data`."""
    return _mesh(jax.local_devices(), 1)


def model_mesh(parts: int) -> Mesh:
    """Returns the mesh of all devices of this process along `data` and `model`.

    Neighbouring devices have the parts of one copy of a model.

    Args:
        parts: Number of devices that share a model.

    Raises:
        SettingsError: The devices cannot be shared out evenly.
    """
    return _mesh(jax.local_devices(), parts)


def joint_mesh(parts: int = 1) -> Mesh:
    """Returns the mesh of all devices of all processes along `data` and `model`, on which probes are solved.

    Args:
        parts: Number of devices that share the columns of a matrix.

    Raises:
        SettingsError: The devices cannot be shared out evenly.
    """
    return _mesh(jax.devices(), parts)


def _mesh(devices: list, parts: int) -> Mesh:
    if parts < 1 or len(devices) % parts:
        raise SettingsError(
            f"A model or matrix can be split over a number of devices that divides {len(devices)}, got {parts}."
        )
    axes = (AxisType.Auto, AxisType.Auto)
    return jax.make_mesh((len(devices) // parts, parts), ("data", "model"), axis_types=axes, devices=devices)


def shard_rows(
    mesh: Mesh, array: Shaped[np.ndarray, "..."], *, axis: int = 0, fill: float | int = 0, rows: int | None = None
) -> Shaped[Array, "..."]:
    """Puts an array on the mesh, split along one axis over `data`, padded with `fill`.

    On one device this is one transfer and no padding. Each of several processes has the whole array and puts the part
    of its own devices.

    Args:
        mesh: The devices.
        array: Array, the same in every process.
        axis: Number of the axis that is split.
        fill: Value of the padding.
        rows: Length to pad to; the next multiple of the devices if None.
    """
    missing = -array.shape[axis] % mesh.shape["data"] if rows is None else rows - array.shape[axis]
    if missing:
        shape = list(array.shape)
        shape[axis] = missing
        array = np.concatenate([array, np.full(shape, fill, array.dtype)], axis=axis)
    return _put(array, NamedSharding(mesh, PartitionSpec(*[None] * axis, "data")))


def replicate(mesh: Mesh, array: Shaped[np.ndarray, "..."]) -> Shaped[Array, "..."]:
    """Puts an array, the same in every process, on every device of the mesh."""
    return _put(np.asarray(array), NamedSharding(mesh, PartitionSpec()))


def zeros_by_word(mesh: Mesh, shape: tuple[int, ...]) -> Shaped[Array, "..."]:
    """Returns zeros whose last axis is split over `data`, for the numbers that problems keep of each word."""
    split = PartitionSpec(*[None] * (len(shape) - 1), "data")
    return jnp.zeros(shape, jnp.float32, device=NamedSharding(mesh, split))


def place_parts(
    mesh: Mesh, shape: tuple[int, ...], split: PartitionSpec, part: Callable[[tuple[slice, ...]], np.ndarray]
) -> Shaped[Array, "..."]:
    """Returns an array on the mesh, of which this process makes the parts of its own devices.

    Args:
        mesh: The devices.
        shape: Shape of the whole array.
        split: How its axes are split over those of the mesh.
        part: Function that returns the part at some slices of the whole. On a CPU, parts in memory of `aligned_empty`
            become the array's own without a copy: they may be written again once the array is no longer used.
    """

    def of_device(index: tuple[slice, ...] | None) -> np.ndarray:
        return part(_bounded(index or (), shape))

    return jax.make_array_from_callback(shape, NamedSharding(mesh, split), of_device)


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike) -> Shaped[np.ndarray, "..."]:
    """Returns fresh memory that begins where a CPU device wants it, so that the device takes the array as it is.

    NumPy's own memory begins elsewhere and is copied, into memory that is fresh as well and costs several times the
    copy.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def fetch(array: Shaped[Array, "..."]) -> Shaped[np.ndarray, "..."]:
    """Returns an array on the host, whole in every process."""
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def free_bytes() -> int | None:
    """Returns the free bytes of all devices of this process, of a CPU those of the machine; None if unknown."""
    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        try:
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + _cached_bytes()
        except (ValueError, OSError):
            return None
    stats = [device.memory_stats() for device in devices]
    if not all(stats):
        return None
    return sum(one["bytes_limit"] - one["bytes_in_use"] for one in stats if one)


def platform_of(mesh: Mesh) -> str:
    """Returns the kind of a mesh's devices, which need not be here: `cpu`, `cuda` or `tpu`."""
    platform = mesh.devices.flat[0].platform
    return "cuda" if platform == "gpu" else platform


def default_device() -> SingleDeviceSharding:
    """Returns the device of arrays for which no mesh was given."""
    return SingleDeviceSharding(jax.local_devices()[0])


def describe_device() -> dict[str, str | int]:
    """Returns platform, kind and number of the devices, and the cores of the host, for the record of a result."""
    first = jax.local_devices()[0]
    return {
        "platform": first.platform,
        "kind": first.device_kind,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "cores": os.cpu_count() or 0,
    }


def use_compilation_cache(folder: Path) -> None:
    """Keeps compiled programs in a folder, so that a second run with the same shapes compiles nothing."""
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _put(array: np.ndarray, sharding: NamedSharding) -> Array:
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def _bounded(index: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Returns slices with both ends."""
    return tuple(slice(*part.indices(size)[:2]) for part, size in zip(index, shape, strict=True))


def _cached_bytes() -> int:
    """Returns the bytes of files that Linux keeps in memory and would give up; 0 on other systems."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    table = dict(line.split(":", 1) for line in lines)
    return 1024 * int(table.get("Cached", "0 kB").split()[0])

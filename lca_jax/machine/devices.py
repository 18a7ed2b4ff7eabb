"""Names devices, as the only module that does: the mesh, shardings of rows, and what a run records about its machine.

The mesh has the axis `data` (words, sentences), and `model` where a model, or the columns of a very wide matrix, are
split over devices. A matrix whose row count is not a multiple of the device count is padded here; callers mask or cut
the padding of results. Several processes that were joined (`job`) make one mesh for probes
(`joint_mesh`), and each puts and reads only what lies on its own devices. Each process runs models for itself, unless
a model is split over more devices than a process has: then neighbouring processes run it together.
"""

import json
import os
import socket
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding
from jaxtyping import Array, Shaped
from numpy.typing import DTypeLike

from lca_jax.errors import SettingsError
from lca_jax.machine.free_memory import available_bytes
from lca_jax.machine.json_text import parse_json
from lca_jax.machine.processes import all_bytes

_AUTO = (AxisType.Auto, AxisType.Auto)
_ALIGNMENT = 64
"""Multiple of bytes at which a CPU device wants memory to begin."""


def data_mesh() -> Mesh:
    """Returns the mesh of all devices of this process along the axis `data`."""
    return _mesh(jax.local_devices(), 1)


def model_mesh(parts: int) -> Mesh:
    """Returns the mesh of all devices of this process along `data` and `model`.

    Neighbouring devices have the parts of one copy of a model. Where a process has fewer devices than there are parts,
    the mesh is that of all devices of as many neighbouring processes as are needed.

    Args:
        parts: Number of devices that share a model.

    Raises:
        SettingsError: The devices or the processes cannot be shared out evenly.
    """
    own, processes = jax.local_device_count(), jax.process_count()
    if processes == 1 or parts <= own:
        return _mesh(jax.local_devices(), parts)
    sharing, rest = divmod(parts, own)
    first = jax.process_index() // sharing * sharing
    devices = [device for device in jax.devices() if first <= device.process_index < first + sharing]
    if rest or processes % sharing or len(devices) != parts:
        raise SettingsError(
            f"A model can be split over some devices of a process, or over all devices of 2 or more processes. "
            f"{processes} processes with {own} devices each cannot be shared out so that {parts} devices have one "
            "model: give a number of devices that divides those of a process, or a multiple of them whose processes "
            "divide the job's."
        )
    devices.sort(key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(devices).reshape(1, parts), ("data", "model"), axis_types=_AUTO)


def processes_of(mesh: Mesh) -> tuple[int, ...]:
    """Returns the numbers of the processes whose devices a mesh has, in rising order."""
    return tuple(sorted({device.process_index for device in mesh.devices.flat}))


def in_equal_stretches(mesh: Mesh) -> bool:
    """Tells whether every process has devices at equally many places along `data`, and so reads equally often."""
    places = {(device.process_index, row) for row, sharing in enumerate(mesh.devices) for device in sharing.flat}
    return len(set(Counter(process for process, _ in places).values())) == 1


def mesh_of_copies(mesh: Mesh) -> Mesh:
    """Returns the devices on which this process finds what `own_copy` gives it."""
    if len(processes_of(mesh)) == 1:
        return mesh
    return _mesh([device for device in mesh.devices.flat if device.process_index == jax.process_index()][:1], 1)


def own_copy(array: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    """Returns an array that is whole on every device of several processes as an array of one device of this process.

    An array of this process alone is returned as it is.
    """
    return array if array.is_fully_addressable else array.addressable_data(0)


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
    return jax.make_mesh((len(devices) // parts, parts), ("data", "model"), axis_types=_AUTO, devices=devices)


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
    return put(array, NamedSharding(mesh, PartitionSpec(*[None] * axis, "data")))


def replicate(mesh: Mesh, array: Shaped[np.ndarray, "..."] | Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    """Puts an array, the same in every process, on every device of the mesh."""
    return put(array, NamedSharding(mesh, PartitionSpec()))


def put(array: Shaped[np.ndarray, "..."] | Shaped[Array, "..."], where: Sharding) -> Shaped[Array, "..."]:
    """Puts an array, the same in every process, on devices; each process sends what belongs to its own."""
    if where.is_fully_addressable:
        return jax.device_put(array, where)
    whole = np.asarray(array)
    return jax.make_array_from_callback(whole.shape, where, lambda index: whole[index])


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


def place_words(
    mesh: Mesh, shape: tuple[int, ...], read: Callable[[int, int], Shaped[np.ndarray, "..."]]
) -> Shaped[Array, "..."]:
    """Returns an array (…, word, column) on the mesh, its words split over `data` and its columns over `model`.

    Args:
        mesh: The devices.
        shape: Shape of the whole array.
        read: Function that returns all columns of the words from a first one to before a last one, with memory as in
            `place_parts`. It is called once for each stretch of words, however many devices share its columns.
    """
    read_once = cache(read)

    def part(index: tuple[slice, ...]) -> Shaped[np.ndarray, "..."]:
        return read_once(index[-2].start, index[-2].stop)[..., index[-1]]

    return place_parts(mesh, shape, PartitionSpec(*[None] * (len(shape) - 2), "data", "model"), part)


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
    """Returns the free bytes of all devices of a process; None if unknown.

    Of a CPU these are its share of what the host has free, for all of the job's processes there. They are those of the
    process that has least, so that all of a job decide alike; all of them make the call together.
    """
    devices = jax.local_devices()
    share_host = devices[0].platform == "cpu"
    if share_host:
        free = available_bytes()
    else:
        stats = [device.memory_stats() for device in devices]
        free = sum(one["bytes_limit"] - one["bytes_in_use"] for one in stats if one) if all(stats) else None
    if jax.process_count() == 1:
        return free
    told = [parse_json(one) for one in all_bytes(json.dumps([socket.gethostname(), free]).encode())]
    hosts = [host for host, _ in told]
    shares = [of_host and of_host // (hosts.count(host) if share_host else 1) for host, of_host in told]
    return None if None in shares else min(shares)


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


def _bounded(index: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Returns slices with both ends."""
    return tuple(slice(*part.indices(size)[:2]) for part, size in zip(index, shape, strict=True))

"""The only room that names devices: the mesh, shardings of rows, and what the run writes down about its machine.

The mesh has the axis `data` (words, sentences), and `model` where a model is split over devices. A matrix whose row
count is no multiple of the device count is padded by `shard_rows`; whoever reads the result masks or cuts the padding.
"""

import os
from pathlib import Path

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding
from jaxtyping import Array, Shaped

from lca_jax.errors import SettingsError


def data_mesh() -> Mesh:
    """All devices of this process along the axis `data`."""
    devices = jax.local_devices()
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def model_mesh(parts: int) -> Mesh:
    """All devices of this process along `data` and `model`, neighbours holding the parts of one copy of a model.

    Raises:
        SettingsError: The devices cannot be shared out evenly.
    """
    devices = jax.local_devices()
    if parts < 1 or len(devices) % parts:
        raise SettingsError(
            f"A model can be split over a number of devices that divides {len(devices)}, those of this process, "
            f"got {parts}."
        )
    axes = (AxisType.Auto, AxisType.Auto)
    return jax.make_mesh((len(devices) // parts, parts), ("data", "model"), axis_types=axes, devices=devices)


def shard_rows(
    mesh: Mesh, array: Shaped[np.ndarray, "..."], *, axis: int = 0, fill: float | int = 0
) -> Shaped[Array, "..."]:
    """Puts an array on the mesh, split along one axis over `data`, padded with `fill` to a multiple of the devices.

    On one device this is one transfer and no padding.
    """
    missing = -array.shape[axis] % mesh.shape["data"]
    if missing:
        shape = list(array.shape)
        shape[axis] = missing
        array = np.concatenate([array, np.full(shape, fill, array.dtype)], axis=axis)
    split = PartitionSpec(*[None] * axis, "data")
    return jax.device_put(array, NamedSharding(mesh, split))


def default_device() -> SingleDeviceSharding:
    """Where arrays lie that no mesh was given for."""
    return SingleDeviceSharding(jax.local_devices()[0])


def describe_device() -> dict[str, str | int]:
    """What a result's figures were computed on: platform, kind, count of devices, cores of the host."""
    first = jax.local_devices()[0]
    return {
        "platform": first.platform,
        "kind": first.device_kind,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "cores": os.cpu_count() or 0,
    }


def use_compilation_cache(folder: Path) -> None:
    """Keeps compiled programs in a folder, so that a second run of the same shapes compiles nothing."""
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)

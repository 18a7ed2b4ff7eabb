"""Devices that are compiled for without having them: a TPU v5e pod, and GPUs described by their numbers.

`libtpu` compiles for any slice of a pod, and NVIDIA's plug-in for a GPU whose description it is given. Neither needs
the device. Both come with the extra `compilers`, for an environment of its own: there JAX asks for the libraries of a
GPU unless `JAX_PLATFORMS` is `cpu`.
"""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh

os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # else libtpu asks the network which TPU this machine has
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # no device is opened, so processes need not wait
jax.config.update("jax_platforms", "cpu")  # what is computed is computed here
_H100 = {
    "cuda_compute_capability": {"major": 9, "minor": 0},
    "threads_per_block_limit": 1024,
    "threads_per_warp": 32,
    "threads_per_core_limit": 2048,
    "shared_memory_per_block": 49_152,
    "shared_memory_per_block_optin": 232_448,
    "shared_memory_per_core": 233_472,
    "registers_per_core_limit": 65_536,
    "registers_per_block_limit": 65_536,
    "block_dim_limit_x": 2_147_483_647,
    "block_dim_limit_y": 65_535,
    "block_dim_limit_z": 65_535,
    "core_count": 132,
    "fpus_per_core": 128,
    "clock_rate_ghz": 1.98,
    "memory_bandwidth": 3_350_000_000_000,
    "l2_cache_size": 52_428_800,
    "device_memory_size": 80_000_000_000,
}
"""An H100 in the names of XLA's description of a GPU."""
_H200 = _H100 | {"memory_bandwidth": 4_800_000_000_000, "device_memory_size": 141_000_000_000}
"""An H200 is an H100 with another memory."""


class CompilerMissingError(RuntimeError):
    """The compiler of a target is not installed; the message says what to install."""


@dataclass(frozen=True, eq=False)
class Target:
    """Some devices of one kind."""

    platform: str
    """`tpu` or `cuda`."""
    topology: str
    """A slice of a pod, such as `v5e:2x2`; for GPUs processes, hosts and devices, such as `1x1x8`."""
    gpu: Mapping[str, object] = field(default_factory=dict)
    """Description of a GPU."""


TARGETS = {
    "v5e-1": Target("tpu", "v5e:1x1"),
    "v5e-4": Target("tpu", "v5e:2x2"),
    "v5e-256": Target("tpu", "v5e:16x16"),
    "h100-1": Target("cuda", "1x1x1", _H100),
    "h100-8": Target("cuda", "1x1x8", _H100),
    "h200-1": Target("cuda", "1x1x1", _H200),
}
_PACKAGES = {"tpu": ("libtpu",), "cuda": ("jax_plugins.xla_cuda13", "jax_cuda13_plugin")}
"""Modules that a compiler needs; the last one has the names of the functions that a program may call."""


@cache
def mesh_of(name: str, *, parts: int = 1) -> Mesh:
    """Returns the devices of a target as a mesh, with the axes of `machine.devices`.

    Args:
        name: Name in `TARGETS`.
        parts: Devices that share a model or the columns of a matrix.

    Raises:
        CompilerMissingError: The compiler is not installed.
    """
    target = TARGETS[name]
    devices = np.array(_devices_of(target), object)
    axes = (AxisType.Auto, AxisType.Auto)
    return Mesh(devices.reshape(-1, parts), ("data", "model"), axis_types=axes)


def _devices_of(target: Target) -> list[Any]:
    if not all(map(_is_installed, _PACKAGES[target.platform])):
        raise CompilerMissingError(
            f"The compiler for {target.topology} is not installed: pip install 'lca-jax[compilers]' on Linux."
        )
    jax.devices()  # registers the plug-ins
    if target.platform == "tpu":
        topology = target.topology
        options = {"chips_per_host_bounds": [1, 1, 1]} if topology.endswith("1x1") else {}
        return list(topologies.get_topology_desc(topology, "tpu", **options).devices)
    described = f'gpu_device_info {{ {_as_text(target.gpu)} }} platform_name: "CUDA"'
    options = {"target_config": described, "topology": target.topology}
    return list(topologies.get_topology_desc(target.topology, "cuda", **options).devices)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _as_text(fields: Mapping[str, object]) -> str:
    """Writes fields as a protocol buffer in text form."""
    written = (
        f"{name} {{ {_as_text(value)} }}" if isinstance(value, Mapping) else f"{name}: {value}"
        for name, value in fields.items()
    )
    return " ".join(written)

"""Where the parameters of a stack lie: on one device, or on a mesh, where matrices are split over its axis `model`.

The two matrices of a pair are split along the width between them (heads; units of the feed-forward part), so that a
block sums over devices twice and nothing else is exchanged (Shoeybi et al. 2019, section 3). Piece vectors are split
along their width. What has no such axis, or one that the devices do not divide, lies whole on every device.
"""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding
from jaxtyping import Array, Shaped

from lca_jax.devices import default_device

_MADE_WIDE = ("query", "key", "value", "gate", "expand")
_READ_WIDE = ("output", "contract")


def place(array: Shaped[np.ndarray | Array, "..."], path: str, mesh: Mesh | None) -> Shaped[Array, "..."]:
    """Puts a parameter where it belongs, straight from the host; only a device's own part is sent to it."""
    return jax.device_put(array, sharding(path, array.shape, mesh))


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

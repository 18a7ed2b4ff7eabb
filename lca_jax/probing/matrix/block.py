"""Words on the devices: one block of X, standardised inside the products and never copied.

Letters used in this room, problem axis first so that all problems are one matrix product, word axis last in Z and R:

    X (word, feature)            raw activations          W (problem, class, feature)   weights, in the penalised scale
    Z (problem, class, word)     scores without bias      R (problem, class, word)      residuals, weighted by 1/n

With m the mean and s the deviation of each feature, the standardised matrix is (X − 1 m')/s. So Z = (W/s) X' − (W/s) m
and the products with the transpose are (R X − (R 1) m)/s: two products with the raw X an iteration, whatever the
scaling. Each costs 2·word·feature·class·problem operations and reads X once (word·feature·4 bytes); the order of the
axes inside them is the fastest of those measured on a CPU.

X may be stored in bfloat16, in half of the memory. Its products are float32 all the same: W and R are split into three
bfloat16 parts, whose products with X are exact and summed in float32. So no step is coarser than another, and the
certificate is that of the rounded X. Three such products are a third of what an accelerator does in bfloat16, and more
than it does in float32.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lca_jax.machine.precision import FLOAT32, NARROW, float32_way

_Result = TypeVar("_Result")
_Axes = int | tuple[int | None, ...]

_PARTS = 3
"""Of 8 bits each: the 24 of a float32."""
_SUMMED_COLUMNS = 4
"""So few columns of weights are multiplied and summed in one loop, at the rate at which X is read: measured on a CPU,
2 columns of 20,480 by 2,688 take 5.5 ms, as a matrix product 9.3."""


class Block(NamedTuple):
    """Features of some words on the devices, with the numbers by which they are centred and scaled.

    Or one such matrix per layer, layer axis first, for the probes of single layers: `over_layers` maps over them.
    """

    X: Float[Array, "*layer word feature"]
    """Raw activations, split over the mesh: words over `data`, features over `model`."""
    mean: Float[Array, "*layer feature"]
    scale: Float[Array, "*layer feature"]
    """1 for every feature where the penalty is on raw weights. Centring only moves the (free) bias."""

    @property
    def layered(self) -> bool:
        """Whether it is a matrix per layer."""
        return self.X.ndim == 3


def scores(block: Block, W: Float[Array, "problem class feature"]) -> Float[Array, "problem class word"]:
    """Returns Z, the scores of every word without the bias; of one layer."""
    scaled = W / block.scale[None, None, :]
    offset = jnp.einsum("pcd,d->pc", scaled, block.mean, precision=FLOAT32)
    problems, classes, features = W.shape
    flat = scaled.reshape(-1, features)
    if len(flat) <= _SUMMED_COLUMNS:
        Z = (block.X.astype(W.dtype)[None] * flat[:, None, :]).sum(axis=2)
    else:
        Z = _product(flat, block.X.T)
    return Z.reshape(problems, classes, -1) - offset[:, :, None]


def correlations(block: Block, R: Float[Array, "problem class word"]) -> Float[Array, "problem class feature"]:
    """Returns the products of word weights with the standardised features; of residuals the gradient of the loss."""
    problems, classes, words = R.shape
    product = _product(R.reshape(-1, words), block.X).reshape(problems, classes, -1)
    return (product - R.sum(axis=2)[:, :, None] * block.mean[None, None, :]) / block.scale[None, None, :]


def over_layers(function: Callable[..., _Result], axes: _Axes, *, layered: bool) -> Callable[..., _Result]:
    """Maps a function of one layer over the layer axis, where there is one; else returns the function itself.

    Args:
        function: Function of positional arguments.
        axes: Layer axis of each argument, None for those that all layers share, as in `jax.vmap`.
        layered: Whether there is a layer axis.
    """
    return jax.vmap(function, in_axes=axes) if layered else function


def _product(A: Float[Array, "row inner"], B: Float[Array, "inner column"]) -> Float[Array, "row column"]:
    """Returns A B in float32, where either factor may be X in a narrower type."""
    if A.dtype == B.dtype:
        return jnp.matmul(A, B, precision=float32_way())
    if A.dtype == jnp.float32:
        return _sum_parts([_narrow(part, B) for part in _parts(A, B.dtype)])
    return _sum_parts([_narrow(A, part) for part in _parts(B, A.dtype)])


def _narrow(A: Float[Array, "row inner"], B: Float[Array, "inner column"]) -> Float[Array, "row column"]:
    """Returns A B of two factors in a narrower type: exact products, summed in float32."""
    return jnp.matmul(A, B, precision=NARROW, preferred_element_type=jnp.float32)


def _parts(full: Float[Array, "row column"], dtype: DTypeLike) -> list[Array]:
    """Splits float32 numbers into parts of a narrower type, the largest first.

    A cast there and back is none to a compiler that may keep digits, as that of GPUs may: the rest would be zero.
    """
    kind = jnp.finfo(dtype)
    parts, rest = [], full
    for _ in range(_PARTS):
        part = jax.lax.reduce_precision(rest, kind.nexp, kind.nmant)
        parts.append(part.astype(dtype))
        rest = rest - part
    return parts


def _sum_parts(products: list[Array]) -> Array:
    """Sums products of parts, the smallest first."""
    smallest, *others = reversed(products)
    return sum(others, smallest)

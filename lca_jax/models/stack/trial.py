"""Tries a kernel on the devices that are to run it, before a program relies on it.

Whether a library takes a call is known only where it is called. So the very call, of these shapes on these devices, is
compiled and run once on random numbers, and some of its answers are set against plain NumPy. A kernel that does not
compile, fails or answers wrongly is known by a text that says why. A trial takes as much memory on the devices as one
call. On the host it takes a second for batches of 16,384 slots, mostly to draw numbers, and 10 where they are rows of
8,192 slots with 32 heads of 128 units (a core of a Xeon).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Shaped

FARTHEST = 2**-6
"""Largest distance of an answer from NumPy's, as a share of its length. Rounding to bfloat16 makes less than 2^-8, one
key too many among n about n^-1/2."""
_SLOTS_TRIED = 16


class Call(NamedTuple):
    """A call of a kernel."""

    mesh: Mesh
    """The devices, all of this process."""
    rows: int
    slots: int
    heads: int
    key_heads: int
    units: int
    """Units of a head."""
    dtype: str
    causal: bool
    reach: int | None
    scale: float


Attend = Callable[
    [
        Float[Array, "row slot head unit"],
        Float[Array, "row slot key_head unit"],
        Float[Array, "row slot key_head unit"],
        Int[Array, "row slot"],
    ],
    Float[Array, "row slot head unit"],
]
"""Attention of query, key and value, within the windows of the numbers given last."""


def find_fault(attend: Attend, call: Call) -> str | None:
    """Returns why a kernel cannot be used for a call; None if its answers are right.

    Args:
        attend: Function that calls the kernel.
        call: Shapes and settings of the call, which `attend` has.
    """
    segments = _windows(call.rows, call.slots)
    generator = np.random.default_rng(0)

    def draw(heads: int) -> Shaped[np.ndarray, "slot head unit"]:
        return generator.standard_normal((call.slots, heads, call.units), np.float32).astype(jnp.dtype(call.dtype))

    arrays = [draw(heads) for heads in (call.heads, call.key_heads, call.key_heads)]
    by_row = NamedSharding(call.mesh, PartitionSpec("data"))
    # The rows differ by their windows.
    given = (*(np.broadcast_to(array, (call.rows, *array.shape)) for array in arrays), segments)
    shapes = (jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=by_row) for array in given)
    try:
        # Arrays of the host alone: within the trace of a program, JAX would add other calls to that program.
        answers = np.asarray(jax.jit(attend).lower(*shapes).compile()(*given))
    except Exception as error:  # whatever it is, the ordinary way does without the kernel
        return (str(error).strip() or repr(error)).splitlines()[0]
    worst = max(_distance(answers[row].astype(np.float32), arrays, segments[row], call) for row in {0, call.rows - 1})
    return None if worst <= FARTHEST else f"its answers are {worst:.2g} of their length from the right ones"


def _windows(rows: int, slots: int) -> Int[np.ndarray, "row slot"]:
    """Returns two windows a row, cut elsewhere in each, and padding after them."""
    segments = np.zeros((rows, slots), np.int32)
    for row in range(rows):
        cut, end = slots * (row + 1) // (rows + 2), slots - row % 8 - 1
        segments[row, :cut], segments[row, cut:end] = 1, 2
    return segments


def _distance(
    found: Float[np.ndarray, "slot head unit"],
    arrays: list[Shaped[np.ndarray, "slot _head unit"]],
    segments: Int[np.ndarray, " slot"],
    call: Call,
) -> float:
    """Returns the largest distance from NumPy's answers, of all heads at some slots of a row."""
    # The ends of windows, where a wrong key would show, and some places between.
    ends = np.flatnonzero(np.diff(segments, append=-1))
    between = np.linspace(0, call.slots - 1, _SLOTS_TRIED).astype(int)
    tried = np.unique(np.concatenate([ends, ends[:-1] + 1, between]))
    query, key, value = (array.astype(np.float32) for array in arrays)
    sharing = call.heads // call.key_heads
    places = np.arange(call.slots)
    worst = 0.0
    for slot in tried:
        seen = segments == segments[slot]
        if call.causal:
            seen &= places <= slot
        if call.reach is not None:
            seen &= np.abs(places - slot) <= call.reach
        first, last = np.flatnonzero(seen)[[0, -1]]
        window = slice(first, last + 1)  # without gaps
        for head in range(call.heads):
            scores = np.dot(key[window, head // sharing], query[slot, head]) * call.scale
            weights = np.exp(scores - scores.max())
            expected = np.dot(weights / weights.sum(), value[window, head // sharing])
            apart = np.linalg.norm(found[slot, head] - expected) / np.linalg.norm(expected)
            worst = max(worst, float(apart)) if np.isfinite(apart) else np.inf
    return worst

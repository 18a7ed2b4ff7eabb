"""What has room in memory: X as a whole, and how many problems beside it.

Processes of a job may have different memory free. All of them decide by the least, since all must do the same.
"""

import logging

import jax
import jax.numpy as jnp

from lca_jax.machine.devices import free_bytes, platform_of
from lca_jax.probing.matrix.matrix import Matrix
from lca_jax.probing.matrix.sizes import lower_size
from lca_jax.probing.matrix.source import MatrixSource
from lca_jax.probing.objective import MatrixDtype

_log = logging.getLogger(__name__)
_HOST_BYTES = 150e6
"""Largest size of one array (problem, class, word) on the host, for all of its CPU devices. About ten of them are there
at a time, beside the texts and the labels of all tasks."""
_DEVICE_BYTES = 300e6
"""The same on an accelerator that does not tell its memory."""
_ARRAYS = 18
"""Arrays of that size for which an accelerator must have room: those of a state and what lies between two of them,
twelve in the compiled programs, and half as many again."""


def choose_streaming(source: MatrixSource, *, dtype: MatrixDtype) -> bool:
    """Tells whether X should be read anew at every iteration: where it would take more than half of the free memory.

    Half, since X is in memory twice on its way to the devices, and problems need some too. All processes of a job call
    it, and hear the same: that of the one with the least free memory.

    Args:
        source: Where the words are read.
        dtype: Dtype in which X would be stored.
    """
    size = source.words * source.features * jnp.dtype(dtype).itemsize / jax.process_count()
    free = free_bytes()
    streamed = free is not None and size > free / 2
    _log.info(
        "X: %d words of %d neurons, %.2f GB here, of %s free: %s",
        source.words,
        source.features,
        size / 1e9,
        "unknown" if free is None else f"{free / 1e9:.2f} GB",
        "read in blocks at every iteration" if streamed else "held on the devices",
    )
    return streamed


def problems_in_memory(platform: str, devices: int, *, words: int, classes: int, free: float | None = None) -> int:
    """Returns the number of problems whose arrays the devices hold at a time, at least 1.

    An iteration reads X for all of them together. On paper (`benchmarks/roofline.py`) products on the matrix units of
    an H100 take longer than that from some 100 columns on, problems times classes: fewer are no faster.

    Args:
        platform: Kind of the devices.
        devices: Number of devices among which words are divided.
        words: Words of the matrix, times its layers.
        classes: Columns of the widest problem.
        free: Free bytes of an accelerator that holds X; None if unknown. A number of few is returned then, of those
            that batches are padded to, so that other bytes compile no other program.
    """
    # A CPU's devices share one memory; accelerators divide the words among them.
    memories, most = (1, _HOST_BYTES) if platform == "cpu" else (devices, _DEVICE_BYTES)
    each = most if free is None else free / _ARRAYS
    number = max(1, int(memories * each / (4 * words * classes)))
    return number if free is None else lower_size(number)


def free_beside(matrix: Matrix) -> float | None:
    """Returns the free bytes of an accelerator that holds its part of X: the least of all processes; None for CPUs."""
    if platform_of(matrix.mesh) == "cpu":
        return None
    free = free_bytes()
    return None if free is None else free / jax.local_device_count()

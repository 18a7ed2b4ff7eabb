"""Gives memory that was let go of back to the system.

Python, Arrow and the C library keep what they freed for what is asked for next. That is mostly right, but after the
texts of a hundred tasks, millions of small objects, gigabytes stay with the process while what is asked for next is
made of large arrays, which the C library takes from the system anew.
"""

import ctypes
import sys

import pyarrow as pa


def return_freed_memory() -> None:
    """Gives back the pages on which nothing lies."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)

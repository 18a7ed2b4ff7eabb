"""Arrays that outgrow the memory of a process: the first ones stay, later ones go to files and come back when read.

The files have no name, so that they are gone when their last array is, or the process ends, however it ends. They lie
in the folder for temporary files: set `TMPDIR` where that folder is itself in memory, as on some clusters. An array
that came back from there cannot be written to; the system keeps its pages while there is room.
"""

import logging
import mmap
import os
import tempfile
import weakref
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Shaped

_IN_MEMORY = 256e6
"""Bytes that stay in memory."""
_FILE_BYTES = 64 * 2**20
"""Size of a file: one mapping holds many arrays, as a system allows some ten thousand mappings a process."""
_ALIGNMENT = 64
"""Bytes at which every array begins."""
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Spill:
    """Keeps arrays, in memory up to a limit."""

    in_memory: float = _IN_MEMORY
    """Bytes that stay in memory."""
    _taken: float = field(default=0.0, init=False)
    _file: "_File | None" = field(default=None, init=False)

    def keep(self, array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Returns the same numbers: the array itself while there is room, else a view of a file.

        Where the disk is full the array stays in memory, and the log says so once.
        """
        if self._taken + array.nbytes <= self.in_memory:
            self._taken += array.nbytes
            return array
        try:
            if self._file is None or not self._file.has_room(array.nbytes):
                self._file = _File(max(_FILE_BYTES, array.nbytes))
            return self._file.write(np.ascontiguousarray(array))
        except OSError as error:
            _log.warning(
                "Results stay in memory, since %s has no room for them (%s); set TMPDIR to a folder that has.",
                tempfile.gettempdir(),
                error.strerror,
            )
            self.in_memory = float("inf")
            return array


class _File:
    """A file without a name, and its mapping."""

    def __init__(self, size: int) -> None:
        self._size, self._end = size, 0
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            self._mapping = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
            self._file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._file)  # the mapping, and with it the arrays, live on

    def has_room(self, size: int) -> bool:
        return self._end + size <= self._size

    def write(self, array: np.ndarray) -> np.ndarray:
        """Appends an array. It is written, not copied into the mapping: a full disk would end the process there."""
        start, content = self._end, memoryview(array.reshape(-1).view(np.uint8))  # pyright: ignore[reportArgumentType] - an array is a buffer
        written = 0
        while written < len(content):
            written += os.pwrite(self._file, content[written:], start + written)
        self._end = start + len(content) + -len(content) % _ALIGNMENT
        return np.frombuffer(self._mapping, array.dtype, array.size, start).reshape(array.shape)

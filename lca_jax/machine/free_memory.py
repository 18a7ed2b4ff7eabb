"""How many bytes a process may still take on its host, as Linux tells: free memory, within the limits of its groups.

A container and a job of Slurm are control groups (cgroups): each may take less than the machine has, and a process that
takes more is killed without a line. The groups lie in each other like folders, and every one of them has its own limit,
so the least room counts. Kept copies of files count as taken in a group, though they are given up where memory is
short: they are room. What lies in shared memory (`/dev/shm`, tmpfs) is not.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple


class _Kind(NamedTuple):
    """The names of the files of a group."""

    limits: Sequence[str]
    taken: str
    kept_files: Sequence[str]
    """The entries of `memory.stat`, those of the groups inside included, that tell the kept copies of files."""


_SECOND = _Kind(("memory.max", "memory.high"), "memory.current", ("inactive_file", "active_file"))
"""Version 2. Above `memory.high` a process is not killed, but slowed down until it hardly moves."""
_FIRST = _Kind(("memory.limit_in_bytes",), "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))
"""Version 1. Without a limit it tells a number that is larger than any memory."""

_GROUP = re.compile(r"(?m)^\d+:([^:\n]*):(.*)$")
"""A line of `/proc/self/cgroup`: a number, what the group limits (nothing in version 2), and its name, like a path."""


def available_bytes(root: Path = Path("/")) -> int | None:
    """Returns the bytes that can be taken without swapping and without going beyond a limit; None if unknown.

    Args:
        root: The folder that holds `proc` and `sys`.
    """
    rooms = [_of_machine(root), *(_room(folder, kind) for folder, kind in _groups(root))]
    return min((room for room in rooms if room is not None), default=None)


def _of_machine(root: Path) -> int | None:
    table = _table(root / "proc/meminfo")
    if "MemAvailable" in table:
        return 1024 * table["MemAvailable"]
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # other systems than Linux
        return None


def _groups(root: Path) -> Iterator[tuple[Path, _Kind]]:
    """Yields the folders of this process's groups that limit memory, each with all in which it lies.

    Inside a container the names may be those of the host, while the tree begins at the container's own group. So a
    folder that is not there is passed by, and the top is always looked at.
    """
    for controllers, name in _GROUP.findall(_text(root / "proc/self/cgroup")):
        if not controllers:
            top, kind = root / "sys/fs/cgroup", _SECOND
        elif "memory" in controllers.split(","):
            top, kind = root / "sys/fs/cgroup/memory", _FIRST
        else:
            continue
        parts = [part for part in name.split("/") if part]
        if ".." in parts:  # a group outside of what this process sees
            parts = []
        yield from ((top.joinpath(*parts[:depth]), kind) for depth in range(len(parts) + 1))


def _room(group: Path, kind: _Kind) -> int | None:
    """Returns the bytes that a group may still take; None if it is not there or has no limit."""
    limits = [limit for limit in (_number(group / name) for name in kind.limits) if limit is not None]
    taken = _number(group / kind.taken)
    if not limits or taken is None:
        return None
    table = _table(group / "memory.stat")
    return max(0, min(limits) - taken + sum(table.get(name, 0) for name in kind.kept_files))


def _number(file: Path) -> int | None:
    """Returns the number that a file holds; None if it is not there or holds a word, as `max` for no limit."""
    text = _text(file).strip()
    return int(text) if text.isdecimal() else None


def _table(file: Path) -> dict[str, int]:
    """Returns the numbers of lines `name number` or `name: number kB`."""
    rows = (line.replace(":", " ").split() for line in _text(file).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


def _text(file: Path) -> str:
    """Returns what the system tells in a file; nothing if it is not there or may not be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

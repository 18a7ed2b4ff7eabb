"""Files beside a store (exports): written under another name, synced, and renamed once they are whole."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lca_jax.errors import StoreError


@contextmanager
def write_whole(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Gives for each path another one to write to; the files get their names when the block ends, the first one last.

    If the block fails nothing is left. A process that is killed leaves files named `.NAME.unfinished`, which the next
    run writes over.

    Raises:
        StoreError: A path exists already; all that do are named. Or two are the same.
    """
    if len(set(paths)) < len(paths):
        raise StoreError(f"Files must have different names, got {', '.join(str(path) for path in paths)}.")
    if taken := [str(path) for path in paths if path.exists()]:
        raise StoreError(f"{', '.join(taken)}: there already, and nothing is overwritten. Delete it, or name another.")
    unfinished = [path.with_name(f".{path.name}.unfinished") for path in paths]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield unfinished
        for path in unfinished:
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        for path, named in reversed(list(zip(unfinished, paths, strict=True))):
            path.replace(named)
    finally:
        for path in unfinished:
            path.unlink(missing_ok=True)

"""What a step of a run has made: recorded with checksums when it is done, and compared before it is skipped.

Of a store only the manifest is recorded, which holds the checksums of all its other files: those are compared by their
sizes here, by their bytes when they are read, and all at once by `lca show --verify`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lca_jax.errors import LcaError, StoreError
from lca_jax.machine.checksums import checksum_of_file, checksums_in, find_altered
from lca_jax.store.store import MANIFEST, open_store


def record_outputs(folder: Path, outputs: Sequence[str]) -> dict[str, dict[str, str]]:
    """Returns the checksums of the files of every output, by its path in the folder."""
    return {output: _checksums_of(folder / output) for output in outputs}


def find_changed(folder: Path, outputs: Sequence[str], recorded: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Returns the outputs that are missing or are not as they were recorded, each with what is wrong with it."""
    found = {}
    for output in outputs:
        path = folder / output
        place = path if path.is_dir() else path.parent
        if output not in recorded:
            found[output] = f"{output} was not made yet"
        elif not path.exists():
            found[output] = f"{output} is missing"
        elif problems := find_altered(place, recorded[output]) or _problems_of_store(path):
            where = output if path.is_dir() else str(Path(output).parent)
            found[output] = "; ".join(problems) if where == "." else f"in {where}, {'; '.join(problems)}"
    return found


def refuse_strangers(folder: Path, recorded: Mapping[str, Mapping[str, str]]) -> None:
    """Checks that output folders which are to be removed hold nothing but what the run has made; stores are left out.

    Hidden files are not counted: writers and desktops leave them.

    Args:
        folder: The run folder.
        recorded: By output, the files of which checksums were recorded.

    Raises:
        StoreError: There are other files; the message names them.
    """
    strangers = []
    for output, files in recorded.items():
        path = folder / output
        if path.is_dir() and MANIFEST not in files:
            names = (file.relative_to(path) for file in sorted(path.rglob("*")) if not file.is_dir())
            shown = [name for name in names if not any(part.startswith(".") for part in name.parts)]
            strangers += [f"{output}/{name.as_posix()}" for name in shown if name.as_posix() not in files]
    if strangers:
        more = f" and {len(strangers) - 5} more" if len(strangers) > 5 else ""
        raise StoreError(
            f"{folder} must make folders anew that hold files which are not its own: {', '.join(strangers[:5])}{more}. "
            "Nothing was deleted: move them elsewhere."
        )


def _checksums_of(path: Path) -> dict[str, str]:
    if not path.is_dir():
        return {path.name: checksum_of_file(path)}
    if (path / MANIFEST).exists():
        return {MANIFEST: checksum_of_file(path / MANIFEST)}
    return checksums_in(path)


def _problems_of_store(path: Path) -> list[str]:
    """Returns what opening a store finds wrong; nothing for other folders and for files."""
    if not (path.is_dir() and (path / MANIFEST).exists()):
        return []
    try:
        open_store(path)
    except LcaError as error:
        return [str(error)]
    return []

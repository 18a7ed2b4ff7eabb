"""Checksums of files: the one function that everything on disk is recorded and verified with.

A checksum is the SHA-256 in hexadecimal digits.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path


def checksum_of(content: bytes) -> str:
    """Returns the checksum of some bytes."""
    return hashlib.sha256(content).hexdigest()


def checksum_of_parts(parts: Iterable[bytes]) -> str:
    """Returns the checksum of some bytes that come one part after the other."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()


def checksum_of_file(path: Path) -> str:
    """Returns the checksum of a file, which is read in small parts.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums_in(folder: Path) -> dict[str, str]:
    """Returns the checksum of every file below a folder, by its path in it.

    Raises:
        OSError: A file cannot be read.
    """
    return {name: checksum_of_file(folder / name) for name in sorted(_files_in(folder))}


def find_altered(folder: Path, recorded: Mapping[str, str]) -> list[str]:
    """Returns what is wrong with the files of a folder: those that are missing or altered.

    Args:
        folder: The folder. Further files in it are not looked at.
        recorded: The checksum of every file that it must hold, by its path in the folder.
    """
    problems = []
    for name, checksum in recorded.items():
        try:
            if checksum_of_file(folder / name) != checksum:
                problems.append(f"{name} was altered")
        except FileNotFoundError:
            problems.append(f"{name} is missing")
        except (OSError, ValueError) as error:  # a name that no file can have is a ValueError
            problems.append(f"{name} cannot be read ({error})")
    return problems


def _files_in(folder: Path) -> Iterator[str]:
    """Yields the paths of all files below a folder; folders that are links are not entered."""
    for parent, _, files in os.walk(folder):
        inside = Path(parent).relative_to(folder)
        yield from ((inside / name).as_posix() for name in files)

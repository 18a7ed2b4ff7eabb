"""Holds a folder of results while it is written: one run or study at a time, and nothing through links.

The lock is that of stores (`store.lock`): a second run hears which process holds the folder, on which machine and since
when. Nothing in the folder changes before its inputs were checked, and a folder that was made for a run that failed
before it wrote anything is removed again.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from logging.handlers import MemoryHandler
from pathlib import Path

from lca_jax.errors import StoreError
from lca_jax.machine.files import real_path, refuse_links
from lca_jax.machine.folders import list_files, open_folder
from lca_jax.machine.urls import is_there, name_place, refuse_url, url_of
from lca_jax.store.lock import Lock, hold

_LOCK = ".lock-"
_FILES = ("config.json", "steps.json", "inputs.json", "untrained.json", "results.json", "log.txt")
_FOLDERS = ("activations", "probes", "rankings", "tasks", "model_ablation", "property_control", "report")
_PARTS = ("train", "dev", "test")
_OF_A_RUN = ("steps.json", "inputs.json")
"""The files of which a run writes one before it makes anything else."""
_OF_A_STUDY = ("fits.json", "unfinished-probes")
_OF_A_SURVEY = "survey.json"
"""The file that a survey writes before it makes anything else."""
_LINES_BEFORE = 100_000
"""Lines of the log that are kept until the folder may be written."""


def place_on_disk(path: Path) -> Path:
    """Returns the absolute path of a folder whose many small files change while it is written.

    Raises:
        SettingsError: The path is a URL, or none at all.
    """
    refuse_url(path, instead="What does write to URLs: `lca study` without a file, and `lca extract --out`.")
    return real_path(path)


@contextmanager
def held_folder(path: Path, *, rank: int = 0, beside_others: bool = False) -> Iterator[Lock]:
    """Makes a folder, if it is not there, and keeps all others from writing it while the block runs.

    Args:
        path: The folder, a path or a URL.
        rank: Number of this process in its job; process 0 goes first.
        beside_others: Whether rank 0 may come while others hold the locks of their ranks.

    Raises:
        StoreError: Another process holds it, it cannot be written, or one of its entries is a link.
    """
    is_local = url_of(path) is None
    path = real_path(path) if is_local else path
    made = [folder for folder in (path, *path.parents) if not folder.exists()] if is_local else []
    lock = hold(open_folder(path), _LOCK, rank=rank, beside_others=beside_others)
    try:
        if is_local:
            refuse_links(path, [*_FILES, *_OF_A_STUDY, *_FOLDERS, *(f"activations/{part}" for part in _PARTS)])
        yield lock
    finally:
        lock.release()
        with suppress(OSError):  # it is not empty
            for folder in made:
                folder.rmdir()


def refuse_foreign(path: Path) -> None:
    """Lets a run write only into a folder of its own kind: a new or an empty one, or that of a run.

    Raises:
        StoreError: The folder holds what a run would write over, such as the `config.json` of a model, and is none of a
            run.
    """
    if (path / _OF_A_SURVEY).exists():
        raise StoreError(f"{path} is the folder of a survey, whose results a run would replace. Name another folder.")
    if any((path / name).exists() for name in _OF_A_RUN):
        return
    if taken := [name for name in (*_FILES, *_FOLDERS) if name != "log.txt" and _is_taken(path / name)]:
        raise StoreError(
            f"{path} is not the folder of a run (it has neither {' nor '.join(_OF_A_RUN)}), and holds "
            f"{', '.join(taken)}, which a run would write over. Name a new or an empty folder."
        )


def refuse_foreign_to_study(path: Path) -> None:
    """Lets a study write only into a new or an empty folder, or that of a study.

    Raises:
        StoreError: The folder is that of a run, or holds rankings and no probes that a study would have written first.
    """
    place = name_place(path)
    if any(is_there(path / name) for name in _OF_A_RUN):
        raise StoreError(f"{place} is the folder of a run, whose results a study would replace. Name another folder.")
    if _holds_any(path / "rankings") and not is_there(path / "probes/probes.json"):
        raise StoreError(
            f"{place} is not the folder of a study (it has no probes/probes.json), and holds `rankings`, which a study "
            "would replace. Name a new or an empty folder."
        )


def refuse_foreign_to_survey(path: Path) -> None:
    """Lets a survey write only into a new or an empty folder, or that of a survey.

    Raises:
        StoreError: The folder holds what a survey would write over, and is none of a survey.
    """
    if (path / _OF_A_SURVEY).exists():
        return
    names = (*_FILES, *_FOLDERS, "runs", "answers", "made_from")
    if taken := [name for name in names if name != "log.txt" and _is_taken(path / name)]:
        raise StoreError(
            f"{path} is not the folder of a survey (it has no {_OF_A_SURVEY}), and holds {', '.join(taken)}. Name a "
            "new or an empty folder."
        )


def _holds_any(folder: Path) -> bool:
    """Returns whether there is anything in a folder, a path or a URL."""
    return _is_taken(folder) if url_of(folder) is None else bool(list_files(open_folder(folder)))


def _is_taken(path: Path) -> bool:
    """Returns whether there is such a file, or such a folder with anything in it."""
    return any(path.iterdir()) if path.is_dir() else path.exists()


@contextmanager
def log_file(path: Path, log: logging.Logger) -> Iterator[Callable[[], None]]:
    """Appends what the package logs, and warnings where they are captured, to a file, each line with its time.

    Yields the call that opens the file; lines that are logged before it are kept until then.
    """
    handler = MemoryHandler(_LINES_BEFORE, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
    opened: list[logging.FileHandler] = []

    def begin() -> None:
        refuse_links(path.parent, [path.name])
        file = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        opened.append(file)
        handler.setTarget(file)
        handler.flush()
        handler.capacity = 1  # from now on every line is written at once

    level = log.level
    loggers = (log, logging.getLogger("py.warnings"))
    for logger in loggers:
        logger.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield begin
    finally:
        log.setLevel(level)
        for logger in loggers:
            logger.removeHandler(handler)
        if opened:
            handler.flush()
        handler.close()
        for file in opened:
            file.close()

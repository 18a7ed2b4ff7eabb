"""A run folder's memory: which steps are finished, what they were made from, and how long they took.

A step has a key, a hash of everything that determines its outcome, the keys of the steps before it included. The key is
written down before the step begins. A finished step with the same key is skipped; another key means that something it
depends on has changed: its files are removed, it is done again, and the log says so.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_log = logging.getLogger(__name__)
_STEPS = "steps.json"


def key_of(*parts: object) -> str:
    """A hash of plain values (numbers, texts, lists, dictionaries)."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def write_json(path: Path, content: object) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_suffix(path.suffix + ".part")
    with waiting.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    waiting.replace(path)


class RunFolder:
    """The steps of one run; every change is on disk before the call returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        try:
            self._steps: dict[str, dict] = json.loads((path / _STEPS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            self._steps = {}

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds that each finished step took when it was done."""
        return {name: step["seconds"] for name, step in self._steps.items() if step["seconds"] is not None}

    def do(self, name: str, key: str, outputs: Sequence[str], work: Callable[[], None]) -> bool:
        """Does a step unless it is finished with the same key.

        Args:
            name: Of the step, for the log and `seconds`.
            key: From `key_of`.
            outputs: Files and folders below the run folder that the step makes, and that no longer hold if its key
                changes.
            work: Makes them. Left over from an interrupted try with the same key, they are still there when it is
                called.

        Returns:
            Whether the step was done now.
        """
        known = self._steps.get(name)
        if known is not None and known["key"] != key:
            _log.warning("%s: its input or settings changed, done again", name)
            self._remove(outputs)
        elif known is not None:
            if known["seconds"] is not None and all((self.path / output).exists() for output in outputs):
                _log.info("%s: finished before, skipped", name)
                return False
            _log.info("%s: begun before, going on", name)
        self._write(name, {"key": key, "seconds": None})
        start = time.perf_counter()
        work()
        took = time.perf_counter() - start
        self._write(name, {"key": key, "seconds": round(took, 3)})
        _log.info("%s: %.1f s", name, took)
        return True

    def _write(self, name: str, step: dict) -> None:
        self._steps[name] = step
        write_json(self.path / _STEPS, self._steps)

    def _remove(self, outputs: Sequence[str]) -> None:
        for output in outputs:
            path = self.path / output
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

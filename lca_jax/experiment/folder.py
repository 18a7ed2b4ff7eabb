"""The record that a run folder keeps of its steps: which are finished, from what they were made, how long they took.

A step has a key: a hash of everything that determines its outcome, the keys of the steps before it included. The key is
written to `steps.json` before the step begins. A finished step with the same key is skipped. Another key means that
something the step depends on has changed: its files are removed, it is done again, and the log says so. The same
happens where files are missing or altered: their checksums were recorded when the step was done.

Whoever changes a run folder holds its lock (`holding`), and checks before every write that it still does: a process
that stood still for long may have lost it (`store.lock`).
"""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lca_jax.errors import StoreError
from lca_jax.experiment.origins import Origins
from lca_jax.experiment.outputs import find_changed, record_outputs, refuse_strangers
from lca_jax.machine.checksums import checksum_of
from lca_jax.machine.files import remove_inside, write_text_whole
from lca_jax.machine.json_text import read_object, take
from lca_jax.store.lock import UNSHARED, Lock

_log = logging.getLogger(__name__)
_STEPS = "steps.json"
_INPUTS = "inputs.json"
_CHANGED = "its input or settings changed, done again"


def key_of(*parts: object) -> str:
    """Returns a hash of plain values (numbers, texts, lists, dictionaries)."""
    return checksum_of(json.dumps(parts, sort_keys=True, default=str).encode())


def write_json(path: Path, content: object) -> None:
    """Writes plain values as readable JSON, whole or not at all."""
    write_text_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


class RunFolder:
    """The steps of one run; every change is on disk before the call returns."""

    def __init__(self, path: Path, *, lock: Lock = UNSHARED) -> None:
        """Opens a run folder, or makes one.

        Args:
            path: The folder.
            lock: The right to write it, unless it is only read.

        Raises:
            StoreError: Its record of steps is damaged.
        """
        self.path = path
        self._check = lock.check
        path.mkdir(parents=True, exist_ok=True)
        self._steps = _read_steps(path / _STEPS)

    def place(self, name: str) -> Path:
        """Returns where a file or folder is to be written, after a check that this folder may still be.

        Steps compute for hours: whoever writes asks when there is something to write, not before.

        Raises:
            StoreError: Another process has taken the folder over, or it was removed.
        """
        self._check()
        return self.path / name

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds that each finished step took when it was done."""
        return {name: step["seconds"] for name, step in self._steps.items() if step["seconds"] is not None}

    @property
    def inputs(self) -> dict[str, dict[str, Any]]:
        """Name, fingerprint and pieces of everything that the finished steps were made from; empty if none is finished.

        Raises:
            StoreError: Their record is damaged.
        """
        place = self.path / _INPUTS
        if not self.seconds or not place.exists():
            return {}
        way_out = f"Delete {place}, or name another folder."
        inputs = read_object(place, error=StoreError, way_out=way_out)
        try:
            for part in inputs:
                entry, where = take(inputs, part, dict, place=str(place)), f"`{part}` in {place}"
                for name in ("name", "fingerprint"):
                    take(entry, name, str, place=where)
                for name in entry.keys() & {"pieces", "versions"}:
                    for key in take(entry, name, dict, place=where):
                        take(entry[name], key, str, place=f"`{name}` of {where}")
        except ValueError as error:
            raise StoreError(f"{error}. {way_out}") from None
        return inputs

    def is_finished(self) -> bool:
        """Returns whether all steps on record are done, and what they made is there and as it was recorded."""
        return bool(self._steps) and all(
            step["seconds"] is not None and not find_changed(self.path, step.get("outputs", []), step.get("files", {}))
            for step in self._steps.values()
        )

    def write_inputs(self, inputs: Origins) -> None:
        """Writes name, fingerprint and pieces of everything that the steps are made from."""
        write_json(self.place(_INPUTS), inputs)

    def settle(self, keys: Mapping[str, str]) -> None:
        """Removes what steps have made from other inputs or settings, and what steps have made that are no more.

        So nothing lies beside results that it does not belong to, wherever the run stops.

        Args:
            keys: The present key of each step, by the name of the step.

        Raises:
            StoreError: What is to be removed holds files of others; nothing was removed.
        """
        others = {name: record for name, record in self._steps.items() if record["key"] != keys.get(name)}
        for record in others.values():
            refuse_strangers(self.path, record.get("files", {}))
        for name, record in others.items():
            self._forget(name, _CHANGED if name in keys else "no step of this run, removed", record.get("outputs", []))

    def clear(self) -> None:
        """Removes everything that steps have made here, and the record of them."""
        self.settle({})
        self.remove([_INPUTS])

    def do(self, name: str, key: str, outputs: Sequence[str], work: Callable[[], None]) -> bool:
        """Does a step unless it is finished with the same key.

        Args:
            name: Name of the step, for the log and `seconds`.
            key: The step's key, from `key_of`.
            outputs: Files and folders below the run folder that the step makes. They are removed if the key changes.
            work: Function that makes them. What an interrupted try with the same key has left is still there when it is
                called.

        Returns:
            Whether the step was done now.
        """
        record = self._steps.get(name)
        if record is not None and record["key"] != key:
            self._forget(name, _CHANGED, outputs)
        elif record is not None:
            changed = find_changed(self.path, outputs, record.get("files", {}))
            if record["seconds"] is not None and not changed:
                _log.info("%s: finished before, skipped", name)
                return False
            if record["seconds"] is not None and "files" in record:
                refuse_strangers(self.path, {output: record["files"].get(output, {}) for output in changed})
                _log.warning("%s: done again, since %s", name, "; ".join(changed.values()))
                self._write(name, {**record, "seconds": None})
                self.remove(list(changed))
            else:
                _log.info("%s: begun before, going on", name)
        record = {"key": key, "seconds": None, "outputs": list(outputs)}
        self._write(name, record)
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
        files = record_outputs(self.path, outputs)
        self._write(name, {**record, "seconds": round(seconds, 3), "files": files})
        _log.info("%s: %.1f s", name, seconds)
        return True

    def remove(self, outputs: Sequence[str]) -> None:
        """Deletes files and folders below the run folder, if they are there, and folders that are empty then.

        Raises:
            StoreError: A path leads out of the run folder through a link; nothing is deleted through links. Or as
                `place`.
        """
        self._check()
        remove_inside(self.path, outputs)
        for parent in {(self.path / output).parent for output in outputs} - {self.path}:
            if parent.is_dir() and not parent.is_symlink() and not any(parent.iterdir()):
                parent.rmdir()

    def _forget(self, name: str, why: str, outputs: Sequence[str]) -> None:
        """Removes what a step has made, and then its record."""
        _log.warning("%s: %s", name, why)
        # No longer finished: a kill may leave half of its files.
        self._write(name, {**self._steps[name], "seconds": None})
        self.remove(outputs)
        del self._steps[name]
        write_json(self.place(_STEPS), self._steps)

    def _write(self, name: str, step: dict) -> None:
        self._steps[name] = step
        write_json(self.place(_STEPS), self._steps)


def _read_steps(path: Path) -> dict[str, dict[str, Any]]:
    way_out = f"Delete {path}: what is whole is then found again, the other steps are done again."
    try:
        steps = read_object(path, error=StoreError, way_out=way_out)
    except FileNotFoundError:
        return {}
    try:
        for name in steps:
            record = take(steps, name, dict, place=str(path))
            place = f"`{name}` in {path}"
            take(record, "key", str, place=place)
            take(record, "seconds", (float, type(None)), place=place)
            outputs = take({"outputs": [], **record}, "outputs", list, place=place)
            if not all(isinstance(output, str) for output in outputs):
                raise ValueError(f"`outputs` of {place} must be a list of texts")  # noqa: TRY301
            files = take({"files": {}, **record}, "files", dict, place=place)
            for output in files:
                for file in take(files, output, dict, place=place):
                    take(files[output], file, str, place=place)
    except ValueError as error:
        raise StoreError(f"{error}. {way_out}") from None
    return steps

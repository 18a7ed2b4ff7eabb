"""The folder of a tuning: what it is of, its last checkpoint, and, once it has ended, the tuned model.

    tuning.json            model, texts, settings; and, when the tuning has ended, its history
    checkpoints/step-N/    `arrays` (orbax: parameters, moments, the best parameters so far) and `history.json`
    stack.json, parts-…/   the tuned model (`Model.save`), which `load_model` opens

Every file and folder is written whole or not at all, and a checkpoint is removed only when the next one is complete: a
tuning that was killed at any moment goes on from its last checkpoint, and ends with the same parameters.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jaxtyping import PyTree
from orbax.checkpoint import v1 as ocp

from lca_jax.errors import ModelError, SettingsError
from lca_jax.machine.devices import default_device
from lca_jax.machine.files import real_path, refuse_links, remove_inside, write_text_whole, write_whole
from lca_jax.machine.folders import open_folder
from lca_jax.machine.json_text import as_json_has, read_object
from lca_jax.store.lock import Lock, hold
from lca_jax.training.history import History

_DESCRIPTION, _CHECKPOINTS, _ARRAYS, _HISTORY = "tuning.json", "checkpoints", "arrays", "history.json"
_LOCK = ".lock-"
_FORMAT = 1
_WAY_OUT = "Delete the folder, or name another one."


class Checkpoint(NamedTuple):
    """A tuning after some steps."""

    arrays: PyTree
    """Parameters and moments, and the best parameters so far."""
    history: History
    """What was measured until then."""


@contextmanager
def tuning_folder(folder: str | Path, identity: Mapping[str, Any]) -> Iterator["TuningFolder"]:
    """Opens the folder of a tuning, or makes it, and keeps other processes from writing it while the block runs.

    Args:
        folder: The folder.
        identity: Everything that decides the outcome, as JSON holds it.

    Raises:
        StoreError: Another process holds it.
        SettingsError: It holds something else; the message names what differs.
    """
    path = real_path(folder)
    if path.exists() and not path.is_dir():
        raise SettingsError(f"{path} is a file. Name a folder.")
    lock = hold(open_folder(path), _LOCK, rank=0)
    try:
        yield TuningFolder(path, identity, lock)
    finally:
        lock.release()


class TuningFolder:
    """The folder of one tuning, while this process holds it (`tuning_folder`)."""

    def __init__(self, folder: Path, identity: Mapping[str, Any], lock: Lock) -> None:
        self.folder = folder
        self.check = lock.check
        """The check that the folder may still be written, as `Lock.check`; every write begins with it."""
        self.identity = as_json_has({"format": _FORMAT, **identity})
        self.ended: History | None = None
        """The history of the tuning, if it has ended."""
        try:
            content = read_object(self.folder / _DESCRIPTION, error=ModelError, way_out=_WAY_OUT)
        except FileNotFoundError:
            self._refuse_foreign()
            self._describe(None)
            return
        history = content.pop("history", None)
        if differing := sorted(
            name for name in {*content, *self.identity} if content.get(name) != self.identity.get(name)
        ):
            raise SettingsError(
                f"{self.folder} holds the tuning of something else: its {', '.join(differing)} differ from what is "
                f"given. {_WAY_OUT}"
            )
        self.ended = None if history is None else History.from_json(history)

    def last_checkpoint(self, like: PyTree) -> Checkpoint | None:
        """Returns the last complete checkpoint; None where there is none.

        Args:
            like: Arrays of the shapes and types that it has.

        Raises:
            ModelError: It is damaged.
        """
        steps = self._steps()
        if not steps:
            return None
        path = self.folder / _CHECKPOINTS / _name(max(steps))
        shapes = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=default_device()), _numbered(like)
        )
        try:
            history = History.from_json(read_object(path / _HISTORY, error=ModelError, way_out=_WAY_OUT))
            leaves = ocp.load(str(path / _ARRAYS), shapes)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{path} cannot be read as a checkpoint: {error!r}. {_WAY_OUT}") from None
        arrays = jax.tree.unflatten(jax.tree.structure(like), [leaves[name] for name in _numbered(like)])
        return Checkpoint(arrays, history)

    def keep(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint, then removes the older ones; one of the same step stays as it is."""
        name, older = _name(checkpoint.history.step), self._steps()
        if checkpoint.history.step in older:
            return
        self.check()
        refuse_links(self.folder, [_CHECKPOINTS])
        with write_whole([self.folder / _CHECKPOINTS / name]) as [unfinished]:
            unfinished.mkdir()
            ocp.save(str(unfinished / _ARRAYS), _numbered(checkpoint.arrays))
            text = json.dumps(checkpoint.history.as_json())
            (unfinished / _HISTORY).write_text(text, encoding="utf-8")
        remove_inside(self.folder, [f"{_CHECKPOINTS}/{_name(step)}" for step in older])

    def end(self, history: History) -> None:
        """Marks the tuning as ended, once its model is saved, and removes the checkpoints."""
        self._describe(history)
        self.ended = history
        remove_inside(self.folder, [_CHECKPOINTS])

    def _describe(self, history: History | None) -> None:
        self.check()
        content = self.identity | ({} if history is None else {"history": history.as_json()})
        refuse_links(self.folder, [_DESCRIPTION])
        write_text_whole(self.folder / _DESCRIPTION, json.dumps(content, indent=1) + "\n")

    def _refuse_foreign(self) -> None:
        """Checks that a folder without a description holds nothing but what a kill left of one."""
        left = (f".{_DESCRIPTION}.unfinished", _LOCK)
        if any(not path.name.startswith(left) for path in self.folder.iterdir()):
            raise SettingsError(f"{self.folder} holds something else than a tuning. Name another folder.")

    def _steps(self) -> list[int]:
        folder = self.folder / _CHECKPOINTS
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return [int(found[1]) for name in names if (found := re.fullmatch(r"step-(\d+)", name))]


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _numbered(arrays: PyTree) -> dict[str, jax.Array]:
    """Returns the leaves of a tree by their numbers: optax's records are no names that a file should depend on."""
    return {f"{number:05d}": leaf for number, leaf in enumerate(jax.tree.leaves(arrays))}

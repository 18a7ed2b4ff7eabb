"""What was measured of the model of a run with its neurons removed or shifted, as it is kept in the run folder."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal

from lca_jax.errors import StoreError
from lca_jax.experiment.folder import write_json
from lca_jax.machine.json_text import read_object, take
from lca_jax.text.task_names import name_file_of

Kind = Literal["model_ablation", "property_control"]
KINDS: Mapping[Kind, str] = {"model_ablation": "lca ablate-model", "property_control": "lca control"}
"""What is kept of a task, by the folder and the key of `results.json`, and the command that measures it."""


def file_of_measured(kind: Kind, task: str) -> str:
    """Returns where it is kept of a task, below the run folder."""
    return f"{kind}/{name_file_of(task)}.json"


def keep_measured(folder: Path, kind: Kind, task: str, entry: dict[str, Any]) -> None:
    """Writes what was measured, with the key of the ranking that the folder has now."""
    steps = read_object(folder / "steps.json", error=StoreError, way_out="Start `lca run` again.")
    write_json(folder / file_of_measured(kind, task), {"key": steps["rank"]["key"], "entry": entry})


def kept_measured(folder: Path, tasks: Sequence[str], *, rank_key: str) -> dict[str, dict[str, Any]]:
    """Returns of each task the entries that were measured with the ranking of this key, by their kind.

    Raises:
        StoreError: A file is damaged.
    """
    found: dict[str, dict[str, Any]] = {}
    for task, (kind, command) in product(tasks, KINDS.items()):
        path = folder / file_of_measured(kind, task)
        if not path.is_file():
            continue
        way_out = f"Delete {path} and start `{command}` again."
        kept = read_object(path, error=StoreError, way_out=way_out)
        try:
            if take(kept, "key", str, place=str(path)) == rank_key:
                found.setdefault(task, {})[kind] = take(kept, "entry", dict, place=str(path))
        except ValueError as error:
            raise StoreError(f"{error}. {way_out}") from None
    return found

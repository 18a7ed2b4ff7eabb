"""What was measured of the model of a run without its neurons, as it is kept in the run folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lca_jax.errors import StoreError
from lca_jax.experiment.folder import write_json
from lca_jax.machine.json_text import read_object, take
from lca_jax.text.task_names import name_file_of


def model_ablation_file(task: str) -> str:
    """Returns where it is kept of a task, below the run folder."""
    return f"model_ablation/{name_file_of(task)}.json"


def keep_model_ablation(folder: Path, task: str, entry: dict[str, Any]) -> None:
    """Writes what was measured, with the key of the ranking that the folder has now."""
    steps = read_object(folder / "steps.json", error=StoreError, way_out="Start `lca run` again.")
    write_json(folder / model_ablation_file(task), {"key": steps["rank"]["key"], "entry": entry})


def kept_model_ablations(folder: Path, tasks: Sequence[str], *, rank_key: str) -> dict[str, dict[str, Any]]:
    """Returns the entry `model_ablation` of each task that was measured with the ranking of this key.

    Raises:
        StoreError: A file is damaged.
    """
    found = {}
    for task in tasks:
        path = folder / model_ablation_file(task)
        if not path.is_file():
            continue
        way_out = f"Delete {path} and start `lca ablate-model` again."
        kept = read_object(path, error=StoreError, way_out=way_out)
        try:
            if take(kept, "key", str, place=str(path)) == rank_key:
                found[task] = {"model_ablation": take(kept, "entry", dict, place=str(path))}
        except ValueError as error:
            raise StoreError(f"{error}. {way_out}") from None
    return found

"""What was measured of the model of a run with its neurons removed or shifted, as it is kept in the run folder.

A task has one file, with the measurements that were asked for, the newest last. Each has the key of the ranking that it
was made with. The same request replaces itself; another one, such as another text, stands beside it. Of a kind without
requests the newest alone is kept. A file of an older version holds one measurement, `key` and `entry`.
"""

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
_ALL: Mapping[Kind, str] = {"model_ablation": "model_ablations"}
"""Under which key `results.json` has all measurements of a kind; the newest stands under the kind itself."""


def file_of_measured(kind: Kind, task: str) -> str:
    """Returns where it is kept of a task, below the run folder."""
    return f"{kind}/{name_file_of(task)}.json"


def keep_measured(
    folder: Path, kind: Kind, task: str, entry: dict[str, Any], *, request: Mapping[str, Any] | None
) -> None:
    """Adds what was measured, with the key of the ranking that the folder has now.

    Args:
        folder: The run folder.
        kind: What was measured.
        task: Whose neurons were removed or shifted.
        entry: What was found.
        request: What was asked for, as JSON has it; None replaces whatever there is.

    Raises:
        StoreError: A file is damaged.
    """
    steps = read_object(folder / "steps.json", error=StoreError, way_out="Start `lca run` again.")
    made: dict[str, Any] = {"request": request, "key": steps["rank"]["key"], "entry": entry}
    others = [] if request is None else _read(folder, kind, task)
    kept = [one for one in others if (one.get("request"), one["key"]) != (made["request"], made["key"])]
    write_json(folder / file_of_measured(kind, task), {"measured": [*kept, made]})


def kept_measured(folder: Path, tasks: Sequence[str], *, rank_key: str) -> dict[str, dict[str, Any]]:
    """Returns of each task the entries that were measured with the ranking of this key, by their kind.

    Under the kind stands the newest; where requests are told apart, all of them are a list under the plural.

    Raises:
        StoreError: A file is damaged.
    """
    found: dict[str, dict[str, Any]] = {}
    for task, kind in product(tasks, KINDS):
        entries = [one["entry"] for one in _read(folder, kind, task) if one["key"] == rank_key]
        if entries:
            found.setdefault(task, {})[kind] = entries[-1]
            if kind in _ALL:
                found[task][_ALL[kind]] = entries
    return found


def _read(folder: Path, kind: Kind, task: str) -> list[dict[str, Any]]:
    """Returns the measurements of a task, the oldest first; none where nothing was measured."""
    path = folder / file_of_measured(kind, task)
    if not path.is_file():
        return []
    way_out = f"Delete {path} and start `{KINDS[kind]}` again."
    kept = read_object(path, error=StoreError, way_out=way_out)
    try:
        measured = take(kept, "measured", list, place=str(path)) if "measured" in kept else [kept]
        for one in measured:
            if not isinstance(one, dict):
                raise TypeError(f"{path} has a measurement that is no table")  # noqa: TRY301 - one message for all
            take(one, "key", str, place=str(path))
            take(one, "entry", dict, place=str(path))
    except (TypeError, ValueError) as error:
        raise StoreError(f"{error}. {way_out}") from None
    return measured

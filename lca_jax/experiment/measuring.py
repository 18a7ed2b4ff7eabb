"""What is measured of the running model of a run: its rankings are opened first, and results and page made anew after.

Such a measurement is no step of `lca run`: it needs the model with its head, and often another text. What it found is
kept with the key of the ranking (`ablated`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lca_jax.errors import SettingsError
from lca_jax.experiment.ablated import Kind, keep_measured
from lca_jax.experiment.config import Experiment, read_experiment
from lca_jax.experiment.holding import held_folder
from lca_jax.experiment.rankings import Rankings, load_rankings
from lca_jax.experiment.run import run
from lca_jax.machine.files import real_path


def open_rankings(folder: Path, task: str, *, progress: bool) -> tuple[Experiment, Rankings]:
    """Returns the settings and the rankings of a run; missing steps up to the ranking are done first.

    Raises:
        SettingsError: The run has no such task.
        LcaError: As `run`.
    """
    experiment = read_experiment(real_path(folder))
    run(experiment, until="rank", progress=progress)
    rankings = load_rankings(experiment)
    if task not in rankings.probes.tasks:
        raise SettingsError(f"{folder} has no task {task!r}. It has: {', '.join(rankings.probes.tasks)}.")
    return experiment, rankings


def show_measured(
    experiment: Experiment,
    kind: Kind,
    task: str,
    entry: dict[str, Any],
    *,
    request: Mapping[str, Any] | None = None,
    progress: bool,
) -> dict[str, Any]:
    """Keeps what was measured of a task, makes results and page anew, and returns the results.

    With a request it stands beside measurements of other ones; without, it replaces what there is.
    """
    with held_folder(experiment.out):
        keep_measured(experiment.out, kind, task, entry, request=request)
    return run(experiment, progress=progress)

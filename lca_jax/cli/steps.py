"""`lca extract`, `probe`, `rank`, `ablate`, `report`: the steps of a run, one by one, in its run folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from lca_jax.cli.run import run_and_report
from lca_jax.experiment.config import Step, read_experiment

RunFolder = Annotated[Path, tyro.conf.arg(name="run")]


def extract(run_folder: RunFolder, *, statistics: bool = False, quiet: bool = False, debug: bool = False) -> None:
    """Computes the activations, in a run folder made by `lca run`.

    Args:
        run_folder: The run folder.
        statistics: Gather means, variances, covariances, classes and quantiles too; for stores that exist already, by
            reading them.
        quiet: Show no progress.
        debug: Show tracebacks.
    """
    del debug
    settings = read_experiment(run_folder)
    run_and_report(replace(settings, statistics=statistics or settings.statistics), until="extract", quiet=quiet)


def _step(until: Step, does: str) -> Callable[..., None]:
    """Makes the command of one step in a run folder.

    Args:
        until: The step.
        does: What it does, as a sentence: the first line of the command's help.
    """

    def command(run_folder: RunFolder, *, quiet: bool = False, debug: bool = False) -> None:
        del debug
        run_and_report(read_experiment(run_folder), until=until, quiet=quiet)

    command.__doc__ = f"""{does}

    In a run folder made by `lca run`; missing steps before it are done first.

    Args:
        run_folder: The run folder.
        quiet: Show no progress.
        debug: Show tracebacks.
    """
    return command


probe = _step("probe", "Fits the probes and chooses their penalties.")
rank = _step("rank", "Writes the rankings.")
ablate = _step("ablate", "Measures keep curves and minimal sets.")
report = _step("report", "Writes results.json and the page.")

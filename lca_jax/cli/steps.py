"""`lca extract`, `probe`, `rank`, `ablate`, `report`: the steps of a run, one by one, in its run folder."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from lca_jax.cli.run import run_and_report
from lca_jax.experiment.config import read_experiment

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


def probe(run_folder: RunFolder, *, quiet: bool = False, debug: bool = False) -> None:
    """Fits the probes and chooses their penalties.

    In a run folder made by `lca run`; missing steps before it are done first.

    Args:
        run_folder: The run folder.
        quiet: Show no progress.
        debug: Show tracebacks.
    """
    del debug
    run_and_report(read_experiment(run_folder), until="probe", quiet=quiet)


def rank(run_folder: RunFolder, *, quiet: bool = False, debug: bool = False) -> None:
    """Writes the rankings.

    In a run folder made by `lca run`; missing steps before it are done first.

    Args:
        run_folder: The run folder.
        quiet: Show no progress.
        debug: Show tracebacks.
    """
    del debug
    run_and_report(read_experiment(run_folder), until="rank", quiet=quiet)


def ablate(run_folder: RunFolder, *, quiet: bool = False, debug: bool = False) -> None:
    """Measures keep curves and minimal sets.

    In a run folder made by `lca run`; missing steps before it are done first.

    Args:
        run_folder: The run folder.
        quiet: Show no progress.
        debug: Show tracebacks.
    """
    del debug
    run_and_report(read_experiment(run_folder), until="ablate", quiet=quiet)


def report(run_folder: RunFolder, *, quiet: bool = False, debug: bool = False) -> None:
    """Writes results.json and the page.

    In a run folder made by `lca run`; missing steps before it are done first.

    Args:
        run_folder: The run folder.
        quiet: Show no progress.
        debug: Show tracebacks.
    """
    del debug
    run_and_report(read_experiment(run_folder), until="report", quiet=quiet)

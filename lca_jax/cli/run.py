"""`lca run`: a whole experiment; and what the other commands that work in a run folder share with it."""

from pathlib import Path
from typing import Annotated

import tyro

from lca_jax.cli.compiling import keep_compiled_programs
from lca_jax.cli.idle import refuse_idle_settings
from lca_jax.cli.output import page_line, say, shows_bars
from lca_jax.experiment.config import Experiment, Step
from lca_jax.machine.profiling import profiling


def run_experiment(
    experiment: Annotated[Experiment, tyro.conf.arg(name="")],
    *,
    until: Step = "report",
    overwrite: bool = False,
    profile: Path | None = None,
    quiet: bool = False,
    debug: bool = False,
) -> None:
    """Does everything: activations, probes, rankings, curves, page.

    Started again, it skips finished steps, and does those again whose input or settings have changed.

    Args:
        experiment: The run.
        until: The last step to do.
        overwrite: Remove what the run folder has of another model or other texts, instead of refusing it.
        profile: Folder of a trace of the devices' work, for TensorBoard or Perfetto.
        quiet: Show no progress.
        debug: Show tracebacks.
    """
    del debug
    refuse_idle_settings(experiment)
    with profiling(profile):
        run_and_report(experiment, until=until, overwrite=overwrite, quiet=quiet)


def run_and_report(experiment: Experiment, *, until: Step, quiet: bool, overwrite: bool = False) -> None:
    """Does an experiment up to a step and, after the last one, says where the page is and what was found."""
    from lca_jax.experiment.run import run

    keep_compiled_programs()
    results = run(experiment, until=until, overwrite=overwrite, progress=shows_bars(quiet=quiet))
    if results:
        say(*_findings(results, experiment.out))


def _findings(results: dict, folder: Path) -> list[str]:
    from lca_jax.report.findings import CORRELATION, findings

    lines = [page_line(folder)]
    for task in results["tasks"]:
        said = findings(results, task).lines
        lines += [f"{task}:", *(f"  {number}. {text}" for number, text in enumerate(said, start=1))]
    return [*lines, CORRELATION]

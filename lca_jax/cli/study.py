"""`lca study`: many tasks, by one process or by all processes of a job."""

from pathlib import Path
from typing import Annotated

import tyro

from lca_jax.cli.compiling import keep_compiled_programs
from lca_jax.cli.idle import refuse_idle, refuse_idle_settings
from lca_jax.cli.output import say, shows_bars
from lca_jax.experiment.config import Study
from lca_jax.machine.profiling import profiling
from lca_jax.machine.urls import name_place


def run_study(
    settings: Annotated[Study, tyro.conf.arg(name="")],
    *,
    join: bool = False,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    join_timeout: float = 300.0,
    profile: Path | None = None,
    quiet: bool = False,
    debug: bool = False,
) -> None:
    """Does the probes and rankings of many tasks, in many processes.

    These are the processes of a TPU pod or a GPU cluster (`--join`); one process alone does it too.

    `lca study FILE.toml` asks questions of many models and corpora instead: `lca study FILE.toml --help`.

    Args:
        settings: The study.
        join: Make one runtime of the processes of the job. Start the same command in each of them.
        coordinator: host:port of the first process, where neither a TPU pod nor Slurm tells it.
        processes: Number of processes, in the same case.
        process: Number of this process, from 0, in the same case.
        join_timeout: Seconds within which all processes must have come.
        profile: Folder of a trace of the devices' work, for TensorBoard or Perfetto; of a job one folder a process.
        quiet: Show no progress.
        debug: Show tracebacks.
    """
    del debug
    refuse_idle_settings(settings)
    if not join:
        of_a_job = {"coordinator": coordinator, "processes": processes, "process": process}
        refuse_idle({**of_a_job, "join_timeout": join_timeout}, run_study, "only in a job, with `--join`")
    import jax

    from lca_jax.experiment.study import study
    from lca_jax.machine.job import ending_together, join_processes

    keep_compiled_programs()
    if join:
        join_processes(coordinator, processes, process, timeout_s=join_timeout)
    with ending_together(), profiling(profile):
        probes = study(settings, progress=shows_bars(quiet=quiet))
    if jax.process_index() == 0:
        lines = [
            f"{probe.task}{'' if probe.subset is None else f' {probe.subset}'}: l1={probe.l1:g}, l2={probe.l2:g}, "
            f"gap {probe.duality_gap / probe.null_objective:.1e} of the objective at zero weights, "
            f"{probe.iterations} iterations"
            for probe in probes
            if not (probe.control or probe.replicate)
        ]
        say(f"{name_place(settings.out)}: probes and rankings of {len(probes)} problems", *lines)

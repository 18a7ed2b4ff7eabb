"""`lca study FILE.toml`: a survey of many models and corpora, in runs that are kept, and the page that answers."""

from pathlib import Path
from typing import Annotated

import tyro

from lca_jax.cli.compiling import keep_compiled_programs
from lca_jax.cli.idle import refuse_idle
from lca_jax.cli.output import page_line, say, shows_bars
from lca_jax.experiment.survey_settings import read_survey


def run_survey(
    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE.toml")],
    *,
    out: Path | None = None,
    plan: bool = False,
    overwrite: bool = False,
    join: bool = False,
    quiet: bool = False,
    debug: bool = False,
) -> None:
    """Asks questions of many models and corpora: whether languages share neurons, and where models differ.

    The file names models, corpora, tasks and questions; every model is run on every corpus. Started again, it makes
    only what has changed or is new: a language that is added repeats no other.

    Args:
        file: The survey, in TOML: a path or a URL.
        out: The folder of the survey, in place of that of the file.
        plan: Say what will be made and what is there, and make nothing.
        overwrite: Let runs remove what their folders have of another model or other texts.
        join: Share the runs out with other processes. Start the same command in each of them, on machines that share
            the folder and with devices of their own; they may come and go.
        quiet: Show no progress.
        debug: Show tracebacks.
    """
    del debug
    if plan:
        refuse_idle({"overwrite": overwrite, "join": join}, run_survey, "`--plan` makes nothing")
    settings = read_survey(file, out=out)
    if plan:
        from lca_jax.experiment.holding import place_on_disk
        from lca_jax.experiment.survey_cells import Cells
        from lca_jax.experiment.survey_runs import Runs

        planned = Runs(Cells(settings).experiments, place_on_disk(settings.out)).plan()
        say(
            f"{settings.out}: {len(planned)} runs, {sum(one.finished for one in planned)} of them finished; then "
            f"{' and '.join(settings.questions)} for {', '.join(settings.tasks)}",
            *(
                f"{one.model} on {one.corpus}: {'finished' if one.finished else 'to be made'}"
                + "".join(f", {part} {count:,} sentences" for part, count in one.sentences.items())
                for one in planned
            ),
        )
        return
    from lca_jax.experiment.survey import survey
    from lca_jax.report.survey import survey_lines

    keep_compiled_programs()
    results = survey(settings, overwrite=overwrite, join=join, progress=shows_bars(quiet=quiet))
    say(page_line(settings.out), *survey_lines(results))

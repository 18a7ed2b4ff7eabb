"""`lca control`: does what the model says follow the neurons that its probes found?"""

from pathlib import Path
from typing import Annotated

import tyro

from lca_jax.cli.compiling import keep_compiled_programs
from lca_jax.cli.output import page_line, say, shows_bars
from lca_jax.experiment.control_settings import Control


def control(
    settings: Annotated[Control, tyro.conf.arg(name="")],
    *,
    run: Annotated[Path, tyro.conf.arg(metavar="RUN")],
    quiet: bool = False,
    debug: bool = False,
) -> None:
    """Shifts neurons of a ranking, so that a property changes.

    The first neurons of a task are moved from one class towards another while the model translates or predicts words.
    Counted is what reaches the target, what is erased, and what else changed, beside random neurons of the same layers.
    The result comes into results.json and onto the page of the run.

    Args:
        settings: The property, and how far neurons are shifted.
        run: The run folder.
        quiet: Show no progress.
        debug: Show tracebacks.
    """
    del debug
    from lca_jax.experiment.property_control import control as measure
    from lca_jax.report.control_chart import control_lines, control_sentence

    keep_compiled_programs()
    results = measure(run, settings, progress=shows_bars(quiet=quiet))
    entry = results["tasks"][settings.task]
    say(
        page_line(run),
        *[line for line in (control_sentence(entry), *control_lines(entry)) if line],
    )

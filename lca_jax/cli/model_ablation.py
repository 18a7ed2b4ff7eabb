"""`lca ablate-model`: does the model of a run use the neurons that its probes found?"""

from pathlib import Path
from typing import Annotated

import tyro

from lca_jax.cli.compiling import keep_compiled_programs
from lca_jax.cli.idle import refuse_idle
from lca_jax.cli.output import page_line, say, shows_bars
from lca_jax.experiment.ablation_settings import ModelAblation


def ablate_model(
    settings: Annotated[ModelAblation, tyro.conf.arg(name="")],
    *,
    run: Annotated[Path, tyro.conf.arg(metavar="RUN")],
    quiet: bool = False,
    debug: bool = False,
) -> None:
    """Removes the neurons of a ranking from the running model.

    Measures perplexity, minimal pairs, translations, the classifier of a tuned model or a probe of the last layer, with
    top, random and bottom neurons set to zero or their means. The curve and its verdict come into results.json and onto
    the page of the run, beside those of other requests; the same request replaces its own.

    Args:
        settings: What is removed, and what is measured.
        run: The run folder.
        quiet: Show no progress.
        debug: Show tracebacks.
    """
    del debug
    _refuse_idle(settings)
    from lca_jax.experiment.model_ablation import ablate_model as measure
    from lca_jax.report.model_use import claim_lines, use_sentence

    keep_compiled_programs()
    results = measure(run, settings, progress=shows_bars(quiet=quiet))
    found = results["tasks"][settings.task]["model_ablation"]
    say(
        page_line(run),
        *[line for line in (use_sentence(found), *claim_lines(found)) if line],
    )


def _refuse_idle(settings: ModelAblation) -> None:
    """Refuses options that do not belong to what is measured."""
    if settings.translations is None:
        refuse_idle({"metric": settings.metric}, ModelAblation, "only with `--translations`")
    if settings.classified is None:
        refuse_idle({"label_column": settings.label_column}, ModelAblation, "only with `--classified`")
    if settings.text is None and settings.classified is None:
        refuse_idle({"texts": settings.texts}, ModelAblation, "only with `--text` or `--classified`", prefix="texts.")
    if not {"random", "matched"} & set(settings.sets):
        refuse_idle({"random": settings.random}, ModelAblation, "only where `--sets` has `random` or `matched`")

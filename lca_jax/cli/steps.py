"""`lca extract`, `probe`, `rank`, `ablate`, `report`: the steps of a run, one by one, in its run folder.

`lca extract` also works without a run: a model and a text make a store.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from lca_jax.axes import Site
from lca_jax.cli.compiling import keep_compiled_programs
from lca_jax.cli.idle import refuse_idle
from lca_jax.cli.output import say, shows_bars
from lca_jax.cli.run import run_and_report
from lca_jax.cli.show import describe_store
from lca_jax.errors import SettingsError
from lca_jax.experiment.config import Step, read_experiment
from lca_jax.experiment.model_settings import ModelSettings
from lca_jax.machine.profiling import profiling
from lca_jax.machine.urls import refuse_web
from lca_jax.models.choices import Precision
from lca_jax.store.recipe import Pool, StoreDtype
from lca_jax.text.options import TextOptions

_AS_WRITTEN = TextOptions()
RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


def extract(
    run_folder: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = None,
    *,
    model: str | None = None,
    text: Path | None = None,
    out: str | None = None,
    sites: Sequence[Site] = ("residual",),
    layers: Sequence[int] | None = None,
    pool: Pool = "last",
    dtype: StoreDtype = "float32",
    model_dtype: Precision = "float32",
    revision: str | None = None,
    split_model: int = 1,
    shard_words: int | None = None,
    longest_window: int | None = None,
    texts: Annotated[TextOptions, tyro.conf.arg(name="")] = _AS_WRITTEN,
    statistics: bool = False,
    profile: Path | None = None,
    quiet: bool = False,
    debug: bool = False,
) -> None:
    """Computes activations: of plain text, or of a run folder made by `lca run`.

    `lca extract --model M --text F --out STORE` needs no labels; `lca extract RUN` does the first step of a run.

    Args:
        run_folder: The run folder.
        model: For a text: a hub name, a local Hugging Face folder, or the URL of one.
        text: For a text: the file or its URL, one sentence a line; or CoNLL-U, CSV, JSON lines, or columns of which
            `--word-column` or `--text-column` is named.
        out: For a text: the folder or URL of the store. A store that was begun there is continued.
        sites: For a text: places in the network that are read.
        layers: For a text: layers, by the model's own numbers; all by default.
        pool: For a text: the pieces that make a word's vector, or `none` for every piece, or `cls` and `sentence-mean`
            for sentences.
        dtype: For a text: the type of the stored numbers.
        model_dtype: For a text: the type of the model's matrices and hidden states while it runs.
        revision: For a text: branch, tag or commit of the model on the hub.
        split_model: For a text: number of devices that share one copy of the weights.
        shard_words: For a text: words of one shard of the store, a multiple of 256 or less than that; 16,384 by
            default, or as few as give shards of 1 GB and every process one.
        longest_window: For a text: pieces of the longest window, 512 by default. Sentences with more are cut into
            windows that overlap; a decoder of 4,096 places takes 4,096.
        texts: For a text: what the file does not say of itself.
        statistics: Gather means, variances, covariances, classes and quantiles too; for stores that exist already, by
            reading them.
        profile: Folder of a trace of the devices' work, for TensorBoard or Perfetto.
        quiet: Show no progress.
        debug: Show tracebacks.
    """
    del debug
    named = {"model": model, "text": text, "out": out}
    of_model: dict[str, Any] = {"revision": revision, "model_dtype": model_dtype, "split_model": split_model}
    reading: dict[str, Any] = {
        "sites": sites,
        "layers": layers,
        "pool": pool,
        "dtype": dtype,
        "shard_words": shard_words,
        "longest_window": longest_window,
    }
    if run_folder is not None:
        idle = {**named, **of_model, **reading, "texts": texts}
        refuse_idle(idle, extract, f"the run folder {run_folder} says this itself")
        settings = read_experiment(run_folder)
        settings = replace(settings, statistics=statistics or settings.statistics)
        with profiling(profile):
            run_and_report(settings, until="extract", quiet=quiet)
        return
    if model is None or text is None or out is None:
        missing = ", ".join(f"--{name}" for name, value in named.items() if value is None)
        raise SettingsError(f"Give a run folder, or a text with `--model`, `--text` and `--out`; missing: {missing}.")
    refuse_web(out)
    reading = {name: value for name, value in reading.items() if value is not None}
    with profiling(profile):
        _extract_text(
            ModelSettings(model=model, **of_model),
            text,
            out,
            texts=texts,
            statistics=statistics,
            quiet=quiet,
            **reading,
        )


def _extract_text(
    model: ModelSettings, text: Path, out: str, *, texts: TextOptions, statistics: bool, quiet: bool, **reading: Any
) -> None:
    from lca_jax.experiment.opening import open_model
    from lca_jax.extraction.extract import extract as extract_store
    from lca_jax.store.statistics import Gathering
    from lca_jax.text.formats import read_corpus

    keep_compiled_programs()
    model.check_model()
    corpus = read_corpus(text, options=texts)
    gathering = Gathering() if statistics else None
    store = extract_store(
        open_model(model), corpus, out, statistics=gathering, progress=shows_bars(quiet=quiet), **reading
    )
    say(f"store {out}: {describe_store(store.manifest, has_statistics=store.has_statistics)}")


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

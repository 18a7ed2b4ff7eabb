"""The `lca` command. Results go to stdout, progress and the log to stderr; exit 0 done, 1 an error to mend, 2 usage."""

import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from lca_jax.activations.store import open_store
from lca_jax.demo import demo_corpus_file, demo_model_folder
from lca_jax.devices import use_compilation_cache
from lca_jax.errors import LcaError, StoreError
from lca_jax.experiment.config import Experiment, read_experiment
from lca_jax.experiment.run import Step, run
from lca_jax.probing.objective import ElasticNet
from lca_jax.report.findings import findings

Whole = Annotated[Experiment, tyro.conf.arg(name="")]
RunFolder = Annotated[Path, tyro.conf.arg(name="run")]


def demo(*, model: str | None = None, out: Path | None = None, quiet: bool = False, debug: bool = False) -> None:
    """A full run on the embedded corpus and a small trained model, and its page.

    Args:
        model: Another BERT folder or hub name than the one of the extra `demo`.
        out: Run folder; a new one among the temporary files by default.
        quiet: No progress.
        debug: Tracebacks.
    """
    del debug
    folder = out or Path(tempfile.mkdtemp(prefix="lca-demo-"))
    experiment = Experiment(
        model=model or str(demo_model_folder()),
        train=demo_corpus_file("train"),
        dev=demo_corpus_file("dev"),
        test=demo_corpus_file("test"),
        out=folder,
        probe=ElasticNet(l1=(3e-4, 1e-3, 3e-3), l2=(1e-3, 1e-2)),
    )
    _report(run(experiment, progress=not quiet), folder)


def run_experiment(experiment: Whole, *, until: Step = "report", quiet: bool = False, debug: bool = False) -> None:
    """Everything: activations, probes, rankings, curves, page. Started again it resumes; changed steps are done anew.

    Args:
        experiment: The run.
        until: The last step to do.
        quiet: No progress.
        debug: Tracebacks.
    """
    del debug
    results = run(experiment, until=until, progress=not quiet)
    if results:
        _report(results, experiment.out)


def _step(until: Step, does: str) -> Callable[..., None]:
    """The command of one step in a run folder that has its `config.json`."""

    def command(run_folder: RunFolder, *, quiet: bool = False, debug: bool = False) -> None:
        del debug
        results = run(replace(read_experiment(run_folder), out=run_folder), until=until, progress=not quiet)
        if results:
            _report(results, run_folder)

    command.__doc__ = f"""{does}, in a run folder made by `lca run`; steps before it that are missing are done too.

    Args:
        run_folder: The run folder.
        quiet: No progress.
        debug: Tracebacks.
    """
    return command


def show(path: Annotated[str, tyro.conf.Positional], *, verify: bool = False, debug: bool = False) -> None:
    """What a run folder or a store holds, in a few lines.

    Args:
        path: A run folder or a store; a store's may be a URL.
        verify: Reads every byte of the stores and compares checksums.
        debug: Tracebacks.
    """
    del debug
    folder = Path(path)
    lines: list[str] = []
    if "://" in path or (folder / "manifest.json").exists():
        stores = [path]
    elif (folder / "config.json").exists():
        lines = _describe_run(folder)
        stores = [str(manifest.parent) for manifest in sorted((folder / "activations").glob("*/manifest.json"))]
    else:
        raise StoreError(f"{path} is neither a run folder (config.json) nor a whole store (manifest.json).")
    for place in stores:
        store = open_store(place)
        if verify:
            store.verify()
        checked = ", every checksum right" if verify else ""
        layers = "; ".join(f"{site} {list(numbers)}" for site, numbers in store.sites.items())
        lines.append(f"store {place.rstrip('/').split('/')[-1]}: {store.word_count:,} words, {layers}{checked}")
    _say(*lines)


def main() -> None:
    """Entry point of `lca`."""
    arguments = sys.argv[1:]
    _log_to_stderr(quiet="--quiet" in arguments)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lca_jax" / "compiled"
    use_compilation_cache(cache)
    try:
        tyro.extras.subcommand_cli_from_dict(
            {
                "demo": demo,
                "run": run_experiment,
                "extract": _step("extract", "Computes the activations"),
                "probe": _step("probe", "Fits and chooses the probes"),
                "rank": _step("rank", "Writes the rankings"),
                "ablate": _step("ablate", "Measures keep curves and minimal sets"),
                "report": _step("report", "Writes results.json and the page"),
                "show": show,
            },
            prog="lca",
            description="Finds the neurons of a transformer that carry a linguistic property.",
            args=arguments,
        )
    except LcaError as error:
        if "--debug" in arguments:
            raise
        sys.stderr.write(f"lca: {error}\n")
        sys.exit(1)


def _report(results: dict, folder: Path) -> None:
    lines = [f"Page: {folder.absolute() / 'report' / 'index.html'}"]
    for task in results["tasks"]:
        lines += [f"{task}:", *(f"  {number}. {text}" for number, text in enumerate(findings(results, task), start=1))]
    _say(*lines)


def _describe_run(path: Path) -> list[str]:
    experiment = read_experiment(path)
    lines = [f"model: {experiment.model}", f"train: {experiment.train}", f"test: {experiment.test}"]
    file = path / "results.json"
    if not file.exists():
        return [*lines, "no results yet: lca run goes on where it stopped"]
    results = json.loads(file.read_text(encoding="utf-8"))
    for task, entry in results["tasks"].items():
        lines.append(
            f"{task}: accuracy {entry['accuracy']['test']:.3f} (majority {entry['majority']:.3f}, "
            f"selectivity {entry['selectivity']:.3f}), "
            f"minimal set {entry['minimal']['neurons']} of {results['model']['neurons']} neurons"
        )
    lines.append(f"seconds: {sum(results['seconds'].values()):.0f}; page: {path / 'report' / 'index.html'}")
    return lines


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")


def _log_to_stderr(*, quiet: bool) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.setLevel(logging.WARNING if quiet else logging.INFO)
    for name in ("lca_jax", "py.warnings"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.propagate = False
    logging.getLogger("lca_jax").setLevel(logging.INFO)
    logging.captureWarnings(True)
    warnings.formatwarning = lambda message, *_, **__: str(message)

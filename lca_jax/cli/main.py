"""The `lca` command. Results go to stdout, progress and the log to stderr; exit 0 done, 1 an error to mend, 2 usage."""

import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import jax
import tyro

from lca_jax.demo import demo_corpus_file, demo_model_folder
from lca_jax.errors import LcaError, SettingsError, StoreError
from lca_jax.exchange.export import write_arrow, write_safetensors
from lca_jax.exchange.neurox.convert import read_neurox, write_neurox
from lca_jax.exchange.neurox.files import READERS
from lca_jax.experiment.config import Experiment, Step, Study, read_experiment
from lca_jax.experiment.run import run
from lca_jax.experiment.study import study
from lca_jax.machine.devices import join_processes, use_compilation_cache
from lca_jax.probing.objective import ElasticNet
from lca_jax.report.findings import findings
from lca_jax.store.recipe import Pool, StoreDtype
from lca_jax.store.store import ActivationStore, open_store

Whole = Annotated[Experiment, tyro.conf.arg(name="")]
_NEUROX = tuple(READERS)
_FILES = (*_NEUROX, ".arrow", ".safetensors")
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


def extract_step(run_folder: RunFolder, *, statistics: bool = False, quiet: bool = False, debug: bool = False) -> None:
    """Computes the activations, in a run folder made by `lca run`.

    Args:
        run_folder: The run folder.
        statistics: Means, variances, covariances, classes and quantiles too; of stores that are there, by reading them.
        quiet: No progress.
        debug: Tracebacks.
    """
    del debug
    settings = read_experiment(run_folder)
    run(replace(settings, statistics=statistics or settings.statistics), until="extract", progress=not quiet)


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
        name = place.rstrip("/").split("/")[-1]
        lines.append(f"store {name}: {_describe_store(store)}{checked}")
    _say(*lines)


def convert(
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")],
    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TARGET")],
    *,
    text: Path | None = None,
    labels: Annotated[Sequence[str], tyro.conf.UseAppendAction] = (),
    layers: int | None = None,
    layer_numbers: tuple[int, ...] | None = None,
    pool: Pool | None = None,
    dtype: StoreDtype | None = None,
    drop_mismatched: bool = False,
    site: str | None = None,
    decompose_layers: bool = False,
    space_mark: str | None = None,
    unlabelled: str | None = None,
    quiet: bool = False,
    debug: bool = False,
) -> None:
    """Makes a store of an activation file of NeuroX, or such a file, an Arrow table or safetensors of a store.

    Nothing is overwritten; a store that was begun goes on. What the target cannot hold is said.

    Args:
        source: NeuroX's NAME.hdf5 or NAME.json (or NAME of NAME-layer0.hdf5, …), or a store.
        target: Folder of a store, or of a store NAME.hdf5, NAME.json, NAME.arrow or NAME.safetensors.
        text: From NeuroX: the words, a sentence a line.
        labels: From NeuroX: TASK=FILE, a sentence of labels a line; FILE alone is the task `label`. May be repeated.
        layers: From NeuroX: how many layers lie side by side in the file's vectors.
        layer_numbers: From NeuroX: the model's own numbers of the layers in the file.
        pool: From NeuroX: how words were pooled, if other than by their last piece.
        dtype: From NeuroX: another type than the file's.
        drop_mismatched: From NeuroX: leaves out sentences that differ in number from text or labels.
        site: To NeuroX: the site, if the store has several.
        decompose_layers: To NeuroX: a file for each layer.
        space_mark: To NeuroX: stands for a space in a word.
        unlabelled: From and to NeuroX: the label that stands for none.
        quiet: No progress.
        debug: Tracebacks.
    """
    del debug
    reading = {
        "text": text,
        "layers": layers,
        "layer_numbers": layer_numbers,
        "dtype": dtype,
        "drop_mismatched": drop_mismatched,
    }
    writing = {"site": site, "decompose_layers": decompose_layers, "space_mark": space_mark}
    ending = Path(target).suffix
    if Path(source).suffix in _NEUROX:
        _refuse_options(writing, "writes files of NeuroX")
        if ending in _FILES:
            raise SettingsError(f"{source} is first converted to a store, a folder, and that to {target}.")
        store = read_neurox(
            source,
            target,
            labels=_label_files(labels),
            pool=pool or "last",
            unlabelled=unlabelled,
            progress=not quiet,
            **reading,
        )
        _say(f"store {target}: {_describe_store(store)}")
        return
    _refuse_options(reading | {"labels": labels, "pool": pool}, "reads files of NeuroX")
    if ending in _NEUROX:
        _say(*map(str, write_neurox(open_store(source), target, unlabelled=unlabelled, progress=not quiet, **writing)))
        return
    _refuse_options(writing | {"unlabelled": unlabelled}, "writes files of NeuroX")
    if ending == ".arrow":
        _say(str(write_arrow(open_store(source), target)))
    elif ending == ".safetensors":
        _say(*map(str, write_safetensors(open_store(source), target)))
    else:
        raise SettingsError(f"Of a store a file is made whose name ends in {', '.join(_FILES)}, got {target}.")


def run_study(
    settings: Annotated[Study, tyro.conf.arg(name="")],
    *,
    join: bool = False,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    quiet: bool = False,
    debug: bool = False,
) -> None:
    """Activations, probes and rankings of many tasks, by one process or by all of a TPU pod or GPU cluster.

    Args:
        settings: The study.
        join: Make the processes of the job one runtime: the same command in each of them.
        coordinator: host:port of the first process, where neither a TPU pod nor Slurm tells.
        processes: How many there are, likewise.
        process: Which one this is, from 0, likewise.
        quiet: No progress.
        debug: Tracebacks.
    """
    del debug
    if join:
        join_processes(coordinator, processes, process)
    probes = study(settings, progress=not quiet)
    if jax.process_index() == 0:
        lines = [
            f"{probe.task}{'' if probe.subset is None else f' {probe.subset}'}: l1={probe.l1:g}, l2={probe.l2:g}, "
            f"gap {probe.duality_gap / probe.null_objective:.1e} of the objective at zero weights, "
            f"{probe.iterations} iterations"
            for probe in probes
            if not (probe.control or probe.replicate)
        ]
        _say(f"{settings.out}: probes and rankings of {len(probes)} problems", *lines)


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
                "extract": extract_step,
                "probe": _step("probe", "Fits and chooses the probes"),
                "rank": _step("rank", "Writes the rankings"),
                "ablate": _step("ablate", "Measures keep curves and minimal sets"),
                "report": _step("report", "Writes results.json and the page"),
                "study": run_study,
                "show": show,
                "convert": convert,
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
        selectivity = entry["selectivity"]
        beside = "" if selectivity is None else f", selectivity {selectivity:.3f}"
        lines.append(
            f"{task}: accuracy {entry['accuracy']['test']:.3f} (majority {entry['majority']:.3f}{beside}), "
            f"minimal set {entry['minimal']['neurons']} of {results['model']['neurons']} neurons"
        )
    lines.append(f"seconds: {sum(results['seconds'].values()):.0f}; page: {path / 'report' / 'index.html'}")
    return lines


def _describe_store(store: ActivationStore) -> str:
    shapes = store.manifest.recipe.sites
    chosen = {site: f" ({shape.width} chosen neurons)" for site, shape in shapes.items() if shape.neurons is not None}
    layers = "; ".join(f"{site} {list(numbers)}{chosen.get(site, '')}" for site, numbers in store.sites.items())
    statistics = ", with statistics" if store.has_statistics else ""
    return f"{store.word_count:,} {store.unit}s, {layers}{statistics}"


def _label_files(labels: Sequence[str]) -> dict[str, str]:
    """The file of every task."""
    pairs = [label.partition("=") for label in labels]
    files = {task if file else "label": file or task for task, _, file in pairs}
    if len(files) < len(pairs):
        raise SettingsError(f"`--labels` must name a different task each time, as TASK=FILE; got {', '.join(labels)}.")
    return files


def _refuse_options(given: Mapping[str, object], purpose: str) -> None:
    """Refuses options that would decide nothing."""
    idle = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if idle:
        raise SettingsError(f"{', '.join(idle)}: only where `lca convert` {purpose}. Leave it out.")


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

"""`lca show`: what a run folder or a store holds. It reads JSON alone, unless checksums are compared."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro

from lca_jax.cli.idle import refuse_idle
from lca_jax.cli.output import say
from lca_jax.errors import StoreError
from lca_jax.experiment.config import read_experiment
from lca_jax.machine.files import real_path
from lca_jax.machine.json_text import read_object
from lca_jax.machine.urls import url_of
from lca_jax.store.manifest import Manifest
from lca_jax.store.statistics import STATISTICS


def show(
    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    *,
    verify: bool = False,
    debug: bool = False,
) -> None:
    """Says in a few lines what a run folder, a survey or a store holds.

    Args:
        path: A run folder, the folder of a survey, or a store; a store may be a URL.
        verify: Read every byte of the stores and compare checksums.
        debug: Show tracebacks.
    """
    del debug
    url = url_of(path)
    folder = Path(path) if url else real_path(path, error=StoreError)
    lines: list[str] = []
    if url or (folder / "manifest.json").exists():
        stores = [url or str(folder)]
    elif (folder / "survey.json").exists():
        lines, stores = _describe_survey(folder), []
    elif (folder / "config.json").exists():
        lines = _describe_run(folder)
        stores = [str(manifest.parent) for manifest in sorted((folder / "activations").glob("*/manifest.json"))]
    else:
        raise StoreError(
            f"{path} is no run folder (config.json), no survey (survey.json) and no whole store (manifest.json)"
            f"{'' if folder.exists() else ', and there is nothing of this name'}. Give a folder that `lca` wrote."
        )
    if not stores:
        refuse_idle({"verify": verify}, show, f"{path} has no whole store of its own whose bytes could be read")
    for place in stores:
        name = place.rstrip("/").split("/")[-1]
        described = _describe_opened(place, verify=verify) if verify or url else _describe_local(Path(place))
        lines.append(f"store {name}: {described}")
    say(*lines)


def describe_store(manifest: Manifest, *, has_statistics: bool) -> str:
    """Describes a store in one line: units, layers, chosen neurons, statistics."""
    recipe = manifest.recipe
    sites = []
    for site, shape in recipe.sites.items():
        chosen = "" if shape.neurons is None else f" ({shape.width} chosen neurons)"
        sites.append(f"{site} {list(shape.layers)}{chosen}")
    statistics = ", with statistics" if has_statistics else ""
    return f"{recipe.words:,} {recipe.unit}s, {'; '.join(sites)}{statistics}"


def _describe_local(folder: Path) -> str:
    """Describes a store on this machine by its manifest and the sizes of its files."""
    manifest = Manifest.from_text((folder / "manifest.json").read_bytes(), place=str(folder))
    sizes = {file: file.stat().st_size if file.is_file() else -1 for file in (folder / name for name in manifest.files)}
    if any(sizes[folder / name] < record.size_bytes for name, record in manifest.files.items()):
        return _describe_opened(str(folder), verify=False)  # which raises, and names every such file
    return describe_store(manifest, has_statistics=(folder / STATISTICS).is_file())


def _describe_opened(place: str, *, verify: bool) -> str:
    from lca_jax.store.store import open_store

    store = open_store(place)
    if verify:
        store.verify()
    described = describe_store(store.manifest, has_statistics=store.has_statistics)
    return f"{described}, every checksum right" if verify else described


def _describe_run(path: Path) -> list[str]:
    experiment = read_experiment(path)
    lines = [f"model: {experiment.model}", f"train: {experiment.train}", f"test: {experiment.test}"]
    file = path / "results.json"
    if not file.exists():
        return [*lines, "no results yet: lca run goes on where it stopped"]
    way_out = f"Make it anew with `lca report --run {path}`."
    results = read_object(file, error=StoreError, way_out=way_out)
    if not _is_of_last_run(results, path):
        return [*lines, "results.json is not of the last run here, so it is not shown: lca run makes it anew"]
    try:
        lines += [_describe_task(task, entry, results["model"]["neurons"]) for task, entry in results["tasks"].items()]
        seconds = f"{sum(results['seconds'].values()):.0f}"
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise StoreError(f"{file} breaks its format ({error!r}). {way_out}") from None
    return [*lines, f"seconds: {seconds}; page: {path / 'report' / 'index.html'}"]


def _describe_survey(path: Path) -> list[str]:
    from lca_jax.report.survey import survey_lines

    file = path / "results.json"
    if not file.exists():
        return ["no results yet: the same survey goes on where it stopped"]
    way_out = f"Delete {file} and start the same survey again."
    results = read_object(file, error=StoreError, way_out=way_out)
    try:
        runs = [f"run: {path / cell['folder']}" for cells in results["cells"].values() for cell in cells.values()]
        return [*runs, *survey_lines(results), f"page: {path / 'report' / 'index.html'}"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"{file} breaks its format ({error!r}). {way_out}") from None


def _describe_task(task: str, entry: dict, neurons: int) -> str:
    baselines = [f"most frequent class {entry['most_frequent_class']['accuracy']:.3f}"]
    if entry["word_type_majority"] is not None:
        baselines.append(f"word-type majority {entry['word_type_majority']:.3f}")
    if entry["selectivity"] is not None:
        baselines.append(f"selectivity {entry['selectivity']:.3f}")
    worth = (
        "does not beat its baselines"
        if not entry["beats_baselines"]
        else "no gain over a constant on dev"
        if entry["minimal"] is None
        else f"minimal set {entry['minimal']['neurons']} of {neurons} neurons"
    )
    return (
        f"{task}: accuracy {entry['accuracy']['test']:.3f} ({', '.join(baselines)}), {worth}{_describe_ranking(entry)}"
    )


def _describe_ranking(entry: dict) -> str:
    """Names the ranking and what two halves share of its first neurons; of older results what they have of it."""
    ranked = f"; ranking {entry['ranking']}" if "ranking" in entry else ""
    if not entry["beats_baselines"] or "reliability" not in entry:
        return ranked
    halves = entry["reliability"]["overlap"]
    shared = ", ".join(f"{row['overlap']:.2f} of the first {row['share']:.0%}" for row in halves)
    chances = ", ".join(f"{row['chance']:.2f}" for row in halves)
    return f"{ranked or '; ranking'}, of which two halves share {shared} (random orders {chances})"


def _is_of_last_run(results: Mapping[str, Any], path: Path) -> bool:
    """Returns whether results are those of the steps that the folder has finished, from the inputs that it names."""
    if not all((path / name).exists() for name in ("steps.json", "inputs.json")):
        return False
    way_out = "Run `lca run` again to make the folder whole."
    steps, inputs = (
        read_object(path / name, error=StoreError, way_out=way_out) for name in ("steps.json", "inputs.json")
    )
    try:
        report, model = steps["report"], inputs["model"]["fingerprint"]
        finished = all(step["seconds"] is not None for step in steps.values())
        return finished and report["key"] == results["key"] and model == results["model"]["fingerprint"]
    except (KeyError, TypeError, AttributeError):
        return False

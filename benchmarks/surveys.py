"""The two surveys of real models that the package is held to: languages, and architectures.

    python -m benchmarks.surveys languages --data DATA --models MODELS --work WORK --out surveys-languages.json

`languages` asks multilingual E5 for UPOS in the 14 languages of PUD, the same 1,000 sentences in each; `architectures`
asks five models for UPOS on English EWT, about 10,000 training words. DATA has `ud/`, with the treebanks; MODELS is a
folder, or several, with a folder for each model. A program that was killed goes on in WORK, where the page is too.

The result has

- `seconds`: `last_start`, wall seconds of this process, and its `cpu`; `steps`, the sum over all finished steps,
  whichever start did them; and `largest_steps` by kind of step;
- `load`: the averages before and after, which say whether other work ran beside it;
- `peak_bytes`: the largest resident memory of this process;
- `page_bytes`: the sizes of the pages;
- `cells` and `languages`: what the survey found, of pairs at the survey's own `share`, without what is listed for each
  neuron.
"""

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from benchmarks import harness
from benchmarks.memory import read_bytes
from lca_jax.errors import CorpusError
from lca_jax.experiment.survey import survey
from lca_jax.experiment.survey_settings import Survey

Name = Literal["languages", "architectures"]
MODELS = {
    "MiniLM": "minilm-l6",
    "E5": "me5-small",
    "SmolLM2": "smollm2-135m",
    "TinyStories": "tinystories-260k",
    "ALBERT-rxn": "albert-rxn",
}
"""The five models by the names of their folders. ALBERT-rxn has learned chemical reactions, no language."""
_PENALTY = {"l1": [1e-3], "l2": [0.1]}
KEPT = (
    "accuracy",
    "accuracy_interval",
    "selectivity",
    "minimal",
    "reliability",
    "depth",
    "localisation",
    "untrained",
    "beats_baselines",
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the benchmark."""

    survey: tyro.conf.Positional[Name]
    """Which of the two."""
    data: Path
    """Folder with `ud/`."""
    models: tuple[Path, ...]
    """Folders with the models; the first that has one is taken."""
    work: Path
    """Folder of the survey."""
    out: Path
    """Where the result is written."""
    half_samples: int = 20
    """Half-samples of the training sentences."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Does the survey, prints what it cost and writes the result."""
    settings = tyro.cli(Settings, args=arguments, description="The surveys of languages and of architectures.")
    asked = languages(settings) if settings.survey == "languages" else architectures(settings)
    load, start = harness.load_average(), time.perf_counter()
    found = survey(asked, progress=True)
    content = told(asked, found, last_start=time.perf_counter() - start)
    content["load"] = {"before": load, "after": harness.load_average()}
    print(json.dumps({name: content[name] for name in ("seconds", "peak_bytes", "page_bytes")}, indent=1))
    harness.write_result(settings.out, f"survey_{settings.survey}", content)


def languages(settings: Settings) -> Survey:
    """Returns the survey of languages: every second layer of E5, all sentences of PUD."""
    files = sorted((settings.data / "ud/pud").glob("*_pud-ud-test.conllu.gz"))
    if len(files) < 2:
        raise CorpusError(f"{settings.data / 'ud/pud'} has {len(files)} treebanks. Name the folder that has `ud/pud`.")
    return Survey(
        models={"E5": str(_place(settings, "E5"))},
        corpora={file.name.partition("_")[0]: file for file in files},
        align="sent_id",
        tasks=("upos",),
        out=settings.work,
        run={"layers": list(range(0, 13, 2)), "replicates": settings.half_samples, "probe": _PENALTY},
    )


def architectures(settings: Settings) -> Survey:
    """Returns the survey of architectures: all layers of five models, each beside its untrained twin."""
    ewt = settings.data / "ud"
    parts = {part: ewt / f"en_ewt-ud-{part}.conllu.gz" for part in ("train", "dev", "test")}
    limits = {"max_train_words": 10_000, "max_dev_words": 5_000, "max_test_words": 10_000}
    return Survey(
        models={name: str(_place(settings, name)) for name in MODELS},
        corpora={"EWT": parts},
        tasks=("upos",),
        out=settings.work,
        run={**limits, "replicates": settings.half_samples, "probe": _PENALTY, "untrained": 0},
    )


def told(asked: Survey, found: Mapping[str, Any], *, last_start: float) -> dict[str, Any]:
    """Returns the content of the result file, after its head.

    Args:
        asked: The survey.
        found: Its `results.json`.
        last_start: Wall seconds of this start.
    """
    spent: dict[str, float] = defaultdict(float)
    folders = [asked.out, *(asked.folder_of(*cell) for cell in asked.cells)]
    for folder in folders:
        for name, step in json.loads((folder / "steps.json").read_text("utf-8")).items():
            spent[name.partition(" ")[0]] += step["seconds"] or 0.0
    cells = {
        model: {
            corpus: {
                task: {name: entry[name] for name in KEPT} | {"words": entry["words"]}
                for task, entry in cell["tasks"].items()
            }
            for corpus, cell in by_corpus.items()
        }
        for model, by_corpus in found["cells"].items()
    }
    pages = [page for folder in folders for page in (folder / "report").rglob("*.html")]
    return {
        "input": {
            "models": {name: Path(asked.place_of(name)).name for name in asked.models},
            "corpora": list(asked.corpora),
            "run": asked.as_json()["run"],
        },
        "seconds": {
            "last_start": last_start,
            "cpu": time.process_time(),
            "steps": sum(spent.values()),
            "largest_steps": dict(sorted(spent.items(), key=lambda one: -one[1])),
        },
        "peak_bytes": read_bytes("VmHWM"),
        "page_bytes": {str(page.relative_to(asked.out)): page.stat().st_size for page in pages},
        "cells": harness.rounded(brief(cells)),
        "languages": harness.rounded(brief(found["languages"], share=found["share"])),
    }


def brief(value: Any, *, share: float | None = None) -> Any:
    """Returns results without the lists named `first`, which have an entry a neuron.

    Args:
        value: A part of `results.json`.
        share: Where entries are of a share of the neurons, only those of this one are returned; None for all.
    """
    if isinstance(value, dict):
        return {name: brief(part, share=share) for name, part in value.items() if name != "first"}
    if isinstance(value, list):
        return [brief(part, share=share) for part in value if share is None or _share_of(part, share) == share]
    return value


def _share_of(part: Any, default: float) -> float:
    return part.get("share", default) if isinstance(part, dict) else default


def _place(settings: Settings, model: str) -> Path:
    name = MODELS[model]
    for folder in settings.models:
        if (folder / name).is_dir():
            return folder / name
    raise CorpusError(f"No folder of --models has {name}. Name the one in which it lies.")


if __name__ == "__main__":
    main()

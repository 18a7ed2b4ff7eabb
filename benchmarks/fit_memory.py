"""Measures the memory of a study of many tasks: `lca study` in this process, from the file of words to the rankings.

    python -m benchmarks.fit_memory --model tinystories-260k --corpus en_ewt-ud-train.conllu.gz --layers 0 5 \
        --words 1000000 --out words.json
    python -m benchmarks.fit_memory --model smollm2-135m --corpus en_ewt-ud-train.conllu.gz \
        --words 400 --layers 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 \
        --l1 1 .3 .1 .03 .01 .003 .001 .0003 --l2 1 .3 .1 .03 .01 .003 .001 .0003 --out answers.json

Two things grow: what is held of each word (its text, the labels of every task, arrays of the solver), and what is held
of each answer (100 tasks with their control tasks and 64 pairs of penalties are 12,800 answers; of 9,792 neurons and 17
classes each they are 8.5 GB). The first call has many words and few answers, the second few words and many answers. A
word is labelled by its part of speech in every task, under another name. The number of iterations is limited: what is
held does not depend on it, so these probes are not certified, and nothing is said of them.

The activations are read from the store at every iteration (`stream=True`), as they are where they have no room. The
result has the peak of all memory of the process (`largest`, with pages of files, which the system takes back when it
needs them) and of its own (`largest_own`).
"""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import tyro

from benchmarks import harness
from benchmarks.memory import read_bytes, sampled
from benchmarks.source import ModelAndCorpus
from lca_jax.experiment.config import Study
from lca_jax.experiment.study import study
from lca_jax.probing.objective import ElasticNet
from lca_jax.text.conllu import read_conllu
from lca_jax.text.corpus import Corpus

_DEV_WORDS = 400


@dataclass(frozen=True, kw_only=True)
class Settings(ModelAndCorpus):
    """Settings of the benchmark."""

    layers: tuple[int, ...] | None = None
    """Layers that are probed; all by default."""
    words: int = 1_000_000
    """Number of training words, at least."""
    tasks: int = 100
    """Number of tasks."""
    l1: tuple[float, ...] = (0.1,)
    l2: tuple[float, ...] = (0.1,)
    max_iterations: int = 3
    """Iterations of a problem at most."""
    folder: Path | None = None
    """Folder of the study during the run; temporary files by default."""
    out: Path | None = None
    """Result file; without it the figures are only printed."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Does the study, prints what it held and writes the result."""
    settings = tyro.cli(Settings, args=arguments, description="Memory of a study of many tasks.")
    with tempfile.TemporaryDirectory(dir=settings.folder) as scratch:
        content = measure(settings, Path(scratch))
    print(json.dumps(content, indent=1))
    if settings.out:
        harness.write_result(settings.out, "fit_memory", content)


def measure(settings: Settings, scratch: Path) -> dict[str, object]:
    """Does the study in a folder; returns the content of the result file, after its head."""
    corpus = read_conllu(settings.corpus_file, tasks=["upos"])
    classes = corpus.classes("upos")
    train, dev = scratch / "train.conllup", scratch / "dev.conllup"
    words = write_columns(train, corpus, words=settings.words, tasks=settings.tasks)
    write_columns(dev, corpus, words=_DEV_WORDS, tasks=settings.tasks)
    del corpus
    asked = Study(
        model=str(settings.model_folder),
        train=train,
        dev=dev,
        tasks=tuple(f"T{task}=T{task}" for task in range(settings.tasks)),
        layers=settings.layers,
        dtype="float16",
        probe=ElasticNet(l1=settings.l1, l2=settings.l2, max_iterations=settings.max_iterations),
        stream=True,
        out=scratch / "study",
    )
    before, start = read_bytes("VmRSS"), time.perf_counter()
    with sampled("RssAnon") as own:
        probes = study(asked)
    return {
        "input": {
            **settings.names(),
            "words": words,
            "tasks": len(probes.tasks),
            "classes": len(classes),
            "neurons": probes.axis.size,
            "pairs": len(settings.l1) * len(settings.l2),
            "max_iterations": settings.max_iterations,
        },
        "answers": 2 * len(probes.tasks) * len(settings.l1) * len(settings.l2),
        "seconds": time.perf_counter() - start,
        "memory_bytes": {"before": before, "largest_own": max(own), "largest": read_bytes("VmHWM")},
    }


def write_columns(file: Path, corpus: Corpus, *, words: int, tasks: int) -> int:
    """Writes sentences, from the first again after the last, with a column a task; returns the number of words."""
    names, parts = corpus.classes("upos"), list(zip(corpus.sentences, corpus.labels["upos"], strict=True))
    columns = {
        name: "\t".join(names[(place + task) % len(names)] for task in range(tasks)) for place, name in enumerate(names)
    }
    written = 0
    with file.open("w", encoding="utf-8") as out:
        out.write(" ".join(["# global.columns = FORM", *(f"T{task}" for task in range(tasks))]) + "\n")
        sentences = cycle(parts)
        while written < words:
            sentence, labels = next(sentences)
            rows = [f"{word}\t{columns[label]}" for word, label in zip(sentence, labels, strict=True) if label]
            out.write("\n".join([*rows, "", ""]))
            written += len(rows)
    return written


if __name__ == "__main__":
    main()

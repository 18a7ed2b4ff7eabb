"""Measures an extraction that is killed again and again: the same bytes, no word lost, little work done twice.

    python -m benchmarks.bench_kills --corpus en_ewt-ud-train.conllu.gz --kills 20 --shard-words 1024 --out kills.json

One process extracts undisturbed. Then processes with the same command are killed (SIGKILL) one after the other at
random times, each going on where the one before was killed; the last one runs to the end. Every file is compared with
that of the undisturbed run.

The work is counted in two ways: in computed batches, which do not depend on other users of the machine, and in seconds,
from the first batch that the device returns to the end of the process. The time before (importing, loading,
fingerprints, compiling) is the restart, and is reported separately. A kill costs the open shards, about one and a half:
with `kills` kills and `n` shards, the work grows by about 1.5 · kills / n. So small shards suit machines that are taken
away often; larger ones make fewer files.
"""

import json
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import tyro

from benchmarks import harness
from benchmarks.source import ModelAndCorpus
from lca_jax.machine.folders import list_files, open_folder, read_file
from lca_jax.store.store import open_store

_CHILD = """
import os, sys
from pathlib import Path
from lca_jax.extraction import running
from lca_jax.extraction.extract import extract
from lca_jax.machine.devices import use_compilation_cache
from lca_jax.models.load import load_model
from lca_jax.text.conllu import read_conllu

model, corpus, store, cache, words, shard_words = sys.argv[1:]
use_compilation_cache(Path(cache))
copy = running.copy_to_host

def tell(*batch, **settings):
    os.write(1, b".")
    return copy(*batch, **settings)

running.copy_to_host = tell
corpus = read_conllu(corpus, tasks=["upos"]).take_words(int(words))
extract(load_model(model), corpus, store, shard_words=int(shard_words))
"""


@dataclass(frozen=True, kw_only=True)
class Settings(ModelAndCorpus):
    """Settings of the benchmark."""

    words: int = 1_000_000
    """Number of leading words to extract; fewer if the corpus has fewer."""
    kills: int = 20
    """Number of processes that are killed."""
    shard_words: int = 1024
    """Number of words in a shard."""
    seed: int = 0
    """Seed of the times at which they are killed."""
    out: Path | None = None
    """Result file; without it the figures are only printed."""


def main(arguments: Sequence[str] | None = None) -> None:
    settings = tyro.cli(Settings, args=arguments, description="Extraction that is killed again and again.")
    content = measure(settings)
    print(json.dumps(content, indent=1))
    if settings.out:
        harness.write_result(settings.out, "kills", content)


def measure(settings: Settings) -> dict[str, object]:
    """Runs both ways, compares the stores and returns the content of the result file.

    Raises:
        ValueError: The stores differ.
    """
    draw = random.Random(settings.seed)
    before = harness.load_average()
    with tempfile.TemporaryDirectory() as scratch:
        whole, disturbed = Path(scratch) / "whole", Path(scratch) / "disturbed"
        _run(settings, whole, Path(scratch))  # compiles
        shutil.rmtree(whole)
        undisturbed = _run(settings, whole, Path(scratch))
        longest_life_s = 2 * undisturbed.work_s / (settings.kills + 3)
        runs: list[_Run] = []
        while len(runs) < settings.kills and not (disturbed / "manifest.json").exists():
            runs.append(_run(settings, disturbed, Path(scratch), kill_after_s=draw.uniform(0, longest_life_s)))
        kills = len(runs)
        runs.append(_run(settings, disturbed, Path(scratch)))
        after = harness.load_average()
        store = open_store(disturbed)
        store.verify()
        differing = compare(whole, disturbed)
        if differing:
            raise ValueError(f"After {kills} kills these files differ: {', '.join(differing)}")
        work_s, batches = sum(run.work_s for run in runs), sum(run.batches for run in runs)
        return {
            "input": {
                **settings.names(),
                "words": store.word_count,
                "shards": store.manifest.recipe.shard_count,
                "shard_words": settings.shard_words,
                "kills": kills,
                "seed": settings.seed,
            },
            "load": {"before": before, "after": after},
            "undisturbed": undisturbed._asdict(),
            "killed": {"work_s": work_s, "batches": batches},
            "times_as_long": work_s / undisturbed.work_s,
            "times_as_many_batches": batches / undisturbed.batches,
            "restart_median_s": statistics.median(run.restart_s for run in runs),
            "runs": [run._asdict() for run in runs],
            "vectors": store.manifest.counts["vectors"],
            "excluded": store.excluded,
        }


def compare(one: Path, other: Path) -> list[str]:
    """Returns the names of the files that differ between two stores."""
    left, right = open_folder(one), open_folder(other)
    names = sorted({*list_files(left), *list_files(right)})
    return [name for name in names if read_file(left, name) != read_file(right, name)]


class _Run(NamedTuple):
    """The work of one process."""

    restart_s: float
    """Seconds from its start to the first batch."""
    work_s: float
    """Seconds from the first batch to its end."""
    batches: int
    """Number of batches that it computed."""


def _run(settings: Settings, store: Path, scratch: Path, *, kill_after_s: float | None = None) -> _Run:
    """Extracts in a process, which is killed after `kill_after_s` if that is given.

    Raises:
        ChildProcessError: The process failed by itself.
    """
    reads = [settings.model_folder, settings.corpus_file]
    arguments = [*reads, store, scratch / "compiled", settings.words, settings.shard_words]
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", _CHILD, *map(str, arguments)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.read(1)
        begun = time.perf_counter()
        killer = threading.Timer(threading.TIMEOUT_MAX if kill_after_s is None else kill_after_s, child.kill)
        killer.start()
        batches = 1 + len(child.stdout.read())
        ended = time.perf_counter()
        killer.cancel()
        child.wait()
    if child.returncode not in (0, -signal.SIGKILL):
        raise ChildProcessError(f"The extraction ended with code {child.returncode}.")
    return _Run(begun - started, ended - begun, batches)


if __name__ == "__main__":
    main()

"""Host memory of an extraction into a folder: it must not grow with the corpus.

    python -m benchmarks.extract_memory --corpus en_ewt-ud-train.conllu.gz --words 1000000 --out memory.json

The corpus is repeated until it has so many words; each is a string of its own, as if it had been read. The model is a
cheap stand-in with the widths of the real one, a BERT: its configuration with 16 units in every feed-forward part,
random weights, its tokenizer (MiniLM: 7 layers of 384 numbers). What Linux counts for the process (`VmRSS`, files that
are mapped included) is noted before the extraction, in tenths of its time, and at most over all (`VmHWM`).
"""

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks import harness
from benchmarks.source import ModelAndCorpus
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.store.recipe import StoreDtype
from lca_jax.text.conllu import read_conllu
from lca_jax.text.corpus import Corpus

_STAND_IN_UNITS = 16
_SAMPLE_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Settings(ModelAndCorpus):
    """What is measured."""

    words: int = 1_000_000
    """Words to extract."""
    dtype: StoreDtype = "float16"
    """Type of the stored numbers."""
    folder: Path | None = None
    """Where the store lies meanwhile; temporary files by default."""
    out: Path | None = None
    """Result file; without it the figures are printed only."""


def main(arguments: Sequence[str] | None = None) -> None:
    settings = tyro.cli(Settings, args=arguments, description="Host memory of an extraction.")
    content = measure(settings)
    print(json.dumps(content, indent=1))
    if settings.out:
        harness.write_result(settings.out, "memory", content)


def measure(settings: Settings) -> dict[str, object]:
    """Extracts once and returns what the result file holds."""
    imported = read_bytes("VmRSS")
    corpus = repeat_corpus(read_conllu(settings.corpus_file, tasks=["upos"]), words=settings.words)
    with_corpus = read_bytes("VmRSS")
    with tempfile.TemporaryDirectory(dir=settings.folder) as scratch:
        model = load_stand_in(settings.model_folder, Path(scratch) / "model")
        with_model = read_bytes("VmRSS")
        started = time.perf_counter()
        with _sampled() as samples:
            store = extract(model, corpus, Path(scratch) / "store", dtype=settings.dtype)
        seconds = time.perf_counter() - started
        stored_bytes = store.read("residual").nbytes
    tenth = -(-len(samples) // 10)
    return {
        "input": {
            **settings.names(),
            "words": corpus.word_count,
            "numbers_a_word": store.axis().size,
            "dtype": settings.dtype,
        },
        "stored_bytes": stored_bytes,
        "seconds": seconds,
        "memory_bytes": {
            "imported": imported,
            "with_corpus": with_corpus,
            "with_model": with_model,
            "largest_in_each_tenth": [max(samples[at : at + tenth]) for at in range(0, len(samples), tenth)],
            "largest": read_bytes("VmHWM"),
        },
    }


def repeat_corpus(corpus: Corpus, *, words: int) -> Corpus:
    """The corpus again and again, up to so many words, none of which shares memory with another."""
    times = -(-words // corpus.word_count)
    sentences = [[_fresh(word) for word in sentence] for _ in range(times) for sentence in corpus.sentences]
    labels = {task: list(of_sentences) * times for task, of_sentences in corpus.labels.items()}
    return Corpus.from_words(sentences, labels).take_words(words)


def load_stand_in(folder: Path, target: Path) -> Model:
    """A model with the widths and the tokenizer of another, narrow inside and with random weights."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors", "*.msgpack", "*.bin"))
    file = target / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"intermediate_size": _STAND_IN_UNITS}))
    return load_model(target, random_weights=0)


def read_bytes(field: str) -> int:
    """What Linux counts for this process: `VmRSS` now, `VmHWM` at most so far."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (size,) = (line.split()[1] for line in lines if line.startswith(f"{field}:"))
    return int(size) * 1024


def _fresh(word: str) -> str:
    return word.encode().decode()


@contextmanager
def _sampled() -> Iterator[list[int]]:
    """The memory in use, noted again and again while the block runs."""
    samples: list[int] = [read_bytes("VmRSS")]
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(_SAMPLE_S):
            samples.append(read_bytes("VmRSS"))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


if __name__ == "__main__":
    main()

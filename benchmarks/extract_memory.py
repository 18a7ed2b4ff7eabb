"""Measures the host memory of an extraction into a folder, which must not grow with the corpus.

    python -m benchmarks.extract_memory --corpus en_ewt-ud-train.conllu.gz --words 1000000 --out memory.json

The corpus is repeated up to the number of words; each word is a string of its own, as if it had been read. The model is
a cheap stand-in with the widths and the tokenizer of a BERT (MiniLM: 7 layers of 384 numbers), random weights and 16
units in every feed-forward part. Linux's count for the process (`VmRSS`, mapped files included) is recorded before the
extraction and in each tenth of its time, and its peak over the whole run (`VmHWM`).
"""

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks import harness
from benchmarks.memory import read_bytes, sampled
from benchmarks.source import ModelAndCorpus
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.store.recipe import StoreDtype
from lca_jax.text.conllu import read_conllu
from lca_jax.text.corpus import Corpus

_STAND_IN_UNITS = 16


@dataclass(frozen=True, kw_only=True)
class Settings(ModelAndCorpus):
    """Settings of the benchmark."""

    words: int = 1_000_000
    """Number of words to extract."""
    dtype: StoreDtype = "float16"
    """Type of the stored numbers."""
    folder: Path | None = None
    """Folder of the store during the run; temporary files by default."""
    out: Path | None = None
    """Result file; without it the figures are only printed."""


def main(arguments: Sequence[str] | None = None) -> None:
    settings = tyro.cli(Settings, args=arguments, description="Host memory of an extraction.")
    content = measure(settings)
    print(json.dumps(content, indent=1))
    if settings.out:
        harness.write_result(settings.out, "memory", content)


def measure(settings: Settings) -> dict[str, object]:
    """Extracts once and returns the content of the result file."""
    imported = read_bytes("VmRSS")
    corpus = repeat_corpus(read_conllu(settings.corpus_file, tasks=["upos"]), words=settings.words)
    with_corpus = read_bytes("VmRSS")
    with tempfile.TemporaryDirectory(dir=settings.folder) as scratch:
        model = load_stand_in(settings.model_folder, Path(scratch) / "model")
        with_model = read_bytes("VmRSS")
        started = time.perf_counter()
        with sampled() as samples:
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
    """Repeats the corpus up to this many words, none of which shares memory with another."""
    times = -(-words // corpus.word_count)
    sentences = [[_fresh(word) for word in sentence] for _ in range(times) for sentence in corpus.sentences]
    labels = {task: list(of_sentences) * times for task, of_sentences in corpus.labels.items()}
    return Corpus.from_words(sentences, labels).take_words(words)


def load_stand_in(folder: Path, target: Path) -> Model:
    """Makes a model with the widths and the tokenizer of another, a narrow feed-forward part and random weights."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors", "*.msgpack", "*.bin"))
    file = target / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"intermediate_size": _STAND_IN_UNITS}))
    return load_model(target, random_weights=0)


def _fresh(word: str) -> str:
    return word.encode().decode()


if __name__ == "__main__":
    main()

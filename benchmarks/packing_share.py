"""Measures how full the computed rows are, and how many shapes are compiled.

    python -m benchmarks.packing_share --corpus en_ewt-ud-train.conllu.gz --corpus zh_pud-ud-test.conllu.gz --out p.json

Every corpus is extracted into memory by a cheap stand-in for the model with the same tokenizer
(`extract_memory.load_stand_in`), and once more as very short lines, of two to five words in turn. `packed_share` is the
share of computed slots that hold a piece. The special pieces of every sentence count too: no vector can be computed
without them.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from benchmarks import harness
from benchmarks.bench_extract import logged_facts
from benchmarks.extract_memory import load_stand_in
from lca_jax.demo import demo_corpus_file, demo_model_folder
from lca_jax.extraction import running
from lca_jax.extraction.extract import extract
from lca_jax.models.model import Model
from lca_jax.text.conllu import read_conllu
from lca_jax.text.corpus import Corpus

_LINE_WORDS = (2, 3, 4, 5)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the benchmark."""

    model: Path | None = None
    """BERT folder with the tokenizer; the demo's MiniLM by default."""
    corpus: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = ()
    """CoNLL-U files; the embedded corpus by default."""
    out: Path | None = None
    """Result file; without it the table is only printed."""


def main(arguments: Sequence[str] | None = None) -> None:
    settings = tyro.cli(Settings, args=arguments, description="How full the computed rows are.")
    folder = settings.model or demo_model_folder()
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        model = load_stand_in(folder, Path(scratch) / "model")
        for file in settings.corpus or (demo_corpus_file("train"),):
            corpus = read_conllu(file)
            rows[file.name] = measure(model, corpus)
            rows[f"{file.name}, lines of two to five words"] = measure(model, short_lines(corpus))
    harness.print_table("packed rows", rows)
    if settings.out:
        harness.write_result(settings.out, "packing", {"input": {"model": folder.name}, "rows": rows})


def measure(model: Model, corpus: Corpus) -> dict[str, float]:
    """Extracts once and returns how full the rows were and how many shapes were compiled."""
    program: Any = running.read_vectors
    program.clear_cache()
    with logged_facts() as facts:
        extract(model, corpus)
    share = facts[-1]["packed_share"]
    assert isinstance(share, float)
    return {
        "sentences": corpus.sentence_count,
        "words": corpus.word_count,
        "packed_share": share,
        "compiled_shapes": program._cache_size(),
    }


def short_lines(corpus: Corpus) -> Corpus:
    """Returns the same words in lines of two, three, four and five words in turn."""
    words = [word for sentence in corpus.sentences for word in sentence]
    lines, first = [], 0
    while first < len(words):
        length = _LINE_WORDS[len(lines) % len(_LINE_WORDS)]
        lines.append(words[first : first + length])
        first += length
    return Corpus.from_words(lines, name=f"{corpus.name}, short lines")


if __name__ == "__main__":
    main()

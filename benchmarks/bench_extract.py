"""Measures extraction: words a second from text to a finished store on disk, against the incumbent.

    python -m benchmarks.bench_extract --corpus en_ewt-ud-train.conllu.gz --sentences 2000 --out result.json

Every competitor starts with the same sentences in memory and a loaded model, and ends with all layers of every word in
a file:

    lca_jax     `extract` into a store: packed rows, one compiled shape, checksummed zarr3 shards
    incumbent   `extract_one_by_one`: NeuroX's procedure, one HDF5 dataset a sentence
    batched     `extract_in_batches`: the careful PyTorch loop, one `.npy` of exactly the store's shape
    neurox      NeuroX's own code, if it is installed

The vectors of each are compared with the store's; a result is written only if none differs by more than 1e-4.

The work. A piece costs 2 · layers · (4 w² + 2 w m) operations in matrix products, where w is the width and m the units
of the feed-forward part, and 4 · w · layers · L in attention to the L pieces of its sentence. A word costs
4 · (layers + 1) · w bytes in the store. The floor is the operations at the measured rate of a large matrix product.

    model       operations a piece    attention, L = 24    bytes a word    2,000 sentences of EWT (39,802 words)
    MiniLM-L6        21.2 M                 0.2 M             10,752        1.1 TFLOP, 428 MB
    BERT-base       169.9 M                 0.9 M             39,936        9.0 TFLOP, 1.59 GB

Padding (slots of a packed row without a piece) and attention across the sentences of a packed row (which is computed
and masked) do not count as work, so they lower `peak_share`. Reading the weights costs very little beside this.
"""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from jaxtyping import Float32

from benchmarks import harness, incumbent
from benchmarks.source import ModelAndCorpus
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.models.stack.config import StackConfig
from lca_jax.store.store import ActivationStore, open_store
from lca_jax.text.alignment import align_sentences, special_pieces
from lca_jax.text.conllu import read_conllu
from lca_jax.text.corpus import Corpus

LARGEST_DIFFERENCE = 1e-4
"""Largest allowed difference between the vectors of two competitors: float32 rounding of a whole model."""


@dataclass(frozen=True, kw_only=True)
class Settings(ModelAndCorpus):
    """Settings of the benchmark."""

    sentences: int = 2000
    """Number of leading sentences to extract; fewer if the corpus has fewer."""
    repetitions: int = 3
    """Number of timed rounds."""
    out: Path | None = None
    """Result file; without it the table is only printed."""
    quick: bool = False
    """40 sentences, one round: tries the program, measures nothing."""


def main(arguments: Sequence[str] | None = None) -> None:
    settings = tyro.cli(Settings, args=arguments, description="Extraction against the incumbent.")
    if settings.quick:
        settings = replace(settings, sentences=min(40, settings.sentences), repetitions=1)
    content = measure(settings)
    if settings.out:
        harness.write_result(settings.out, "extract", content)


def measure(settings: Settings) -> dict[str, object]:
    """Times all competitors, checks their vectors, prints the table and returns the content of the result file."""
    corpus = _leading_sentences(read_conllu(settings.corpus_file), settings.sentences)
    model = load_model(settings.model_folder)
    ceiling = harness.measure_machine(side=256 if settings.quick else None)
    flop, pieces = count_work(model, corpus)
    before = harness.load_average()
    with tempfile.TemporaryDirectory() as scratch, logged_facts() as facts:
        competitors = _competitors(model, settings.model_folder, corpus, Path(scratch))
        timings, paths = harness.time_interleaved(competitors, repetitions=settings.repetitions)
        after = harness.load_average()
        store = open_store(paths["lca_jax"])
        checks = {name: compare(store, corpus, path) for name, path in paths.items() if name != "lca_jax"}
        stored_bytes = sum(file.size_bytes for file in store.manifest.files.values())
    rows: dict[str, dict[str, object]] = {}
    for name, timing in timings.items():
        rows[name] = {
            **timing.as_json(),
            "words_per_s": corpus.word_count / timing.median_s,
            "flop_per_s": flop / timing.median_s,
            "peak_share": flop / timing.median_s / ceiling.flop_per_s,
            **checks.get(name, {}),
        }
    rows["lca_jax"] |= {name: facts[-1][name] for name in ("packed_share", "waited_share")}
    ours = timings["lca_jax"].median_s
    ratios = {name: timing.median_s / ours for name, timing in timings.items() if name != "lca_jax"}
    shown = ("median_s", "spread", "cpu_median_s", "words_per_s", "peak_share", "compile_s", "largest_difference")
    harness.print_table(
        f"{corpus.word_count} words", {name: {key: row.get(key, "") for key in shown} for name, row in rows.items()}
    )
    print("share of the time that each stage of lca_jax waited:", facts[-1]["waited"])
    print("times as long as lca_jax:", ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))
    return {
        "input": {
            **settings.names(),
            "sentences": corpus.sentence_count,
            "words": corpus.word_count,
            "pieces": pieces,
            "layers": model.layer_count("residual"),
            "width": model.width("residual"),
        },
        "load": {"before": before, "after": after},
        "ceiling": ceiling.as_json(),
        "work": {"flop": flop, "store_bytes": stored_bytes, "floor_s": ceiling.floor_s(flop=flop)},
        "competitors": rows,
        "times_as_long_as_lca_jax": ratios,
    }


def count_work(model: Model, corpus: Corpus) -> tuple[float, int]:
    """Counts the operations and pieces of a corpus, special pieces included, as the module's docstring says."""
    special = sum(map(len, special_pieces(model.tokenizer)))
    lengths = np.array([len(one.piece_ids) + special for one in align_sentences(model.tokenizer, corpus.sentences)])
    return _flop(model.config, lengths), int(lengths.sum())


def compare(store: ActivationStore, corpus: Corpus, path: Path) -> dict[str, object]:
    """Compares a competitor's vectors with the store's, on the sentences of which it kept every word.

    Raises:
        ValueError: A vector differs by more than `LARGEST_DIFFERENCE`.
    """
    ours = store.read("residual")[:]
    theirs = (
        _by_sentence(np.load(path, mmap_mode="r"), corpus) if path.suffix == ".npy" else incumbent.read_vectors(path)
    )
    largest, compared, start = 0.0, 0, 0
    for words, vectors in zip(corpus.sentences, theirs, strict=True):
        our_vectors = ours[start : start + len(words)]
        start += len(words)
        if len(vectors) == len(words) > 0:
            largest = max(largest, float(np.abs(vectors - our_vectors).max()))
            compared += len(words)
    if largest > LARGEST_DIFFERENCE:
        raise ValueError(
            f"{path.name}: vectors may differ from the store's by {LARGEST_DIFFERENCE}, got {largest:.2e}."
        )
    return {"largest_difference": largest, "words_compared": compared}


def _competitors(model: Model, folder: Path, corpus: Corpus, scratch: Path) -> dict[str, Callable[[], Path]]:
    peer = incumbent.load_torch_model(folder)
    sentences = corpus.sentences

    def ours() -> Path:
        shutil.rmtree(scratch / "store", ignore_errors=True)
        extract(model, corpus, scratch / "store")
        return scratch / "store"

    competitors = {
        "lca_jax": ours,
        "incumbent": lambda: incumbent.extract_one_by_one(
            peer, sentences, incumbent.sentence_file(scratch, "incumbent")
        ),
        "batched": lambda: incumbent.extract_in_batches(peer, sentences, scratch / "batched.npy"),
    }
    if incumbent.has_neurox():
        run = incumbent.neurox_extractor(folder)
        competitors["neurox"] = lambda: run(sentences, scratch / "neurox.hdf5")
    return competitors


def _leading_sentences(corpus: Corpus, count: int) -> Corpus:
    labels = {task: of_sentences[:count] for task, of_sentences in corpus.labels.items()}
    return replace(corpus, sentences=corpus.sentences[:count], labels=labels)


def _flop(config: StackConfig, lengths: np.ndarray) -> float:
    width, units, layers = config.residual_width, config.mlp.width, config.layers
    pieces, pairs = float(lengths.sum()), float((lengths.astype(np.float64) ** 2).sum())
    return 2 * layers * (4 * width**2 + 2 * width * units) * pieces + 4 * width * layers * pairs


def _by_sentence(
    vectors: Float32[np.ndarray, "word layer neuron"], corpus: Corpus
) -> Iterator[Float32[np.ndarray, "word layer neuron"]]:
    start = 0
    for words in corpus.sentences:
        yield vectors[start : start + len(words)]
        start += len(words)


@contextmanager
def logged_facts() -> Iterator[list[Mapping[str, object]]]:
    """Collects the figures that the package logs for each extraction in the block."""
    facts: list[Mapping[str, object]] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if isinstance(record.args, Mapping) and "waited_share" in record.args:
                facts.append(record.args)

    log, listener = logging.getLogger("lca_jax.machine.progress"), Listener()
    level = log.level
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(listener)
    try:
        yield facts
    finally:
        log.removeHandler(listener)
        log.setLevel(level)
        log.propagate = True


if __name__ == "__main__":
    main()

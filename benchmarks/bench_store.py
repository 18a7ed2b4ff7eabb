"""Measures reading: a store whole and in random batches, against NeuroX's loading and the disk itself.

    python -m benchmarks.bench_store --corpus en_ewt-ud-train.conllu.gz --words 40000 --out store.json

The same random vectors (float32, 7 layers of 384 by default) lie in a store and in an HDF5 file of NeuroX's layout: one
dataset (layer, word, neuron) for each sentence. Every competitor ends with one matrix (word, feature) in memory; the
matrices are compared.

    lca_jax     `open_store` and `matrix`: every chunk's checksum is checked
    shuffled    `read_shuffled`: an epoch of random batches of 512 words
    neurox      its loading written plainly: each dataset is given to `torch.FloatTensor`, which reads it as a
                sequence, then swapped and flattened; finally all sentences are joined
    hdf5        the same, with each dataset read as an array
    files       only the bytes of the store's files, one after the other into a buffer: the sequential speed of the
                disk, or of the page cache

In warm rounds all files lie in the page cache. Before cold rounds they are dropped from it (`POSIX_FADV_DONTNEED`);
caches below, e.g. of a virtual machine's host, cannot be dropped. NeuroX is so slow that it is timed once, warm.
"""

import importlib
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from jaxtyping import Float32

from benchmarks import harness
from lca_jax.demo import demo_corpus_file
from lca_jax.store.folder_writer import FolderWriter
from lca_jax.store.recipe import Recipe, SiteShape
from lca_jax.store.shuffled import read_shuffled
from lca_jax.store.store import open_store
from lca_jax.store.writer import ShardRecord
from lca_jax.text.conllu import read_conllu
from lca_jax.text.corpus import Corpus

_BATCH_WORDS = 512
_BUFFER_BYTES = 2**23


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the benchmark."""

    corpus: Path | None = None
    """CoNLL-U file whose sentences the vectors belong to; the embedded corpus by default."""
    words: int = 40_000
    """Number of leading words."""
    layers: int = 7
    """Number of layers of a vector."""
    width: int = 384
    """Number of neurons of a layer."""
    shard_words: int = 16_384
    """Number of words in a shard."""
    repetitions: int = 5
    """Number of timed rounds, warm and cold."""
    folder: Path | None = None
    """Folder of the files, on the disk that is measured; temporary files by default."""
    out: Path | None = None
    """Result file; without it the table is only printed."""


def main(arguments: Sequence[str] | None = None) -> None:
    settings = tyro.cli(Settings, args=arguments, description="Reading a store against NeuroX and the disk.")
    content = measure(settings)
    if settings.out:
        harness.write_result(settings.out, "store", content)


def measure(settings: Settings) -> dict[str, object]:
    """Writes the files, times all competitors warm and cold, and returns the content of the result file.

    Raises:
        ValueError: A competitor read other numbers than were written.
    """
    corpus = read_conllu(settings.corpus or demo_corpus_file("train")).take_words(settings.words)
    vectors = np.random.default_rng(0).standard_normal(
        (corpus.word_count, settings.layers, settings.width), dtype=np.float32
    )
    before = harness.load_average()
    with tempfile.TemporaryDirectory(dir=settings.folder) as scratch:
        store, hdf5 = Path(scratch) / "store", Path(scratch) / "neurox.hdf5"
        write_store(store, corpus, vectors, shard_words=settings.shard_words)
        write_hdf5(hdf5, corpus, vectors)
        expected = vectors.reshape(len(vectors), -1)
        files = sorted(path for path in store.rglob("*") if path.is_file())
        competitors: dict[str, Callable[[], np.ndarray | None]] = {
            "lca_jax": lambda: open_store(store).matrix(),
            "shuffled": lambda: _read_epoch(store, expected),
            "hdf5": lambda: load_hdf5(hdf5),
            "files": lambda: _read_bytes(files),
        }
        timings, results = harness.time_interleaved(competitors, repetitions=settings.repetitions)
        _check(results, expected)
        cold, results = harness.time_interleaved(
            {name: _from_cold(call, [*files, hdf5]) for name, call in competitors.items()},
            repetitions=settings.repetitions,
        )
        _check(results, expected)
        timings |= {f"{name}, cold": timing for name, timing in cold.items()}
        timings["neurox"], loaded = harness.time_once(lambda: load_as_neurox(hdf5))
        _check({"neurox": loaded}, expected)
    rows = {
        name: {**timing.as_json(), "bytes_per_s": vectors.nbytes / timing.median_s} for name, timing in timings.items()
    }
    shares = {
        name: timings["files, cold"].median_s / timings[f"{name}, cold"].median_s for name in ("lca_jax", "shuffled")
    }
    ratio = timings["neurox"].median_s / timings["lca_jax"].median_s
    shown = ("median_s", "minimum_s", "spread", "bytes_per_s")
    harness.print_table(
        f"{vectors.nbytes / 1e6:.0f} MB", {name: {key: row[key] for key in shown} for name, row in rows.items()}
    )
    print(f"neurox takes {ratio:.1f} times as long as lca_jax; shares of the sequential speed, cold: {shares}")
    return {
        "input": {"words": len(vectors), "sentences": corpus.sentence_count, "bytes": vectors.nbytes},
        "load": {"before": before, "after": harness.load_average()},
        "competitors": rows,
        "neurox_times_as_long": ratio,
        "share_of_sequential_speed": shares,
    }


def write_store(
    path: Path, corpus: Corpus, vectors: Float32[np.ndarray, "word layer neuron"], *, shard_words: int
) -> None:
    """Writes a store that holds these vectors."""
    words, layers, width = vectors.shape
    recipe = Recipe(
        model="drawn",
        corpus=corpus.fingerprint(),
        words=words,
        sites={"residual": SiteShape(layers=tuple(range(layers)), width=width)},
        dtype="float32",
        pool="last",
        edits=None,
        longest_window=512,
        row_length=128,
        shard_words=shard_words,
    )
    with FolderWriter(path, recipe) as writer:
        for shard in sorted(writer.missing):
            first, last = recipe.shard_range(shard)
            record = ShardRecord(pieces=[1] * (last - first), excluded={})
            writer.write(shard, {"residual": vectors[first:last]}, record)
        writer.finish(corpus, {"model": "drawn", "tokenizer": "none"})


def write_hdf5(path: Path, corpus: Corpus, vectors: Float32[np.ndarray, "word layer neuron"]) -> None:
    """Writes a file of NeuroX's layout, sentence by sentence."""
    with importlib.import_module("h5py").File(path, "w") as file:
        start = 0
        for number, sentence in enumerate(sentence for sentence in corpus.sentences if sentence):
            file.create_dataset(str(number), data=vectors[start : start + len(sentence)].swapaxes(0, 1))
            start += len(sentence)


def load_as_neurox(path: Path) -> Float32[np.ndarray, "word feature"]:
    """Loads as NeuroX does; PyTorch's warning that this is slow is suppressed."""
    float_tensor = importlib.import_module("torch").FloatTensor
    with warnings.catch_warnings(action="ignore"):
        return _load(path, lambda dataset: float_tensor(dataset).numpy())


def load_hdf5(path: Path) -> Float32[np.ndarray, "word feature"]:
    """Loads the same file, each dataset as an array."""
    return _load(path, lambda dataset: dataset[:])


def _load(path: Path, read: Callable) -> Float32[np.ndarray, "word feature"]:
    with importlib.import_module("h5py").File(path) as file:
        layers_first = [read(file[str(number)]) for number in range(len(file))]
    return np.concatenate([sentence.swapaxes(0, 1).reshape(sentence.shape[1], -1) for sentence in layers_first])


def _read_epoch(store: Path, expected: Float32[np.ndarray, "word feature"]) -> None:
    """Reads random batches and compares one word of each, so that comparing costs nothing."""
    words = 0
    for batch in read_shuffled(open_store(store), _BATCH_WORDS, seed=words):
        words += len(batch.words)
        if not np.array_equal(batch.vectors[-1], expected[batch.words[-1]]):
            raise ValueError(f"Word {batch.words[-1]} came with the vector of another word.")
    if words != len(expected):
        raise ValueError(f"An epoch must have {len(expected)} words, got {words}.")


def _read_bytes(files: Sequence[Path]) -> None:
    buffer = bytearray(_BUFFER_BYTES)
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def _from_cold(call: Callable[[], np.ndarray | None], files: Sequence[Path]) -> Callable[[], np.ndarray | None]:
    """Returns the same call, preceded by dropping the files from the page cache, which takes milliseconds."""

    def forget_and_call() -> np.ndarray | None:
        for path in files:
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return call()

    return forget_and_call


def _check(results: dict[str, np.ndarray | None], expected: Float32[np.ndarray, "word feature"]) -> None:
    for name, matrix in results.items():
        if matrix is not None and not np.array_equal(matrix, expected):
            raise ValueError(f"{name} read other numbers than were written.")


if __name__ == "__main__":
    main()

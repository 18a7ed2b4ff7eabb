"""A small store of drawn vectors: its recipe, its vectors, and how to write it whole or a shard at a time."""

import hashlib
from pathlib import Path

import ml_dtypes  # noqa: F401 - teaches NumPy the name bfloat16
import numpy as np

from lca_jax.store.folder_writer import FolderWriter
from lca_jax.store.memory_writer import MemoryWriter
from lca_jax.store.recipe import Recipe, SiteShape
from lca_jax.store.store import ActivationStore
from lca_jax.store.writer import ShardRecord, StoreWriter
from lca_jax.text.corpus import Corpus

SENTENCES = [["a", "b", "", "c"], [], ["d"] * 30, ["é", "日本", "🙂"], ["e"] * 13]
LABELS = [[None if word == "d" else word.upper() for word in sentence] for sentence in SENTENCES]
CORPUS = Corpus.from_words(SENTENCES, {"upper": LABELS}, name="drawn")
SITES = {"residual": SiteShape(layers=(0, 2, 5), width=8), "mlp": SiteShape(layers=(1,), width=16)}
RECIPE = Recipe(
    model="m" * 64,
    corpus=CORPUS.fingerprint(),
    words=50,
    sites=SITES,
    dtype="float32",
    pool="last",
    edits=None,
    longest_window=512,
    row_length=128,
    shard_words=16,
)


def draw_vectors(recipe: Recipe) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    vectors = {
        site: generator.standard_normal((recipe.words, len(shape.layers), shape.width)).astype(recipe.dtype)
        for site, shape in recipe.sites.items()
    }
    for array in vectors.values():
        array[2] = 0
    return vectors


def write_shard(writer: StoreWriter, recipe: Recipe, shard: int) -> None:
    first, last = recipe.shard_range(shard)
    arrays = writer.new_arrays(shard)
    for site, vectors in draw_vectors(recipe).items():
        arrays[site][:] = vectors[first:last]
    excluded = {2: "no piece"} if shard == 0 else {}
    pieces = [0 if word in excluded else 1 + word % 3 for word in range(last - first)]
    writer.write(shard, arrays, ShardRecord(pieces=pieces, excluded=excluded))


def write_store(path: str | Path | None, recipe: Recipe = RECIPE) -> ActivationStore:
    with MemoryWriter(recipe) if path is None else FolderWriter(path, recipe) as writer:
        for shard in sorted(writer.missing):
            write_shard(writer, recipe, shard)
        return writer.finish(CORPUS, {"model": "none", "tokenizer": "none"})


def hash_files(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }

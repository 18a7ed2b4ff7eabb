"""Stores in memory with planted neurons, for the tests of probes, rankings and analyses."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lca_jax.axes import Site
from lca_jax.probing.probe import Probe
from lca_jax.store.folder_writer import FolderWriter
from lca_jax.store.memory_writer import MemoryWriter
from lca_jax.store.recipe import Recipe, SiteShape
from lca_jax.store.store import ActivationStore
from lca_jax.store.writer import ShardRecord
from lca_jax.text.corpus import Corpus

CLASSES = ("ADJ", "NOUN", "VERB")
PLANTED = {"ADJ": [3], "NOUN": [10, 11], "VERB": [17]}
"""Columns that carry each class in `planted_store`; everything else is noise."""


def store_of(
    vectors: np.ndarray, sentences: Sequence[Sequence[str]], labels: Mapping[str, Sequence[Sequence[str | None]]]
) -> ActivationStore:
    """A store in memory of given vectors (word, layer, neuron)."""
    return store_of_sites({"residual": vectors}, sentences, labels)


def store_of_sites(
    vectors: dict[Site, np.ndarray],
    sentences: Sequence[Sequence[str]],
    labels: Mapping[str, Sequence[Sequence[str | None]]],
) -> ActivationStore:
    """A store in memory of given vectors (word, layer, neuron) at every site."""
    corpus = Corpus.from_words(sentences, labels)
    words = corpus.word_count
    recipe = Recipe(
        model="test",
        corpus=corpus.fingerprint(),
        words=words,
        sites={
            site: SiteShape(layers=tuple(range(of_site.shape[1])), width=of_site.shape[2])
            for site, of_site in vectors.items()
        },
        dtype="float32",
        pool="last",
        edits=None,
        longest_window=128,
        row_length=128,
        shard_words=words,
    )
    writer = MemoryWriter(recipe)
    arrays = writer.new_arrays(0)
    for site, of_site in vectors.items():
        arrays[site][:] = of_site
    writer.write(0, {}, ShardRecord(pieces=[1] * words, excluded={}))
    return writer.finish(corpus, {"model": "test", "tokenizer": "test", "corpus": corpus.name})


def planted_store(*, words: int = 240, layers: int = 3, width: int = 8, seed: int = 0) -> ActivationStore:
    """Words of three classes, four a sentence, whose vectors are noise but for the planted columns."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, len(CLASSES), words)
    X = rng.normal(size=(words, layers * width)).astype(np.float32)
    for name, columns in PLANTED.items():
        X[:, columns] += 2.5 * (classes == CLASSES.index(name))[:, None]
    forms = [f"{CLASSES[number].lower()}{rng.integers(0, 12)}" for number in classes]
    sentences = [forms[start : start + 4] for start in range(0, words, 4)]
    labels = [[CLASSES[number] for number in classes[start : start + 4]] for start in range(0, words, 4)]
    return store_of(X.reshape(words, layers, width), sentences, {"upos": labels})


def as_sentences(store: ActivationStore) -> ActivationStore:
    """The same rows, taken for sentences."""
    recipe = replace(store.manifest.recipe, pool="cls")
    return replace(store, manifest=replace(store.manifest, recipe=recipe))


def kept_accuracy(probe: Probe, X: np.ndarray, gold: np.ndarray, columns: np.ndarray) -> float:
    """Accuracy with some features kept and the others at their training mean, written plainly."""
    W = np.zeros_like(probe.weights)
    W[columns] = probe.weights[columns]
    return float((((X - probe.mean) / probe.scale @ W + probe.bias).argmax(axis=1) == gold).mean())


def write_planted_store(path: Path, *, words: int) -> Path:
    """The same words as one long sentence in a store on disk."""
    planted = planted_store(words=words)
    corpus = Corpus.from_words([planted.forms()], {"upos": [planted.labels("upos")]})
    return write_store(path, planted, corpus)


def write_store(path: Path, store: ActivationStore, corpus: Corpus, *, model: str = "test") -> Path:
    """The words of a store in memory in shards on disk, as those of another corpus with as many words."""
    recipe = replace(store.manifest.recipe, corpus=corpus.fingerprint(), shard_words=256)
    vectors = store.read("residual")[:]
    with FolderWriter(path, recipe) as writer:
        for shard in range(recipe.shard_count):
            first, last = recipe.shard_range(shard)
            arrays = writer.new_arrays(shard)
            arrays["residual"][:] = vectors[first:last]
            writer.write(shard, arrays, ShardRecord(pieces=[1] * (last - first), excluded={}))
        writer.finish(corpus, {"model": model, "tokenizer": "test"})
    return path

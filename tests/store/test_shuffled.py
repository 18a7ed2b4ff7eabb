"""Random batches from a store: every wanted word once, with its own vector, in an order that the seed decides."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lca_jax.errors import SettingsError, StoreError
from lca_jax.store.folder_writer import FolderWriter
from lca_jax.store.recipe import SiteShape
from lca_jax.store.shuffled import read_shuffled
from lca_jax.store.store import ActivationStore, open_store
from lca_jax.store.writer import ShardRecord
from lca_jax.text.corpus import Corpus
from tests.store.writing import RECIPE, write_store

WORDS = 3000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ActivationStore:
    """Twelve chunks in four shards; every vector is its word's number, and every seventh word has none."""
    corpus = Corpus.from_words([["w"] * 10] * (WORDS // 10))
    sites = {"residual": SiteShape(layers=(0, 1), width=4)}
    recipe = replace(RECIPE, corpus=corpus.fingerprint(), words=WORDS, sites=sites, shard_words=768)
    with FolderWriter(tmp_path_factory.mktemp("shuffled") / "store", recipe) as writer:
        for shard in sorted(writer.missing):
            first, last = recipe.shard_range(shard)
            arrays = writer.new_arrays(shard)
            arrays["residual"][:] = np.arange(first, last)[:, None, None]
            excluded = {word - first: "no piece" for word in range(first, last) if word % 7 == 0}
            writer.write(shard, arrays, ShardRecord(pieces=[1] * (last - first), excluded=excluded))
        return writer.finish(corpus, {"model": "none", "tokenizer": "none"})


@pytest.mark.parametrize(("batch_words", "window_words"), [(100, 512), (1, 3000), (700, 300), (5000, 512)])
def test_every_usable_word_once(store: ActivationStore, batch_words: int, window_words: int) -> None:
    batches = list(read_shuffled(store, batch_words, seed=0, window_words=window_words))
    sizes = [len(batch.words) for batch in batches]
    assert set(sizes[:-1]) <= {batch_words}
    assert 0 < sizes[-1] <= batch_words
    words = np.concatenate([batch.words for batch in batches])
    np.testing.assert_array_equal(np.sort(words), np.flatnonzero(store.usable))
    for batch in batches:
        np.testing.assert_array_equal(batch.vectors, np.repeat(batch.words[:, None], 8, axis=1))


def test_the_seed_decides_the_order(store: ActivationStore) -> None:
    first, again, other = (
        np.concatenate([batch.words for batch in read_shuffled(store, 64, seed=seed, window_words=512)])
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9
    assert np.abs(np.diff(first)).mean() > 100, "neighbours in a batch are no neighbours in the corpus"


def test_some_words_and_layers(store: ActivationStore) -> None:
    mask = np.zeros(WORDS, bool)
    mask[[5, 700, 701, 2999]] = True
    (batch,) = read_shuffled(store, 10, seed=0, mask=mask, layers=[1])
    assert sorted(batch.words.tolist()) == [5, 700, 701, 2999]
    np.testing.assert_array_equal(batch.vectors, np.repeat(batch.words[:, None], 4, axis=1))
    assert list(read_shuffled(store, 10, seed=0, mask=np.zeros(WORDS, bool))) == []


def test_memory_and_disk_give_the_same(tmp_path: Path) -> None:
    disk, memory = (read_shuffled(write_store(path), 7, seed=3) for path in (tmp_path / "store", None))
    for one, other in zip(disk, memory, strict=True):
        np.testing.assert_array_equal(one.words, other.words)
        np.testing.assert_array_equal(one.vectors, other.vectors)


def test_wrong_settings_and_lost_shards_are_told(tmp_path: Path) -> None:
    write_store(tmp_path / "store")
    store = open_store(tmp_path / "store")
    with pytest.raises(SettingsError, match="`batch_words` and `window_words` must be 1 or more, got 0"):
        next(read_shuffled(store, 0, seed=0))
    with pytest.raises(SettingsError, match="one value for each of 50 words"):
        next(read_shuffled(store, 5, seed=0, mask=np.ones(49, bool)))
    (tmp_path / "store/mlp/c/2/0/0").unlink()
    with pytest.raises(StoreError, match="mlp/c/2/0/0 is missing"):
        next(read_shuffled(store, 5, seed=0))

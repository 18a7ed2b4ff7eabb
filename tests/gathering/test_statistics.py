"""Statistics of stores: against NumPy in float64, merged in any split, at the edges; kept with the store."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lca_jax import Gathering, gather_statistics, open_store
from lca_jax.errors import DataError, SettingsError, StoreError
from lca_jax.gathering import gather
from lca_jax.gathering.moments import GroupMoments, add_words, begin_sums, merge_groups, moments_of
from lca_jax.store.derived import pair_words
from lca_jax.store.folder_writer import FolderWriter
from lca_jax.store.memory_writer import MemoryWriter
from lca_jax.store.recipe import StoreDtype
from lca_jax.store.statistics import LEVELS, STATISTICS
from lca_jax.store.store import ActivationStore
from lca_jax.store.writer import ShardRecord
from lca_jax.text.corpus import Corpus
from tests.gathering.reference import check_against_numpy
from tests.processes import run_processes
from tests.store.writing import RECIPE, write_store
from tests.stores import planted_store, store_of

WIDTH, LAYERS = 5, 2


def draw_store(
    path: Path | None = None,
    *,
    words: int = 700,
    dtype: StoreDtype = "float32",
    offset: float = 0.0,
    without: tuple[int, ...] = (3, 699),
    shard_words: int = 256,
) -> ActivationStore:
    """Words with two tasks, of which some have no label and some no vector; neuron 1 of layer 0 never changes."""
    generator = np.random.default_rng(7)
    vectors = offset + generator.normal(size=(words, LAYERS, WIDTH)) * np.arange(1, WIDTH + 1)
    vectors[:, 0, 1] = offset + 0.1
    tags = [None if word % 7 == 0 else "abc"[int(kind)] for word, kind in enumerate(generator.integers(0, 3, words))]
    tags[5] = "once"
    parity = ["even" if word % 2 == 0 else "odd" for word in range(words)]
    corpus = Corpus.from_words([["w"] * words], {"tag": [tags], "parity": [parity]})
    recipe = replace(
        planted_store().manifest.recipe,
        corpus=corpus.fingerprint(),
        words=words,
        dtype=dtype,
        sites={"residual": replace(RECIPE.sites["residual"], layers=(0, 4), width=WIDTH)},
        shard_words=shard_words,
    )
    with MemoryWriter(recipe) if path is None else FolderWriter(path, recipe) as writer:
        for shard in range(recipe.shard_count):
            first, last = recipe.shard_range(shard)
            arrays = writer.new_arrays(shard)
            arrays["residual"][:] = vectors[first:last].astype(dtype)
            excluded = {word - first: "no piece" for word in without if first <= word < last}
            arrays["residual"][list(excluded)] = 0
            writer.write(shard, arrays, ShardRecord(pieces=[1] * (last - first), excluded=excluded))
        return writer.finish(corpus, {"model": "test", "tokenizer": "test"})


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_everything_is_what_numpy_says(tmp_path: Path, dtype: StoreDtype) -> None:
    store = draw_store(tmp_path / "store", dtype=dtype)
    found = gather_statistics(store)
    check_against_numpy(found, store)
    assert found.sampled == found.words == 698
    exact = np.quantile(store.matrix(store.usable).astype(np.float64), LEVELS, axis=0)
    np.testing.assert_allclose(found.quantiles, exact, rtol=1e-6, atol=1e-6)
    assert found.quantile_error() == 0


def test_a_large_offset_cancels_nothing() -> None:
    store = draw_store(offset=10_000.0)
    check_against_numpy(gather_statistics(store), store)


def test_a_neuron_that_never_changes_has_no_variance_at_all() -> None:
    found = gather_statistics(draw_store(offset=1_234.5))
    assert found.variance[1] == 0
    assert (found.of_task("tag").variance[:, 1] == 0).all()
    assert found.mean[1] == found.smallest[1] == found.largest[1] == np.float32(1_234.6)
    correlation = found.correlation("residual", 0)
    assert (correlation[1] == 0).all()
    np.testing.assert_array_equal(np.diagonal(correlation), [1, 0, 1, 1, 1])


def test_blocks_stretches_and_devices_change_nothing_but_last_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """700 words in one block, in three, and in three stretches of one block; this process has eight devices."""
    store = draw_store(offset=100.0)
    whole = gather_statistics(store)
    monkeypatch.setattr(gather, "BLOCK_BYTES", 1.0)
    blocks = gather_statistics(store)
    monkeypatch.setattr(gather, "STRETCH_BLOCKS", 1)
    stretches = gather_statistics(store)
    for other in (blocks, stretches):
        check_against_numpy(other, store)
        np.testing.assert_array_equal(other.quantiles, whole.quantiles)
        np.testing.assert_array_equal(other.of_task("tag").counts, whole.of_task("tag").counts)


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=4), seed=st.integers(0, 50), offset=st.sampled_from([0.0, 5e3]))
def test_merging_any_split_gives_the_whole(cuts: list[int], seed: int, offset: float) -> None:
    """Empty parts, parts without a class and parts of one word among them."""
    generator = np.random.default_rng(seed)
    X = (offset + generator.normal(size=(60, 1, 1, 3))).astype(np.float32)
    groups = generator.integers(0, 3, (60, 1, 1)).astype(np.int32)

    def moments(first: int, last: int) -> GroupMoments:
        rows = np.arange(60)[:, None]
        counted = (rows >= first) & (rows < last)
        vectors = {"residual": jnp.asarray(X)}
        begun = begin_sums(vectors, jnp.asarray(counted), groups=3, covariance=True)
        return moments_of(add_words(begun, vectors, jnp.asarray(groups), jnp.asarray(counted)))

    bounds = [0, *sorted(cuts), 60]
    merged = moments(0, bounds[1])
    for first, last in pairwise(bounds[1:]):
        merged = merge_groups(merged, moments(first, last))
    wide = X[:, 0, 0].astype(np.float64)
    for group in range(3):
        mine = wide if group == 0 else wide[groups[:, 0, 0] == group]
        assert merged.counts[group] == len(mine)
        if len(mine):
            np.testing.assert_allclose(merged.sites["residual"].mean[group, 0], mine.mean(axis=0), atol=1e-6)
            squares = ((mine - mine.mean(axis=0)) ** 2).sum(axis=0)
            np.testing.assert_allclose(merged.sites["residual"].squares[group, 0], squares, rtol=2e-6, atol=2e-5)
    products = merged.sites["residual"].products
    assert products is not None
    np.testing.assert_allclose(products[0], 60 * np.cov(wide.T, ddof=0), atol=5e-5)
    np.testing.assert_array_equal(merged.sites["residual"].smallest[0], wide.min(axis=0))
    np.testing.assert_array_equal(merged.sites["residual"].largest[0], wide.max(axis=0))


def test_a_class_of_one_word_and_a_store_of_one_word() -> None:
    tag = gather_statistics(draw_store()).of_task("tag")
    once = tag.classes.index("once")
    assert tag.counts[once] == 1
    assert (tag.variance[once] == 0).all()
    single = store_of(np.full((1, 1, 3), 2.5, np.float32), [["w"]], {"tag": [["a"]]})
    found = gather_statistics(single)
    assert found.words == found.sampled == 1
    np.testing.assert_array_equal(found.mean, [2.5] * 3)
    assert (found.variance == 0).all()
    assert (found.quantile(0.3) == 2.5).all()


def test_words_without_a_vector_count_nowhere() -> None:
    """A class of such words is listed without any; a store of such words has no numbers at all."""
    found = gather_statistics(draw_store(without=(5, 6)))
    tag = found.of_task("tag")
    once = tag.classes.index("once")
    assert found.words == 698
    assert tag.counts[once] == 0
    assert np.isnan(tag.mean[once]).all()
    assert np.isnan(tag.variance[once]).all()
    none = gather_statistics(draw_store(words=6, without=tuple(range(6))))
    assert none.words == none.sampled == 0
    for name in ("mean", "variance", "smallest", "largest", "quantiles"):
        assert np.isnan(getattr(none, name)).all(), name
    assert np.isnan(none.of_task("tag").variance).all()
    with pytest.raises(SettingsError, match="no word with a vector was drawn"):
        none.quantile(0.5)


def test_a_value_that_is_not_finite_is_named() -> None:
    vectors = np.zeros((6, 2, 3), np.float32)
    vectors[4, 1, 2] = np.nan
    with pytest.raises(DataError, match="residual layer 1, neuron 2 of 'e', word 2 of sentence 2 in memory, is nan"):
        gather_statistics(store_of(vectors, [["a", "b", "c"], ["d", "e", "f"]], {}))


def test_quantiles_of_a_sample_keep_their_bound() -> None:
    """The largest difference of ranks over all neurons and levels, against the bound for all of them at once."""
    words = 20_000
    generator = np.random.default_rng(1)
    skewed = np.exp(generator.normal(size=(words, 1, 8))).astype(np.float32)
    found = gather_statistics(store_of(skewed, [["w"] * words], {}), Gathering(sample_words=500))
    assert (found.sampled, found.words) == (500, words)
    bound = found.quantile_error(confidence=0.999, neurons=8 * len(LEVELS))
    assert bound == pytest.approx(np.sqrt(np.log(2 * 8 * len(LEVELS) / 0.001) / 1000))
    ranks = (skewed[:, 0, :, None] <= found.quantiles.T[None]).mean(axis=0)
    worst = np.abs(ranks - LEVELS[None])[:, 1:-1].max()
    assert 0.005 < worst < bound + 1 / 500
    assert found.quantile_error(confidence=0.95) < bound
    assert gather_statistics(planted_store(), Gathering(sample_words=0)).sampled == 0


def test_quantiles_between_the_kept_levels_and_bad_settings() -> None:
    store = draw_store()
    found = gather_statistics(store)
    X = store.matrix(store.usable)
    for level in (0.0, 0.001, 0.025, 0.5, 0.999, 1.0):
        np.testing.assert_allclose(found.quantile(level), np.quantile(X, level, axis=0), rtol=1e-5, atol=1e-6)
    between = found.quantile(0.3333)
    assert (found.quantile(0.33) <= between).all()
    assert (between <= found.quantile(0.335)).all()
    with pytest.raises(SettingsError, match=r"`level` must be in \[0, 1\], got 50"):
        found.quantile(50.0)
    with pytest.raises(SettingsError, match=r"`confidence` must be in \(0, 1\), got 95"):
        found.quantile_error(confidence=95.0)
    with pytest.raises(SettingsError, match="0 or more, got -1"):
        Gathering(sample_words=-1)
    with pytest.raises(SettingsError, match=r"No labels for the task 'chunk'\. Its tasks: tag, parity"):
        gather_statistics(store, Gathering(tasks=("chunk",)))
    chosen = gather_statistics(store, Gathering(tasks=["parity"], covariance=False))
    with pytest.raises(SettingsError, match=r"no classes of 'tag'\. Tasks gathered: parity"):
        chosen.of_task("tag")
    with pytest.raises(SettingsError, match="without covariances"):
        chosen.covariance("residual", 0)
    with pytest.raises(SettingsError, match=r"Layers of `residual` in the statistics of memory are 0, 4; .* Got 1\."):
        found.covariance("residual", 1)
    names = [[str(number) for number in range(2_001)]]
    with pytest.raises(SettingsError, match=r"at most 2,000 classes, got 2,001 \(lemma 2,001\)"):
        gather_statistics(store_of(np.zeros((2_001, 1, 1), np.float32), names, {"lemma": [[*names[0]]]}))


def test_several_sites_and_derived_stores() -> None:
    store = write_store(None)
    found = gather_statistics(store)
    X = store.matrix(store.usable).astype(np.float64)
    np.testing.assert_allclose(found.mean, X.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.covariance("mlp", 1), np.cov(X[:, 24:].T, ddof=0), atol=1e-6)
    sentences = [["a", "b", "c"]] * 40
    heads = store_of(np.random.default_rng(0).normal(size=(120, 1, 4)), sentences, {"head": [["2", "0", "2"]] * 40})
    pairs = pair_words(heads)
    check_against_numpy(gather_statistics(pairs), pairs)


def test_kept_with_the_store_and_read_back_without_activations(tmp_path: Path) -> None:
    store = draw_store(tmp_path / "store")
    with pytest.raises(StoreError, match=r"has no statistics\. Gather them: `gather_statistics\(store\)`"):
        store.statistics()
    manifest = (tmp_path / "store/manifest.json").read_bytes()
    gathered = gather_statistics(store)
    store = open_store(tmp_path / "store")
    assert store.has_statistics
    assert (tmp_path / "store/manifest.json").read_bytes() == manifest
    held = store.statistics()
    assert held.to_bytes() == gathered.to_bytes() == (tmp_path / "store" / STATISTICS).read_bytes()
    assert held.gathering == Gathering()
    assert held.axis == store.axis()
    store.verify()
    for file in (tmp_path / "store/residual/c").rglob("0"):
        if file.is_file():
            file.write_bytes(b"")
    np.testing.assert_array_equal(store.statistics().mean, gathered.mean)
    with pytest.raises(StoreError, match="was altered"):
        store.verify()


def test_altered_and_foreign_statistics_are_refused(tmp_path: Path) -> None:
    store = draw_store(tmp_path / "store")
    gather_statistics(store)
    file = tmp_path / "store" / STATISTICS
    content = file.read_bytes()
    for place in (30, len(content) // 2, len(content) - 1):
        altered = bytearray(content)
        altered[place] ^= 1
        file.write_bytes(altered)
        with pytest.raises(StoreError, match=f"{STATISTICS} (was altered|breaks its format).*gather again"):
            open_store(tmp_path / "store").verify()
    file.write_bytes(content[:1000])
    with pytest.raises(StoreError, match="breaks its format"):
        store.statistics()
    other = draw_store(tmp_path / "other", words=300, without=())
    (tmp_path / "other" / STATISTICS).write_bytes(content)
    with pytest.raises(StoreError, match="belongs to another store"):
        other.statistics()


SCRIPT = """
import numpy as np
from lca_jax import gather_statistics, open_store
from lca_jax.gathering import gather
gather.BLOCK_BYTES, gather.STRETCH_BLOCKS = 1.0, 1
found = gather_statistics(open_store(sys.argv[5]))
np.savez(f"{sys.argv[6]}/{number}.npz", found.mean, found.variance, found.quantiles, found.of_task("tag").mean)
"""


@pytest.mark.slow
def test_processes_share_the_words_and_have_the_same_result(tmp_path: Path) -> None:
    store = draw_store(tmp_path / "store")
    run_processes(SCRIPT, [str(tmp_path / "store"), str(tmp_path)], count=2, devices=1)
    alone = gather_statistics(draw_store())
    check_against_numpy(store.statistics(), store)
    expected = (alone.mean, alone.variance, alone.quantiles, alone.of_task("tag").mean)
    for number in range(2):
        given = np.load(tmp_path / f"{number}.npz").values()
        for one, other in zip(given, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)

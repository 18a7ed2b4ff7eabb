"""Derived stores against the same written out in NumPy, word by word; and that everything downstream takes them."""

from pathlib import Path

import numpy as np
import pytest

from lca_jax.analysis.curves import keep_curve
from lca_jax.analysis.minimal import minimal_neurons
from lca_jax.axes import Neuron
from lca_jax.errors import DataError, SettingsError
from lca_jax.exchange.export import write_arrow
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.objective import ElasticNet
from lca_jax.ranking.lca import rank_neurons
from lca_jax.store import in_order
from lca_jax.store.derived import pair_words, pool_sentences
from lca_jax.store.folder_writer import FolderWriter
from lca_jax.store.memory_writer import MemoryWriter
from lca_jax.store.recipe import Recipe, SiteShape
from lca_jax.store.store import ActivationStore
from lca_jax.store.units import all_words
from lca_jax.store.writer import ShardRecord
from lca_jax.text.corpus import Corpus
from tests.stores import store_of

SENTENCES = [["the", "cat", "sat"], [], ["\u200b", "dogs", "ran", "far"], ["go"], ["no", "heads"]]
HEADS = [["2", "3", "0"], [], ["2", "3", "0", "1"], ["0"], [None, "1"]]
RELATIONS = [["det", "nsubj", "root"], [], ["x", "nsubj", "root", "advmod"], ["root"], ["det", "dep"]]
CORPUS = Corpus.from_words(
    SENTENCES, {"head": HEADS, "deprel": RELATIONS}, sentence_labels={"length": ["3", "0", "4", None, "2"]}
)
PAIRS = [("cat", "the", 1, 0), ("sat", "cat", 2, 1), ("ran", "dogs", 5, 4), ("no", "heads", 8, 9)]
"""Head, modifier and their rows, read off HEADS; `\\u200b` has no vector."""
SHAPES = {"residual": SiteShape(layers=(0, 3), width=4), "mlp": SiteShape(layers=(1,), width=6)}
VECTORS = {
    site: np.random.default_rng(7).standard_normal((10, len(shape.layers), shape.width)).astype(np.float32)
    for site, shape in SHAPES.items()
}


def write_store(path: Path | None, corpus: Corpus = CORPUS) -> ActivationStore:
    """Ten words in shards of four, the fourth without a vector."""
    recipe = Recipe(
        model="m",
        corpus=corpus.fingerprint(),
        words=10,
        sites=SHAPES,
        dtype="float32",
        pool="last",
        edits=None,
        longest_window=16,
        row_length=16,
        shard_words=4,
    )
    writer = MemoryWriter(recipe) if path is None else FolderWriter(path, recipe)
    for shard in sorted(writer.missing):
        first, last = recipe.shard_range(shard)
        arrays = writer.new_arrays(shard)
        for site, of_site in VECTORS.items():
            arrays[site][:] = of_site[first:last]
        excluded = {3 - first: "no piece"} if first <= 3 < last else {}
        for word in excluded:
            for of_site in arrays.values():
                of_site[word] = 0
        writer.write(shard, arrays, ShardRecord(pieces=[1] * (last - first), excluded=excluded))
    return writer.finish(corpus, {"model": "m", "tokenizer": "t"}, all_words(corpus))


@pytest.mark.parametrize("on_disk", [True, False])
def test_words_and_their_heads_side_by_side(tmp_path: Path, on_disk: bool) -> None:
    store = write_store(tmp_path / "store" if on_disk else None)
    pairs = pair_words(store)
    assert pairs.forms() == [modifier for _, modifier, _, _ in PAIRS]
    assert pairs.labels("deprel") == ["det", "nsubj", "nsubj", "dep"]
    assert pairs.sites == {"head.residual": (0, 3), "head.mlp": (1,), "residual": (0, 3), "mlp": (1,)}
    assert pairs.excluded == {"head without a vector": 1, "no head given": 1, "no piece": 1, "root": 3}
    assert (pairs.word_count, pairs.usable.all(), pairs.manifest.counts["vectors"]) == (4, True, 4)
    heads, modifiers = [head for *_, head, _ in PAIRS], [modifier for *_, modifier in PAIRS]
    expected = np.concatenate(
        [VECTORS[site][rows].reshape(4, -1) for rows in (heads, modifiers) for site in SHAPES], axis=1
    )
    np.testing.assert_array_equal(pairs.matrix(), expected)
    np.testing.assert_array_equal(pairs.matrix([3, 0, 3]), expected[[3, 0, 3]])
    np.testing.assert_array_equal(pairs.matrix(pairs.usable, sites=["mlp"]), VECTORS["mlp"][modifiers][:, 0])
    np.testing.assert_array_equal(
        pairs.matrix(sites=["head.residual"], layers=[3]), VECTORS["residual"][heads, 1], strict=True
    )
    axis = pairs.axis()
    assert axis.size == 2 * store.axis().size == 28
    assert [str(axis.neuron(column)) for column in (5, 8, 18, 27)] == [
        "head.residual 3:1", "head.mlp 1:0", "3:0", "mlp 1:5",
    ]  # fmt: skip
    assert axis.column(Neuron("head.residual", 3, 1)) == 5
    assert pairs.fingerprint != store.fingerprint
    assert pair_words(store).fingerprint == pairs.fingerprint


def test_rows_taken_are_indexed_like_numpy(tmp_path: Path) -> None:
    rows = np.array([8, 1, 1, 5, 0])
    expected = VECTORS["residual"][rows]
    for store in (write_store(tmp_path / "store"), write_store(None)):
        taken = store.read("residual").take(rows)
        assert (taken.shape, len(taken), taken.nbytes) == ((5, 2, 4), 5, 160)
        for index in (..., 2, -1, slice(1, 4), slice(None, None, -2), [4, 0], np.array([1, 0, 0, 1, 1], bool)):
            np.testing.assert_array_equal(taken[index], expected[index])
        for index in ((slice(1, 3), 1), (3, slice(None), 2), (slice(0, 4), [1, 0]), (..., [3, 0]), ([2, 3], 0)):
            np.testing.assert_array_equal(taken[index], expected[index])
        np.testing.assert_array_equal(taken.take(np.array([3, 3, 0]))[:], expected[[3, 3, 0]])
        with pytest.raises(IndexError, match="Position 5 is outside an axis of 5"):
            taken[5]


def test_what_is_no_pair_is_refused() -> None:
    store = write_store(None)
    with pytest.raises(SettingsError, match=r"No labels for the task 'governor'.*head, deprel"):
        pair_words(store, "governor")
    with pytest.raises(DataError, match=r"`deprel` must be numbers.*\n.*sentence 1, word 1 \('the'\): 'det'"):
        pair_words(store, "deprel")
    with pytest.raises(SettingsError, match="units of memory are pairs of words"):
        pair_words(pair_words(store))
    roots = CORPUS.with_task("head", [["0"] * len(sentence) for sentence in SENTENCES])
    with pytest.raises(DataError, match="No word of memory has a head with a vector"):
        pair_words(write_store(None, roots))
    with pytest.raises(SettingsError, match="units of memory are sentences"):
        pair_words(pool_sentences(store))
    with pytest.raises(SettingsError, match="units of memory are sentences"):
        pool_sentences(pool_sentences(store))


def test_what_only_heads_tell_is_found_in_heads(tmp_path: Path) -> None:
    """The label of a word is carried by one neuron of its head: the ranking, curves and minimal sets say so."""
    generator = np.random.default_rng(0)
    words, length = 400, 4
    vectors = generator.standard_normal((words, 2, 6)).astype(np.float32)
    heads = [[str(1 + (place + 1) % length) for place in range(length)] for _ in range(words // length)]
    rows = np.arange(words) // length * length + np.array(heads, int).ravel() - 1
    labels = np.where(vectors[rows, 1, 4] > 0, "up", "down").reshape(-1, length).tolist()
    forms = [[f"w{draw}" for draw in generator.integers(0, 20, length)] for _ in heads]
    corpus_labels: dict = {"head": heads, "deprel": labels}
    pairs = pair_words(store_of(vectors, forms, corpus_labels))
    probes = fit_probes(pairs, ElasticNet(l1=(1e-3, 1e-2), l2=1e-3), tasks=["deprel"])
    best = probes.select(pairs)
    ranking = rank_neurons(best, "deprel")
    assert ranking.neurons[0] == Neuron("head.residual", 1, 4)
    ranking.write_csv(tmp_path / "ranking.csv")
    assert (tmp_path / "ranking.csv").read_text().splitlines()[1].startswith("1,head.residual,1,4,")
    assert keep_curve(best, ranking, pairs, fractions=(0.05,), draws=2).points[0].top > 0.95
    assert minimal_neurons(pairs, pairs, ranking, best, drop=0.02).columns.tolist() == [10]
    write_arrow(pairs, tmp_path / "pairs.arrow")


def test_sentences_are_means_of_their_words() -> None:
    store = write_store(None)
    pooled = pool_sentences(store)
    assert pooled.forms() == [" ".join(sentence) for sentence in SENTENCES]
    assert pooled.labels("length") == ["3", None, "4", None, "2"], "the empty sentence has no word to keep its label"
    assert (pooled.tasks, pooled.unit) == (("length",), "sentence")
    assert pooled.excluded == {"no word with a vector": 1}
    assert pooled.words["pieces"].to_pylist() == [3, 0, 4, 1, 2]
    ranges = [(0, 3), (0, 0), (4, 7), (7, 8), (8, 10)]  # the third without its first word, which has no vector
    for site in SHAPES:
        for sentence, (first, last) in enumerate(ranges):
            expected = VECTORS[site][first:last].mean(axis=0) if last > first else np.zeros(VECTORS[site].shape[1:])
            np.testing.assert_allclose(pooled.read(site)[sentence], expected, rtol=0, atol=1e-6)
    assert pooled.fingerprint != store.fingerprint


def test_a_sentence_that_reads_share_is_summed_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first word and the last cancel: a sum kept in float32 in between has lost a tenth of what is left."""
    monkeypatch.setattr(in_order, "WORDS_AT_ONCE", 2)
    small = float(np.float32(1e-6))
    vectors = np.array([2, 1, small, small, -1, 3], np.float32).reshape(6, 1, 1)
    pooled = pool_sentences(store_of(vectors, [["a"], ["b", "c", "d", "e"], ["f"]], {}))
    np.testing.assert_allclose(pooled.read("residual")[0:3].ravel(), [2, 2 * small / 4, 3], rtol=1e-6)

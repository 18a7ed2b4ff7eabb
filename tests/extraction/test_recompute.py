"""Stores that are computed when they are read: the bits that `extract` stores, whatever is read in whatever order."""

from pathlib import Path

import jax
import numpy as np
import pytest

from lca_jax import ElasticNet, extract, fit_probes, recompute
from lca_jax.errors import CorpusError, DataError, SettingsError
from lca_jax.extraction import running
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.models.stack.taps import Edit
from lca_jax.store.derived import pair_words
from lca_jax.store.recipe import WordChoice
from lca_jax.text.corpus import Corpus
from tests.extraction.corpora import ODD, draw_corpus
from tests.tiny_bert import write_bert

SETTINGS: dict = {"shard_words": 64, "rows_per_batch": 8, "row_length": 24}
SITES = ("residual", "mlp")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_bert(tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return draw_corpus(200)


@pytest.fixture
def computed_words(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The words of every batch that is computed from now on."""
    words: list[int] = []
    copy = running.copy_to_host

    def count(batch: running.ReadBatch, *rest, **keywords) -> running.WordVectors:
        words.extend(batch.words[batch.words >= 0].tolist())
        return copy(batch, *rest, **keywords)

    monkeypatch.setattr(running, "copy_to_host", count)
    return words


@pytest.mark.parametrize(
    "options",
    [
        {"sites": SITES},
        {"pool": "mean", "dtype": "bfloat16"},
        {"pool": "none", "choice": WordChoice(special_pieces=True)},
        {"choice": WordChoice(labelled=["length"], per_class=20), "neurons": [3, 1], "layers": [2, 0]},
    ],
)
def test_bits_words_and_counts_are_those_of_extract(model: Model, corpus: Corpus, options: dict) -> None:
    found, expected = (make(model, corpus, **options, **SETTINGS) for make in (recompute, extract))
    assert found.words.equals(expected.words)
    assert (found.fingerprint, found.manifest.counts) == (expected.fingerprint, expected.manifest.counts)
    np.testing.assert_array_equal(found.matrix(), expected.matrix())
    for site in found.sites:
        assert found.read(site)[:].tobytes() == expected.read(site)[:].tobytes()


def test_any_rows_in_any_order(model: Model, corpus: Corpus) -> None:
    found, expected = (make(model, corpus, sites=SITES, **SETTINGS) for make in (recompute, extract))
    generator = np.random.default_rng(0)
    for size in (0, 1, 300):
        rows = generator.integers(0, corpus.word_count, size)
        np.testing.assert_array_equal(found.matrix(rows), expected.matrix(rows))
    lazy, held = found.read("residual"), expected.read("residual")
    some = lazy.take(np.array([9, 2, 9]))
    np.testing.assert_array_equal(some[:], held[[9, 2, 9]])
    for index in (5, -1, (slice(3, 90, 7), 1), ([4, 4, 1], slice(None), 2), (slice(2, 5), [2, 0])):
        np.testing.assert_array_equal(lazy[index], held[index])


def test_odd_words_and_long_sentences_have_the_same_rows(model: Model) -> None:
    odd = Corpus.from_words(ODD)
    found, expected = (make(model, odd, **SETTINGS) for make in (recompute, extract))
    assert found.excluded == expected.excluded == {"longer than a window": 1, "no piece": 6}
    np.testing.assert_array_equal(found.matrix(), expected.matrix())


def test_neighbouring_reads_compute_each_word_once(model: Model, corpus: Corpus, computed_words: list[int]) -> None:
    store = recompute(model, corpus, sites=SITES, **SETTINGS)
    for first in range(0, store.word_count, 50):
        store.matrix(np.arange(first, min(first + 50, store.word_count)))
    assert sorted(computed_words) == list(range(store.word_count)), "several sites are one run of the model"


def test_all_reads_compile_one_shape(tmp_path: Path, corpus: Corpus, caplog: pytest.LogCaptureFixture) -> None:
    fresh = load_model(write_bert(tmp_path, seed=5, num_hidden_layers=1))
    store = recompute(fresh, corpus, **SETTINGS)
    with jax.log_compiles():
        for rows in ([0], [7, 300], range(100), range(400, 0, -3)):
            store.matrix(np.array(rows))
    assert len([line for line in caplog.messages if line.startswith("Compiling") and "read_vectors" in line]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_probes_are_those_of_the_stored_vectors(model: Model, corpus: Corpus, stream: bool) -> None:
    stores = [make(model, corpus, **SETTINGS) for make in (recompute, extract)]
    net = ElasticNet(l1=1e-2, l2=1e-2, max_iterations=20, tolerance=1e-2)
    found, expected = (fit_probes(store, net, tasks=["length"], stream=stream) for store in stores)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.weights, other.weights, atol=1e-6)


def test_a_word_and_its_head_are_computed_together(model: Model, computed_words: list[int]) -> None:
    heads = Corpus.from_words([["cat", "sat", "the"]] * 30, {"head": [["2", "0", "1"]] * 30})
    found, expected = (pair_words(make(model, heads, **SETTINGS)) for make in (recompute, extract))
    computed_words.clear()
    np.testing.assert_array_equal(found.matrix(), expected.matrix())
    assert sorted(computed_words) == list(range(90))


def test_errors_are_those_of_extract(model: Model, corpus: Corpus) -> None:
    scale, shift = np.ones((3, 32), np.float32), np.zeros((3, 32), np.float32)
    shift[2, 7] = np.inf
    store = recompute(model, corpus, edits={"residual": Edit(scale, shift)}, **SETTINGS)
    with pytest.raises(DataError, match=r"layer 2 of `residual` is not at word .* of sentence"):
        store.matrix([5])
    with pytest.raises(SettingsError, match="multiple of 256, or less than that, got 300"):
        recompute(model, corpus, shard_words=300)
    with pytest.raises(CorpusError, match="no words"):
        recompute(model, Corpus(sentences=((), ()), labels={}))

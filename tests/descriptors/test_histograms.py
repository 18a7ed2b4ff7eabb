"""Activations by class: counts against np.histogram, blocks, edges, and what is refused."""

import numpy as np
import pytest

import lca_jax as lca
from lca_jax.axes import Neuron
from lca_jax.descriptors import histograms
from lca_jax.descriptors.activation_bins import BINS, REACH, activations_by_class, count_in_bins
from lca_jax.descriptors.top_words import neuron_cards
from lca_jax.errors import DataError, SettingsError, StoreError
from lca_jax.store.store import ActivationStore
from tests.stores import store_of

WORDS, WIDTH = 240, 6


def made_store(*, broken: bool = False) -> ActivationStore:
    """Two layers of skewed values; the neuron 0:0 never changes, and every seventh word has no label."""
    generator = np.random.default_rng(0)
    vectors = np.exp(generator.normal(size=(WORDS, 2, WIDTH))).astype(np.float32)
    vectors[:, 0, 0] = 3.0
    if broken:
        vectors[5, 1, 2] = np.nan
    labels = [None if word % 7 == 0 else "ab"[int(vectors[word, 1, 3] > 1)] for word in range(WORDS)]
    sentences = [[f"w{word}" for word in range(first, first + 8)] for first in range(0, WORDS, 8)]
    return store_of(vectors, sentences, {"t": [labels[first : first + 8] for first in range(0, WORDS, 8)]})


def expected_counts(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """NumPy's own, with what lies beyond moved onto the outermost edges."""
    return np.histogram(np.clip(values.astype(np.float64), edges[0], edges[-1]), edges)[0]


@pytest.mark.parametrize("block", [7 * WIDTH, 2**22])
def test_counts_are_those_of_numpy_for_any_block(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    store = made_store()
    statistics = lca.gather_statistics(store)
    monkeypatch.setattr(histograms, "BLOCK_VALUES", block)
    found = lca.class_histograms(store, bins=9, reach=1.5, statistics=statistics)
    X, labels = store.matrix(), np.array(store.labels("t"), object)
    assert found.classes == ("a", "b")
    assert found.counts.shape == (2, 2 * WIDTH, 9)
    for place, neuron in enumerate(found.neurons):
        mean, deviation = statistics.mean[place], np.sqrt(statistics.variance[place])
        half = 1.5 * deviation if deviation else 0.5
        np.testing.assert_allclose(found.edges[place], np.linspace(mean - half, mean + half, 10), rtol=1e-12)
        for name, counts in found.of(neuron).items():
            np.testing.assert_array_equal(counts, expected_counts(X[labels == name, place], found.edges[place]))
    np.testing.assert_array_equal(found.counts.sum(axis=2), np.repeat(found.words[:, None], 2 * WIDTH, axis=1))
    assert found.words.sum() == sum(label is not None for label in labels)


def test_chosen_neurons_of_a_store_are_those_of_all_and_of_words_in_memory() -> None:
    store = made_store()
    statistics = lca.gather_statistics(store)
    chosen = [Neuron("residual", 1, 4), Neuron("residual", 1, 0)]
    whole = lca.class_histograms(store, "t", statistics=statistics)
    some = lca.class_histograms(store, "t", neurons=chosen, statistics=statistics)
    words = lca.measured_words(store, store.axis(), "t", ("a", "b"))
    read = lca.class_histograms(words, neurons=chosen, statistics=statistics)
    for other in (some, read):
        assert other.neurons == tuple(chosen)
        for neuron in chosen:
            np.testing.assert_array_equal(other.of(neuron)["b"], whole.of(neuron)["b"])
    by_own_words = lca.class_histograms(words, neurons=chosen)
    np.testing.assert_allclose(by_own_words.edges.mean(axis=1), words.X[:, [WIDTH + 4, WIDTH]].mean(axis=0), rtol=1e-5)
    table = some.table()
    assert sum(table["words"]) == 2 * some.words.sum()  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert "2 classes by activation" in repr(some)
    assert "<table" in some._repr_html_()


def test_values_on_an_edge_lie_to_its_right_and_the_last_bin_is_closed() -> None:
    edges = np.linspace(-0.3, 0.3, 7)[None]
    values = np.concatenate([edges[0], np.nextafter(edges[0], -1), np.nextafter(edges[0], 1), [-9, 9, 1e300]])
    (counts,) = count_in_bins(values[:, None], np.zeros(len(values), int), edges, classes=1)
    np.testing.assert_array_equal(counts[0], expected_counts(values, edges[0]))


def test_what_cannot_be_counted_is_refused() -> None:
    store = made_store()
    with pytest.raises(StoreError, match="Gather them"):
        lca.class_histograms(store)
    statistics = lca.gather_statistics(store)
    for options in ({"bins": 0}, {"reach": 0.0}, {"neurons": [("residual", 9, 0)]}, {"neurons": [("mlp", 0, 0)]}):
        with pytest.raises(SettingsError):
            lca.class_histograms(store, "t", statistics=statistics, **options)  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match="neuron 2 of 'w5'"):
        lca.class_histograms(made_store(broken=True), "t", statistics=statistics)
    found = lca.class_histograms(store, "t", neurons=[("residual", 0, 1)], statistics=statistics)
    with pytest.raises(SettingsError, match="was not counted"):
        found.of(("residual", 0, 2))


def test_cards_have_the_activations_of_every_class_in_deviations() -> None:
    store = made_store()
    X, forms, labels = store.matrix()[:, 3:5], store.forms(), store.labels("t")
    cards = neuron_cards(
        forms, np.arange(WORDS) // 8, X, neurons=store.axis().neurons([3, 4]), classes=[("a",), ()], labels=labels
    )
    for column, card in enumerate(cards):
        values = X[:, column].astype(np.float64)
        scores = (values - values.mean()) / values.std()
        for of in card.activations:
            inside = scores[[label == of.name for label in labels]]
            assert of.mean == pytest.approx(inside.mean())
            np.testing.assert_array_equal(of.counts, expected_counts(inside, np.linspace(-REACH, REACH, BINS + 1)))
    assert [of.name for of in cards[0].activations] == ["a", "b"]
    assert activations_by_class(np.zeros((3, 2)), [None] * 3) == [(), ()]

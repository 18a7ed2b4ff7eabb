"""Language-specific neurons: entropies by hand, planted ones, and none where languages do not differ."""

import numpy as np
import pytest

from lca_jax import language_specificity
from lca_jax.analysis.specificity import activation_entropy, specific_neurons
from lca_jax.errors import SettingsError
from lca_jax.store.store import ActivationStore
from tests.stores import store_of_sites

NEURONS = 300


def store(vectors: np.ndarray) -> ActivationStore:
    sentences = [["w"] * 5 for _ in range(len(vectors) // 5)]
    labels = {"t": [["x"] * 5 for _ in sentences]}
    return store_of_sites({"mlp": vectors[:, None].astype(np.float32)}, sentences, labels)


def languages(planted: float, seed: int = 0) -> dict[str, ActivationStore]:
    """Three languages of 200 words; neurons 0 and 1 belong to the first, 2 to the second and third."""
    rng = np.random.default_rng(seed)
    found = {}
    for number, name in enumerate(("en", "de", "fr")):
        vectors = rng.normal(size=(200, NEURONS))
        vectors[:, [0, 1]] += planted if number == 0 else -planted
        vectors[:, 2] += planted if number else -planted
        found[name] = store(vectors)
    return found


def test_probability_and_entropy_are_those_of_a_plain_loop() -> None:
    stores = languages(2.0)
    found = language_specificity(stores)
    for column in (0, 2, 7):
        shares = []
        for row, of_name in enumerate(stores.values()):
            active = [value > 0 for value in of_name.matrix()[:, column]]
            assert found.probability[row, column] == pytest.approx(sum(active) / len(active))
            shares.append(sum(active) / len(active))
        q = [share / sum(shares) for share in shares]
        assert found.entropy[column] == pytest.approx(-sum(value * np.log(value) for value in q if value))
    assert activation_entropy(np.array([[1.0, 0.5, 0.0], [0.0, 0.5, 0.0]])) == pytest.approx(
        [0, np.log(2), np.nan], nan_ok=True
    )


def test_those_that_are_seldom_active_everywhere_are_left_out() -> None:
    probability = np.array([[0.9, 0.02, 0.5, 0.6], [0.1, 0.0, 0.5, 0.6]])
    chosen, bar = specific_neurons(probability, activation_entropy(probability), lowest=0.25, active=0.5)
    assert chosen.tolist() == [0]  # the second has no entropy at all, but is hardly ever active
    assert bar == pytest.approx(np.median(probability))


def test_planted_neurons_are_found_and_belong_to_their_languages() -> None:
    found = language_specificity(languages(3.0))
    assert sorted(found.specific.tolist()) == [0, 1, 2]
    assert {name: sorted(columns.tolist()) for name, columns in found.languages.items()} == {
        "en": [0, 1],
        "de": [2],
        "fr": [2],
    }
    assert found.expected == 0
    assert found.p == pytest.approx(1 / 21)
    assert "3 of 300 neurons are specific to some of 3 languages; 0 expected" in repr(found)


def test_where_languages_do_not_differ_shuffling_finds_as_many() -> None:
    found = [language_specificity(languages(0.0, seed)) for seed in range(6)]
    assert [len(each.specific) for each in found] == [3] * 6
    assert 1 < np.mean([each.expected for each in found]) < 5
    assert sum(each.p < 0.05 for each in found) <= 1


def test_elsewhere_a_neuron_is_active_above_its_mean_over_languages() -> None:
    rng = np.random.default_rng(1)
    vectors = {name: rng.normal(size=(100, 40)) + 7 for name in ("en", "de")}
    vectors["en"][:, 4] += 3
    sentences = [["w"] * 5 for _ in range(20)]
    labels = {"t": [["x"] * 5 for _ in sentences]}
    stores = {
        name: store_of_sites({"residual": of_name[:, None].astype(np.float32)}, sentences, labels)
        for name, of_name in vectors.items()
    }
    found = language_specificity(stores, lowest=0.03)
    assert found.specific.tolist() == [4]
    threshold = np.mean([of_name[:, 4].mean() for of_name in vectors.values()])
    assert found.probability[0, 4] == pytest.approx((vectors["en"][:, 4] > threshold).mean())
    with pytest.raises(SettingsError, match="two languages or more, got 1"):
        language_specificity({"en": stores["en"]})
    with pytest.raises(SettingsError, match="those of mlp are others"):
        language_specificity({**stores, "mlp": languages(1.0)["en"]})
    with pytest.raises(SettingsError, match="`lowest` must be in"):
        language_specificity(stores, lowest=0.0)

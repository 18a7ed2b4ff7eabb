"""Matching of neurons and descriptors: against NumPy, SciPy, scikit-learn and a plain loop over permutations."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from lca_jax.descriptors.matching import (
    average_precision,
    correlate,
    largest_by_chance,
    match,
    permutation_bound,
    permute_texts,
)
from lca_jax.errors import DataError


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
    """Activations with ties and a constant neuron, and presences of several shares."""
    rng = np.random.default_rng(0)
    activations = rng.normal(size=(150, 70)).astype(np.float32)
    activations[:, 3] = np.maximum(activations[:, 3], 0)
    activations[:, 4] = np.round(activations[:, 4], 1)
    activations[:, 5] = 7.5
    presence = (rng.uniform(size=(150, 5)) < [0.03, 0.2, 0.5, 0.9, 0.4]).astype(np.float32)
    presence[:, 4] = activations[:, 0] + rng.normal(size=150)
    return activations, presence


def test_scores_are_those_of_numpy_and_scikit_learn(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    activations, presence = pairs
    present = presence > 0.3
    found = match(activations, presence, present)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.corrcoef(activations.T.astype(np.float64), presence.T)[:70, 70:]
    assert (found.r[5] == 0).all()
    np.testing.assert_allclose(found.r[np.arange(70) != 5], expected[np.arange(70) != 5], atol=2e-6)
    np.testing.assert_array_equal(correlate(activations, presence), found.r)
    everything = np.tile(np.arange(5), (70, 1))
    precision = average_precision(activations, present, everything, np.where(found.r >= 0, 1, -1))
    for neuron in (0, 3, 4, 5, 69):
        for descriptor in range(5):
            sign = 1 if found.r[neuron, descriptor] >= 0 else -1
            of_pair = present[:, descriptor], sign * activations[:, neuron]
            assert precision[neuron, descriptor] == pytest.approx(average_precision_score(*of_pair), abs=1e-5)
            assert found.auc[neuron, descriptor] == pytest.approx(roc_auc_score(*of_pair), abs=1e-5)


def test_a_descriptor_of_all_texts_has_no_auc(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    activations, presence = pairs
    everywhere = np.ones_like(presence, bool)
    found = match(activations, presence, everywhere)
    assert np.isnan(found.auc).all()
    first = np.zeros((70, 1), int)
    np.testing.assert_allclose(average_precision(activations, everywhere, first, first + 1), 1, atol=1e-6)


def test_the_bound_is_that_of_a_loop_over_permutations(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    activations, presence = pairs
    documents = np.arange(150) // 3
    orders = permute_texts(150, documents=documents, permutations=39, seed=3)
    changing = np.delete(activations, 5, axis=1).astype(np.float64)
    largest = [np.abs(np.corrcoef(changing.T, presence[order].T)[:69, 69:]).max() for order in orders]
    found = largest_by_chance(activations, presence, documents=documents, permutations=39, seed=3)
    np.testing.assert_allclose(found, largest, atol=2e-6)
    bound = permutation_bound(activations, presence, documents=documents, permutations=39, level=0.1, seed=3)
    # Of 39 permutations and the observed order, four are a tenth.
    assert bound == pytest.approx(sorted(largest)[35], abs=2e-6)
    assert permutation_bound(activations, presence, permutations=9, level=0.05) == float("inf")


def test_permuted_documents_stay_whole() -> None:
    documents = np.array([4, 4, 1, 1, 1, 9, 4, 2])
    for order in permute_texts(8, documents=documents, permutations=20, seed=0):
        assert sorted(order) == list(range(8))
        told = documents[order][np.argsort(documents, kind="stable")]
        assert (np.diff(told) != 0).sum() == 3  # four documents, each in one run
    alone = permute_texts(8, documents=None, permutations=20, seed=0)
    assert len({tuple(order) for order in alone}) > 15


def test_pure_noise_is_tagged_no_more_often_than_the_level() -> None:
    false_alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        noise, presence = rng.normal(size=(80, 40)), (rng.uniform(size=(80, 6)) < 0.3).astype(np.float32)
        bound = permutation_bound(noise, presence, permutations=99, level=0.1, seed=seed)
        false_alarms += bool(np.abs(correlate(noise, presence)).max() > bound)
    # A binomial count of 60 trials at .1: above 13 has a chance below one in a hundred.
    assert false_alarms <= 13


@pytest.mark.parametrize("signal", [0.25, 0.5, 1.0, 2.0])
def test_planted_neurons_are_found_as_often_as_their_signal_says(signal: float) -> None:
    texts, neurons = 300, 400
    rng = np.random.default_rng(5)
    label = (np.arange(texts) < 90).astype(np.float64)
    planted = signal * (label - label.mean()) / label.std()
    activations = planted[:, None] + rng.normal(size=(texts, neurons))
    found = correlate(activations, label[:, None].astype(np.float32))[:, 0]
    bound = 0.25
    # Fisher's z of r is normal about atanh(rho), with variance 1 / (n - 3) times (1 - rho² / 2)² for a fixed label.
    rho = signal / np.hypot(1, signal)
    deviation = (1 - rho**2 / 2) / np.sqrt(texts - 3)
    expected = norm.sf((np.arctanh(bound) - np.arctanh(rho)) / deviation)
    share = (found > bound).mean()
    assert abs(share - expected) < 4 * np.sqrt(max(expected * (1 - expected), 1e-4) / neurons) + 0.02


def test_bad_input_is_refused(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    activations, presence = pairs
    with pytest.raises(DataError, match="150 rows of activations and 149 of presence"):
        correlate(activations, presence[1:])
    with pytest.raises(DataError, match="at least four texts"):
        correlate(activations[:3], presence[:3])
    spoilt = activations.copy()
    spoilt[17, 2] = np.nan
    with pytest.raises(DataError, match="activations is not a finite number, at text 17"):
        correlate(spoilt, presence)

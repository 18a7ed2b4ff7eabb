"""The interval of the size of the smallest set, against a plain loop over samples of the sentences."""

import numpy as np

from lca_jax import ElasticNet, fit_probes, measured_words, minimal_neurons, rank_neurons
from lca_jax.analysis.retraining import TrainingWords, train_nested_sets
from lca_jax.probing.metrics import resampled_sums
from tests.stores import planted_store


def test_the_interval_is_that_of_the_rule_on_samples_of_the_dev_sentences() -> None:
    train, dev = planted_store(), planted_store(seed=1)
    probes = fit_probes(train, ElasticNet(l1=1e-2, l2=1e-2))
    ranking = rank_neurons(probes, "upos")
    found = minimal_neurons(train, dev, ranking, probes, drop=0.02)
    words = measured_words(dev, probes.axis, "upos", probes.one("upos").classes)
    whole = probes.one("upos").predict(words.X) == words.gold
    sizes = [size for size, _ in found.steps]
    training = TrainingWords.of(probes, "upos")
    trained = train_nested_sets(training, ranking.top(max(sizes)), sizes, labellings=[training.real])
    right = [probe.predict(words.X[:, ranking.top(max(sizes))]) == words.gold for probe in trained]
    # How often every sentence is in each sample.
    _, place = np.unique(words.sentences, return_inverse=True)
    one_hot = (place == np.arange(place.max() + 1)[:, None]) / np.bincount(place)[:, None]
    chosen = []
    for times in resampled_sums(one_hot, words.sentences):
        weight = times[place]
        oracle = np.average(whole, weights=weight)
        constant = max(np.average(words.gold == number, weights=weight) for number in range(3))
        reached = [np.average(one, weights=weight) for one in right]
        least = oracle - 0.02 * (oracle - constant)
        chosen.append(next((size for size, own in zip(sizes, reached, strict=True) if own >= least - 1e-12), np.inf))
    low, high = np.quantile(chosen, [0.025, 0.975], method="inverted_cdf")
    assert found.interval == (low, None if high == np.inf else high)
    assert found.interval[0] <= len(found.columns)
    assert found.interval[1] is None or found.interval[1] >= len(found.columns)

"""Redundancy of sets: planted copies are found as disjoint sets, planted layers as layers, clusters by a plain loop."""

import numpy as np
import pytest

from lca_jax import ElasticNet, correlated_groups, fit_probes, measured_words
from lca_jax.analysis.minimal import least_accuracy
from lca_jax.analysis.retraining import TrainingWords
from lca_jax.analysis.spare_sets import best_of_clusters, disjoint_sets, lower_layers
from lca_jax.errors import SettingsError
from lca_jax.probing.measuring import MeasuredWords
from lca_jax.ranking.ranking import Ranking, rank_by_scores
from tests.analysis.planted_copies import CARRIERS, LAYERS, WIDTH, copied_store

Fitted = tuple[TrainingWords, MeasuredWords, Ranking, float]


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    """Probes of neurons that carry the task three times over, ranked copy by copy, and 90 % of the gain."""
    store, dev = copied_store(), copied_store(seed=1)
    probes = fit_probes(store, ElasticNet(l1=1e-3, l2=1e-2))
    probe = probes.one("t")
    words = measured_words(dev, probes.axis, "t", probe.classes)
    scores = np.zeros(probes.axis.size)
    for layer in range(LAYERS):
        scores[[layer * WIDTH + index for index in CARRIERS.values()]] = LAYERS - layer
    oracle = float((probe.predict(words.X) == words.gold).mean())
    ranking = rank_by_scores("t", probes.axis, scores)
    return TrainingWords.of(probes, "t"), words, ranking, least_accuracy(oracle, words, drop=0.1)


def test_as_many_disjoint_sets_as_copies_were_planted(fitted: Fitted) -> None:
    training, words, ranking, least = fitted
    found = disjoint_sets(training, words, ranking, least=least)
    carriers = {layer * WIDTH + index for layer in range(LAYERS) for index in CARRIERS.values()}
    assert [len(columns) for columns in found.sets] == [3] * LAYERS
    assert set(np.concatenate(found.sets).tolist()) == carriers
    assert all(accuracy >= least for accuracy in found.accuracies)
    assert found.is_all
    assert (found.random_sets, found.random_enough) == (5, 0)
    two = disjoint_sets(training, words, ranking, least=least, most=2)
    assert (len(two.sets), two.is_all) == (2, False)
    with pytest.raises(SettingsError, match="`most` must be 1 or more"):
        disjoint_sets(training, words, ranking, least=least, most=0)


def test_the_lowest_layer_alone_is_enough_where_it_carries_all(fitted: Fitted) -> None:
    training, words, ranking, least = fitted
    found = lower_layers(training, words, ranking.axis, least=least)
    assert found.layers == ("residual 0", "residual 1", "residual 2")
    assert found.enough == 1
    assert found.accuracies[0] >= least
    assert lower_layers(training, words, ranking.axis, least=1.01).enough == LAYERS
    with pytest.raises(SettingsError, match=r"`drop` must be in \[0, 1\)"):
        least_accuracy(1.0, words, drop=1.0)


def test_the_best_of_each_cluster_is_that_of_a_plain_loop(fitted: Fitted) -> None:
    _, _, ranking, _ = fitted
    groups = correlated_groups(copied_store(), threshold=0.7, linkage="average")
    assert groups.groups.size == WIDTH
    seen, expected = set(), []
    for column in ranking.columns.tolist():
        group = int(groups.group_of_column[column])
        if group not in seen:
            seen.add(group)
            expected.append(column)
    assert best_of_clusters(ranking, groups).tolist() == expected
    other = rank_by_scores("t", copied_store().axis(layers=[0]), np.zeros(WIDTH))
    with pytest.raises(SettingsError, match="must be of the neurons that are ranked"):
        best_of_clusters(other, groups)

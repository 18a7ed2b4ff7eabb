"""The default ranking of a run: mean weights over samples, near copies further down."""

import numpy as np
import pytest

import lca_jax as lca
from lca_jax import ElasticNet, ProbeSet, fit_probes
from lca_jax.axes import LayerBlock, Neuron, NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.ranking.bagged import mean_magnitudes, reading_classes
from lca_jax.ranking.groups import copy_groups
from tests.stores import planted_store


@pytest.fixture(scope="module")
def probes() -> ProbeSet:
    return fit_probes(planted_store(), ElasticNet(l1=1e-3, l2=1e-2), replicates=4, kind="halves")


def test_scores_are_mean_weights_over_samples_and_classes_less_for_better_copies(probes: ProbeSet) -> None:
    weights = [np.abs(probes.one("upos", replicate=number).weights.astype(np.float64)) for number in (1, 2, 3, 4)]
    for read, number in ((weights, 0), (weights[2:3], 3)):
        mean = np.mean(read, axis=0)
        np.testing.assert_allclose(mean_magnitudes(probes, "upos", replicate=number), mean)
        ranking = lca.rank_bagged(probes, replicate=number, share=0.5)
        found = np.empty(24)
        found[ranking.columns] = ranking.scores
        score, by_hand = mean.mean(axis=1), np.empty(24)
        for index in range(8):  # layers are eight wide
            copies = np.array([index, index + 8, index + 16])
            by_hand[copies[np.argsort(-score[copies])]] = np.sort(score[copies])[::-1] * [1, 0.5, 0.25]
        np.testing.assert_allclose(found, by_hand)
        assert ranking.by_class["NOUN"].columns[0] == mean[:, 1].argmax()
    plain = lca.rank_neurons(probes, over="replicates", by="weight")
    assert lca.rank(probes, method="bagged", share=1.0).columns.tolist() == plain.columns.tolist()


def test_without_samples_the_probe_itself_is_read(probes: ProbeSet) -> None:
    alone = fit_probes(planted_store(), ElasticNet(l1=1e-3, l2=1e-2))
    weights = np.abs(alone.one("upos").weights.astype(np.float64)).mean(axis=1)
    np.testing.assert_allclose(lca.rank_bagged(alone, share=1.0).scores, np.sort(weights)[::-1])
    with pytest.raises(SettingsError, match=r"no probe of task `upos` .* replicate=9"):
        lca.rank_bagged(probes, replicate=9)
    with pytest.raises(SettingsError, match=r"`share` must be in \(0, 1\], got 0"):
        lca.rank_bagged(probes, share=0.0)


def test_a_class_reads_the_neurons_for_which_its_weight_is_near_the_largest(probes: ProbeSet) -> None:
    mean = mean_magnitudes(probes, "upos")
    columns = np.array([17, 3, 0])
    found = reading_classes(probes, "upos", columns)
    for number, name in enumerate(probes.one("upos").classes):
        expected = [column for column in columns if mean[column, number] >= mean[column].max() / 2 > 0]
        assert found[name].tolist() == expected
    assert set(np.concatenate(list(found.values())).tolist()) == {17, 3, 0}


def test_copies_are_of_one_index_in_a_residual_stream_and_elsewhere_there_are_none() -> None:
    axis = NeuronAxis(
        blocks=(
            LayerBlock("residual", 0, 3),
            LayerBlock("mlp", 0, 2),
            LayerBlock("residual", 1, 3),
            LayerBlock("mlp", 1, 2),
        )
    )
    groups = copy_groups(axis)
    assert groups.group_of_column.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 5, 6]
    assert groups.groups.neurons(np.array([2, 4, 6])) == [
        Neuron("group.residual", 0, 2),
        Neuron("group.mlp", 0, 1),
        Neuron("group.mlp", 1, 1),
    ]

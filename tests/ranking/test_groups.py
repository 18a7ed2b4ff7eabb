"""Neurons of one index in all layers as one group."""

import numpy as np
import pytest

import lca_jax as lca
from lca_jax import ElasticNet, discount_copies, fit_probes, neurons_of_groups, one_of_each_group, rank_neurons
from lca_jax.axes import LayerBlock, Neuron, NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.probing.neuron_groups import NeuronGroups
from lca_jax.probing.weight_mass import mass_order
from lca_jax.ranking.groups import group_axis, group_weights, groups_of_columns, rank_groups
from lca_jax.ranking.ranking import rank_by_scores
from tests.stores import planted_store

UNEVEN = NeuronAxis(
    blocks=(LayerBlock("residual", 0, 3), LayerBlock("residual", 2, 2, (2, 5)), LayerBlock("head.residual", 0, 2))
)


def test_groups_are_the_indices_of_each_site() -> None:
    axis = group_axis(UNEVEN)
    assert axis.neurons(np.arange(axis.size)) == [
        *(Neuron("group.residual", 0, index) for index in (0, 1, 2, 5)),
        *(Neuron("group.head.residual", 0, index) for index in (0, 1)),
    ]
    assert groups_of_columns(UNEVEN).tolist() == [0, 1, 2, 2, 3, 4, 5]
    weights = np.arange(14, dtype=np.float32).reshape(7, 2) - 5
    plain = np.zeros((6, 2))
    for column, group in enumerate(groups_of_columns(UNEVEN)):
        plain[group] += np.abs(weights[column])
    np.testing.assert_allclose(group_weights(weights, UNEVEN), plain)


def test_a_probe_ranks_groups_by_the_mass_of_their_summed_weights() -> None:
    probes = fit_probes(planted_store(), ElasticNet(l1=1e-2, l2=1e-2))
    ranking = rank_neurons(probes, groups="index")
    weights = np.abs(probes.one("upos").weights.astype(np.float64)).reshape(3, 8, 3).sum(axis=0)
    assert ranking.columns.tolist() == mass_order(weights).order.tolist()
    assert ranking.axis.layer_names == ["group.residual 0"]
    # Planted columns 3, 10, 11 and 17 of layers eight wide are the indices 3, 2, 3 and 1.
    assert set(ranking.top(3).tolist()) == {1, 2, 3}
    assert set(ranking.by_class["NOUN"].top(2).tolist()) == {2, 3}
    np.testing.assert_allclose(
        lca.rank(probes, method="mean_weight", groups="index").scores[0], weights.mean(axis=1).max()
    )


def test_other_methods_sum_the_scores_of_a_group() -> None:
    store = planted_store()
    given = (store.matrix(), store.labels("upos"))
    single = lca.rank(store, method="average_precision")
    grouped = lca.rank(store, method="average_precision", groups="index")
    scores = np.empty(24)
    scores[single.columns] = single.scores
    found = np.empty(8)
    found[grouped.columns] = grouped.scores
    np.testing.assert_allclose(found, scores.reshape(3, 8).sum(axis=0))
    assert set(grouped.by_class) == set(single.by_class)
    with pytest.raises(SettingsError, match="in a residual stream alone, not at array"):
        lca.rank(given, method="anova", groups="index")


def test_neurons_follow_their_groups() -> None:
    probes = fit_probes(planted_store(), ElasticNet(l1=1e-2, l2=1e-2))
    groups = rank_neurons(probes, groups="index")
    neurons = neurons_of_groups(groups, probes.axis)
    assert neurons.columns[:6].tolist() == [
        8 * layer + group for group in groups.columns[:2].tolist() for layer in range(3)
    ]
    assert sorted(neurons.columns.tolist()) == list(range(24))
    assert neurons.scores[:3].tolist() == [groups.scores[0]] * 3
    assert neurons.ties[:3].tolist() == [groups.ties[0]] * 3
    assert neurons.axis == probes.axis
    assert set(neurons.by_class) == set(groups.by_class)
    with pytest.raises(SettingsError, match=r"orders 24 columns of residual 0, .* not the groups of"):
        neurons_of_groups(rank_neurons(probes), probes.axis)


def test_the_best_of_each_group_come_first() -> None:
    ranking = lca.rank(planted_store(), method="average_precision")
    reordered = one_of_each_group(ranking)
    score = np.empty(24)
    score[ranking.columns] = ranking.scores
    left, plain = {index: sorted(range(index, 24, 8), key=lambda c: -score[c]) for index in range(8)}, []
    groups = sorted(range(8), key=lambda index: -score[index::8].sum())
    for turn in range(3):
        plain += [left[index][turn] for index in groups]
    assert reordered.columns.tolist() == plain
    assert (np.diff(reordered.scores) <= 0).all()
    assert (reordered.columns[:8] % 8).tolist() == rank_groups(ranking).columns.tolist()
    assert set(reordered.by_class) == set(ranking.by_class)
    # Nothing to tell groups apart: all of a turn are tied.
    flat = rank_by_scores("t", ranking.axis, np.zeros(24))
    assert one_of_each_group(flat).ties.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    # Groups of one neuron leave the order as it is.
    alone = NeuronGroups(axis=ranking.axis, group_of_column=np.arange(24), groups=ranking.axis)
    assert one_of_each_group(ranking, alone).columns.tolist() == ranking.columns.tolist()


def test_copies_keep_a_share_of_their_scores() -> None:
    ranking = lca.rank(planted_store(), method="mean_select")
    seen: dict[int, int] = {}
    discounted = np.empty(24)
    for column, score in zip(ranking.columns.tolist(), ranking.scores.tolist(), strict=True):
        turn = seen.get(column % 8, 0)
        discounted[column], seen[column % 8] = score * 0.5**turn, turn + 1
    reordered = discount_copies(ranking, share=0.5)
    assert reordered.columns.tolist() == np.argsort(-discounted, kind="stable").tolist()
    np.testing.assert_allclose(reordered.scores, np.sort(discounted)[::-1])
    assert discount_copies(ranking, share=1.0).columns.tolist() == ranking.columns.tolist()
    assert set(reordered.by_class) == set(ranking.by_class)
    with pytest.raises(SettingsError, match=r"`share` must be in \(0, 1\], got 0"):
        discount_copies(ranking, share=0.0)
    with pytest.raises(SettingsError, match="Negative scores"):
        discount_copies(rank_by_scores("t", ranking.axis, -np.arange(24.0)))


def test_groups_mean_nothing_outside_of_a_residual_stream() -> None:
    axis = NeuronAxis(blocks=(LayerBlock("residual", 0, 2), LayerBlock("mlp", 0, 2)))
    with pytest.raises(SettingsError, match="in a residual stream alone, not at mlp"):
        group_axis(axis)

"""Groups by correlation, against SciPy's connected components on NumPy's correlations."""

import numpy as np
import pytest

import lca_jax as lca
from lca_jax import ElasticNet, correlated_groups, fit_probes, neurons_of_groups, rank_neurons
from lca_jax.analysis.agreement import agreement
from lca_jax.errors import DataError, SettingsError
from lca_jax.ranking.correlated import join
from tests.stores import planted_store, store_of

graphs = pytest.importorskip("scipy.sparse.csgraph")


def vectors(words: int = 300) -> np.ndarray:
    """Noise in 3 layers of 8: copies across layers, a chain, a neuron far from zero with a copy, a constant one."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(words, 24)).astype(np.float32)
    X[:, 9] = X[:, 1] + 0.2 * X[:, 9]
    X[:, 17] = -X[:, 9] + 0.2 * X[:, 17]
    X[:, 12] = X[:, 4] + 0.55 * X[:, 12]
    X[:, 20] = X[:, 12] + 0.55 * X[:, 20]
    X[:, 6] += 10_000
    X[:, 22] = (X[:, 6] - 10_000) * 0.01 + 0.002 * X[:, 22]
    X[:, [2, 10]] = 0.1
    return X


def plain_groups(X: np.ndarray, threshold: float) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.nan_to_num(np.corrcoef(X.astype(np.float64), rowvar=False))
    return graphs.connected_components(np.abs(r) >= threshold, directed=False)[1]


def same_division(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(((one[:, None] == one) == (other[:, None] == other)).all())


@pytest.mark.parametrize("threshold", [0.3, 0.8, 0.95, 0.9999])
@pytest.mark.parametrize("strip_bytes", [1e9, 4.0 * 24 * 7])
def test_groups_are_the_connected_components(threshold: float, strip_bytes: float) -> None:
    X = vectors()
    X[:, 0] = X[:, 8]  # an exact copy
    groups = correlated_groups(
        store_of(X.reshape(-1, 3, 8), [["w"] * 300], {}), threshold=threshold, strip_bytes=strip_bytes
    )
    plain = X.astype(np.float64)
    plain[:, [2, 10]] = 0
    assert same_division(groups.group_of_column, plain_groups(plain, threshold))
    if threshold == 0.8:
        assert groups.group_of_column[[1, 9, 17]].tolist() == [groups.group_of_column[1]] * 3
        # Ends of a chain are together, though they correlate less.
        assert groups.group_of_column[4] == groups.group_of_column[20]
        assert abs(np.corrcoef(X[:, 4], X[:, 20])[0, 1]) < 0.8
        assert groups.group_of_column[6] == groups.group_of_column[22]
        assert groups.sizes[groups.group_of_column[2]] == 1
        # Named by their first neurons.
        assert str(groups.groups.neuron(int(groups.group_of_column[17]))) == "group.residual 0:1"


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("strip_bytes", [1e9, 4.0 * 24 * 7])
def test_average_linkage_is_that_of_scipy_over_all_neurons(threshold: float, strip_bytes: float) -> None:
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    X = vectors()
    X[:, [3, 5, 11, 13, 19]] += 1.5 * X[:, [16]]  # a crowd in which all correlate, some more
    groups = correlated_groups(
        store_of(X.reshape(-1, 3, 8), [["w"] * 300], {}),
        threshold=threshold,
        linkage="average",
        strip_bytes=strip_bytes,
    )
    plain = X.astype(np.float64)
    plain[:, [2, 10]] = 0
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = 1 - np.abs(np.nan_to_num(np.corrcoef(plain, rowvar=False)))
    tree = hierarchy.linkage(apart[np.triu_indices(24, k=1)], "average")
    expected = hierarchy.fcluster(tree, 1 - threshold, "distance")
    assert same_division(groups.group_of_column, expected)
    single = correlated_groups(store_of(X.reshape(-1, 3, 8), [["w"] * 300], {}), threshold=threshold)
    assert single.groups.size <= groups.groups.size
    if threshold == 0.7:  # the chain 4, 12, 20 is one by its links, and not by its mean
        assert single.groups.size < groups.groups.size


def test_joining_is_that_of_scipy_on_random_graphs() -> None:
    rng = np.random.default_rng(1)
    for edges in (0, 10, 60, 300):
        one, other = rng.integers(0, 100, (2, edges))
        root = np.arange(100)
        for part in range(2):  # in two parts, as strips come
            join(root, one[part::2], other[part::2])
        table = np.zeros((100, 100), bool)
        table[one, other] = True
        assert same_division(root, graphs.connected_components(table, directed=False)[1])
        assert (root <= np.arange(100)).all()
        assert (root[root] == root).all()


def test_rankings_and_overlap_by_correlated_groups() -> None:
    store, again = planted_store(), planted_store(seed=5)
    groups = correlated_groups(store, threshold=0.5)
    assert 1 < groups.groups.size < 24
    place, probes = groups.group_of_column, fit_probes(store, ElasticNet(l1=1e-2, l2=1e-2))
    summed = np.zeros((groups.groups.size, 3))
    for column, weights in enumerate(np.abs(probes.one("upos").weights)):
        summed[place[column]] += weights
    by_weight = lca.rank(probes, method="mean_weight", groups=groups)
    np.testing.assert_allclose(by_weight.scores, np.sort(summed.mean(axis=1))[::-1], rtol=1e-6)
    ranking = rank_neurons(probes, groups=groups)
    assert place[10] == place[11] in ranking.top(4)
    neurons = neurons_of_groups(ranking, probes.axis, groups)
    assert sorted(neurons.columns.tolist()) == list(range(24))
    other = rank_neurons(fit_probes(again, ElasticNet(l1=1e-2, l2=1e-2)), groups=groups)
    point = agreement(ranking, other, shares=(0.2,)).points[0]
    common = set(ranking.top(point.neurons).tolist()) & set(other.top(point.neurons).tolist())
    assert point.overlap == pytest.approx(len(common) / point.neurons)
    single = lca.rank(store, method="average_precision")
    grouped = lca.rank(store, method="average_precision", groups=groups)
    assert sum(grouped.scores) == pytest.approx(sum(single.scores))


def test_what_cannot_be_grouped_is_refused() -> None:
    store = planted_store()
    with pytest.raises(SettingsError, match=r"`threshold` must be in \(0, 1\]"):
        correlated_groups(store, threshold=0.0)
    X = vectors(4).reshape(4, 3, 8)
    with pytest.raises(DataError, match="2 words or more, got 1"):
        correlated_groups(store_of(X[:1], [["w"]], {}))
    X[2, 1, 3] = np.nan
    with pytest.raises(DataError, match="residual layer 1, neuron 3 of 'c'"):
        correlated_groups(store_of(X, [["a", "b", "c", "d"]], {}))
    probes = fit_probes(store, ElasticNet(l1=1e-2, l2=1e-2))
    narrow = store_of(vectors()[:, :16].reshape(-1, 2, 8), [["w"] * 300], {})
    with pytest.raises(SettingsError, match="These groups divide the 16 neurons"):
        rank_neurons(probes, groups=correlated_groups(narrow))


@pytest.mark.usefixtures("as_users_run_it")
def test_an_unknown_linkage_is_refused() -> None:
    with pytest.raises(SettingsError, match="`linkage` must be single or average, got 'ward'"):
        correlated_groups(planted_store(), linkage="ward")  # type: ignore

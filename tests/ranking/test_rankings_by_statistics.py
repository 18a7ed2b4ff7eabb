"""Rankings by class means and variance, and correlated pairs, against plain loops; none of them reads an activation."""

from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest

from lca_jax import Gathering, gather_statistics, open_store, rank_by_means, rank_by_variance, strongest_correlations
from lca_jax.axes import Neuron
from lca_jax.errors import DataError, SettingsError
from lca_jax.ranking.class_means import Scale
from lca_jax.ranking.ranking import Ranking
from lca_jax.store.array import LazyArray
from lca_jax.store.store import ActivationStore
from tests.stores import CLASSES, PLANTED, planted_store, store_of, write_planted_store


def scores_by_column(ranking: Ranking) -> np.ndarray:
    scores = np.empty(len(ranking.columns))
    scores[ranking.columns] = ranking.scores
    return scores


@pytest.mark.parametrize("standardize", [False, True, "within"])
def test_probeless_is_the_papers_sum_over_pairs(standardize: bool | Scale) -> None:
    store = planted_store()
    ranking = rank_by_means(gather_statistics(store), "upos", standardize=standardize)
    X, labels = store.matrix().astype(np.float64), np.array(store.labels("upos"))
    if standardize == "within":
        X /= np.sqrt(sum((labels == name).mean() * X[labels == name].var(axis=0) for name in CLASSES))
    elif standardize:
        X /= X.std(axis=0)
    q = {name: X[labels == name].mean(axis=0) for name in CLASSES}
    expected = sum(np.abs(q[one] - q[other]) for one, other in product(CLASSES, repeat=2))
    np.testing.assert_allclose(scores_by_column(ranking), expected, rtol=1e-5, atol=1e-5)
    assert (np.diff(ranking.scores) <= 0).all()
    for name in CLASSES:
        rest = np.abs(q[name] - X[labels != name].mean(axis=0))
        np.testing.assert_allclose(scores_by_column(ranking.by_class[name]), rest, rtol=1e-5, atol=1e-5)
        assert set(ranking.by_class[name].top(len(PLANTED[name])).tolist()) == set(PLANTED[name])
    assert sorted(ranking.top(4).tolist()) == sorted(column for columns in PLANTED.values() for column in columns)


def test_a_loud_neuron_leads_only_unless_standardized() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(200, 1, 3)).astype(np.float32)
    kinds = generator.integers(0, 2, 200)
    vectors[:, 0, 1] += 2 * kinds
    vectors[:, 0, 2] *= 1e3
    tags = [[["a", "b"][kind] for kind in kinds]]
    found = gather_statistics(store_of(vectors, [["w"] * 200], {"tag": tags}))
    assert rank_by_means(found, "tag").columns[0] == 2
    assert rank_by_means(found, "tag", standardize=True).columns[0] == 1
    assert rank_by_variance(found).columns[0] == 2


def test_neurons_that_never_change_are_tied_last() -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 1, 4)).astype(np.float32)
    vectors[:, :, 1:3] = 0.3
    found = gather_statistics(store_of(vectors, [["w"] * 40], {"tag": [["a", "b"] * 20]}))
    for ranking in (
        rank_by_means(found, "tag"),
        rank_by_means(found, "tag", standardize=True),
        rank_by_variance(found),
    ):
        assert ranking.columns[2:].tolist() == [1, 2]
        assert (ranking.scores[2:] == 0).all()
        assert ranking.ties.tolist() == [0, 1, 2, 2]


def test_permuting_neurons_permutes_the_ranking() -> None:
    store = planted_store(layers=1, width=24)
    X = store.read("residual")[:]
    order = np.random.default_rng(3).permutation(X.shape[2])
    sentences = [store.forms()]
    labels = {"upos": [store.labels("upos")]}
    plain = rank_by_means(gather_statistics(store_of(X, sentences, labels)), "upos")
    permuted = rank_by_means(gather_statistics(store_of(X[:, :, order], sentences, labels)), "upos")
    assert order[permuted.columns].tolist() == plain.columns.tolist()


def test_variance_is_numpys() -> None:
    store = planted_store()
    ranking = rank_by_variance(gather_statistics(store))
    np.testing.assert_allclose(scores_by_column(ranking), store.matrix().astype(np.float64).var(axis=0), rtol=1e-5)


def test_correlated_pairs_are_numpys_of_every_layer() -> None:
    store = planted_store()
    found = gather_statistics(store)
    pairs = strongest_correlations(found, count=1_000)
    assert len(pairs) == 3 * 28
    expected = {}
    for layer in range(3):
        r = np.asarray(np.corrcoef(store.read("residual")[:][:, layer].astype(np.float64).T))
        for one, other in combinations(range(8), 2):
            expected[Neuron("residual", layer, one), Neuron("residual", layer, other)] = r[one, other]
    for one, other, correlation in pairs:
        assert correlation == pytest.approx(expected[one, other], abs=1e-5)
    sizes = [abs(pair.correlation) for pair in pairs]
    assert sizes == sorted(sizes, reverse=True)
    assert strongest_correlations(found, count=3) == pairs[:3]
    strong = strongest_correlations(found, least=0.5)
    assert {frozenset((pair.one.index, pair.other.index)) for pair in strong} == {frozenset((2, 3))}


def test_what_cannot_be_ranked_is_said() -> None:
    store = planted_store()
    found = gather_statistics(store)
    with pytest.raises(SettingsError, match=r"no classes of 'xpos'\. Tasks gathered: upos"):
        rank_by_means(found, "xpos")
    single = store_of(np.zeros((3, 1, 2), np.float32), [["a", "b", "c"]], {"tag": [["x", "x", None]]})
    with pytest.raises(DataError, match=r"At least two classes of `tag` must have .* in .* 1 has"):
        rank_by_means(gather_statistics(single), "tag")
    with pytest.raises(DataError, match="no neuron varies"):
        rank_by_variance(replace(found, words=0))
    with pytest.raises(SettingsError, match="without covariances"):
        strongest_correlations(gather_statistics(store, Gathering(covariance=False)))
    with pytest.raises(SettingsError, match=r"`count` must be 1 or more and `least` in \[0, 1\], got 0 and 2"):
        strongest_correlations(found, count=0, least=2.0)


def test_no_activation_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gather_statistics(open_store(write_planted_store(tmp_path / "store", words=300)))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an activation was read")

    for reading in ("__getitem__", "__array__", "read_into"):
        monkeypatch.setattr(LazyArray, reading, refuse)
    monkeypatch.setattr(ActivationStore, "matrix", refuse)
    store = open_store(tmp_path / "store")
    with pytest.raises(AssertionError, match="was read"):
        store.read("residual")[0]
    found = store.statistics()
    assert len(rank_by_means(found, "upos").columns) == found.axis.size
    assert rank_by_variance(found).scores[0] > 0
    assert strongest_correlations(found, count=1)[0].correlation != 0
    assert found.quantile(0.5).shape == (found.axis.size,)

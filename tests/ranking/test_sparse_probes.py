"""Rankings by sparse probes: entry into the group lasso against full solves, and halved probes against scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import lca_jax as lca
from lca_jax import ElasticNet
from lca_jax.errors import DataError, SettingsError
from lca_jax.ranking.small_probes import Fitter
from lca_jax.ranking.words import read_words
from tests.stores import planted_store

STORE = planted_store()
X, GOLD = STORE.matrix(), np.array(STORE.labels("upos"))


def test_neurons_enter_where_a_solve_for_all_of_them_gives_them_weight() -> None:
    ranking = lca.rank((X, GOLD), method="group_lasso", steps=4, last=0.1)
    centred = (X - X.mean(axis=0)) / X.std(axis=0)
    hot = GOLD[:, None] == np.unique(GOLD)
    largest = np.linalg.norm(centred.T @ (hot.mean(axis=0) - hot) / len(X), axis=1).max()
    scores = np.empty(24)
    scores[ranking.columns] = ranking.scores
    known: set[int] = set()
    for step in range(1, 5):
        share = 0.1 ** (step / 4)
        probe = lca.fit_elastic_net(X, GOLD, l1=largest * share, l2=1e-3, penalty="group_lasso", tolerance=1e-5)
        inside = set(np.flatnonzero((probe.weights != 0).any(axis=1)).tolist())
        entered = set(np.flatnonzero(np.isclose(scores, share)).tolist())
        assert entered == inside - known
        known |= inside
    assert {3, 17} <= set(ranking.top(4).tolist())
    assert (scores[sorted(set(range(24)) - known)] < 0.1).all()


def test_a_copy_of_a_neuron_that_is_in_enters_late() -> None:
    values = np.concatenate([X, X[:, [3, 17]] + 0.3 * np.random.default_rng(0).normal(size=(len(X), 2))], axis=1)
    ranking = lca.rank((values.astype(np.float32), GOLD), method="group_lasso", l2=1e-4)
    rank = np.argsort(ranking.columns)
    assert rank[3] < rank[24]
    assert rank[17] < rank[25]
    by_distance = np.argsort(lca.rank((values.astype(np.float32), GOLD), method="mean_distance").columns)
    assert rank[[24, 25]].sum() > by_distance[[24, 25]].sum()  # a heuristic puts copies beside each other


@pytest.mark.parametrize("start", ["mean_distance", "anova", "mutual_information", "group_lasso"])
def test_sparse_probes_keep_the_half_with_the_larger_weights(start: str) -> None:
    ranking = lca.rank((X, GOLD), method="sparse_probe", start=start, largest=8, l2=1e-2)
    centred = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float64)
    columns = np.sort(lca.rank((X, GOLD), method=start).top(8))
    for size in (8, 4, 2, 1):
        assert set(ranking.top(size).tolist()) == set(columns.tolist())
        own = LogisticRegression(C=1 / (1e-2 * len(X)), tol=1e-8, max_iter=1000).fit(centred[:, columns], GOLD)
        norm = np.linalg.norm(own.coef_, axis=0)
        columns = np.sort(columns[np.argsort(-norm)[: size // 2]])
    assert ranking.scores[:8].tolist() == [1, 1 / 2, 1 / 4, 1 / 4, 1 / 8, 1 / 8, 1 / 8, 1 / 8]
    assert (ranking.scores[8:] == 0).all()
    assert ranking.columns[8:].tolist() == lca.rank((X, GOLD), method=start).columns[8:].tolist()


def test_residuals_and_gradients_are_those_of_the_loss() -> None:
    fitter = Fitter(read_words((X, GOLD)))
    probe = fitter.fit(np.arange(24), ElasticNet(l1=0.0, l2=1e-2, tolerance=1e-6))
    # At the optimum the gradient of the loss is the negative of that of the penalty.
    np.testing.assert_allclose(fitter.gradient(probe.residuals), -1e-2 * probe.weights, atol=3e-4)
    few = fitter.fit(np.array([3, 17, 20]), ElasticNet(l1=0.0, l2=1e-2, tolerance=1e-6))
    np.testing.assert_allclose(fitter.gradient(few.residuals)[[3, 17, 20]], -1e-2 * few.weights, atol=3e-4)


def test_what_no_sparse_probe_can_be_made_of_is_said() -> None:
    with pytest.raises(SettingsError, match=r"`steps` must be 1 or more, `last` in \(0, 1\), `l2` 0 or more; got 0"):
        lca.rank((X, GOLD), method="group_lasso", steps=0)
    with pytest.raises(SettingsError, match="`start` must be one of mean_distance, anova, mutual_information, group"):
        lca.rank((X, GOLD), method="sparse_probe", start="luck")
    with pytest.raises(SettingsError, match="`largest` must be 1 or more"):
        lca.rank((X, GOLD), method="sparse_probe", largest=0)
    for method in ("group_lasso", "sparse_probe"):
        with pytest.raises(DataError, match="at least two classes"):
            lca.rank((X[:9], ["a"] * 9), method=method)

"""CKA, SVCCA, PWCCA: the published formulas in float64, scikit-learn's CCA, invariances, and the chance of shuffles."""

import numpy as np
import pytest

import lca_jax as lca
from lca_jax.analysis.similarity import Measure
from lca_jax.errors import DataError, SettingsError
from tests.models_of_one_corpus import CONSTANT, mixed


def centred(X: np.ndarray) -> np.ndarray:
    return X.astype(np.float64) - X.astype(np.float64).mean(axis=0)


def principal(X: np.ndarray, variance: float | None) -> np.ndarray:
    """Scores of the principal directions that hold a share of the variance; all that are not rounding for None."""
    U, S, _ = np.linalg.svd(centred(X), full_matrices=False)
    kept = int((1e-5 * (S**2).mean() < S**2).sum())
    if variance is not None:
        kept = int(np.searchsorted(np.cumsum(S**2) / (S**2).sum(), variance)) + 1
    return U[:, :kept]


def plain(measure: Measure, X: np.ndarray, Y: np.ndarray) -> float:
    if measure == "cka":
        A, B = centred(X), centred(Y)
        norms = np.linalg.norm(A.T @ A) * np.linalg.norm(B.T @ B)
        return float(np.linalg.norm(B.T @ A) ** 2 / norms)
    variance = 0.99 if measure == "svcca" else None
    U, V = principal(X, variance), principal(Y, variance)
    left, r, _ = np.linalg.svd(U.T @ V, full_matrices=False)
    weights = np.abs((U @ left).T @ centred(X)).sum(axis=1) if measure == "pwcca" else np.ones(len(r))
    return float(np.average(r, weights=weights))


@pytest.mark.parametrize("measure", ["cka", "svcca", "pwcca"])
def test_layers_are_as_alike_as_numpy_says(measure: Measure) -> None:
    X, Y = mixed(0), mixed(1, layers=2, width=8)
    Y[:, 1, :3] += X[:, 2, :3]
    moments = lca.correlate_models([X, Y], itself=True)
    found = lca.layer_similarity(moments, measure)
    expected = [[plain(measure, X[:, one], Y[:, other]) for other in range(2)] for one in range(3)]
    np.testing.assert_allclose(found.values, expected, atol=2e-5)
    back = lca.layer_similarity(moments, measure, one=1, other=0)
    np.testing.assert_allclose(
        back.values, [[plain(measure, Y[:, j], X[:, i]) for i in range(3)] for j in range(2)], atol=2e-5
    )
    own = lca.layer_similarity(moments, measure, one=0, other=0)
    np.testing.assert_allclose(np.diagonal(own.values), 1, atol=1e-6)
    np.testing.assert_allclose(lca.layer_similarity(lca.correlate_models([X]), measure).values, own.values, atol=1e-6)
    assert own.table()["layer"] == ["array 0", "array 1", "array 2"]
    assert f"{measure} of array 1 (rows) with array 2" in repr(found)


def test_what_the_measures_do_not_see() -> None:
    rng = np.random.default_rng(0)
    X = np.delete(mixed(0, layers=1, words=2000)[:, 0], CONSTANT, axis=1)
    X = X - X.mean(axis=0)
    turn = np.linalg.qr(rng.normal(size=(9, 9)))[0]
    rotated = (7.5 * X @ turn + 3).astype(np.float32)
    bent = (X @ (np.eye(9) + 0.5 * rng.normal(size=(9, 9)))).astype(np.float32)
    likeness = {
        (name, measure): float(lca.layer_similarity(lca.correlate_models([X, other]), measure).values[0, 0])
        for name, other in (("rotated", rotated), ("bent", bent))
        for measure in ("cka", "pwcca", "svcca")
    }
    # CKA sees invertible maps but neither rotations nor scale; CCA sees neither.
    for key in (("rotated", "cka"), ("rotated", "pwcca"), ("rotated", "svcca"), ("bent", "pwcca")):
        assert likeness[key] == pytest.approx(1, abs=1e-4), key
    assert likeness["bent", "cka"] < 0.95


def test_chance_is_the_mean_over_shuffled_words() -> None:
    rng = np.random.default_rng(0)
    X, Y = mixed(0, words=80, layers=1)[:, 0], mixed(1, words=80, layers=1, width=6)[:, 0]
    moments = lca.correlate_models([X, Y])
    shuffled = [rng.permutation(80) for _ in range(1500)]
    cka = np.mean([plain("cka", X, Y[order]) for order in shuffled])
    assert lca.layer_similarity(moments, "cka").chance[0, 0] == pytest.approx(cka, rel=0.03)
    U, V = principal(X, None), principal(Y, None)
    squares = np.mean([(np.linalg.svd(U.T @ V[order])[1] ** 2).mean() for order in shuffled])
    assert lca.layer_similarity(moments, "pwcca").chance[0, 0] ** 2 == pytest.approx(squares, rel=0.03)


def test_canonical_directions_are_uncorrelated_and_those_of_scikit_learn() -> None:
    decomposition = pytest.importorskip("sklearn.cross_decomposition")
    X, Y = mixed(0, words=2000), mixed(1, words=2000)
    Y[:, 2, :2] += 2 * X[:, 1, :2]
    moments = lca.correlate_models([X, Y])
    found = lca.canonical_directions(moments, 1, 2, variance=None)
    A, B = centred(X[:, 1]), centred(Y[:, 2])
    scores, others = A @ found.one, B @ found.other
    count = len(found.correlations)
    np.testing.assert_allclose(scores.T @ scores / 2000, np.eye(count), atol=1e-4)
    np.testing.assert_allclose(scores.T @ others / 2000, np.diag(found.correlations), atol=1e-4)
    ones, twos = decomposition.CCA(n_components=2, max_iter=5000, tol=1e-10).fit_transform(A, B)
    expected = [np.corrcoef(ones[:, k], twos[:, k])[0, 1] for k in range(2)]
    np.testing.assert_allclose(found.correlations[:2], expected, atol=1e-3)
    assert sum(lca.canonical_directions(moments, 1, 2, variance=0.5).kept) < sum(found.kept)


def test_erasing_directions_is_the_projection_to_the_others() -> None:
    X, Y = mixed(0), mixed(1)
    found = lca.canonical_directions(lca.correlate_models([X, Y]), 1, 2)
    E, count = X[:, 1].astype(np.float64), len(found.correlations)
    for taken, last in ((2, False), (3, True), (0, False), (count, False)):
        Q = found.erased(taken, last=last)
        C = found.one[:, : count - taken] if last else found.one[:, taken:]
        expected = E @ C @ np.linalg.pinv(C.T @ C) @ C.T
        np.testing.assert_allclose(E - (E @ Q) @ Q.T, expected, atol=1e-6 * np.abs(E).max())
        np.testing.assert_allclose(Q.T @ Q, np.eye(Q.shape[1]), atol=1e-12)
    with pytest.raises(SettingsError, match=f"`count` must be in 0 to {count} directions"):
        found.erased(count + 1)


@pytest.mark.usefixtures("as_users_run_it")
def test_what_cannot_be_compared_is_refused() -> None:
    X, Y = mixed(0), mixed(1)
    moments = lca.correlate_models([X, Y])
    with pytest.raises(SettingsError, match=r"`measure` must be one of cka, svcca, pwcca, got 'rsa'"):
        lca.layer_similarity(moments, "rsa")  # type: ignore
    with pytest.raises(SettingsError, match="Models 0 and 0 were not compared"):
        lca.layer_similarity(moments, other=0)
    with pytest.raises(SettingsError, match="Products within layers were not gathered"):
        lca.layer_similarity(lca.correlate_models([X, Y], within=False))
    with pytest.raises(SettingsError, match=r"`variance` must be in \(0, 1\]"):
        lca.canonical_directions(moments, 0, 0, variance=1.5)
    with pytest.raises(SettingsError, match="no layer 3 among those that were read of model 1"):
        lca.canonical_directions(moments, 0, 3)
    still = np.ones_like(X)
    for measure in ("cka", "svcca"):
        with pytest.raises(DataError, match="varies"):
            lca.layer_similarity(lca.correlate_models([X, still]), measure)

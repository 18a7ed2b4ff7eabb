"""Every loss, penalty and solver that has a name: their interfaces, proximal operators and bounds."""

from dataclasses import dataclass
from typing import Any, get_args

import jax.numpy as jnp
import numpy as np
import pytest

from lca_jax import ElasticNet, fit_probes
from lca_jax.errors import SettingsError
from lca_jax.probing.choices import loss_named, penalty_named, solver_of
from lca_jax.probing.losses.loss import Loss
from lca_jax.probing.objective import LossName, PenaltyName, SolverName
from lca_jax.probing.penalties.penalty import Penalty, penalty_value
from lca_jax.probing.solvers.adam import Adam
from lca_jax.probing.solvers.solver import Solver
from tests.stores import planted_store

PENALTIES = get_args(PenaltyName)
SHAPE = (2, 3, 5)
L1, L2 = jnp.array([0.3, 0.1]), jnp.array([0.2, 0.6])


def weights(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def values(penalty: Penalty, W: np.ndarray) -> np.ndarray:
    """l1·A + l2·B in float64."""
    first, second = penalty.terms(W.astype(np.float64))
    return np.asarray(L1, np.float64) * np.asarray(first) + np.asarray(L2, np.float64) * np.asarray(second)


def test_every_name_has_its_record() -> None:
    for name in get_args(LossName):
        assert isinstance(loss_named(name), Loss)
    for name in PENALTIES:
        penalty = penalty_named(name)
        assert isinstance(penalty, Penalty)
        assert penalty == type(penalty)()
        assert hash(penalty) == hash(type(penalty)())
    assert len({penalty_named(name) for name in PENALTIES}) == len(PENALTIES)
    for name in get_args(SolverName):
        solver = solver_of(ElasticNet(solver=name, tolerance=1e-2))
        assert isinstance(solver, Solver)
        assert solver == solver_of(ElasticNet(solver=name, tolerance=1e-2))


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("penalty", "lasso", "`penalty` must be 'elastic_net', 'neurox' or 'group_lasso', got 'lasso'"),
        ("solver", "newton", "`solver` must be 'proximal' or 'adam', got 'newton'"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(setting: str, value: str, message: str) -> None:
    net = ElasticNet()
    object.__setattr__(net, setting, value)  # the tests' type checks would refuse it before the settings do
    with pytest.raises(SettingsError, match=message):
        net.__post_init__()


def test_terms_by_hand() -> None:
    W = np.array([[[3.0, 0.0, 1.0], [-4.0, 0.0, 0.0]]])
    expected = {"elastic_net": (8.0, 13.0), "neurox": (8.0, 26**0.5), "group_lasso": (6.0, 13.0)}
    for name in PENALTIES:
        np.testing.assert_allclose(np.concatenate(penalty_named(name).terms(W)), expected[name], atol=1e-12)


@pytest.mark.parametrize("name", PENALTIES)
def test_terms_are_the_same_on_the_host_and_on_devices(name: PenaltyName) -> None:
    penalty, W = penalty_named(name), weights(0)
    W[1] = 0
    found = penalty_value(penalty, jnp.asarray(W), L1, L2)
    np.testing.assert_allclose(found, values(penalty, W), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", PENALTIES)
def test_the_proximal_operator_beats_every_other_point(name: PenaltyName) -> None:
    penalty, at, length = penalty_named(name), weights(1), jnp.array([0.7, 2.0])
    best = np.asarray(penalty.proximal(jnp.asarray(at), length, L1, L2))

    def cost(U: np.ndarray) -> np.ndarray:
        return ((U - at.astype(np.float64)) ** 2).sum(axis=(1, 2)) / (2 * np.asarray(length)) + values(penalty, U)

    rng = np.random.default_rng(2)
    for scale in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(50):
            away = rng.normal(size=SHAPE) * (rng.random(SHAPE) < 0.4) * scale
            assert (cost(best + away) >= cost(best) - 1e-6).all()
    assert (cost(at * 0) >= cost(best) - 1e-6).all()
    assert (cost(at) >= cost(best) - 1e-6).all()
    huge = penalty.proximal(jnp.asarray(at), length, L1 * 1e3, L2)
    assert not np.asarray(huge).any()


@pytest.mark.parametrize("name", PENALTIES)
def test_the_proximal_operator_by_coordinate_beats_every_other_point(name: PenaltyName) -> None:
    penalty: Any = penalty_named(name)
    at, length = weights(3), np.random.default_rng(4).uniform(0.05, 1.5, SHAPE).astype(np.float32)
    best = np.asarray(penalty.coordinate_proximal(jnp.asarray(at), jnp.asarray(length)))

    def cost(U: np.ndarray) -> np.ndarray:
        return ((U - at.astype(np.float64)) ** 2 / (2 * length)).sum(axis=(1, 2)) + penalty.terms(U)[0]

    rng = np.random.default_rng(5)
    for scale in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(50):
            away = rng.normal(size=SHAPE) * (rng.random(SHAPE) < 0.4) * scale
            assert (cost(best + away) >= cost(best) - 1e-6).all()
    zero_length = penalty.coordinate_proximal(jnp.asarray(at), jnp.zeros(SHAPE, jnp.float32))
    np.testing.assert_allclose(zero_length, at, rtol=1e-6)
    assert not np.asarray(penalty.coordinate_proximal(jnp.zeros(SHAPE, jnp.float32), jnp.asarray(length))).any()
    assert not np.asarray(penalty.coordinate_proximal(jnp.asarray(at), jnp.full(SHAPE, 50.0))).any()


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("l2", [L2, 0 * L2])
def test_no_weights_reach_below_the_dual_bound(name: PenaltyName, l2: Any) -> None:
    """s·dual − penalty*(s·a) ≤ s·dual − ⟨s·a, W⟩ + penalty(W) for all W; the right side is largest at an end of s."""
    penalty, a, dual = penalty_named(name), weights(6), jnp.array([1.0, 0.5])
    bound = np.asarray(penalty.dual_bound(jnp.asarray(a), dual, L1, l2))
    assert (bound > 0).all()
    for length in (1e-2, 0.1, 0.3, 1.0, 3.0):
        for at in (a, weights(7)):
            W = penalty.proximal(jnp.asarray(at * 5), jnp.full(2, length), L1, l2)
            for part in (0.0, 0.01, 0.1, 0.3, 1.0):
                point = part * jnp.asarray(W)
                cost = np.asarray(penalty_value(penalty, point, L1, l2))
                ends = (cost, np.asarray(dual) - (a * np.asarray(point)).sum(axis=(1, 2)) + cost)
                if part:
                    assert (bound <= np.maximum(*ends) + 1e-5).all()


@dataclass(frozen=True)
class Ridge:
    """A penalty with no more than every penalty must have."""

    def terms(self, W: Any) -> tuple[Any, Any]:
        return 0 * W.sum(axis=(1, 2)), (W**2).sum(axis=(1, 2)) / 2

    def proximal(self, at: Any, length: Any, l1: Any, l2: Any) -> Any:  # noqa: ARG002
        return at / (1 + (length * l2)[:, None, None])

    def dual_bound(self, gradient: Any, dual: Any, l1: Any, l2: Any) -> Any:  # noqa: ARG002
        return dual - (gradient**2).sum(axis=(1, 2)) / (2 * l2)


def test_a_solver_names_the_method_that_a_penalty_lacks() -> None:
    settings = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "tolerance": 1e-4, "seed": 0}
    with pytest.raises(SettingsError, match=r"needs a penalty with the method `coordinate_proximal`; Ridge does not"):
        Adam(**settings, proximal_step=True).check(Ridge())
    Adam(**settings, proximal_step=False).check(Ridge())
    solver_of(ElasticNet()).check(Ridge())


def test_settings_are_checked_before_a_store_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    store = planted_store()
    monkeypatch.setattr("lca_jax.probing.batching.penalty_named", lambda *named: Ridge())  # noqa: ARG005
    monkeypatch.setattr(type(store), "matrix", None)
    with pytest.raises(SettingsError, match="coordinate_proximal"):
        fit_probes(store, ElasticNet(solver="adam"))

"""The papers' solver: it trains the same objective, ends near its optimum and says how near."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lca_jax import ElasticNet, fit_probes
from lca_jax.probing.penalties.elastic_net import PENALTY
from lca_jax.probing.solvers.adam import Weights, proximal_adam
from tests.stores import planted_store


@pytest.mark.parametrize("proximal_step", [True, False])
@pytest.mark.parametrize("penalty", ["elastic_net", "neurox"])
def test_adam_approaches_the_certified_optimum(proximal_step: bool, penalty: str) -> None:
    store = planted_store(words=480)
    options = {"l1": 5e-3, "l2": 1e-2, "penalty": penalty}
    exact = fit_probes(store, ElasticNet(**options)).one("upos")
    settings = ElasticNet(
        **options, solver="adam", proximal_step=proximal_step, epochs=60, batch_size=96, learning_rate=1e-2
    )
    adam = fit_probes(store, settings).one("upos")
    excess = adam.objective - exact.objective
    assert excess > -1e-4 * exact.null_objective
    assert excess < 0.03 * exact.null_objective
    assert excess <= adam.duality_gap + exact.duality_gap
    assert adam.iterations == 60 * 5
    zeros = (adam.weights == 0).mean()
    assert zeros > 0.3 if proximal_step else zeros < 0.05
    np.testing.assert_array_equal(adam.weights, fit_probes(store, settings).one("upos").weights)


def test_the_proximal_update_is_soft_thresholding_in_adams_metric() -> None:
    weights = Weights(jnp.array([[[0.5, 1e-4, 0.0]]]), jnp.zeros((1, 1)))
    gradients = Weights(jnp.array([[[2.0, 0.1, 0.01]]]), jnp.ones((1, 1)))
    rate, l1 = 1e-2, 0.05
    optimizer = proximal_adam(PENALTY, jnp.array([l1]), learning_rate=rate)
    plain = optax.adam(rate)
    with jax.numpy_dtype_promotion("standard"):  # optax is not written for strict promotion
        updates: Any = optimizer.update(gradients, optimizer.init(weights), weights)[0]
        usual: Any = plain.update(gradients, plain.init(weights), weights)[0]
    moved = np.asarray(weights.W + usual.W)
    # After one step √v is the gradient's size.
    threshold = rate * l1 / np.abs(np.asarray(gradients.W))
    expected = np.sign(moved) * np.maximum(np.abs(moved) - threshold, 0)
    np.testing.assert_allclose(np.asarray(weights.W + updates.W), expected, atol=1e-6)
    np.testing.assert_allclose(np.asarray(updates.bias), np.asarray(usual.bias), atol=1e-8)
    with pytest.raises(ValueError, match="needs the weights"):
        optimizer.update(gradients, optimizer.init(weights))

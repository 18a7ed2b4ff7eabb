"""Every name that a config may have for its non-linearity, against the functions of transformers."""

import jax.numpy as jnp
import numpy as np
import pytest

from lca_jax.models.stack.nonlinearity import NONLINEARITIES

WITH_PARAMETERS = {"prelu", "xielu"}


def test_every_name_of_transformers_is_known_but_those_with_parameters() -> None:
    pytest.importorskip("torch")
    from transformers.activations import ACT2FN

    assert set(ACT2FN) - set(NONLINEARITIES) == WITH_PARAMETERS
    assert set(NONLINEARITIES) <= set(ACT2FN)


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_function_equals_that_of_transformers(name: str) -> None:
    torch = pytest.importorskip("torch")
    from transformers.activations import ACT2FN

    numbers = np.concatenate([np.linspace(-12, 12, 481), [0.0, 30.0, -30.0]]).astype(np.float32)
    theirs = ACT2FN[name](torch.tensor(numbers)).numpy()
    np.testing.assert_allclose(NONLINEARITIES[name](jnp.asarray(numbers)), theirs, rtol=2e-6, atol=2e-6)

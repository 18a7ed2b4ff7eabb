"""Every family against PyTorch: all states and logits, alone and packed, plain and with neurons zeroed by hooks."""

import numpy as np
import pytest

from lca_jax.models.families import FAMILIES
from lca_jax.models.model import Model
from tests.models.parity import PLACES, Comparison, identity_edits, zeroing_edits
from tests.models.tiny import compare_tiny
from tests.tiny_models import TINY


def test_every_family_is_tested() -> None:
    assert {tiny.model_type for tiny in TINY.values()} == set(FAMILIES) == set(PLACES)


@pytest.fixture(scope="module", params=list(TINY))
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Comparison]:
    pytest.importorskip("torch")
    return compare_tiny(TINY[request.param], tmp_path_factory.mktemp("tiny"))


def tolerance(model: Model, size: float) -> float:
    """Float32 carries seven digits: where numbers exceed ten, so may their last one.

    An encoder-decoder is two stacks deep; measured 1.7e-5 in T5, whose scores are not scaled, with PyTorch 6.6e-6 from
    its own float64.
    """
    return (2e-5 if model.config.decoder else 1e-5) * max(1.0, size / 10)


def test_every_state_and_logit_equals_pytorch(loaded: tuple[Model, Comparison]) -> None:
    model, comparison = loaded
    compared = comparison.run(identity_edits(model))
    for name, difference in compared.difference.items():
        assert compared.size[name] > 0.5, compared
        assert difference < tolerance(model, compared.size[name]), compared


def test_reference_reads_the_hidden_states_that_transformers_returns(loaded: tuple[Model, Comparison]) -> None:
    import torch

    _, comparison = loaded
    window, target = comparison.windows[2], None
    inputs = {"input_ids": torch.tensor(window[None].astype(np.int64))}
    if comparison.targets:
        target = comparison.targets[2]
        inputs["decoder_input_ids"] = torch.tensor(target[None].astype(np.int64))
    with torch.inference_mode():
        theirs = comparison.reference.model(**inputs, output_hidden_states=True)
    ours = comparison.reference.run(window, target=target).states
    names = {"residual": "hidden_states"}
    if comparison.targets:
        names = {"residual": "encoder_hidden_states", "decoder.residual": "decoder_hidden_states"}
    for site, name in names.items():
        np.testing.assert_array_equal(ours[site], np.concatenate(theirs[name]))


def test_zeroing_equals_hooks_in_pytorch(loaded: tuple[Model, Comparison]) -> None:
    model, comparison = loaded
    last = model.config.layers
    head = range(model.config.attention.head_width)
    of_decoder = []
    if model.config.decoder is not None:
        of_decoder = [
            {"decoder.residual": {0: [5], 1: [6, 7]}, "residual": {1: [3]}},
            {"decoder.cross": {0: [*head]}, "decoder.attention": {1: [0, 9]}, "decoder.mlp": {0: [0, 39]}},
        ]
    for zeroed in (
        *of_decoder,
        {"residual": {0: [3, 30]}},
        {"residual": {1: [3, 4, 5, 30], last: [7]}},
        {"mlp": {0: [0, 39], 1: [7]}, "attention": {1: [*head]}},
    ):
        edits = zeroing_edits(model, zeroed)
        compared = comparison.run(edits, zeroed)
        plain = comparison.run(edits)
        for name in compared.difference:
            assert compared.difference[name] < tolerance(model, compared.size[name]), (zeroed, name, compared)
        assert max(plain.difference.values()) > 0.1, (zeroed, plain)

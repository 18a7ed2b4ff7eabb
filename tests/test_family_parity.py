"""Every family against PyTorch: all states and logits, alone and packed, plain and with neurons zeroed by hooks."""

from pathlib import Path

import numpy as np
import pytest

from lca_jax.models.families import FAMILIES
from lca_jax.models.model import Model, load_model
from tests.parity import PLACES, Comparison, Reference, identity_edits, zeroing_edits
from tests.tiny_bert import draw_windows
from tests.tiny_models import TINY, VOCABULARY, write_model

LENGTHS = [1, 5, 20, 7, 16, 2, 3, 10]


def test_every_family_is_tested() -> None:
    assert {tiny.model_type for tiny in TINY.values()} == set(FAMILIES) == set(PLACES)


@pytest.fixture(scope="module", params=list(TINY))
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Comparison]:
    pytest.importorskip("torch")
    folder: Path = tmp_path_factory.mktemp("tiny")
    theirs = write_model(folder, TINY[request.param])
    model = load_model(folder, head=TINY[request.param].has_head)
    reference = Reference(theirs, model.config.blocks, PLACES[model.config.family])
    windows = draw_windows(LENGTHS, vocabulary=VOCABULARY)
    return model, Comparison(model, reference, windows, slots=24)


def test_every_state_and_logit_equals_pytorch(loaded: tuple[Model, Comparison]) -> None:
    model, comparison = loaded
    compared = comparison.run(identity_edits(model))
    for name, difference in compared.difference.items():
        assert compared.size[name] > 0.5, compared
        # Float32 carries seven digits: where numbers exceed ten, so may their last one.
        assert difference < 1e-5 * max(1.0, compared.size[name] / 10), compared


def test_reference_reads_the_hidden_states_that_transformers_returns(loaded: tuple[Model, Comparison]) -> None:
    import torch

    _, comparison = loaded
    window = comparison.windows[2]
    with torch.inference_mode():
        ids = torch.tensor(window[None].astype(np.int64))
        theirs = comparison.reference.model(input_ids=ids, output_hidden_states=True).hidden_states
    np.testing.assert_array_equal(comparison.reference.run(window).states["residual"], np.concatenate(theirs))


def test_zeroing_equals_hooks_in_pytorch(loaded: tuple[Model, Comparison]) -> None:
    model, comparison = loaded
    last = model.config.layers
    head = range(model.config.attention.head_width)
    for zeroed in (
        {"residual": {0: [3, 30]}},
        {"residual": {1: [3, 4, 5, 30], last: [7]}},
        {"mlp": {0: [0, 39], 1: [7]}, "attention": {1: [*head]}},
    ):
        edits = zeroing_edits(model, zeroed)
        compared = comparison.run(edits, zeroed)
        plain = comparison.run(edits)
        for name in compared.difference:
            assert compared.difference[name] < 1e-5 * max(1.0, compared.size[name] / 10), (zeroed, name, compared)
        assert max(plain.difference.values()) > 0.1, (zeroed, plain)

"""LSTM stacks against PyTorch on copied weights: every layer, packed rows against one text at a time, edits."""

from typing import Any

import jax
import numpy as np
import pytest

from lca_jax.errors import ModelError, SettingsError
from lca_jax.models.recurrent.config import LstmConfig
from lca_jax.models.recurrent.lstm import forward, initial_params, logits
from lca_jax.models.stack.stack import Batch
from lca_jax.models.stack.taps import Edit

VOCABULARY = 23
TEXTS = [[5, 3, 1, 9, 20], [7], [2, 2, 8, 0], [11, 22, 4, 6, 1, 1, 3], [19, 18]]


def packed() -> tuple[Batch, list[tuple[int, int]]]:
    """Two rows with several texts each and padding at the end; the row and first slot of each text."""
    pieces, segments = np.zeros((2, 13), np.int32), np.zeros((2, 13), np.int32)
    positions, places = np.zeros((2, 13), np.int32), []
    for row, numbers in enumerate(((0, 1, 2), (3, 4))):
        slot = 0
        for segment, number in enumerate(numbers, start=1):
            text = TEXTS[number]
            own = (row, slice(slot, slot + len(text)))
            pieces[own], segments[own], positions[own] = text, segment, np.arange(len(text))
            places.append((row, slot))
            slot += len(text)
    return Batch(pieces, positions, segments), places


def alone(text: list[int]) -> Batch:
    return Batch(
        np.array([text], np.int32), np.arange(len(text), dtype=np.int32)[None], np.ones((1, len(text)), np.int32)
    )


@pytest.mark.parametrize(
    ("layers", "bidirectional", "cells"), [(1, False, None), (2, True, None), (4, False, 15), (3, True, 15)]
)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_every_layer_is_that_of_pytorch(layers: int, bidirectional: bool, cells: int | None) -> None:
    torch = pytest.importorskip("torch")
    config = LstmConfig(vocabulary=VOCABULARY, width=12, layers=layers, bidirectional=bidirectional, cells=cells)
    params: Any = initial_params(config, jax.random.key(1))
    batch, places = packed()
    found = np.asarray(forward(config, params, batch))
    assert found.shape == (layers + 1, 2, 13, 12)
    for (row, slot), text in zip(places, TEXTS, strict=True):
        x = torch.tensor(np.array(params["words"])[text])[None]
        np.testing.assert_allclose(found[0, row, slot : slot + len(text)], x[0].numpy(), atol=1e-6)
        for layer in range(layers):
            single = torch.nn.LSTM(
                12,
                config.cell_count,
                batch_first=True,
                bidirectional=bidirectional,
                proj_size=6 * (2 - bidirectional) if cells else 0,
            )
            with torch.no_grad():
                for own, end in zip(params["layers"][layer], ("", "_reverse"), strict=False):
                    getattr(single, f"weight_ih_l0{end}").copy_(torch.tensor(np.array(own["input"]).T))
                    getattr(single, f"weight_hh_l0{end}").copy_(torch.tensor(np.array(own["state"]).T))
                    getattr(single, f"bias_ih_l0{end}").copy_(torch.tensor(np.array(own["bias"])))
                    getattr(single, f"bias_hh_l0{end}").zero_()
                    if cells:
                        getattr(single, f"weight_hr_l0{end}").copy_(torch.tensor(np.array(own["project"]).T))
                x = single(x)[0]
            np.testing.assert_allclose(found[layer + 1, row, slot : slot + len(text)], x[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_packed_text_is_as_alone(bidirectional: bool) -> None:
    config = LstmConfig(vocabulary=VOCABULARY, width=10, layers=2, bidirectional=bidirectional, tied=False)
    params = initial_params(config, jax.random.key(0))
    batch, places = packed()
    whole = np.asarray(logits(config, params, batch))
    for (row, slot), text in zip(places, TEXTS, strict=True):
        np.testing.assert_allclose(
            whole[row, slot : slot + len(text)], np.asarray(logits(config, params, alone(text)))[0], atol=1e-5
        )


def test_edits_flow_on_and_are_mapped_over() -> None:
    config = LstmConfig(vocabulary=VOCABULARY, width=10, layers=2)
    params: Any = initial_params(config, jax.random.key(0))
    batch, _ = packed()
    scale, shift = np.ones((3, 10), np.float32), np.zeros((3, 10), np.float32)
    scale[1, [2, 7]] = 0
    edited = np.asarray(forward(config, params, batch, {"residual": Edit(scale, shift)}))
    # Zeroed neurons are as rows of zeros in the next layer's input matrix.
    layers = [
        params["layers"][0],
        [{**params["layers"][1][0], "input": params["layers"][1][0]["input"].at[np.array([2, 7])].set(0)}],
    ]
    np.testing.assert_allclose(
        edited[2], np.asarray(forward(config, {**params, "layers": layers}, batch))[2], atol=1e-6
    )
    assert (edited[1][..., [2, 7]] == 0).all()
    both = Edit(np.stack([scale, np.ones_like(scale)]), np.stack([shift, shift]))
    mapped = np.asarray(jax.vmap(lambda edit: logits(config, params, batch, {"residual": edit}))(both))
    np.testing.assert_allclose(mapped[1], np.asarray(logits(config, params, batch)), atol=1e-6)
    np.testing.assert_array_equal(
        np.asarray(forward(config, params, batch, layers=(2, 0))), np.asarray(forward(config, params, batch))[[2, 0]]
    )


def test_what_cannot_be_built_or_read_is_refused() -> None:
    with pytest.raises(ModelError, match=r"`layers` must be 1 to 4, got 5; `width` must be even"):
        LstmConfig(vocabulary=5, width=7, layers=5, bidirectional=True)
    with pytest.raises(ModelError, match="`vocabulary` must be at least 1"):
        LstmConfig(vocabulary=0, width=4)
    config = LstmConfig(vocabulary=VOCABULARY, width=4)
    params = initial_params(config, jax.random.key(0))
    with pytest.raises(SettingsError, match=r"run from 0 to 2, got \[3\]"):
        forward(config, params, packed()[0], layers=(3,))
    edit = Edit(np.ones((2, 4), np.float32), np.zeros((2, 4), np.float32))
    with pytest.raises(ModelError, match=r"scale and shift of shape \(3, 4\)"):
        logits(config, params, packed()[0], {"residual": edit})
    with pytest.raises(SettingsError, match="the site `residual` alone, got 'mlp'"):
        logits(config, params, packed()[0], {"mlp": edit})

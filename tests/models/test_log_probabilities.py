"""Log-probabilities of texts beside PyTorch's logits: causal, masked and with a source, edited, alone and packed."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from scipy.special import log_softmax

from lca_jax.errors import ModelError
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Batch
from tests.models.parity import PLACES, Reference, zeroing_edits
from tests.tiny_bert import draw_windows, pack
from tests.tiny_models import TINY, VOCABULARY, Tiny, write_model

MASK = 3
ZEROED = {"residual": {0: [3, 30], 1: [5, 6, 7]}, "mlp": {0: [*range(12)], 1: [7, 39]}}
KINDS = ("llama, grouped queries", "bert", "bart, scaled embedding")


@pytest.fixture(scope="module", params=KINDS)
def predictor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Any]:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("predictor")
    theirs = write_model(folder, TINY[request.param])
    model = load_model(folder, head=True)
    model.tokenizer.add_special_tokens({"mask_token": f"w{MASK}"})
    return model, theirs


def expected_of(
    model: Model, reference: Reference, window: np.ndarray, target: np.ndarray | None, zeroed
) -> np.ndarray:
    """The log-probability of every piece, from PyTorch's logits; 0 where a first piece has none."""
    if target is None and not model.config.attention.causal:
        chosen = []
        for place, piece in enumerate(window):
            masked = window.copy()
            masked[place] = MASK
            logits = reference.run(masked, zeroed).logits
            assert logits is not None
            chosen.append(log_softmax(logits[place].astype(np.float64))[piece])
        return np.array(chosen)
    logits = reference.run(window, zeroed, target=target).logits
    assert logits is not None
    text = window if target is None else target
    chances = log_softmax(logits.astype(np.float64), axis=1)
    return np.array([0.0, *chances[np.arange(len(text) - 1), text[1:]]])


def test_log_probabilities_are_those_of_pytorch_edited_or_not_alone_and_packed(predictor: tuple[Model, Any]) -> None:
    model, theirs = predictor
    sources, lengths = draw_windows([5, 9, 2], vocabulary=VOCABULARY - 8), [4, 7, 3]
    targets = draw_windows(lengths, vocabulary=VOCABULARY - 8, seed=4) if model.config.decoder else None
    reference = Reference(theirs, model.config, PLACES[model.config.family])
    run = jax.jit(lambda params, *rows: model.log_probabilities(params, rows[0], rows[2], targets=rows[1]))
    for alone in (True, False):
        batch, places = pack(sources, slots=16, alone=alone)
        written = None
        if targets is not None:
            written, places = pack(targets, slots=16, alone=alone, like=None if alone else places)
        for zeroed in (None, ZEROED):
            found = np.asarray(run(model.params, batch, written, zeroing_edits(model, zeroed or {})))
            counted = np.zeros(found.shape, bool)
            for number, (row, place) in enumerate(places):
                target = None if targets is None else targets[number]
                expected = expected_of(model, reference, sources[number], target, zeroed)
                np.testing.assert_allclose(found[row, place], expected, rtol=1e-5, atol=1e-5)
                counted[row, place] = True
            assert not found[~counted].any()


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A vocabulary whose logits of 300 slots are several blocks."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("wide")
    tiny = TINY["llama, grouped queries"]
    write_model(folder, Tiny("llama", {**tiny.changes, "vocab_size": 60_000}, tiny.head))
    return load_model(folder, head=True)


def test_the_head_in_blocks_is_the_head(wide: Model) -> None:
    batch, _ = pack(draw_windows([60] * 5, vocabulary=60_000), slots=60)
    found = np.asarray(jax.jit(lambda params: wide.log_probabilities(params, batch))(wide.params))
    logits = np.asarray(jax.jit(lambda params: wide.logits(params, batch))(wide.params), np.float64)
    chances = np.take_along_axis(
        log_softmax(logits, axis=-1)[:, :-1], np.asarray(batch.piece_ids)[:, 1:, None], axis=2
    )[..., 0]
    np.testing.assert_allclose(found[:, 1:], chances, rtol=1e-5, atol=1e-5)
    assert not found[:, 0].any()


def test_memory_does_not_hold_the_logits_and_does_not_grow_with_points(wide: Model) -> None:
    batch, _ = pack(draw_windows([60] * 5, vocabulary=60_000), slots=60)
    shape = (wide.layer_count("mlp"), wide.width("mlp"))

    def temporaries(points: int) -> int:
        edits = zeroing_edits(wide, {})["mlp"]
        stacked = {"mlp": jax.tree.map(lambda part: np.broadcast_to(part, (points, *shape)).copy(), edits)}
        score = jax.jit(
            lambda params, edits: jax.lax.map(lambda one: wide.log_probabilities(params, batch, one), edits)
        )
        analysis = score.lower(wide.params, stacked).compile().memory_analysis()
        assert analysis is not None
        return analysis.temp_size_in_bytes

    logits = 4 * batch.piece_ids.size * 60_000
    one, many = temporaries(1), temporaries(16)
    assert one < 0.75 * logits
    assert many < one + 2**20


@pytest.mark.slow
def test_smollm2_takes_at_most_64_mebibytes(trained_folder) -> None:
    model = load_model(trained_folder("smollm2-135m"), head=True)
    batch, _ = pack(draw_windows([256] * 4, vocabulary=49_152), slots=256)
    score = jax.jit(lambda params: model.log_probabilities(params, batch))
    analysis = score.lower(model.params).compile().memory_analysis()
    assert analysis is not None
    assert analysis.temp_size_in_bytes <= 64 * 2**20


def test_models_that_give_none_say_why(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    batch, _ = pack(draw_windows([4], vocabulary=40), slots=4)
    for kind, why in (("bert", "tokenizer has no mask piece"), ("xlnet", "drawn order"), ("bart", "give them as")):
        write_model(tmp_path / kind, TINY[kind])
        model = load_model(tmp_path / kind, head=True)
        if kind == "xlnet":
            model.tokenizer.add_special_tokens({"mask_token": "w3"})
        with pytest.raises(ModelError, match=why):
            model.log_probabilities(model.params, batch)


def test_a_batch_of_padding_has_none(wide: Model) -> None:
    nothing = np.zeros((2, 8), np.int32)
    found = np.asarray(jax.jit(lambda params: wide.log_probabilities(params, Batch(*[nothing] * 3)))(wide.params))
    assert not found.any()

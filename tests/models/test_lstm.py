"""LSTM stacks against PyTorch on copied weights, packed rows against single texts, and as models like any other."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lca_jax as lca
from lca_jax.errors import ModelError, SettingsError
from lca_jax.models.model import Model
from lca_jax.models.recurrent.config import LstmConfig, TranslatorConfig
from lca_jax.models.recurrent.making import initial_params, make_model
from lca_jax.models.stack import stack
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.stack import Batch
from lca_jax.models.stack.taps import Edit
from lca_jax.models.writing.generation import Search, TextRules
from lca_jax.store.statistics import Gathering
from lca_jax.training.pieces import END, START, learn_pieces
from lca_jax.training.words import Vocabulary

VOCABULARY = 23
TEXTS = [[5, 3, 1, 9, 20], [7], [2, 2, 8, 0], [11, 22, 4, 6, 1, 1, 3], [19, 18]]
SENTENCES = [["a", "b", "a", "c"], ["c", "d"], ["b", "a", "d", "d", "a"]]


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


def alone(text: list[int], slots: int = 0) -> Batch:
    slots = slots or len(text)
    inside = (np.arange(slots, dtype=np.int32)[None] < len(text)).astype(np.int32)
    return Batch(
        np.pad(np.array([text], np.int32), ((0, 0), (0, slots - len(text)))), np.cumsum(inside, 1, np.int32) - 1, inside
    )


def states_of(config: StackConfig, params: Any, batch: Batch, edits: Any = None) -> dict[str, np.ndarray]:
    reads = config.choose_layers(config.sites)
    run = jax.jit(lambda params, edits: stack.forward(stack.build(config)[0], params, batch, edits, reads=reads))
    return {site: np.asarray(states) for site, states in run(params, edits).items()}


def language_model(**shape: Any) -> Model:
    vocabulary = Vocabulary.of(SENTENCES, 6)
    given: dict[str, Any] = {"vocabulary": 6, "width": 8, "layers": 2} | shape
    config = LstmConfig(**given).stack()
    params = initial_params(config, jax.random.key(3))
    # Word vectors as large as trained ones, so that texts differ.
    params["embedding"]["pieces"]["embedding"] *= 20
    return make_model("tiny lstm", config, params, vocabulary.tokenizer(), TextRules(ends=(1,)))


def translator() -> Model:
    tokenizer = learn_pieces([" ".join(words) for words in SENTENCES], 14)
    config = TranslatorConfig(vocabulary=len(tokenizer), width=8, layers=2).stack()
    params = initial_params(config, jax.random.key(1))
    params["embedding"]["pieces"]["embedding"] *= 20
    return make_model("tiny translator", config, params, tokenizer, TextRules(start=(START,), ends=(END,)))


@pytest.mark.parametrize(
    ("layers", "bidirectional", "cells"), [(1, False, None), (2, True, None), (4, False, 15), (3, True, 15)]
)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_every_layer_is_that_of_pytorch(layers: int, bidirectional: bool, cells: int | None) -> None:
    torch = pytest.importorskip("torch")
    config = LstmConfig(
        vocabulary=VOCABULARY, width=12, layers=layers, bidirectional=bidirectional, cells=cells
    ).stack()
    params: Any = initial_params(config, jax.random.key(1))
    batch, places = packed()
    found = states_of(config, params, batch)
    assert found["residual"].shape == (layers + 1, 2, 13, 12)
    for (row, slot), text in zip(places, TEXTS, strict=True):
        own = slice(slot, slot + len(text))
        x = torch.tensor(np.array(params["embedding"]["pieces"]["embedding"])[text])[None]
        np.testing.assert_allclose(found["residual"][0, row, own], x[0].numpy(), atol=1e-6)
        for layer in range(layers):
            single = torch.nn.LSTM(
                12,
                config.attention.head_width,
                batch_first=True,
                bidirectional=bidirectional,
                proj_size=6 * (2 - bidirectional) if cells else 0,
            )
            with torch.no_grad():
                for name, end in (("forward", ""), ("backward", "_reverse"))[: 1 + bidirectional]:
                    part = params["blocks"][layer][name]
                    getattr(single, f"weight_ih_l0{end}").copy_(torch.tensor(np.array(part["input"]["kernel"]).T))
                    getattr(single, f"weight_hh_l0{end}").copy_(torch.tensor(np.array(part["state"]["kernel"]).T))
                    getattr(single, f"bias_ih_l0{end}").copy_(torch.tensor(np.array(part["input"]["bias"])))
                    getattr(single, f"bias_hh_l0{end}").zero_()
                    if cells:
                        weights = torch.tensor(np.array(part["project"]["kernel"]).T)
                        getattr(single, f"weight_hr_l0{end}").copy_(weights)
                x, (_, last_cells) = single(x)
            np.testing.assert_allclose(found["residual"][layer + 1, row, own], x[0].numpy(), atol=1e-5)
            width = config.attention.head_width
            np.testing.assert_allclose(
                found["cell"][layer, row, slot + len(text) - 1, :width], last_cells[0, 0].numpy(), atol=1e-5
            )
            if bidirectional:
                np.testing.assert_allclose(found["cell"][layer, row, slot, width:], last_cells[1, 0].numpy(), atol=1e-5)


def test_a_packed_text_is_as_alone_at_every_site() -> None:
    config = LstmConfig(vocabulary=VOCABULARY, width=10, layers=2, bidirectional=True).stack()
    params = initial_params(config, jax.random.key(0))
    batch, places = packed()
    whole = states_of(config, params, batch)
    for number in (0, 2, 4):
        (row, slot), text = places[number], TEXTS[number]
        for site, states in states_of(config, params, alone(text)).items():
            np.testing.assert_allclose(whole[site][:, row, slot : slot + len(text)], states[:, 0], atol=1e-5)


def test_cells_are_what_the_gates_make_of_them_and_edits_stay_in_the_recurrence() -> None:
    config = LstmConfig(vocabulary=VOCABULARY, width=6, layers=2).stack()
    params: Any = initial_params(config, jax.random.key(0))
    batch = alone(TEXTS[3])
    for edits in (None, {"gates": Edit(np.ones((2, 24), np.float32), np.zeros((2, 24), np.float32))}):
        if edits is not None:
            edits["gates"].scale[0, 6:12] = 0  # the first layer forgets everything
        found = states_of(config, params, batch, edits)
        enter, keep, new, leave = np.split(found["gates"][:, 0], 4, axis=-1)
        cell = np.zeros((2, 6), np.float32)
        for slot in range(len(TEXTS[3])):
            cell = keep[:, slot] * cell + enter[:, slot] * new[:, slot]
            np.testing.assert_allclose(found["cell"][:, 0, slot], cell, atol=1e-6)
            output = leave[:, slot] * np.tanh(cell)
            np.testing.assert_allclose(found["residual"][1:, 0, slot], output, atol=1e-6)
        if edits is not None:
            np.testing.assert_array_equal(keep[0], 0)
            np.testing.assert_allclose(found["cell"][0, 0], enter[0] * new[0], atol=1e-6)


def test_an_edit_of_chosen_cells_acts_from_their_slots_on() -> None:
    config = LstmConfig(vocabulary=VOCABULARY, width=6, layers=2).stack()
    params, batch = initial_params(config, jax.random.key(0)), alone(TEXTS[3])
    where = np.arange(7)[None] == 3
    edit = Edit(np.ones((2, 6), np.float32), np.zeros((2, 6), np.float32), where)
    edit.scale[1, 2] = 0
    plain, edited = (states_of(config, params, batch, edits) for edits in (None, {"cell": edit}))
    np.testing.assert_allclose(plain["cell"][0], edited["cell"][0], atol=1e-7)
    changed = np.abs(plain["cell"][1, 0] - edited["cell"][1, 0]).max(axis=1) > 1e-6
    assert changed.tolist() == [False] * 3 + [True] * 4
    assert edited["cell"][1, 0, 3, 2] == 0


def test_edits_of_outputs_flow_on_and_are_mapped_over() -> None:
    model = language_model(width=10)
    params, batch = model.params, alone([1, 3, 2, 5, 4])
    scale, shift = np.ones((3, 10), np.float32), np.zeros((3, 10), np.float32)
    scale[1, [2, 7]] = 0
    edited = np.asarray(model.forward(params, batch, {"residual": Edit(scale, shift)})["residual"])
    # Zeroed neurons are as rows of zeros in the next layer's input matrix.
    cut: Any = jax.tree.map(lambda leaf: leaf, params)
    matrix = cut["blocks"][1]["forward"]["input"]["kernel"]
    cut["blocks"][1]["forward"]["input"]["kernel"] = matrix.at[np.array([2, 7])].set(0)
    np.testing.assert_allclose(edited[2], np.asarray(model.forward(cut, batch)["residual"])[2], atol=1e-6)
    assert (edited[1][..., [2, 7]] == 0).all()
    both = Edit(np.stack([scale, np.ones_like(scale)]), np.stack([shift, shift]))
    mapped = np.asarray(jax.vmap(lambda edit: model.logits(params, batch, {"residual": edit}))(both))
    np.testing.assert_allclose(mapped[1], np.asarray(model.logits(params, batch)), atol=1e-5)


@pytest.mark.parametrize("make", [language_model, translator])
def test_a_text_is_written_as_by_a_loop_over_whole_texts(make: Any, tmp_path: Path) -> None:
    model = make()
    decoder = model.config.decoder is not None
    edit = Edit(np.ones((3, 8), np.float32), np.zeros((3, 8), np.float32))
    edit.scale[1, :4], edit.shift[2, 5] = 0, 0.3
    edits = {"decoder.residual" if decoder else "residual": edit}
    run = jax.jit(lambda batch, targets: model.logits(model.params, batch, edits, targets=targets))
    texts = ["a b", "c d a b"]
    written = model.write(texts, edits, search=Search(longest=6))
    for text, found in zip(texts, written, strict=True):
        source = [int(one) for one in model.tokenizer(text)["input_ids"]]
        pieces = [START] if decoder else source
        chosen: list[int] = []
        while len(chosen) < 6 and (not chosen or chosen[-1] not in model.rules.ends):
            text_so_far = alone(pieces, 12)
            logits = run(alone(source, 12), text_so_far) if decoder else run(text_so_far, None)
            chosen.append(int(np.argmax(np.asarray(logits)[0, len(pieces) - 1])))
            pieces = [*pieces, chosen[-1]]
        assert list(found.pieces) == chosen
    model.save(tmp_path)
    loaded = lca.load_model(tmp_path, head=True)  # as commands ask that need a head
    assert loaded.fingerprint == model.fingerprint
    assert loaded.write(texts, edits, search=Search(longest=6)) == written


def test_a_language_model_is_like_any_other_model() -> None:
    model = language_model()
    corpus = lca.Corpus.from_words(SENTENCES, name="letters")
    gathering = Gathering(covariance=False, sample_words=0)
    store = lca.extract(model, corpus, sites=["residual", "cell", "gates"], statistics=gathering)
    assert [(block.site, block.width) for block in store.axis().blocks] == [
        *[("residual", 8)] * 3,
        *[("cell", 8)] * 2,
        *[("gates", 32)] * 2,
    ]
    logits = np.asarray(model.logits(model.params, alone([1, 2, 3, 2, 4])))[0]
    chances = logits - np.asarray(jax.nn.logsumexp(jnp.asarray(logits), axis=1))[:, None]
    found = np.asarray(model.log_probabilities(model.params, alone([1, 2, 3, 2, 4])))[0]
    np.testing.assert_allclose(found[1:], chances[np.arange(4), [2, 3, 2, 4]], atol=1e-5)
    curve = lca.ablation_curve(model, lca.rank(store, method="variance"), corpus, [30], sets=["top"], fill="zero")
    assert np.isfinite(curve.whole)


@pytest.mark.parametrize("tied", [True, False])
def test_the_head_has_the_vectors_of_the_words_or_its_own(tied: bool) -> None:
    model = language_model(tied=tied)
    batch = alone([1, 3, 2, 4])
    params: Any = model.params
    states = np.asarray(model.forward(params, batch)["residual"])[2, 0]
    vectors = np.asarray(params["embedding"]["pieces"]["embedding"] if tied else params["head"]["pieces"]["embedding"])
    assert ("pieces" in params["head"]) != tied
    expected = states @ vectors.T + np.asarray(params["head"]["bias"])
    np.testing.assert_allclose(np.asarray(model.logits(params, batch))[0], expected, atol=1e-5)


def test_what_cannot_be_built_or_edited_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"`layers` must be 1 to 4, got 5; `width` must be even"):
        LstmConfig(vocabulary=5, width=7, layers=5, bidirectional=True)
    with pytest.raises(ModelError, match="`vocabulary` must be at least 1"):
        LstmConfig(vocabulary=0, width=4)
    with pytest.raises(ModelError, match="`cells` must be at least 1"):
        LstmConfig(vocabulary=5, width=4, cells=0)
    with pytest.raises(ModelError, match="`width` must be even, got 5"):
        TranslatorConfig(vocabulary=5, width=5)
    config = LstmConfig(vocabulary=6, width=4, bidirectional=True).stack()
    words = Vocabulary.of(SENTENCES, 6).tokenizer()
    make_model("encoder", config, initial_params(config, jax.random.key(0)), words, TextRules()).save(tmp_path)
    with pytest.raises(ModelError, match="saved without its head"):
        lca.load_model(tmp_path, head=True)
    model = language_model()
    with pytest.raises(SettingsError, match="Its sites: residual, cell, gates"):
        model.forward(model.params, alone([1]), sites=("mlp",))
    edit = Edit(np.ones((2, 8), np.float32), np.zeros((2, 8), np.float32), None, np.zeros((2, 8, 1), np.float32))
    with pytest.raises(ModelError, match="only `residual` has them"):
        model.logits(model.params, alone([1]), {"cell": edit})

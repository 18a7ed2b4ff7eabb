"""Texts that models write: greedy and with beams as PyTorch's, edits at every step, one compilation, SSRU decoders."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lca_jax.errors import ModelError, SettingsError
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Batch
from lca_jax.models.writing.generation import Generation, Search
from tests.compilations import count_programs
from tests.models.parity import PLACES, Reference, identity_edits, zeroing_edits
from tests.tiny_bert import draw_windows, write_bert
from tests.tiny_models import TINY, VOCABULARY, write_model

LONGEST = 10
WRITERS = {
    "llama, grouped queries": 0,
    "mistral, sliding window": 0,
    "gemma2": 0,
    "gpt2": 0,
    "opt, norms after": 1,
    "t5, gated": 0,
    "bart, scaled embedding": 7,
    "marian, two vocabularies": 1,
}
"""Tiny configs, and seeds of weights that write different texts."""


@pytest.fixture(scope="module", params=list(WRITERS))
def writer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Any]:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("writer")
    theirs = write_model(folder, TINY[request.param], seed=WRITERS[request.param])
    return load_model(folder, head=True), theirs


def prompts_of(windows: list[np.ndarray], *, slots: int = 8) -> Batch:
    ids = np.stack([np.pad(window, (0, slots - len(window))) for window in windows])
    places = np.tile(np.arange(slots, dtype=np.int32), (len(windows), 1))
    lengths = np.array([[len(window)] for window in windows])
    return Batch(ids, places, (places < lengths).astype(np.int32))


def write(model: Model, prompts: Batch, edits=None, **search) -> tuple[list[list[int]], np.ndarray]:
    run = jax.jit(lambda params, edits: model.write_pieces(params, prompts, edits, search=Search(**search)))
    pieces, scores = jax.tree.map(np.asarray, run(model.params, edits))
    return [[int(piece) for piece in row if piece >= 0] for row in pieces], scores


def write_with_torch(theirs: Any, model: Model, window: np.ndarray, **settings) -> list[int]:
    import torch

    ids = torch.tensor(window[None].astype(np.int64))
    with torch.inference_mode():
        text = theirs.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=LONGEST,
            forced_eos_token_id=None,  # BART's config would put an end at the last place
            **settings,
        )[0].tolist()
    text = text[len(model.rules.start) if model.config.decoder else len(window) :]
    ends = [place for place, piece in enumerate(text) if piece in model.rules.ends]
    return text[: ends[0] + 1] if ends else text


@pytest.mark.slow
@pytest.mark.parametrize("beams", [1, 3])
def test_texts_are_those_of_pytorch(writer: tuple[Model, Any], beams: int) -> None:
    model, theirs = writer
    windows = draw_windows([3, 8, 1, 5, 7, 6], vocabulary=VOCABULARY - 8)
    ours, scores = write(model, prompts_of(windows), longest=LONGEST, beams=beams)
    expected = [write_with_torch(theirs, model, window, num_beams=beams) for window in windows]
    assert ours == expected
    assert len({tuple(text) for text in ours}) > 1
    assert np.isfinite(scores).all()
    assert (scores < 0).all()


@pytest.mark.slow
def test_edits_are_applied_at_every_step(writer: tuple[Model, Any]) -> None:
    model, theirs = writer
    windows = draw_windows([3, 8, 5], vocabulary=VOCABULARY - 8)
    site = "decoder.mlp" if model.config.decoder else "mlp"
    zeroed = {"residual": {0: [3, 30], 1: [5, 6, 7]}, site: {0: [*range(12)], 1: [7, 39]}}
    edits = zeroing_edits(model, zeroed)
    ours, _ = write(model, prompts_of(windows), edits, longest=LONGEST)
    reference = Reference(theirs, model.config, PLACES[model.config.family])
    for window, text in zip(windows, ours, strict=True):
        expected = list(model.rules.start) if model.config.decoder else window.tolist()
        read = len(expected)
        for _ in range(LONGEST):  # without a cache: every step reads the whole text again
            so_far = np.asarray(expected, np.int32)
            seen = (
                reference.run(window, zeroed, target=so_far) if model.config.decoder else reference.run(so_far, zeroed)
            )
            assert seen.logits is not None
            expected.append(int(seen.logits[-1].argmax()))
            if expected[-1] in model.rules.ends:
                break
        assert text == expected[read:]
    plain, _ = write(model, prompts_of(windows), longest=LONGEST)
    assert plain != ours


@pytest.fixture(scope="module")
def story_teller(tmp_path_factory: pytest.TempPathFactory) -> Model:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("story")
    write_model(folder, TINY["llama, grouped queries"])
    return load_model(folder, head=True)


def test_many_edits_at_once_and_none_of_them_compiles(story_teller: Model) -> None:
    model, prompts = story_teller, prompts_of(draw_windows([3, 8], vocabulary=VOCABULARY - 8))
    traces = []

    @jax.jit
    def run(params, edits):
        traces.append(None)
        found = lambda one: model.write_pieces(params, prompts, one, search=Search(longest=LONGEST))  # noqa: E731
        return jax.vmap(found)(edits)

    choices = [{}, {"mlp": {0: [*range(20)]}}, {"attention": {1: [*range(16)]}}]
    edits = [zeroing_edits(model, zeroed) for zeroed in choices]
    stacked = jax.tree.map(lambda *parts: np.stack(parts), *edits)
    pieces = np.asarray(run(model.params, stacked).pieces)
    run(model.params, jax.tree.map(lambda part: part * np.float32(0.5), stacked))
    assert len(traces) == 1
    for number, one in enumerate(edits):
        alone, _ = write(model, prompts, one, longest=LONGEST)
        assert [[int(piece) for piece in row if piece >= 0] for row in pieces[number]] == alone


def test_texts_in_and_out(story_teller: Model) -> None:
    texts = ["w5 w6 w7", "w9", " ".join(f"w{number}" for number in range(5, 25)), "w11 w12"]
    together = story_teller.write(texts, search=Search(longest=6), rows=3)
    for text, written in zip(texts, together, strict=True):
        assert isinstance(written, Generation)
        assert written.text.startswith(text)
        assert 1 <= len(written.pieces) <= 6
        (alone,) = story_teller.write([text], search=Search(longest=6))
        assert (alone.text, alone.pieces) == (written.text, written.pieces)
        assert alone.score == pytest.approx(written.score, abs=1e-4)
    assert story_teller.write([]) == []


def test_batches_of_prompts_share_a_program_for_each_step_of_their_length(story_teller: Model) -> None:
    """Batches are full and filled up, of prompts of any length and number."""

    def write(lengths: list[int]) -> None:
        texts = [" ".join(f"w{5 + number % 20}" for number in range(length)) for length in lengths]
        story_teller.write(texts, search=Search(longest=7), rows=3)

    with count_programs(afresh=True) as compiled:
        write([1, 2, 3, 17, 20, 21])
    assert compiled.count("jit(write_pieces)") == 2
    with count_programs() as compiled:
        write([4, 5, 6, 7, 18, 19, 22, 23, 24, 16])
    assert compiled == []


def test_pieces_that_are_never_chosen(story_teller: Model) -> None:
    import dataclasses

    plain = story_teller.write(["w5 w6"], search=Search(longest=6))[0].pieces
    rules = dataclasses.replace(story_teller.rules, never=(plain[0], plain[1]))
    for beams in (1, 2):
        other = dataclasses.replace(story_teller, rules=rules).write(["w5 w6"], search=Search(longest=6, beams=beams))
        assert not set(plain[:2]) & set(other[0].pieces)


def test_a_saved_model_writes_the_same(story_teller: Model, tmp_path: Path) -> None:
    story_teller.save(tmp_path)
    again = load_model(tmp_path)
    assert again.rules == story_teller.rules
    assert again.write(["w5 w6"], search=Search(longest=6)) == story_teller.write(["w5 w6"], search=Search(longest=6))


def test_models_that_cannot_write_say_why(story_teller: Model, tmp_path: Path) -> None:
    bert = load_model(write_bert(tmp_path / "bert"))
    with pytest.raises(ModelError, match=r"loaded without its head\. Load it with head=True"):
        bert.write(["the cat"])
    write_model(tmp_path / "bert with head", TINY["bert"])
    with pytest.raises(ModelError, match=r"'bert' model cannot write texts"):
        load_model(tmp_path / "bert with head", head=True).write(["w5"])
    with pytest.raises(ModelError, match=r"1 to 55 pieces, text 1 has 0"):
        story_teller.write(["w5", ""], search=Search(longest=10))
    with pytest.raises(ModelError, match=r"do not fit into the model's windows of 64"):
        story_teller.write_pieces(
            story_teller.params, prompts_of(draw_windows([3]), slots=32), search=Search(longest=34)
        )
    with pytest.raises(SettingsError, match="at least 1"):
        Search(beams=0)


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, dict[str, np.ndarray]]:
    """A Marian model whose decoder has an SSRU, with weights drawn here: transformers does not support it."""
    pytest.importorskip("torch")
    from safetensors.numpy import load_file, save_file

    folder = tmp_path_factory.mktemp("ssru")
    write_model(folder, TINY["marian"])
    tensors = load_file(folder / "model.safetensors")
    generator = np.random.default_rng(0)
    for layer in range(2):
        block = f"model.decoder.layers.{layer}"
        tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(f"{block}.self_attn.")}
        for name, shape in (
            ("forget_gate.weight", (32, 32)),
            ("forget_gate.bias", (32,)),
            ("input_proj.weight", (32, 32)),
        ):
            tensors[f"{block}.ssru.{name}"] = (0.4 * generator.standard_normal(shape)).astype(np.float32)
    save_file(tensors, folder / "model.safetensors")
    config = folder / "config.json"
    config.write_text(config.read_text().replace("{", '{"decoder_type": "ssru",', 1))
    return load_model(folder, head=True), tensors


def test_a_recurrence_is_the_one_written_down_step_by_step(recurrent: tuple[Model, dict[str, np.ndarray]]) -> None:
    model, tensors = recurrent
    sources, targets = draw_windows([4, 6], vocabulary=40), draw_windows([7, 5], vocabulary=40, seed=3)
    from tests.tiny_bert import pack

    (source, _), (target, places) = pack(sources, slots=12), pack(targets, slots=12)
    sites = ("decoder.residual", "decoder.attention")
    states = jax.jit(lambda params: model.forward(params, source, sites=sites, targets=target))(model.params)
    read, carried = (np.asarray(states[site], np.float64) for site in sites)
    for layer in range(2):
        name = f"model.decoder.layers.{layer}.ssru"
        gate, bias, into = (
            tensors[f"{name}.{part}"].astype(np.float64)
            for part in ("forget_gate.weight", "forget_gate.bias", "input_proj.weight")
        )
        for row, place in places:
            state = np.zeros(32)
            for slot in range(place.start, place.stop):
                x = read[layer, row, slot]
                forget = 1 / (1 + np.exp(-(gate @ x + bias)))
                state = forget * state + (1 - forget) * (into @ x)
                np.testing.assert_allclose(carried[layer, row, slot], np.maximum(state, 0), rtol=0, atol=2e-6)


def test_a_recurrence_writes_what_it_predicts(recurrent: tuple[Model, dict[str, np.ndarray]]) -> None:
    model, _ = recurrent
    prompts = prompts_of(draw_windows([4, 6, 1], vocabulary=40))
    for beams in (1, 3):
        texts, _ = write(model, prompts, longest=8, beams=beams)
        start = list(model.rules.start)
        rows = [[*start, *text] for text in texts]
        targets = prompts_of([np.asarray(row, np.int32) for row in rows], slots=9)
        logits = jax.jit(lambda params, targets=targets: model.logits(params, prompts, targets=targets))(model.params)
        if beams == 1:  # every piece is the likeliest one after those before it, read all at once
            for row, text in enumerate(texts):
                assert np.asarray(jnp.argmax(logits[row], axis=1))[: len(text)].tolist() == text
        else:
            assert len(texts) == 3


@pytest.mark.slow
def test_identity_edits_of_every_site_change_nothing(recurrent: tuple[Model, dict[str, np.ndarray]]) -> None:
    model, _ = recurrent
    prompts = prompts_of(draw_windows([4, 6], vocabulary=40))
    assert write(model, prompts, longest=6)[0] == write(model, prompts, identity_edits(model), longest=6)[0]

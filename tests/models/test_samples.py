"""Texts that are drawn, and continuations that are scored: against transformers, and against the plain search."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from lca_jax.errors import ModelError, SettingsError
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.models.writing.generation import Search
from lca_jax.models.writing.samples import continuation_log_probabilities, write_samples
from lca_jax.models.writing.sampling import Sampling, keep_likeliest
from lca_jax.models.writing.stops import cut_at_stop, stop_table
from tests.compilations import count_programs
from tests.tiny_bert import write_bert
from tests.tiny_models import TINY, write_model

BEGINNING = " ".join(f"w{number % 30 + 5}" for number in range(18))
PROMPTS = [BEGINNING + rest for rest in (" w5 w6", " w9", " w11 w12 w13 w14", " w5 w7 w8")]
GREEDY = Sampling(temperature=0.0, longest=6)


@pytest.fixture(scope="module")
def teller(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Any]:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("teller")
    theirs = write_model(folder, TINY["llama, grouped queries"])
    return load_model(folder, head=True), theirs


def logits_of(model: Model, theirs: Any, text: str) -> np.ndarray:
    import torch

    ids = torch.tensor([model.tokenizer(text)["input_ids"]])
    with torch.inference_mode():
        return theirs(ids).logits[0].double().numpy()


def test_the_likeliest_texts_are_those_of_the_plain_search(teller: tuple[Model, Any]) -> None:
    model, _ = teller
    plain = model.write(PROMPTS, search=Search(longest=6))
    ours = write_samples(model, PROMPTS, sampling=GREEDY, rows=3)
    assert [one.pieces for (one,) in ours] == [one.pieces for one in plain]
    np.testing.assert_allclose([one.log_probability for (one,) in ours], [one.score for one in plain], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt2", "gemma2", "mistral, sliding window", "opt, norms after"])
def test_a_common_beginning_changes_nothing_in_other_families(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    write_model(tmp_path, TINY[kind])
    model = load_model(tmp_path, head=True)
    short = [prompt.split(" ", 6)[-1] for prompt in PROMPTS]  # one of these families has windows of 26 pieces
    plain = model.write(short, search=Search(longest=6))
    assert [one.pieces for (one,) in write_samples(model, short, sampling=GREEDY)] == [one.pieces for one in plain]


def test_drawn_pieces_have_the_frequencies_of_pytorch(teller: tuple[Model, Any]) -> None:
    model, theirs = teller
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    sampling, draws = Sampling(temperature=0.8, top_p=0.6, longest=1), 4000
    (drawn,) = write_samples(model, PROMPTS[:1], sampling=sampling, samples=draws, seed=1, rows=draws)
    counts = np.bincount([one.pieces[0] for one in drawn], minlength=model.config.embedding.vocabulary)
    import torch

    scores = torch.tensor(logits_of(model, theirs, PROMPTS[0])[-1:])
    for warp in (TemperatureLogitsWarper(0.8), TopPLogitsWarper(0.6)):
        scores = warp(torch.LongTensor([[0]]), scores)
    expected = torch.softmax(scores, dim=1)[0].numpy()
    assert 5 < (expected > 0).sum() < 60  # the set is neither one piece nor all
    assert (counts[expected == 0] == 0).all()
    likely = expected * draws >= 5
    rest = counts[~likely].sum(), expected[~likely].sum() * draws
    observed, wanted = np.append(counts[likely], rest[0]), np.append(expected[likely] * draws, rest[1])
    keep = wanted > 0
    assert chisquare(observed[keep], wanted[keep]).pvalue > 1e-3
    chances = {one.pieces[0]: one.log_probability for one in drawn}
    full = torch.log_softmax(torch.tensor(logits_of(model, theirs, PROMPTS[0])[-1]), dim=0).numpy()
    np.testing.assert_allclose(list(chances.values()), full[list(chances)], atol=1e-4)


def test_draws_depend_on_seed_text_and_sample_and_on_nothing_else(teller: tuple[Model, Any]) -> None:
    model, _ = teller
    sampling = Sampling(longest=5)

    def texts(**settings: int) -> list[list[tuple[int, ...]]]:
        return [
            [one.pieces for one in of_text] for of_text in write_samples(model, PROMPTS, sampling=sampling, **settings)
        ]

    together = texts(samples=3, seed=7, rows=12)
    assert texts(samples=3, seed=7, rows=3) == together
    assert [of_text[:2] for of_text in together] == texts(samples=2, seed=7)
    assert texts(samples=3, seed=8) != together
    assert all(len(set(of_text)) > 1 for of_text in together)


def test_new_seeds_temperatures_and_lengths_do_not_compile(teller: tuple[Model, Any]) -> None:
    model, _ = teller
    write_samples(model, PROMPTS, sampling=Sampling(longest=4), rows=4)
    with count_programs() as names:
        write_samples(model, PROMPTS[::-1], sampling=Sampling(longest=4, temperature=0.3, top_p=0.5), seed=5, rows=4)
        longer = [BEGINNING + " w5" * count for count in (1, 5, 9, 13)]
        write_samples(model, longer, sampling=Sampling(longest=4), rows=4)
    assert not names


def test_the_likeliest_pieces_are_found_without_sorting() -> None:
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.full(200, 0.1), size=8).astype(np.float32)
    for top_p in (0.05, 0.5, 0.9, 1.0):
        found = np.asarray(jax.jit(keep_likeliest)(jnp.asarray(chances), jnp.float32(top_p)))
        for row, kept in zip(chances.astype(np.float64), found, strict=True):
            order = np.argsort(-row)
            if top_p < 1:
                smallest = int(np.searchsorted(np.cumsum(row[order]), top_p)) + 1
                assert set(np.flatnonzero(kept)) == set(order[:smallest])
            assert row[kept].sum() >= top_p - 1e-5


def test_given_continuations_have_the_chances_of_pytorch(teller: tuple[Model, Any]) -> None:
    model, theirs = teller
    continuations = [" w9", " w20 w7", " w5", " w6 w6 w8"]
    ours = continuation_log_probabilities(model, PROMPTS, continuations, rows=3)
    for row, prompt in enumerate(PROMPTS):
        begun = len(model.tokenizer(prompt)["input_ids"])
        for column, continuation in enumerate(continuations):
            import torch

            chances = torch.log_softmax(torch.tensor(logits_of(model, theirs, prompt + continuation)), dim=1).numpy()
            pieces = model.tokenizer(prompt + continuation)["input_ids"][begun:]
            expected = sum(chances[begun - 1 + number, piece] for number, piece in enumerate(pieces))
            assert ours[row, column] == pytest.approx(expected, abs=2e-4)


def test_a_stop_text_ends_a_text_and_is_not_part_of_it(teller: tuple[Model, Any]) -> None:
    model, _ = teller
    ((whole,),) = write_samples(model, PROMPTS[:1], sampling=Sampling(temperature=0.0, longest=12))
    words = whole.text.split()
    stop = f"{words[3]} {words[4]}"
    first = whole.text.find(stop)
    ((cut,),) = write_samples(model, PROMPTS[:1], sampling=Sampling(temperature=0.0, longest=12, stops=(stop,)))
    assert cut.text == whole.text[:first]
    assert len(cut.pieces) < len(whole.pieces)
    assert cut.pieces == whole.pieces[: len(cut.pieces)]
    assert stop not in model.tokenizer.decode([*cut.pieces[:-1]])


def test_the_automaton_of_stops_is_a_search_in_the_text(teller: tuple[Model, Any]) -> None:
    model, _ = teller
    stops, vocabulary = ("w1 w2", "2 w4", "w2 w1 w2"), model.config.embedding.vocabulary
    table = stop_table(model.tokenizer, stops, vocabulary)
    ids = model.tokenizer("w1 w2 w4", add_special_tokens=False)["input_ids"]
    rng = np.random.default_rng(0)
    ended = 0
    for _ in range(200):
        pieces, state = rng.choice(ids, 6), 0
        anchor = model.tokenizer("a", add_special_tokens=False)["input_ids"]
        for count, piece in enumerate(pieces, 1):
            state = table[state, piece]
            text = model.tokenizer.decode([*anchor, *pieces[:count]])[len(model.tokenizer.decode(anchor)) :]
            assert (state == len(table) - 1) == any(stop in text for stop in stops)
        ended += state == len(table) - 1
    assert 0 < ended < 200
    assert cut_at_stop("one\ntwo;three", (";", "\n")) == "one"


def test_what_cannot_be_written_says_why(teller: tuple[Model, Any], tmp_path: Path) -> None:
    model, _ = teller
    wrong: dict[str, Any]
    for wrong in ({"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"longest": 0}):
        with pytest.raises(SettingsError):
            Sampling(**wrong)
    with pytest.raises(SettingsError, match="at least 1, got 0"):
        write_samples(model, PROMPTS, samples=0)
    with pytest.raises(SettingsError, match="at least one character"):
        write_samples(model, PROMPTS, sampling=Sampling(stops=("",), longest=4))
    with pytest.raises(SettingsError, match="at least one piece, got ''"):
        continuation_log_probabilities(model, PROMPTS, [" w5", ""])
    with pytest.raises(ModelError, match="prompt 1 has 0"):
        write_samples(model, ["w5", ""], sampling=GREEDY)
    with pytest.raises(ModelError, match=r"loaded without its head"):
        write_samples(load_model(write_bert(tmp_path / "bert")), ["the cat"])
    assert write_samples(model, []) == []

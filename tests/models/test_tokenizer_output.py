"""Activations beside `model(**tokenizer(text))` in PyTorch: with everything that a tokenizer gives its model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from lca_jax.errors import ModelError, SettingsError
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.store.recipe import WordChoice
from lca_jax.text.corpus import Corpus
from tests.tiny_models import TINY, Tiny, write_model
from tests.tokenizer_kinds import KINDS

FIRST, SECOND = "the cat sat on the mat in 1999 .", "nobody saw her !"
CASES = {
    "bert": "WordPiece, BERT",
    "roberta": "bytes, RoBERTa",
    "albert, one shared block": "Unigram, ALBERT",
    "deberta-v2, own matrices, plain distances": "Unigram, DeBERTa",
    "xlnet": "Unigram, XLNet",
    "gpt2": "bytes, GPT-2",
    "m2m_100": "BPE, NLLB",
}
"""A tiny model to the kind of its tokenizer."""


def write(folder: Path, name: str, kind: str, **changes: object) -> tuple[Any, PreTrainedTokenizerBase]:
    """Writes a model with a tokenizer of a real kind, and returns both as transformers has them."""
    tokenizer = KINDS[kind]()
    tiny = TINY[name]
    sizes = {"vocab_size": len(tokenizer)} | ({} if name == "xlnet" else {"max_position_embeddings": 90})
    reference = write_model(folder, Tiny(tiny.model_type, {**tiny.changes, **sizes, **changes}, tiny.head))
    tokenizer.save_pretrained(folder)
    return reference, tokenizer


def states_of(reference, tokenizer, *texts: str) -> np.ndarray:
    import torch

    types = reference.config.model_type == "xlnet" or getattr(reference.config, "type_vocab_size", 0) > 1
    inputs = tokenizer(*texts, return_tensors="pt", return_token_type_ids=types)
    base = reference.get_encoder() if reference.config.is_encoder_decoder else reference
    with torch.no_grad():
        return torch.cat(base(**inputs, output_hidden_states=True).hidden_states).numpy().swapaxes(0, 1)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("texts", [(FIRST,), (FIRST, SECOND)], ids=["single", "pair"])
def test_states_are_those_of_the_whole_output_of_the_tokenizer(
    name: str, texts: tuple[str, ...], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    reference, tokenizer = write(tmp_path, name, CASES[name])
    words = [text.split() for text in texts]
    corpus = Corpus.from_words(
        [[word for part in words for word in part]], second_starts=[len(words[0])] if len(texts) == 2 else None
    )
    model = load_model(tmp_path)
    choice = WordChoice(special_pieces=True)
    ours = extract(model, corpus, pool="none", choice=choice).read("residual")[:]
    theirs = states_of(reference, tokenizer, *texts)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5)


def test_xlnet_without_segment_terms_is_what_neurox_reads(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    reference, tokenizer = write(tmp_path, "xlnet", CASES["xlnet"])
    ids = tokenizer(FIRST, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        theirs = torch.cat(reference(ids, output_hidden_states=True).hidden_states).numpy().swapaxes(0, 1)
    corpus, choice = Corpus.from_words([FIRST.split()]), WordChoice(special_pieces=True)
    as_trained, as_neurox = load_model(tmp_path), load_model(tmp_path, segment_terms=False)
    plain = extract(as_neurox, corpus, pool="none", choice=choice).read("residual")[:]
    np.testing.assert_allclose(plain, theirs, rtol=0, atol=1e-5)
    assert np.abs(extract(as_trained, corpus, pool="none", choice=choice).read("residual")[:] - plain).max() > 0.01
    assert as_trained.fingerprint != as_neurox.fingerprint
    as_neurox.save(tmp_path / "saved")
    again = extract(load_model(tmp_path / "saved"), corpus, pool="none", choice=choice).read("residual")[:]
    np.testing.assert_array_equal(again, plain)
    with pytest.raises(ModelError, match="loaded as it was saved"):
        load_model(tmp_path / "saved", segment_terms=False)


def test_segment_terms_of_another_family_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    write_model(tmp_path, TINY["bert"])
    with pytest.raises(SettingsError, match="`segment_terms` belong to XLNet; a model of family 'bert' has none"):
        load_model(tmp_path, segment_terms=False)


@pytest.mark.parametrize(
    ("name", "kind"), [("m2m_100", "BPE, NLLB"), ("roberta", "bytes, RoBERTa"), ("xlm-roberta", "Unigram, XLM-R")]
)
@pytest.mark.parametrize("pad", [5, 8])
def test_positions_begin_after_the_number_of_the_padding_piece(name: str, kind: str, pad: int, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    reference, tokenizer = write(tmp_path, name, kind, pad_token_id=pad)
    assert pad not in tokenizer(FIRST)["input_ids"]
    corpus, choice = Corpus.from_words([FIRST.split()]), WordChoice(special_pieces=True)
    ours = extract(load_model(tmp_path), corpus, pool="none", choice=choice).read("residual")[:]
    np.testing.assert_allclose(ours, states_of(reference, tokenizer, FIRST), rtol=0, atol=2e-5)

"""Pairs of texts: the special pieces of every kind of tokenizer, the windows, and token types beside PyTorch."""

from pathlib import Path

import numpy as np
import pytest

from lca_jax.errors import ModelError
from lca_jax.extraction.extract import extract
from lca_jax.extraction.planning import plan_units
from lca_jax.models.load import load_model
from lca_jax.models.stack.stack import Batch
from lca_jax.store.recipe import WordChoice
from lca_jax.text.corpus import Corpus
from lca_jax.text.pairs import align_texts, join_pair, special_pieces_of
from tests.tiny_models import TINY, write_model
from tests.tokenizer_kinds import KINDS

FIRST, SECOND = ["the", "cats"], ["a", "cat", "sat"]
BOTH = Corpus.from_words([FIRST + SECOND], second_starts=[2])


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_is_joined_as_the_tokenizer_joins_two_texts(kind: str) -> None:
    if "SentencePiece" in kind:
        pytest.importorskip("sentencepiece")
    tokenizer = KINDS[kind]()
    special = special_pieces_of(tokenizer, pairs=True)
    [aligned] = align_texts(tokenizer, BOTH, [0])
    cut = int(aligned.starts[2])
    parts = (special.before, aligned.piece_ids[:cut], special.between, aligned.piece_ids[cut:], special.after)
    expected = tokenizer(" ".join(FIRST), " ".join(SECOND), return_token_type_ids=True)
    assert np.concatenate([np.asarray(part, int) for part in parts]).tolist() == expected["input_ids"]
    if "SentencePiece" not in kind:  # their models have no token types
        types = special.token_types
        spread = types.spread(cut, len(aligned.piece_ids) - cut).tolist() if types else [0] * len(expected["input_ids"])
        assert spread == expected["token_type_ids"]
    [window], excluded = join_pair(aligned, sentence=7, second_start=2, max_pieces=99, special=special)
    assert (window.sentence, window.piece_ids.tolist(), excluded) == (7, expected["input_ids"], {})
    assert window.words.tolist() == [0, 1, 2, 3, 4]
    for word in range(5):
        pieces = aligned.piece_ids[aligned.starts[word] : aligned.ends[word]]
        assert window.piece_ids[window.starts[word] : window.ends[word]].tolist() == pieces.tolist()
    assert window.gap is not None
    assert tuple(window.piece_ids[slice(*window.gap)]) == special.between


def test_a_pair_is_whole_or_not_read() -> None:
    tokenizer = KINDS["WordPiece, BERT"]()
    special = special_pieces_of(tokenizer, pairs=True)
    corpus = Corpus.from_words([[*FIRST, "\u200b", *SECOND]], second_starts=[3])
    [aligned] = align_texts(tokenizer, corpus, [0])
    size = len(aligned.piece_ids) + sum(map(len, special[:3]))
    [window], excluded = join_pair(aligned, sentence=0, second_start=3, max_pieces=size, special=special)
    assert (len(window.piece_ids), excluded) == (size, {2: "no piece"})
    windows, excluded = join_pair(aligned, sentence=0, second_start=3, max_pieces=size - 1, special=special)
    too_long = dict.fromkeys([0, 1, 3, 4, 5], "pair longer than a window")
    assert (windows, excluded) == ([], dict(sorted((too_long | {2: "no piece"}).items())))


@pytest.mark.parametrize(
    "family",
    [
        "bert",
        "electra, narrow embedding",
        "albert, one shared block",
        "deberta-v2, own matrices, plain distances",
    ],
)
def test_token_types_beside_pytorch(family: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    reference = write_model(tmp_path, TINY[family])
    assert reference.config.type_vocab_size == 2
    model = load_model(tmp_path)
    ids = np.random.default_rng(0).integers(3, 40, (2, 12)).astype(np.int32)
    types = (np.arange(12) >= np.array([[5], [8]])).astype(np.int32)
    slots = np.broadcast_to(np.arange(12, dtype=np.int32), (2, 12))
    ours = model.forward(model.params, Batch(ids, slots, np.ones_like(ids), types))["residual"]
    with torch.no_grad():
        theirs = reference(
            input_ids=torch.tensor(ids, dtype=torch.int64),
            token_type_ids=torch.tensor(types, dtype=torch.int64),
            output_hidden_states=True,
        ).hidden_states
    alone = model.forward(model.params, Batch(ids, slots, np.ones_like(ids)))["residual"]
    np.testing.assert_allclose(np.asarray(ours), torch.stack(theirs).numpy(), rtol=0, atol=1e-5)
    assert np.abs(np.asarray(ours) - np.asarray(alone)).max() > 0.1


def test_what_a_model_cannot_be_told_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    write_model(tmp_path / "xlnet", TINY["xlnet"])
    model = load_model(tmp_path / "xlnet")
    with pytest.raises(ModelError, match="puts no special piece beside a text, so `cls` reads nothing"):
        extract(model, Corpus.from_words([FIRST]), pool="cls")


@pytest.mark.parametrize(
    ("kind", "place"), [("Unigram, XLNet", -1), ("Unigram, ALBERT", 0), ("Unigram, T5", -1), ("bytes, RoBERTa", 0)]
)
def test_where_the_piece_of_a_sentence_stands(kind: str, place: int) -> None:
    tokenizer, single = KINDS[kind](), Corpus.from_words([FIRST])
    special = special_pieces_of(tokenizer, pairs=False)
    units = plan_units(single, tokenizer, special, pool="cls", choice=WordChoice())
    assert units.cls_place == place
    piece = tokenizer(" ".join(FIRST))["input_ids"][place]
    assert piece == (tokenizer.eos_token_id if "T5" in kind else tokenizer.cls_token_id)

"""Whose pieces are whose, against the offsets that a tokenizer gives for the running text; every exception is named.

For each word: the pieces that hold one of its characters, and before them those that hold the space alone.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizer, PreTrainedTokenizerFast

from lca_jax.demo import demo_corpus_file
from lca_jax.text.alignment import align_sentences
from lca_jax.text.conllu import read_conllu
from tests.tokenizer_kinds import KINDS, llama2_normalizer, many_scripts

Sentences = Sequence[Sequence[str]]
Encoded = tuple[list[int], list[tuple[int, int]]]
"""Numbers of pieces, and where each begins and ends in the text."""


class Running(NamedTuple):
    """A sentence tokenized as one text."""

    ids: list[int]
    first: np.ndarray
    """For each piece the first word it holds a character of; if it holds none, the next word."""
    last: np.ndarray
    """The last word it holds a character of; less than `first` if it holds none."""


def tokenize_text(tokenizer: PreTrainedTokenizerFast | PreTrainedTokenizer, sentences: Sentences) -> list[Running]:
    texts = [" ".join(words) for words in sentences]
    if isinstance(tokenizer, PreTrainedTokenizerFast):
        encoded = _encode_fast(tokenizer, texts)
    else:
        encoded = _encode_sentencepiece(tokenizer, texts)
    found = []
    for words, (ids, places) in zip(sentences, encoded, strict=True):
        ends = np.array(list(accumulate(len(word) + 1 for word in words))) - 1
        starts = ends - [len(word) for word in words]
        offsets = np.array(places, int).reshape(-1, 2)
        # Word k and piece (a, b) share a character if a < end of k and b > start of k.
        first = np.searchsorted(ends, offsets[:, 0], side="right")
        last = np.searchsorted(starts, offsets[:, 1], side="left") - 1
        found.append(Running(ids, first, last))
    return found


def _encode_fast(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Iterator[Encoded]:
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    for encoding in backend.encode_batch(texts, add_special_tokens=False):
        yield encoding.ids, encoding.offsets


def _encode_sentencepiece(tokenizer: PreTrainedTokenizer, texts: list[str]) -> Iterator[Encoded]:
    """By the package itself; transformers' tokenizer is asked for the numbers of pieces alone."""
    processor = next(part for part in vars(tokenizer).values() if type(part).__name__ == "SentencePieceProcessor")
    for text in texts:
        older = getattr(processor, "EncodeAsImmutableProto", None)  # before 0.2.3, and it counts characters
        pieces = (older(text) if older else processor.encode(text, return_type="proto")).pieces
        ids = tokenizer.convert_tokens_to_ids([piece.piece for piece in pieces])
        assert isinstance(ids, list)
        # It counts bytes.
        sizes = (1 if older else len(c.encode()) for c in text)
        character = {byte: number for number, byte in enumerate(accumulate(sizes, initial=0))}
        places = []
        for piece in pieces:
            begin, end = character[piece.begin], character[piece.end]
            # What the normalizer leaves nothing of but space, as it does of zero-width spaces, is no part of the word.
            while begin < end and not processor.encode(text[begin]):
                begin += 1
            places.append((begin, end))
        yield ids, places


class Counted(NamedTuple):
    words: int
    with_space_alone: int
    """Words before whose own pieces stands one that is the space alone."""


def compare(tokenizer: PreTrainedTokenizerFast | PreTrainedTokenizer, sentences: Sentences) -> Counted:
    """Asserts equality of every word's pieces where no piece crosses words."""
    words_seen = alone = 0
    aligned = align_sentences(tokenizer, sentences)
    for words, ours, running in zip(sentences, aligned, tokenize_text(tokenizer, sentences), strict=True):
        assert (running.last <= running.first).all(), (words, "a piece crosses words")
        sizes = np.bincount(running.first, minlength=len(words))
        assert ours.piece_ids.tolist() == running.ids, words
        assert (ours.ends - ours.starts).tolist() == sizes.tolist(), words
        assert ours.starts.tolist() == [0, *ours.ends.tolist()][:-1]
        words_seen += len(words)
        alone += len(set(running.first[running.last < running.first].tolist()))
    return Counted(words_seen, alone)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def tokenizer(kind: str) -> PreTrainedTokenizerFast | PreTrainedTokenizer:
    return KINDS[kind]()


# WordPiece drops spaces; behind a split at white space the mark of a word counts as part of its first character.
NO_SPACE_ALONE = {
    "WordPiece, BERT",
    "Unigram, XLM-R",
    "Unigram, ALBERT",
    "Unigram, T5",
    "Unigram, XLNet",
    "Unigram, mBART",
}


def test_words_have_the_pieces_of_running_text(kind: str, tokenizer: PreTrainedTokenizerFast) -> None:
    sentences = [*many_scripts(), *read_conllu(demo_corpus_file("dev")).sentences]
    counted = compare(tokenizer, sentences)
    assert counted.words > 1000
    assert (counted.with_space_alone > 0) == (kind not in NO_SPACE_ALONE), counted


# Forms that normalizers change, delete or turn into spaces (´ is a space and an accent by NFKC), marks of the
# tokenizers themselves, and letters that a neighbour could join with.
PARTS = [*"aT1.,'-!<>好كअि😀éΣ´½…ﬁ▁Ġ", "'s", "20", "\u0301", "\u200b", "\u200d", "\u00a0", "\ufeff", "\u1100", "\u1161"]
forms = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map("".join).filter(lambda form: form == form.strip())


@settings(deadline=None)
@given(sentence=st.lists(forms, min_size=1, max_size=6))
def test_odd_forms_have_the_pieces_of_running_text(tokenizer: PreTrainedTokenizerFast, sentence: list[str]) -> None:
    compare(tokenizer, [sentence])


def test_a_word_that_begins_with_the_mark_keeps_the_mark_of_its_space() -> None:
    tokenizer = KINDS["BPE with byte fallback, Llama"]()
    (aligned,) = align_sentences(tokenizer, [["a", "▁a", "a"]])
    assert tokenizer.convert_ids_to_tokens(aligned.piece_ids.tolist()) == ["▁a", "▁", "▁a", "▁a"]
    assert aligned.ends.tolist() == [1, 3, 4]


def test_exception_pieces_that_cross_words() -> None:
    merges = [("▁", "a"), ("▁", "b"), ("▁a", "▁b")]
    pieces = ["<unk>", "▁", "a", "b", *("".join(merge) for merge in merges)]
    backend = Tokenizer(models.BPE(vocab={piece: n for n, piece in enumerate(pieces)}, merges=merges))
    backend.normalizer = llama2_normalizer()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    sentences = [["b", "a", "b", "b"]]
    (ours,), (running,) = align_sentences(tokenizer, sentences), tokenize_text(tokenizer, sentences)
    assert tokenizer.convert_ids_to_tokens(running.ids) == ["▁b", "▁a▁b", "▁b"]
    assert (running.last > running.first).tolist() == [False, True, False]
    assert tokenizer.convert_ids_to_tokens(ours.piece_ids.tolist()) == ["▁b", "▁a", "▁b", "▁b"]
    assert ours.ends.tolist() == [1, 2, 3, 4]


def test_exception_white_space_as_a_part_of_its_own() -> None:
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "C": 1, "Cl": 2, "(": 3, ")": 4}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"Cl|\S"), "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    sentences = [["CC", "(C)", "Cl"]]
    (ours,), (running,) = align_sentences(tokenizer, sentences), tokenize_text(tokenizer, sentences)
    assert running.ids == [1, 1, 0, 3, 1, 4, 0, 2]
    assert ours.piece_ids.tolist() == [1, 1, 3, 1, 4, 2]
    assert ours.ends.tolist() == [2, 5, 6]


def test_exception_white_space_at_the_edge_of_a_word() -> None:
    tokenizer = KINDS["bytes, GPT-2"]()
    sentences = [["a", " ", "a ", "a"]]
    (ours,), (running,) = align_sentences(tokenizer, sentences), tokenize_text(tokenizer, sentences)
    assert tokenizer.convert_ids_to_tokens(running.ids) == ["a", "Ġ", "Ġ", "Ġa", "Ġ", "Ġa"]
    assert tokenizer.convert_ids_to_tokens(ours.piece_ids.tolist()) == ["a", "Ġa", "Ġ", "Ġa"]
    assert ours.ends.tolist() == [1, 1, 3, 4]


LANGUAGES = ("ar", "cs", "de", "en", "es", "fi", "fr", "hi", "id", "ko", "pt", "ru", "tr", "zh")


@pytest.fixture(scope="module")
def parallel_text(shared_data: Path) -> Sentences:
    """The first sentences of the parallel treebanks: 14 languages in six scripts."""
    files = [shared_data / "ud" / "pud" / f"{language}_pud-ud-test.conllu.gz" for language in LANGUAGES]
    return [words for file in files for words in read_conllu(file).sentences[:100]]


def test_treebanks_with_every_kind(kind: str, tokenizer: PreTrainedTokenizerFast, parallel_text: Sentences) -> None:
    counted = compare(tokenizer, parallel_text)
    assert counted.words > 25_000
    assert (counted.with_space_alone > 0) == (kind not in NO_SPACE_ALONE), counted


# Words before which a piece is the space alone: for SmolLM2 every number, and beginnings that its vocabulary of mostly
# English lacks; for TinyStories, with 512 pieces, most words but a child's English; for Marian what is neither English
# nor Portuguese.
@pytest.mark.parametrize(
    ("name", "spaces"),
    [
        ("minilm", 0),
        ("me5-small", 0),
        ("smollm2-135m", 1_666),
        ("tinystories-260k", 16_507),
        ("marian-tiny-en-pt", 12_284),
    ],
)
def test_treebanks_with_trained_checkpoints(
    name: str, spaces: int, parallel_text: Sentences, trained_folder: Callable[[str], Path]
) -> None:
    counted = compare(AutoTokenizer.from_pretrained(trained_folder(name)), parallel_text)
    assert counted == Counted(30_967, spaces)

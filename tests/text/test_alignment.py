import warnings
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, NllbTokenizer, PreTrainedTokenizer, PreTrainedTokenizerFast

from lca_jax.errors import ModelError
from lca_jax.text.alignment import AlignedSentence, align_sentences, special_pieces
from lca_jax.text.windows import cut_windows
from tests.tokenizer_kinds import KINDS, many_scripts

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ENGLISH = ["the", "cat", "##s", "sat", "un", "##know", "##n", ".", "don", "'", "t"]
OTHER_SCRIPTS = ["好", "你", "##世", "كتاب", "##ات", "😀", "ब", "##िल्ली"]


def wordpiece() -> PreTrainedTokenizerFast:
    """BERT's pipeline with a vocabulary that fits on two lines; truncates at 8 unless told not to."""
    vocabulary = {piece: number for number, piece in enumerate(SPECIALS + ENGLISH + OTHER_SCRIPTS)}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    backend.enable_truncation(8)
    backend.enable_padding(length=8)
    special = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=8, mask_token="[MASK]", **special)


def trained(backend: Tokenizer, trainer: trainers.Trainer) -> PreTrainedTokenizerFast:
    text = [
        "the cat sat on the mat and the other cats sat on other mats",
        "Was ist das für eine Katze? It's a cat's life.",
    ]
    backend.train_from_iterator(text * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


def byte_level(*, add_prefix_space: bool) -> PreTrainedTokenizerFast:
    """GPT-2's pipeline."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return trained(backend, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False))


def split_byte_level() -> PreTrainedTokenizerFast:
    """Llama 3's pipeline: a regular expression splits, bytes are mapped afterwards."""
    backend = Tokenizer(models.BPE())
    pattern = pre_tokenizers.Split(Regex(" ?[^ ]+"), "isolated")
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pattern, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return trained(backend, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False))


def metaspace(prepend_scheme: str) -> PreTrainedTokenizerFast:
    """XLM-RoBERTa's and T5's pipeline."""
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme)
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    return trained(backend, trainer)


TOKENIZERS = {
    "wordpiece": wordpiece(),
    "byte level": byte_level(add_prefix_space=False),
    "byte level, space before": byte_level(add_prefix_space=True),
    "split byte level": split_byte_level(),
    "metaspace always": metaspace("always"),
    "metaspace never": metaspace("never"),
}
every_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS.keys())


def pieces_of(tokenizer: PreTrainedTokenizerFast, aligned: AlignedSentence) -> list[list[str]]:
    names = [str(tokenizer.backend_tokenizer.id_to_token(piece)) for piece in aligned.piece_ids.tolist()]
    return [names[start:end] for start, end in zip(aligned.starts, aligned.ends, strict=True)]


def assert_aligned(aligned: AlignedSentence, words: list[str] | tuple[str, ...]) -> None:
    assert aligned.starts.shape == aligned.ends.shape == (len(words),)
    assert (aligned.starts.dtype, aligned.ends.dtype, aligned.piece_ids.dtype) == (np.int32,) * 3
    bounds = [0, *aligned.ends.tolist()]
    assert aligned.starts.tolist() == bounds[:-1]
    assert bounds[-1] == len(aligned.piece_ids)


def test_wordpiece_by_hand() -> None:
    tokenizer = TOKENIZERS["wordpiece"]
    (aligned,) = align_sentences(tokenizer, [["The", "cats", "unknown", "dog", "don't", "."]])
    assert pieces_of(tokenizer, aligned) == [
        ["the"],
        ["cat", "##s"],
        ["un", "##know", "##n"],
        ["[UNK]"],
        ["don", "'", "t"],
        ["."],
    ]
    assert aligned.starts.tolist() == [0, 1, 3, 6, 7, 10]


def test_other_scripts_and_odd_words() -> None:
    tokenizer = TOKENIZERS["wordpiece"]
    words = [
        "你好",
        "كتابات",
        "😀",
        "बिल्ली",
        "\u200b",
        "",
        " ",
        "\u00a0",
        "\x00\x07",
        "x" * 300,
        "[MASK]",
        "the cat",
        "sat",
    ]
    (aligned,) = align_sentences(tokenizer, [words])
    assert_aligned(aligned, words)
    assert pieces_of(tokenizer, aligned) == [
        ["你", "好"],
        ["كتاب", "##ات"],
        ["😀"],
        ["ब", "##िल्ली"],
        [],
        [],
        [],
        [],
        [],
        ["[UNK]"],
        ["[MASK]"],
        ["the", "cat"],
        ["sat"],
    ]


def test_empty_sentences_keep_their_places() -> None:
    aligned = align_sentences(TOKENIZERS["wordpiece"], [[], ["cat"], [], [""], ["the"]])
    assert [sentence.ends.tolist() for sentence in aligned] == [[], [1], [], [0], [1]]
    assert align_sentences(TOKENIZERS["wordpiece"], []) == []
    assert align_sentences(TOKENIZERS["wordpiece"], [["", " "]])[0].ends.tolist() == [0, 0]


def test_long_sentences_are_neither_cut_nor_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (aligned,) = align_sentences(wordpiece(), [["cats"] * 700])
    assert_aligned(aligned, ["cats"] * 700)
    assert len(aligned.piece_ids) == 1400
    assert not caplog.records


forms = st.text(st.sampled_from("thecasunko.'T 你好كت😀é\u0301\u200b\x07\u00a0"), max_size=6)


@every_tokenizer
@given(st.lists(st.lists(forms, max_size=6), max_size=4))
def test_every_piece_belongs_to_one_word_and_neighbours_do_not_matter(
    tokenizer: PreTrainedTokenizerFast, sentences: list[list[str]]
) -> None:
    together = align_sentences(tokenizer, sentences)
    for words, aligned in zip(sentences, together, strict=True):
        assert_aligned(aligned, words)
        (alone,) = align_sentences(tokenizer, [words])
        assert all(np.array_equal(a, b) for a, b in zip(alone, aligned, strict=True))


def test_tokenizing_each_form_once_changes_nothing() -> None:
    # The tokenizer's own batch over whole sentences, word ids and all, as it would be called without the shortcut.
    letters = ["t", "he", "cat", "Katze", "?!", "你好"]
    sentences = [list(words) for words in product(letters, repeat=3)]
    for name in ("wordpiece", "byte level, space before", "metaspace always"):
        tokenizer = TOKENIZERS[name]
        plain = tokenizer(sentences, is_split_into_words=True, add_special_tokens=False)
        for number, aligned in enumerate(align_sentences(tokenizer, sentences)):
            assert aligned.piece_ids.tolist() == plain["input_ids"][number]
            owners = np.repeat(np.arange(3), aligned.ends - aligned.starts)
            assert owners.tolist() == plain.word_ids(number)


def test_special_pieces() -> None:
    assert special_pieces(TOKENIZERS["wordpiece"]) == ((2,), (3,))
    assert special_pieces(TOKENIZERS["byte level"]) == ((), ())
    backend = Tokenizer(models.WordLevel({"only": 0, "</s>": 1}, unk_token="only"))
    backend.post_processor = processors.TemplateProcessing("$A </s>", None, [("</s>", 1)])
    assert special_pieces(PreTrainedTokenizerFast(tokenizer_object=backend)) == ((), (1,))


LANGUAGES = {
    "Unigram, mBART": ((), ("</s>", "en_XX")),
    "Unigram, mBART-50": (("hi_IN",), ("</s>",)),
    "BPE, NLLB": (("eng_Latn",), ("</s>",)),
    "BPE, NLLB legacy": ((), ("</s>", "arb_Arab")),
    "SentencePiece's BPE, M2M100": (("__en__",), ("</s>",)),
    "SentencePiece's Unigram, Marian": ((), ("</s>",)),
}


@pytest.mark.parametrize("kind", LANGUAGES)
def test_language_codes_stand_around_every_window(kind: str) -> None:
    tokenizer = KINDS[kind]()
    prefix, suffix = special_pieces(tokenizer)
    expected = tuple(tuple(tokenizer.convert_tokens_to_ids(piece) for piece in pieces) for pieces in LANGUAGES[kind])
    assert (prefix, suffix) == expected
    for number, (words, aligned) in enumerate(
        zip(many_scripts(), align_sentences(tokenizer, many_scripts()), strict=True)
    ):
        cut = partial(cut_windows, aligned, sentence=number, prefix=prefix, suffix=suffix)
        (whole,), _ = cut(max_pieces=400)
        assert whole.piece_ids.tolist() == tokenizer(" ".join(words))["input_ids"]
        windows, left_out = cut(max_pieces=12)
        assert len(windows) > 1 or len(whole.piece_ids) <= 12
        for window in windows:
            ids = window.piece_ids.tolist()
            assert (tuple(ids[: len(prefix)]), tuple(ids[len(ids) - len(suffix) :])) == expected
        read = sorted(word for window in windows for word in window.words.tolist())
        assert sorted([*read, *left_out]) == list(range(len(words)))


def test_a_language_that_the_tokenizer_lacks_is_refused() -> None:
    tokenizer = NllbTokenizer(vocab={"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "▁": 4, "a": 5}, src_lang="tlh_Latn")
    with pytest.raises(ModelError, match=r"NllbTokenizer .* lacks the language code 'tlh_Latn'\. Give `src_lang` in"):
        special_pieces(tokenizer)


def test_a_tokenizer_without_word_ids_is_refused() -> None:
    class Slow(PreTrainedTokenizer):
        def get_vocab(self) -> dict[str, int]:
            return {}

        @property
        def vocab_size(self) -> int:
            return 0

    for use in (special_pieces, lambda tokenizer: align_sentences(tokenizer, [["a"]])):
        with pytest.raises(ModelError, match=r"Slow is not a fast tokenizer.*Use a model whose folder holds"):
            use(Slow())
    nothing = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    with pytest.raises(ModelError, match="gives no piece for any"):
        special_pieces(nothing)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("minilm", ((101,), (102,))), ("tinystories-260k", ((1,), ())), ("albert-rxn", ((12,), (13,)))],
)
def test_special_pieces_of_trained_checkpoints(
    name: str, expected: tuple, trained_folder: Callable[[str], Path]
) -> None:
    assert special_pieces(AutoTokenizer.from_pretrained(trained_folder(name))) == expected

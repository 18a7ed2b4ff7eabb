"""Tokenizes words and keeps which pieces belong to which word.

The fast tokenizer takes the words as words, and its own `word_ids` say to which word every piece belongs: nothing is
guessed from counts or characters. A fast tokenizer handles each given word by itself, so every distinct form is
tokenized once and the sentences are put together by array arithmetic: 600,000 to 800,000 words a second on one core
for running text, a tenth of that if no form repeats.

Marian and M2M100 have no fast tokenizer, but one of SentencePiece, which puts its mark before every text and so gives a
word alone the pieces that it has among others. There each form is tokenized as a text: about 20,000 forms a second.

Nothing is truncated and no special pieces are added; sentences too long for a model are cut in `windows`.
"""

from collections.abc import Sequence
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int32

from lca_jax.errors import ModelError
from lca_jax.hugging_face import PreTrainedTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

_FORMS_PER_ENCODING = 256
"""Number of forms in one call: small enough to spread over threads, large enough to hide the cost of a call."""


class AlignedSentence(NamedTuple):
    """Pieces of one sentence, without special ones, and the half-open range of pieces of every word."""

    piece_ids: Int32[np.ndarray, "piece"]
    """Pieces of the sentence."""
    starts: Int32[np.ndarray, "word"]
    """First piece of every word."""
    ends: Int32[np.ndarray, "word"]
    """One past the last piece; equal to `starts` for a word without pieces, e.g. one of zero-width characters."""


def align_sentences(tokenizer: PreTrainedTokenizerBase, sentences: Sequence[Sequence[str]]) -> list[AlignedSentence]:
    """Tokenizes sentences of words and keeps which pieces belong to which word.

    The pieces are those of the words joined with single spaces. A word has the pieces that hold its characters, and
    before them those that the tokenizer makes of the space alone, e.g. the `Ġ` of Llama 3 before a number. The first
    word of a sentence has no space before it, except where a tokenizer puts one before every text.

    They differ from the pieces of the running text in three cases. A piece that crosses from one word to the next is
    never used, since each word is cut by itself (vocabularies trained word by word have no such piece). White space
    that is always a part of its own, as for tokenizers of single characters, is left out. A word that begins or ends
    with white space may be cut in another way, and a word of white space alone has no piece.

    An unknown-word piece counts as a piece; forms that spell a special piece (`[MASK]`) become that piece.

    Args:
        tokenizer: A fast tokenizer of `transformers`, or one of SentencePiece.
        sentences: Word forms, sentence by sentence; empty sentences and empty words are allowed.

    Raises:
        ModelError: The tokenizer is of neither kind.
    """
    usable = _require_usable(tokenizer)
    space = " " if isinstance(usable, PreTrainedTokenizerFast) and _space_belongs_to_next_word(usable) else ""
    number_of_form: dict[str, int] = {}
    numbers = [
        number_of_form.setdefault(space + word if position else word, len(number_of_form))
        for sentence in sentences
        for position, word in enumerate(sentence)
    ]
    form_pieces, form_bounds = _tokenize_forms(usable, list(number_of_form))
    form_sizes = np.diff(form_bounds)

    form_of_word = np.array(numbers, dtype=np.int64)
    piece_bounds = _bounds(form_sizes[form_of_word])
    piece_ids = form_pieces[_ranges(form_bounds[form_of_word], form_sizes[form_of_word])]

    word_counts = np.array([len(sentence) for sentence in sentences], dtype=np.int64)
    word_bounds = _bounds(word_counts)
    first_piece = piece_bounds[word_bounds]
    before = np.repeat(first_piece[:-1], word_counts)
    starts = (piece_bounds[:-1] - before).astype(np.int32)
    ends = (piece_bounds[1:] - before).astype(np.int32)
    words, pieces = word_bounds.tolist(), first_piece.tolist()
    return [
        AlignedSentence(
            piece_ids[pieces[i] : pieces[i + 1]], starts[words[i] : words[i + 1]], ends[words[i] : words[i + 1]]
        )
        for i in range(len(sentences))
    ]


def special_pieces(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the pieces that a tokenizer puts before and after one text, e.g. ([CLS],) and ([SEP],).

    In multilingual translation models one of them names the language of the text: `src_lang` of
    `tokenizer_config.json`, or the tokenizer's attribute of that name.

    Raises:
        ModelError: The tokenizer is neither a fast one nor one of SentencePiece, gives no piece for any word, or has no
            piece for its language.
    """
    before, after = _around_a_word(_require_usable(tokenizer))
    named = [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id]
    if tokenizer.unk_token_id not in named and tokenizer.unk_token_id in before + after:
        raise ModelError(
            f"{type(tokenizer).__name__} puts its piece for unknown text beside every text: its vocabulary lacks the "
            f"language code {getattr(tokenizer, 'src_lang', None)!r}. Give `src_lang` in tokenizer_config.json as the "
            "model writes it, and the tokenizer.json that belongs to it."
        )
    return before, after


def _require_usable(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerFast | PreTrainedTokenizer:
    if isinstance(tokenizer, PreTrainedTokenizerFast):
        return tokenizer
    if isinstance(tokenizer, PreTrainedTokenizer):
        by_sentencepiece = any(type(part).__name__ == "SentencePieceProcessor" for part in vars(tokenizer).values())
        if by_sentencepiece and tokenizer.tokenize("a a") == 2 * tokenizer.tokenize("a"):
            return tokenizer
    raise ModelError(
        f"{type(tokenizer).__name__} is not a fast tokenizer, so it cannot say which word a piece belongs to. "
        "Use a model whose folder holds a `tokenizer.json`."
    )


def _around_a_word(
    tokenizer: PreTrainedTokenizerFast | PreTrainedTokenizer,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if isinstance(tokenizer, PreTrainedTokenizer):
        text = -1
        ids = tokenizer.build_inputs_with_special_tokens([text])
        return tuple(ids[: ids.index(text)]), tuple(ids[ids.index(text) + 1 :])
    for word in ("a", "1", ".", *islice(sorted(tokenizer.get_vocab()), 1000)):
        encoded = tokenizer([[word]], is_split_into_words=True, truncation=False, padding=False, verbose=False)
        (encoding,) = encoded.encodings or []
        places = [place for place, word_id in enumerate(encoding.word_ids) if word_id is not None]
        if places:
            return tuple(encoding.ids[: places[0]]), tuple(encoding.ids[places[-1] + 1 :])
    raise ModelError(
        f"The special pieces of {type(tokenizer).__name__} are found around a word, but it gives no piece for any of "
        f"{tokenizer.vocab_size} tried. Use the tokenizer that belongs to the model."
    )


def _tokenize_forms(
    tokenizer: PreTrainedTokenizerFast | PreTrainedTokenizer, forms: list[str]
) -> tuple[Int32[np.ndarray, "piece"], Int[np.ndarray, "form_bound"]]:
    """Returns the pieces of all forms, one form after the other, and the bounds of the forms among them."""
    sizes = np.zeros(len(forms), np.int64)
    written = [number for number, form in enumerate(forms) if form.strip()]
    if isinstance(tokenizer, PreTrainedTokenizer):
        pieces = [tokenizer.encode(forms[number], add_special_tokens=False, verbose=False) for number in written]
        sizes[written] = [len(ids) for ids in pieces]
        return np.fromiter(chain.from_iterable(pieces), np.int32), _bounds(sizes)
    runs = [written[first : first + _FORMS_PER_ENCODING] for first in range(0, len(written), _FORMS_PER_ENCODING)]
    if not runs:
        return np.zeros(0, np.int32), _bounds(sizes)
    encoded = tokenizer(
        [[forms[number] for number in run] for run in runs],
        is_split_into_words=True,
        add_special_tokens=False,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,  # no warning that a run of forms is longer than the model's input
    )
    encodings = encoded.encodings or []
    for run, encoding in zip(runs, encodings, strict=True):
        sizes[run] = np.bincount(np.array(encoding.word_ids, dtype=np.int64), minlength=len(run))
    piece_ids = np.concatenate([np.array(encoding.ids, dtype=np.int32) for encoding in encodings])
    return piece_ids, _bounds(sizes)


def _space_belongs_to_next_word(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Returns whether a word gets the pieces of running text if it is tokenized with the space before it.

    Most tokenizers are so. Others put a mark before each text (`▁` of Llama 2), which would come twice, or make the
    space a part of its own. The answer comes from how the backend normalizes and splits, before any vocabulary.
    """
    single, double, spaced = (_split(tokenizer, text) for text in ("a", "a a", " a"))
    return len(spaced) == 1 and "".join(double) == "".join(single + spaced)


def _split(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    backend = tokenizer.backend_tokenizer
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    if backend.pre_tokenizer is None:
        return [text]
    return [part for part, _ in backend.pre_tokenizer.pre_tokenize_str(text)]


def _bounds(sizes: Int[np.ndarray, "part"]) -> Int[np.ndarray, "part_bound"]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def _ranges(starts: Int[np.ndarray, "part"], sizes: Int[np.ndarray, "part"]) -> Int[np.ndarray, "piece"]:
    """Returns `start, start + 1, …` of every part, one part after the other."""
    bounds = _bounds(sizes)
    return np.arange(bounds[-1]) + np.repeat(starts - bounds[:-1], sizes)

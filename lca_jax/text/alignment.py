"""Which pieces of a tokenizer belong to which word.

The words go to the fast tokenizer as words, and its own `word_ids` say whose every piece is: nothing is guessed from
counts or characters. A fast tokenizer handles each given word by itself, so every distinct form is tokenized once and
the sentences are put together by array arithmetic: 600,000 to 800,000 words a second on one core for running text, a
tenth of that if no form repeats.

Marian and M2M100 have no fast tokenizer, but one of SentencePiece, which puts its mark before every text and so gives a
word alone the pieces that it has among others. There a form is simply tokenized: about 20,000 forms a second.

Nothing is truncated and no special pieces are added; sentences too long for a model are cut in `windows`.
"""

from collections.abc import Sequence
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int32
from transformers import PreTrainedTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from lca_jax.errors import ModelError

_FORMS_PER_ENCODING = 256
"""Forms are tokenized in runs of this length: short enough to spread over threads, long enough to hide a run's cost."""


class AlignedSentence(NamedTuple):
    """The pieces of one sentence, without special ones, and the half-open range of pieces of every word."""

    piece_ids: Int32[np.ndarray, "piece"]
    starts: Int32[np.ndarray, "word"]
    ends: Int32[np.ndarray, "word"]
    """Equal to `starts` for a word of which the tokenizer leaves nothing, e.g. one of zero-width characters."""


def align_sentences(tokenizer: PreTrainedTokenizerBase, sentences: Sequence[Sequence[str]]) -> list[AlignedSentence]:
    """Tokenizes sentences of words and keeps which pieces are whose.

    The pieces are those of the words joined with single spaces: a word has those that hold its characters, and before
    them what the tokenizer makes of the space alone, e.g. the `Ġ` of Llama 3 before a number. The first word of a
    sentence has no space, except where a tokenizer puts one before every text.

    They differ from those of the running text in three cases. A piece that would cross from one word to the next is not
    used; each word is cut by itself (vocabularies trained word by word have no such piece). White space that is always
    a part of its own, as for tokenizers of single characters, is left out. A word that begins or ends with white space
    may be cut otherwise, and a word of white space alone has no piece.

    An unknown-word piece is a piece; forms that spell a special piece (`[MASK]`) become that piece.

    Args:
        tokenizer: A fast tokenizer of `transformers`, or one of SentencePiece.
        sentences: The word forms; empty sentences and empty words are allowed.

    Raises:
        ModelError: The tokenizer is neither.
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
    """The pieces a tokenizer puts before and after one text, e.g. ([CLS],) and ([SEP],); empty where it adds none.

    Multilingual translation models have the language of the text among them: `src_lang` of `tokenizer_config.json`, or
    the tokenizer's attribute of that name.

    Raises:
        ModelError: The tokenizer is neither a fast one nor one of SentencePiece, gives no piece for any word, or has no
            piece for the language it is set to.
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
        own = [place for place, whose in enumerate(encoding.word_ids) if whose is not None]
        if own:
            return tuple(encoding.ids[: own[0]]), tuple(encoding.ids[own[-1] + 1 :])
    raise ModelError(
        f"The special pieces of {type(tokenizer).__name__} are found around a word, but it gives no piece for any of "
        f"{tokenizer.vocab_size} tried. Use the tokenizer that belongs to the model."
    )


def _tokenize_forms(
    tokenizer: PreTrainedTokenizerFast | PreTrainedTokenizer, forms: list[str]
) -> tuple[Int32[np.ndarray, "piece"], Int[np.ndarray, "form_bound"]]:
    """The pieces of all forms in a row, and where each form begins in that row (one number more than forms)."""
    sizes = np.zeros(len(forms), np.int64)
    sent = [number for number, form in enumerate(forms) if form.strip()]
    if isinstance(tokenizer, PreTrainedTokenizer):
        pieces = [tokenizer.encode(forms[number], add_special_tokens=False, verbose=False) for number in sent]
        sizes[sent] = [len(ids) for ids in pieces]
        return np.fromiter(chain.from_iterable(pieces), np.int32), _bounds(sizes)
    runs = [sent[first : first + _FORMS_PER_ENCODING] for first in range(0, len(sent), _FORMS_PER_ENCODING)]
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
    """Whether a word has the pieces of running text if sent with the space before it.

    True of most. False where a mark is put before each text sent (`▁` of Llama 2), which would stand there twice, and
    where the space is a part of its own. Seen from how the backend normalizes and splits, before any vocabulary.
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
    """`start, start + 1, …` of every part, one after the other."""
    bounds = _bounds(sizes)
    return np.arange(bounds[-1]) + np.repeat(starts - bounds[:-1], sizes)

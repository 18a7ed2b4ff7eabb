"""Joins pairs of texts in one window, as a tokenizer does: `[CLS] premise [SEP] hypothesis [SEP]`.

A sentence of a corpus of pairs holds the words of both texts. Each text is tokenized by itself, since it has its own
beginning. A pair that fits no window is not cut, since half a pair says nothing. Single texts are cut in `windows`.
"""

from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32
from tokenizers import Encoding

from lca_jax.errors import ModelError
from lca_jax.hugging_face import PreTrainedTokenizer, PreTrainedTokenizerBase
from lca_jax.text.alignment import AlignedSentence, align_sentences, special_pieces
from lca_jax.text.corpus import Corpus
from lca_jax.text.windows import NO_PIECE, Window

PAIR_LONGER_THAN_A_WINDOW = "pair longer than a window"


class SpecialPieces(NamedTuple):
    """Special pieces that a tokenizer puts around one text, or around and between two texts."""

    before: tuple[int, ...]
    """Pieces before the first text."""
    after: tuple[int, ...]
    """Pieces after the last text."""
    between: tuple[int, ...] = ()
    """Pieces between two texts."""
    token_types: "TokenTypes | None" = None
    """The token types that the tokenizer's own template gives to the pieces, whether or not its class passes them on
    (ALBERT's and XLNet's of transformers 5 do not); None where all are 0, or it has no template."""

    def told_apart(self, tells_types_apart: Callable[[int], bool]) -> "SpecialPieces":
        """Returns the same without token types that a model does not tell apart; it is asked with the highest."""
        if self.token_types is None or tells_types_apart(self.token_types.highest):
            return self
        return self._replace(token_types=None)


class TokenTypes(NamedTuple):
    """The token types that a tokenizer gives to special pieces, one for each, and to the texts, one for all pieces."""

    before: tuple[int, ...]
    first: int
    between: tuple[int, ...]
    second: int
    after: tuple[int, ...]

    @property
    def highest(self) -> int:
        """The highest of the types."""
        return max(*self.before, self.first, *self.between, self.second, *self.after, 0)

    def spread(self, first: int, second: int = 0) -> Int32[np.ndarray, "piece"]:
        """Returns the type of every piece of a window whose texts have these numbers of pieces."""
        texts = ([self.first] * first, [self.second] * second)
        return np.array([*self.before, *texts[0], *self.between, *texts[1], *self.after], np.int32)


def special_pieces_of(tokenizer: PreTrainedTokenizerBase, *, pairs: bool) -> SpecialPieces:
    """Returns the special pieces of single texts, or of pairs, with the token types that the tokenizer gives.

    Raises:
        ModelError: For the reasons of `special_pieces`.
    """
    before, after = special_pieces(tokenizer)
    if not pairs:
        return SpecialPieces(before, after, token_types=_token_types_of_one(tokenizer))
    if isinstance(tokenizer, PreTrainedTokenizer):
        first, second = -1, -2
        ids = tokenizer.build_inputs_with_special_tokens([first], [second])
        one, two = ids.index(first), ids.index(second)
        return SpecialPieces(tuple(ids[:one]), tuple(ids[two + 1 :]), tuple(ids[one + 1 : two]))
    encoding, places = _encode_a_word(tokenizer, texts=2)
    cut = [0, places[0][0], places[0][-1] + 1, places[1][0], places[1][-1] + 1, len(encoding.ids)]
    before, _, between, _, after = (tuple(encoding.ids[start:end]) for start, end in pairwise(cut))
    types = [tuple(encoding.type_ids[start:end]) for start, end in pairwise(cut)]
    token_types = TokenTypes(types[0], types[1][0], types[2], types[3][0], types[4])
    return SpecialPieces(before, after, between, token_types if token_types.highest else None)


def align_texts(tokenizer: PreTrainedTokenizerBase, corpus: Corpus, numbers: Sequence[int]) -> list[AlignedSentence]:
    """Returns the pieces of some sentences; in pairs the pieces of the second text follow those of the first."""
    sentences = [corpus.sentences[number] for number in numbers]
    if corpus.second_starts is None:
        return align_sentences(tokenizer, sentences)
    starts = [corpus.second_starts[number] for number in numbers]
    texts = [sentence[:start] for sentence, start in zip(sentences, starts, strict=True)]
    texts += [sentence[start:] for sentence, start in zip(sentences, starts, strict=True)]
    aligned = align_sentences(tokenizer, texts)
    return [
        _follow(first, second) for first, second in zip(aligned[: len(starts)], aligned[len(starts) :], strict=True)
    ]


def join_pair(
    aligned: AlignedSentence, *, sentence: int, second_start: int, max_pieces: int, special: SpecialPieces
) -> tuple[list[Window], dict[int, str]]:
    """Joins one pair in a window from which all its words are read.

    Args:
        aligned: Pieces of the pair, from `align_texts`.
        sentence: Number of the pair, which the window repeats.
        second_start: Number of words in the first text.
        max_pieces: Maximum number of pieces in a window, including the special ones.
        special: Special pieces, from `special_pieces_of`.

    Returns:
        The window (none if no word has a piece, or the pair is too long), and the reason why words are excluded, as in
        `cut_windows`.
    """
    sizes = aligned.ends - aligned.starts
    excluded = dict.fromkeys(np.flatnonzero(sizes == 0).tolist(), NO_PIECE)
    words = np.flatnonzero(sizes > 0).astype(np.int32)
    cut = int(aligned.starts[second_start])
    parts = (special.before, aligned.piece_ids[:cut], special.between, aligned.piece_ids[cut:], special.after)
    lengths = [len(part) for part in parts]
    types = special.token_types
    if sum(lengths) > max_pieces:
        excluded |= dict.fromkeys(words.tolist(), PAIR_LONGER_THAN_A_WINDOW)
        return [], dict(sorted(excluded.items()))
    if not words.size:
        return [], excluded
    shift = np.where(words < second_start, lengths[0], lengths[0] + lengths[2]).astype(np.int32)
    gap_start = lengths[0] + cut
    window = Window(
        sentence,
        np.concatenate([np.asarray(part, np.int32) for part in parts]),
        words,
        aligned.starts[words] + shift,
        aligned.ends[words] + shift,
        gap=(gap_start, gap_start + lengths[2]),
        token_types=None if types is None else types.spread(lengths[1], lengths[3]),
    )
    return [window], excluded


def _token_types_of_one(tokenizer: PreTrainedTokenizerBase) -> TokenTypes | None:
    """Returns the token types around a single text, where they are not all 0: XLNet's `<cls>` has type 2."""
    if isinstance(tokenizer, PreTrainedTokenizer):
        return None
    encoding, (places,) = _encode_a_word(tokenizer, texts=1)
    types = encoding.type_ids
    if not any(types):
        return None
    return TokenTypes(tuple(types[: places[0]]), types[places[0]], (), 0, tuple(types[places[-1] + 1 :]))


def _encode_a_word(tokenizer: PreTrainedTokenizerBase, *, texts: int) -> tuple[Encoding, list[list[int]]]:
    """Returns a word that has pieces, encoded once or as a pair with itself, and the places of its pieces by text."""
    for word in ("a", "1", ".", *islice(sorted(tokenizer.get_vocab()), 1000)):
        encoded = tokenizer(
            [[word]], [[word]] if texts == 2 else None, is_split_into_words=True, truncation=False, padding=False
        )
        (encoding,) = encoded.encodings or []
        numbers = encoding.sequence_ids
        places = [[place for place, text in enumerate(numbers) if text == number] for number in range(texts)]
        if all(places):
            return encoding, places
    raise ModelError(
        f"{type(tokenizer).__name__} gives no piece for any word that was tried. Use the model's tokenizer."
    )


def _follow(first: AlignedSentence, second: AlignedSentence) -> AlignedSentence:
    shift = len(first.piece_ids)
    return AlignedSentence(
        np.concatenate([first.piece_ids, second.piece_ids]),
        np.concatenate([first.starts, second.starts + shift]).astype(np.int32),
        np.concatenate([first.ends, second.ends + shift]).astype(np.int32),
    )

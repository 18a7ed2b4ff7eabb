"""Windows of whole texts: a sentence or a pair is cut, and perhaps read as one unit instead of word by word."""

from collections.abc import Mapping, Sequence

import numpy as np

from lca_jax.errors import ModelError
from lca_jax.hugging_face import PreTrainedTokenizerBase
from lca_jax.text.alignment import AlignedSentence
from lca_jax.text.corpus import Corpus
from lca_jax.text.pairs import SpecialPieces, join_pair
from lca_jax.text.windows import NO_PIECE, Window, cut_windows

SENTENCE_LONGER_THAN_A_WINDOW = "sentence longer than a window"


def cut_text(
    corpus: Corpus, number: int, aligned: AlignedSentence, *, special: SpecialPieces, max_pieces: int
) -> tuple[list[Window], dict[int, str]]:
    """Returns the windows of one sentence or pair, and why words are read from no window.

    Args:
        corpus: The corpus.
        number: Number of the sentence, which the windows repeat.
        aligned: Its pieces, from `align_texts`.
        special: Special pieces, from `special_pieces_of`.
        max_pieces: Maximum number of pieces in a window, including the special ones.
    """
    if corpus.second_starts is not None:
        start = corpus.second_starts[number]
        return join_pair(aligned, sentence=number, second_start=start, max_pieces=max_pieces, special=special)
    around = len(special.before) + len(special.after)
    windows, excluded = cut_windows(
        aligned, sentence=number, max_pieces=max_pieces, prefix=special.before, suffix=special.after
    )
    if (types := special.token_types) is not None:
        windows = [window._replace(token_types=types.spread(len(window.piece_ids) - around)) for window in windows]
    return windows, excluded


def read_whole(windows: Sequence[Window], excluded: Mapping[int, str], cls_place: int | None) -> Window | str:
    """Returns the window from which a text is read as one unit, or why there is none.

    Args:
        windows: Its windows.
        excluded: Word to the reason why it is in no window.
        cls_place: Place of the special piece that stands for the text (`cls_place_of`); None for all pieces between the
            first and the last word.
    """
    if len(windows) > 1 or set(excluded.values()) - {NO_PIECE}:
        return SENTENCE_LONGER_THAN_A_WINDOW
    return _read_as_one(windows[0], cls_place) if windows else NO_PIECE


def _read_as_one(window: Window, cls_place: int | None) -> Window:
    """Returns a window from which one unit is read, number 0: the text as a whole."""
    unit = np.zeros(1, np.int32)
    if cls_place is None:
        return window._replace(words=unit, starts=window.starts[:1], ends=window.ends[-1:])
    slot = np.array([cls_place % len(window.piece_ids)], np.int32)
    return window._replace(words=unit, starts=slot, ends=slot + 1)


def cls_place_of(tokenizer: PreTrainedTokenizerBase, special: SpecialPieces) -> int:
    """Returns the place of the tokenizer's classification piece, else of the first special piece.

    The classification piece of XLNet stands at the end, hence negative places.

    Raises:
        ModelError: The tokenizer adds no special piece.
    """
    before, after = special.before, special.after
    for number, piece in enumerate(before):
        if piece == tokenizer.cls_token_id:
            return number
    for number, piece in enumerate(after):
        if piece == tokenizer.cls_token_id:
            return number - len(after)
    if not before and not after:
        raise ModelError(
            f"{type(tokenizer).__name__} puts no special piece beside a text, so `cls` reads nothing. "
            "Pool sentences by `sentence-mean`."
        )
    return 0 if before else -len(after)

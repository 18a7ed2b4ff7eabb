"""Cuts a sentence into windows that a model can take, and reads each word from one of them.

A sentence that fits is one window. A longer one is cut at word boundaries into windows that overlap by about half, and
every word is read where the smaller of its contexts to the left and to the right is greatest. A window costs about
20 µs. Packing windows into rows is left to `packing`.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int32

from lca_jax.errors import SettingsError
from lca_jax.text.alignment import AlignedSentence

NO_PIECE = "no piece"
LONGER_THAN_A_WINDOW = "longer than a window"


class Window(NamedTuple):
    """Pieces that the model sees as one text, and the words that are read from them."""

    sentence: int
    """Number of the sentence."""
    piece_ids: Int32[np.ndarray, "piece"]
    """Pieces of the text, with the special pieces before and after."""
    words: Int32[np.ndarray, "word"]
    """Positions in the sentence of the words that are read from this window, increasing."""
    starts: Int32[np.ndarray, "word"]
    """First piece of every such word, counted from the first piece of the window."""
    ends: Int32[np.ndarray, "word"]
    """End of every such word: one past its last piece."""
    gap: tuple[int, int] | None = None
    """For a pair, the special pieces between its texts: the first, and one past the last."""
    token_types: Int32[np.ndarray, "piece"] | None = None
    """The token type of every piece, which says whose text it is in a pair; None where the tokenizer gives none, or
    gives 0 to all pieces."""


def cut_windows(
    aligned: AlignedSentence,
    *,
    sentence: int,
    max_pieces: int,
    prefix: tuple[int, ...],
    suffix: tuple[int, ...],
) -> tuple[list[Window], dict[int, str]]:
    """Cuts one sentence into windows.

    Args:
        aligned: Pieces of the sentence.
        sentence: Number of the sentence, which the windows repeat.
        max_pieces: Maximum number of pieces in a window, including the special ones.
        prefix: Special pieces before every window.
        suffix: Special pieces after every window.

    Returns:
        The windows from left to right (none if there is no word to read), and the reason why words are excluded:
        position in the sentence to `no piece` or `longer than a window`. A word that is too long ends the text on both
        of its sides: no window holds a part of it.

    Raises:
        SettingsError: The special pieces leave no room for text.
    """
    room = max_pieces - len(prefix) - len(suffix)
    if room < 1:
        raise SettingsError(
            f"A window must hold at least one piece of text: `max_pieces` is {max_pieces}, and the tokenizer adds "
            f"{len(prefix) + len(suffix)} special ones. Give {len(prefix) + len(suffix) + 1} or more."
        )
    before, after = np.array(prefix, dtype=np.int32), np.array(suffix, dtype=np.int32)
    sizes = aligned.ends - aligned.starts
    excluded = dict.fromkeys(np.flatnonzero(sizes == 0).tolist(), NO_PIECE)
    excluded |= dict.fromkeys(np.flatnonzero(sizes > room).tolist(), LONGER_THAN_A_WINDOW)
    windows: list[Window] = []
    for words in _runs_between_long_words(sizes, room):
        starts, ends = aligned.starts[words], aligned.ends[words]
        spans = _overlapping_spans(starts, ends, room)
        reader = _best_span(starts, ends, spans)
        for number, (first, last) in enumerate(spans):
            read = np.flatnonzero(reader[first:last] == number) + first
            if read.size:
                shift = starts[first] - len(prefix)
                text = aligned.piece_ids[starts[first] : ends[last - 1]]
                piece_ids = np.concatenate([before, text, after])
                windows.append(Window(sentence, piece_ids, words[read], starts[read] - shift, ends[read] - shift))
    return windows, dict(sorted(excluded.items()))


def _runs_between_long_words(sizes: Int32[np.ndarray, "word"], room: int) -> list[Int32[np.ndarray, "run_word"]]:
    """Returns the words that have pieces, split at the words that fit no window."""
    readable = np.flatnonzero((sizes > 0) & (sizes <= room)).astype(np.int32)
    is_long = sizes > room
    if not is_long.any():
        return [readable] if readable.size else []
    long_words_before = np.cumsum(is_long)[readable]
    runs = np.split(readable, np.flatnonzero(np.diff(long_words_before)) + 1)
    return [run for run in runs if run.size]


def _overlapping_spans(
    starts: Int32[np.ndarray, "word"], ends: Int32[np.ndarray, "word"], room: int
) -> list[tuple[int, int]]:
    """Returns half-open ranges of words, of at most `room` pieces, that cover all words and begin half a room apart.

    No word is missed: a range that begins at most half a room later begins before the first word that did not fit.
    """
    if ends[-1] - starts[0] <= room:
        return [(0, len(starts))]
    stride = max(room // 2, 1)
    begin_of_last = int(np.searchsorted(starts, ends[-1] - room, side="left"))
    spans, first = [], 0
    while first < begin_of_last:
        spans.append((first, int(np.searchsorted(ends, starts[first] + room, side="right"))))
        next_first = int(np.searchsorted(starts, starts[first] + stride, side="right")) - 1
        first = max(next_first, first + 1)
    # The last window reaches as far to the left as it can: more context costs nothing there.
    return [*spans, (begin_of_last, len(starts))]


def _best_span(
    starts: Int32[np.ndarray, "word"], ends: Int32[np.ndarray, "word"], spans: list[tuple[int, int]]
) -> Int[np.ndarray, "word"]:
    """Returns for every word the span in which its smaller context is greatest; the first of equal ones."""
    if len(spans) == 1:
        return np.zeros(len(starts), np.int64)
    best = np.full(len(starts), -1, np.int32)
    reader = np.zeros(len(starts), np.int64)
    for number, (first, last) in enumerate(spans):
        left = starts[first:last] - starts[first]
        right = ends[last - 1] - ends[first:last]
        context = np.minimum(left, right)
        better = context > best[first:last]
        best[first:last][better] = context[better]
        reader[first:last][better] = number
    return reader

"""Several windows in one row, so that no accelerator time goes into padding.

Windows are placed best fit, longest first; a row then holds texts with segment numbers 1, 2, …, positions that start at
0 in each, and segment 0 for what little is left. Real text fills over 99 % of the slots. Costs about 0.4 s for 100,000
windows. That pieces attend inside their own segment alone is the model's duty.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int32, Int64

from lca_jax.errors import SettingsError
from lca_jax.text.windows import Window


class PackedRows(NamedTuple):
    """Rows of pieces for the model, and where in them every word is read."""

    piece_ids: Int32[np.ndarray, "row slot"]
    positions: Int32[np.ndarray, "row slot"]
    """From 0 in every window; 0 in padding."""
    segments: Int32[np.ndarray, "row slot"]
    """1, 2, … for the windows of a row; 0 is padding."""
    words: Int64[np.ndarray, "word"]
    """Number of each word read, increasing: its sentence's offset and its position in the sentence."""
    rows: Int32[np.ndarray, "word"]
    """The row it is read from."""
    starts: Int32[np.ndarray, "word"]
    """The slot of its first piece."""
    ends: Int32[np.ndarray, "word"]
    """One past the slot of its last piece."""
    token_types: Int32[np.ndarray, "row slot"] | None = None
    """Of pairs, as the windows have them; 0 in padding."""
    between: Bool[np.ndarray, "row slot"] | None = None
    """Of pairs, the slots of special pieces between two texts."""


def pack_windows(
    windows: Sequence[Window],
    *,
    row_length: int,
    word_offsets: Sequence[int] | Int[np.ndarray, "sentence"],
    pad_id: int,
) -> PackedRows:
    """Packs windows into as few rows as best fit, longest first, finds; the same windows give the same rows.

    Args:
        windows: From `cut_windows`.
        row_length: Slots of a row.
        word_offsets: For every sentence number in `windows`, the number of its first word.
        pad_id: The piece that fills what is left of a row.

    Raises:
        SettingsError: A window is longer than a row.
    """
    lengths = np.array([len(window.piece_ids) for window in windows], dtype=np.int64)
    if lengths.size and lengths.max() > row_length:
        longest = windows[int(lengths.argmax())]
        raise SettingsError(
            f"`row_length` must be at least the longest window, {lengths.max()} pieces (sentence {longest.sentence}), "
            f"got {row_length}. Give a longer row, or cut windows with a smaller `max_pieces`."
        )
    row_of_window, slot_of_window, segment_of_window, row_count = _place(lengths, row_length)

    inside = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    slots = np.repeat(row_of_window * row_length + slot_of_window, lengths) + inside
    piece_ids = np.full(row_count * row_length, pad_id, np.int32)
    positions = np.zeros(row_count * row_length, np.int32)
    segments = np.zeros(row_count * row_length, np.int32)
    piece_ids[slots] = _joined([window.piece_ids for window in windows])
    positions[slots] = inside
    segments[slots] = np.repeat(segment_of_window, lengths)

    counts = np.array([len(window.words) for window in windows], dtype=np.int64)
    offsets = np.asarray(word_offsets, dtype=np.int64)[
        np.array([window.sentence for window in windows], dtype=np.int64)
    ]
    words = np.repeat(offsets, counts) + _joined([window.words for window in windows])
    shift = np.repeat(slot_of_window, counts)
    order = np.argsort(words, kind="stable")
    token_types = between = None
    if windows and windows[0].token_types is not None:
        token_types = np.zeros(row_count * row_length, np.int32)
        token_types[slots] = _joined([window.token_types for window in windows if window.token_types is not None])
    if windows and windows[0].gap is not None:
        gaps = np.array([window.gap for window in windows], np.int64)
        between = np.zeros(row_count * row_length, bool)
        between[slots] = (inside >= np.repeat(gaps[:, 0], lengths)) & (inside < np.repeat(gaps[:, 1], lengths))
    return PackedRows(
        piece_ids=piece_ids.reshape(row_count, row_length),
        positions=positions.reshape(row_count, row_length),
        segments=segments.reshape(row_count, row_length),
        words=words[order],
        rows=np.repeat(row_of_window, counts)[order].astype(np.int32),
        starts=(_joined([window.starts for window in windows]) + shift)[order].astype(np.int32),
        ends=(_joined([window.ends for window in windows]) + shift)[order].astype(np.int32),
        token_types=None if token_types is None else token_types.reshape(row_count, row_length),
        between=None if between is None else between.reshape(row_count, row_length),
    )


def _place(
    lengths: Int64[np.ndarray, "window"], row_length: int
) -> tuple[Int64[np.ndarray, "window"], Int64[np.ndarray, "window"], Int64[np.ndarray, "window"], int]:
    """Row, first slot and segment of every window, and the number of rows.

    Open rows are kept by the number of slots they have left, of which there are at most `row_length`: each window costs
    one binary search. Equally full rows are taken last in, first out.
    """
    row, slot, segment = (np.zeros(len(lengths), np.int64) for _ in range(3))
    used: list[int] = []
    held: list[int] = []
    rows_with_left: dict[int, list[int]] = {}
    lefts: list[int] = []
    for window in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[window])
        fitting = bisect_left(lefts, length)
        if fitting == len(lefts):
            chosen, left = len(used), row_length
            used.append(0)
            held.append(0)
        else:
            left = lefts[fitting]
            chosen = rows_with_left[left].pop()
            if not rows_with_left[left]:
                del rows_with_left[left], lefts[fitting]
        row[window], slot[window], segment[window] = chosen, used[chosen], held[chosen] + 1
        used[chosen] += length
        held[chosen] += 1
        left -= length
        if left not in rows_with_left:
            rows_with_left[left] = []
            insort(lefts, left)
        rows_with_left[left].append(chosen)
    return row, slot, segment, len(used)


def _joined(parts: Sequence[Int32[np.ndarray, "_"]]) -> Int32[np.ndarray, "_"]:
    return np.concatenate([np.zeros(0, np.int32), *parts])

"""A corpus as batches of few static shapes: tokenized, cut into windows, packed, and cut into batches of full rows.

The corpus is taken block by block; a block is the sentences that begin in one shard of the store, so that a row never
holds words far apart and shards are completed in order. Full batches run on across the blocks of a group, and only its
last batch is padded. All of this follows from the corpus and the settings: a run that goes on after a stop makes the
same batches and leaves out those whose words are stored already.

Shapes: rows of `row_length` slots; for windows longer than that, rows of 256 and of 512 slots, in batches of an eighth
of the slots, as long sentences are rare. A shape that no window needs is never compiled.

Cost: about 5 microseconds a word on one core, far less than any model on the same core.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Int32, Int64

from lca_jax.hugging_face import PreTrainedTokenizerBase
from lca_jax.store.recipe import Recipe
from lca_jax.store.rows import Rows
from lca_jax.text.alignment import AlignedSentence
from lca_jax.text.corpus import Corpus
from lca_jax.text.packing import PackedRows, pack_windows
from lca_jax.text.pairs import SpecialPieces, align_texts, join_pair, special_pieces_of
from lca_jax.text.windows import Window, cut_windows

ROW_LENGTHS = (128, 256, 512)
"""Slots of a row, where the caller gives no other length."""

_PIECES_PER_WORD = 1.5
_GROUP_BATCHES = 16
_LONG_BATCH_SHARE = 8
_PAD_ID = 0  # any piece will do: no word attends to padding


class ReadBatch(NamedTuple):
    """Packed rows of one static shape, and the words read from each."""

    piece_ids: Int32[np.ndarray, "row slot"]
    positions: Int32[np.ndarray, "row slot"]
    segments: Int32[np.ndarray, "row slot"]
    starts: Int32[np.ndarray, "row read"]
    ends: Int32[np.ndarray, "row read"]
    """Slots of each word's pieces; there are as many places for words as slots, since a word has at least one piece."""
    words: Int64[np.ndarray, "row read"]
    """The word's row in the store; -1 for padding."""
    token_types: Int32[np.ndarray, "row slot"] | None = None
    """Of pairs, as in `PackedRows`; None for single texts."""
    between: Bool[np.ndarray, "row slot"] | None = None
    """Of pairs, as in `PackedRows`; None for single texts."""


class BlockNotes(NamedTuple):
    """What is known of a block's words before the model runs."""

    first_word: int
    pieces: Int32[np.ndarray, "word"]
    """Number of pieces of each word, from `first_word` on."""
    excluded: dict[int, str]
    """Why a word, by its row in the store, has no vector."""


def plan_shapes(*, row_length: int, longest_window: int, rows_per_batch: int, devices: int) -> dict[int, int]:
    """The static shapes of a run: rows of a batch, for each row length in rising order.

    Args:
        row_length: Slots of the usual rows.
        longest_window: Slots that the longest window can need.
        rows_per_batch: Rows of the usual batch, at least; rounded up to a multiple of `devices`.
        devices: Over how many devices the rows are split.
    """
    longer = [length for length in ROW_LENGTHS if row_length < length < longest_window]
    if longest_window > row_length:
        longer.append(longest_window)
    slots = rows_per_batch * row_length // _LONG_BATCH_SHARE
    rows = {row_length: rows_per_batch} | {length: max(slots // length, 1) for length in longer}
    return {length: -(-count // devices) * devices for length, count in rows.items()}


def choose_row_length(corpus: Corpus) -> int:
    """The shortest usual row that holds nine words in ten, going by the sentences' lengths in words.

    Seldom another than 128: attention costs more in longer rows, and best fit leaves no room in short ones either.
    """
    lengths = np.sort([len(sentence) for sentence in corpus.sentences])
    words = np.cumsum(lengths)
    typical = lengths[np.searchsorted(words, 0.9 * words[-1])] * _PIECES_PER_WORD
    return next((length for length in ROW_LENGTHS if typical <= length), ROW_LENGTHS[-1])


def plan_batches(
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    shapes: dict[int, int],
    *,
    rows: Rows,
    missing: frozenset[int],
) -> Iterator[BlockNotes | ReadBatch]:
    """Makes the batches of a corpus in a fixed order, the notes of a block before any of its batches.

    Args:
        corpus: The words.
        tokenizer: The model's own.
        recipe: Window, row and shard lengths.
        shapes: From `plan_shapes`.
        rows: What is read: words, pieces or sentences, here all called words.
        missing: Shards still to be filled; groups of blocks and batches without a word of these are left out.
    """
    special = special_pieces_of(tokenizer, pairs=corpus.second_starts is not None)
    offsets = rows.bounds
    source = _Source(corpus, tokenizer, recipe, rows, special)
    block_of_sentence = offsets[:-1] // recipe.shard_words
    bounds = np.searchsorted(block_of_sentence, np.arange(recipe.shard_count + 1)).tolist()
    blocks = [range(first, last) for first, last in pairwise(bounds)]
    batch_slots = recipe.row_length * shapes[recipe.row_length]
    group = max(1, _GROUP_BATCHES * batch_slots // recipe.shard_words)
    for first in range(0, len(blocks), group):
        begin, end = offsets[blocks[first].start], offsets[blocks[first : first + group][-1].stop]
        touched = range(begin // recipe.shard_words, -(-end // recipe.shard_words))
        if not missing.isdisjoint(touched):
            yield from _batches_of_group(source, shapes, blocks=blocks[first : first + group], missing=missing)


class _Source(NamedTuple):
    """What every block is read from."""

    corpus: Corpus
    tokenizer: PreTrainedTokenizerBase
    recipe: Recipe
    rows: Rows
    special: SpecialPieces


def _batches_of_group(
    source: _Source, shapes: dict[int, int], *, blocks: Sequence[range], missing: frozenset[int]
) -> Iterator[BlockNotes | ReadBatch]:
    """Blocks one after the other, their rows joined into full batches, the rest padded at the end."""
    waiting: dict[int, list[ReadBatch]] = {length: [] for length in shapes}
    for block in blocks:
        notes, windows = _read_block(source, block)
        yield notes
        for length, mine in _by_row_length(windows, list(shapes)).items():
            packed = pack_windows(mine, row_length=length, word_offsets=source.rows.bounds, pad_id=_PAD_ID)
            waiting[length].append(_list_words_by_row(packed))
            full, waiting[length] = _cut_rows(waiting[length], shapes[length])
            yield from (batch for batch in full if _is_needed(batch, source.recipe, missing))
    for length, rows in shapes.items():
        for rest in waiting[length]:
            if _is_needed(rest, source.recipe, missing):
                yield _pad_rows(rest, rows)


def _read_block(source: _Source, sentences: range) -> tuple[BlockNotes, list[Window]]:
    """Pieces, exclusions and windows of consecutive sentences; those of which nothing is read are passed over."""
    bounds = source.rows.bounds
    first_row = int(bounds[sentences.start])
    read = [number for number in sentences if bounds[number] < bounds[number + 1]]
    windows: list[Window] = []
    counts = [np.zeros(0, np.int32)]
    excluded: dict[int, str] = {}
    for number, aligned in zip(read, align_texts(source.tokenizer, source.corpus, read), strict=True):
        mine, pieces, without = source.rows.read_from(number, aligned, *_cut_sentence(source, number, aligned))
        windows += mine
        counts.append(pieces)
        excluded |= {int(bounds[number]) + row: reason for row, reason in without.items()}
    return BlockNotes(first_row, np.concatenate(counts), excluded), windows


def _cut_sentence(source: _Source, number: int, aligned: AlignedSentence) -> tuple[list[Window], dict[int, str]]:
    """The windows of one sentence or pair, and why words are read nowhere."""
    longest, special = source.recipe.longest_window, source.special
    if source.corpus.second_starts is None:
        return cut_windows(aligned, sentence=number, max_pieces=longest, prefix=special.before, suffix=special.after)
    start = source.corpus.second_starts[number]
    return join_pair(aligned, sentence=number, second_start=start, max_pieces=longest, special=special)


def _by_row_length(windows: Sequence[Window], lengths: Sequence[int]) -> dict[int, list[Window]]:
    """Each window with the shortest rows that hold it; row lengths without a window are left out."""
    parted: dict[int, list[Window]] = {}
    for window in windows:
        fitting = next(length for length in lengths if len(window.piece_ids) <= length)
        parted.setdefault(fitting, []).append(window)
    return parted


def _list_words_by_row(packed: PackedRows) -> ReadBatch:
    """The words read, which are one flat list, as one list of fixed length a row."""
    shape = packed.piece_ids.shape
    order = np.argsort(packed.rows, kind="stable")
    rows = packed.rows[order]
    places = np.arange(len(rows)) - np.searchsorted(rows, rows)
    starts, ends = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    words = np.full(shape, -1, np.int64)
    for target, source in ((starts, packed.starts), (ends, packed.ends), (words, packed.words)):
        target[rows, places] = source[order]
    return ReadBatch(
        packed.piece_ids, packed.positions, packed.segments, starts, ends, words, packed.token_types, packed.between
    )


def _cut_rows(parts: Sequence[ReadBatch], rows: int) -> tuple[list[ReadBatch], list[ReadBatch]]:
    """All rows as batches of a given size, and what is left as at most one smaller batch."""
    joined: ReadBatch = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
    starts = range(0, len(joined.words), rows)
    cut = [jax.tree.map(lambda array, first=first: array[first : first + rows], joined) for first in starts]
    return (cut, []) if len(cut[-1].words) == rows else (cut[:-1], cut[-1:])


def _pad_rows(batch: ReadBatch, rows: int) -> ReadBatch:
    """Rows of segment 0, from which no word is read, up to the static shape."""
    missing = ((0, rows - len(batch.words)), (0, 0))
    padded: ReadBatch = jax.tree.map(lambda array: np.pad(array, missing), batch)
    padded.words[len(batch.words) :] = -1
    return padded


def _is_needed(batch: ReadBatch, recipe: Recipe, missing: frozenset[int]) -> bool:
    words = batch.words[batch.words >= 0]
    return not missing.isdisjoint(np.unique(words // recipe.shard_words).tolist())

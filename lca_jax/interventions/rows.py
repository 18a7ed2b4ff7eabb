"""Texts as the batches that a measure runs: packed rows of one shape, and whose piece each slot is.

Every sentence is a text of its own: its first words have no context but the tokenizer's first piece. Sentences longer
than a row are cut into overlapping windows, and each word counts once. Where a causal model's tokenizer puts no piece
before a text, its beginning-of-text piece stands there, so that first words are predicted too; if it has none, the
first word of a window does not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lca_jax.errors import DataError, ModelError, SettingsError
from lca_jax.hugging_face import special_piece
from lca_jax.interventions.choices import Where
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Batch
from lca_jax.text.alignment import align_sentences, special_pieces
from lca_jax.text.corpus import Corpus
from lca_jax.text.packing import PackedRows, pack_windows
from lca_jax.text.windows import cut_windows

LONGEST_ROW = 256
"""Slots of the longest row, unless the model's windows are shorter."""


class Rows(NamedTuple):
    """One batch; all batches of a text have the same shape."""

    batch: Batch
    sentences: Int[Array | np.ndarray, "row slot"]
    """Number of the sentence whose word the slot counts for; -1 where nothing is counted."""
    words: Bool[Array | np.ndarray, "row slot"]
    """Whether the slot has a piece of a word, not a special one."""
    targets: Batch | None = None
    """What the decoder of an encoder-decoder reads."""

    def edited(self, where: Where, *, decoder: bool = False) -> Bool[Array | np.ndarray, "row _slot"] | None:
        """Returns the slots that are edited, of the batch or of `targets`; None for all."""
        if where == "all":
            return None
        if where == "words" and not decoder:
            return self.words
        # In a decoder the first piece is its start, and no other slot that counts has a special piece.
        batch = self.targets if decoder and self.targets is not None else self.batch
        return (batch.segments > 0) & (batch.positions > 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class TextRows:
    """A text, ready to be run."""

    batches: tuple[Rows, ...]
    words: Float[np.ndarray, " sentence"]
    """Number of words of each sentence that count."""
    left_out: int
    """Number of words that do not count: without a piece, longer than a row, or predicted by nothing."""


class WordPlaces(NamedTuple):
    """For every word that is read: its sentence, and the row, first and last slot of its pieces over all batches."""

    sentences: Int[np.ndarray, " word"]
    numbers: Int[np.ndarray, " word"]
    """Number of the word in the corpus."""
    rows: Int[np.ndarray, " word"]
    starts: Int[np.ndarray, " word"]
    ends: Int[np.ndarray, " word"]


def as_corpus(texts: Corpus | Sequence[str]) -> Corpus:
    """Returns a corpus; lines of text are split at white space, and lines without a word are left out."""
    if isinstance(texts, Corpus):
        return texts
    return Corpus.from_words([line.split() for line in texts if line.split()], name="texts")


def scored_rows(model: Model, texts: Corpus | Sequence[str], *, slots: int) -> TextRows:
    """Packs texts of which every word is predicted.

    Args:
        model: A causal or a masked model.
        texts: The texts.
        slots: Number of slots in a batch.

    Raises:
        ModelError: The model is an encoder-decoder.
        DataError: No word counts.
    """
    if model.config.decoder is not None:
        raise ModelError("An encoder-decoder predicts a target from a source: give pairs (source, target) of texts.")
    corpus = as_corpus(texts)
    packed, words, length = _packed(model, corpus)
    counted = np.ones(len(words.rows), bool)
    if model.config.attention.causal:
        counted = packed.positions[words.rows, words.starts] > 0
    if not counted.any():
        raise DataError(f"{corpus.name} has no word that {model.name} predicts. Give longer texts.")
    sentences = np.full(packed.segments.shape, -1, np.int32)
    predicted = WordPlaces(*(part[counted] for part in words))
    for number, row, start, end in zip(
        predicted.sentences, predicted.rows, predicted.starts, predicted.ends, strict=True
    ):
        sentences[row, start:end] = number
    sizes = np.bincount(predicted.sentences, minlength=corpus.sentence_count).astype(np.float64)
    is_word = slots_of_words(words, packed.segments.shape)
    batches = cut_batches(Rows(_batch(packed), sentences, is_word), rows=max(1, slots // length))
    return TextRows(batches=batches, words=sizes, left_out=corpus.word_count - int(sizes.sum()))


def read_rows(model: Model, corpus: Corpus, *, slots: int, pool: str) -> tuple[tuple[Rows, ...], WordPlaces]:
    """Packs texts of which every word is read at its last piece (or its first, by `pool`).

    Returns:
        The batches, whose `sentences` hold the number of the word at its slot (-1 elsewhere), and the words.

    Raises:
        SettingsError: `pool` is neither.
    """
    if pool not in ("last", "first"):
        raise SettingsError(f"Words can be read at their `last` or `first` piece here, got {pool!r}.")
    packed, words, length = _packed(model, corpus)
    numbers = np.full(packed.segments.shape, -1, np.int32)
    numbers[words.rows, words.ends - 1 if pool == "last" else words.starts] = words.numbers
    is_word = slots_of_words(words, packed.segments.shape)
    return cut_batches(Rows(_batch(packed), numbers, is_word), rows=max(1, slots // length)), words


def slots_of_words(words: WordPlaces, shape: tuple[int, ...]) -> Bool[np.ndarray, "row slot"]:
    """Returns which slots of rows of some shape hold a piece of the words."""
    mask = np.zeros(shape, bool)
    for row, start, end in zip(words.rows, words.starts, words.ends, strict=True):
        mask[row, start:end] = True
    return mask


def paired_rows(model: Model, pairs: Sequence[tuple[str, str]], *, slots: int) -> TextRows:
    """Puts pairs of source and target in rows, one pair a row; every target piece counts, the end piece too.

    Raises:
        ModelError: The model is not an encoder-decoder, or a text has more pieces than fit into its windows.
        DataError: There is no pair.
    """
    if model.config.decoder is None:
        raise ModelError(f"{model.name} is no encoder-decoder: it predicts texts, not targets of sources.")
    if not pairs:
        raise DataError("There must be at least one pair of source and target.")
    batch, is_word = source_rows(model, [source for source, _ in pairs])
    answers = model.tokenizer(text_target=[target for _, target in pairs], verbose=False)["input_ids"]
    targets = [[*model.rules.start, *ids] for ids in answers]
    written = in_rows(targets, limit=model.max_pieces)
    numbers = np.broadcast_to(np.arange(len(pairs), dtype=np.int32)[:, None], written.segments.shape)
    sentences = np.where((written.segments > 0) & (written.positions >= len(model.rules.start)), numbers, -1)
    rows = Rows(batch, sentences, is_word, written)
    length = max(batch.segments.shape[1], written.segments.shape[1])
    words = np.array([len(target.split()) for _, target in pairs], np.float64)
    return TextRows(batches=cut_batches(rows, rows=max(1, slots // length)), words=words, left_out=0)


def source_rows(model: Model, sources: Sequence[str]) -> tuple[Batch, Bool[np.ndarray, "row slot"]]:
    """Puts one source in each row; returns also which slots are of words, and not of special pieces.

    Raises:
        ModelError: A source has more pieces than fit into the model's windows.
    """
    batch = in_rows(model.tokenizer([*sources], verbose=False)["input_ids"], limit=model.max_pieces)
    special = np.isin(batch.piece_ids, model.tokenizer.all_special_ids)
    return batch, (np.asarray(batch.segments) > 0) & ~special


def in_rows(texts: Sequence[Sequence[int]], *, limit: int, multiple: int = 1) -> Batch:
    """Puts one text of pieces in each row.

    Args:
        texts: Pieces of each text.
        limit: Pieces of a text at most.
        multiple: Rows have a multiple of so many slots, if that is within the limit: texts that are about as long then
            share a program.

    Raises:
        ModelError: A text is empty or has more pieces than `limit`.
    """
    lengths = np.array([len(text) for text in texts])
    if wrong := [number for number, length in enumerate(lengths) if not 0 < length <= limit]:
        raise ModelError(f"A text must have 1 to {limit} pieces, text {wrong[0]} has {lengths[wrong[0]]}.")
    slots = max(int(lengths.max()), min(-(-int(lengths.max()) // multiple) * multiple, limit))
    places = np.broadcast_to(np.arange(slots, dtype=np.int32), (len(texts), slots))
    ids = np.stack([np.pad(np.asarray(text, np.int32), (0, slots - len(text))) for text in texts])
    inside = (places < lengths[:, None]).astype(np.int32)
    return Batch(ids, places * inside, inside)


def cut_batches(everything: Rows, *, rows: int) -> tuple[Rows, ...]:
    """Cuts rows into batches of one shape; the last one is filled up with padding."""
    count = len(everything.sentences)
    rows = min(rows, count)
    missing = -count % rows

    def cut(array: np.ndarray, first: int) -> np.ndarray:
        padded = np.pad(array, ((0, missing), (0, 0)), constant_values=-1 if array is everything.sentences else 0)
        return padded[first : first + rows]

    return tuple(
        jax.tree.map(lambda array, first=first: cut(array, first), everything)
        for first in range(0, count + missing, rows)
    )


def _packed(model: Model, corpus: Corpus) -> tuple[PackedRows, WordPlaces, int]:
    prefix, suffix = special_pieces(model.tokenizer)
    first = special_piece(model.tokenizer, "bos")
    if model.config.attention.causal and not prefix and first is not None:
        prefix = (first,)
    longest = min(model.max_pieces, LONGEST_ROW)
    windows = [
        window
        for number, aligned in enumerate(align_sentences(model.tokenizer, corpus.sentences))
        if len(aligned.starts)
        for window in cut_windows(aligned, sentence=number, max_pieces=longest, prefix=prefix, suffix=suffix)[0]
    ]
    if not windows:
        raise DataError(f"{corpus.name} has no word with a piece. Give another text, or the model's own tokenizer.")
    bounds = np.concatenate([[0], np.cumsum([len(sentence) for sentence in corpus.sentences])])
    length = longest if sum(len(window.piece_ids) for window in windows) > longest else 0
    length = length or max(len(window.piece_ids) for window in windows)
    packed = pack_windows(windows, row_length=length, word_offsets=bounds, pad_id=0)
    sentences = np.searchsorted(bounds, packed.words, side="right") - 1
    return packed, WordPlaces(sentences, packed.words, packed.rows, packed.starts, packed.ends), length


def _batch(packed: PackedRows) -> Batch:
    return Batch(packed.piece_ids, packed.positions, packed.segments)

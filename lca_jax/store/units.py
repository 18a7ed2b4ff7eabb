"""Describes the units of a store, before any model has run: which word, piece or sentence each one is.

The units of a sentence follow each other, and follow those of the sentences before it. Which units a corpus gives is
decided in `extraction.planning`; here they become the columns of the table of words and the names in messages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int32, Int64

from lca_jax.store.label_column import make_column
from lca_jax.store.recipe import Unit
from lca_jax.store.store import LABEL_PREFIX, SENTENCE_LABEL_PREFIX
from lca_jax.text.corpus import Corpus
from lca_jax.text.pairs import SpecialPieces

TEXT_SEPARATOR = "\t"
"""Stands between the two texts of a pair in the `form` of a sentence."""
SPECIAL_PIECE = -1
"""Stands for the word of a special piece in `Units.word_of_unit`."""


@dataclass(frozen=True, kw_only=True)
class Units:
    """The units of a store, as numbers."""

    unit: Unit
    """Kind of the units: words, pieces or sentences."""
    bounds: Int64[np.ndarray, "sentence_bound"]
    """Number of the first unit of each sentence, and at the end the number of all units."""
    word_bounds: Int64[np.ndarray, "sentence_bound"]
    """Number of the first word of each sentence in the corpus, and at the end the number of all words."""
    word_mask: Bool[np.ndarray, "word"]
    """Whether each word of the corpus is read; true for all words where units are sentences."""
    omissions: Mapping[str, int]
    """Number of words (or sentences) of the corpus that are not units, by reason."""
    word_of_unit: Int64[np.ndarray, "unit"] | None = None
    """Where units are pieces, the number of each one's word in the corpus; `SPECIAL_PIECE` for special pieces."""
    piece_forms: tuple[str, ...] | None = None
    """Where units are pieces, each one as the tokenizer writes it."""
    special_pieces: SpecialPieces | None = None
    """Where special pieces are units too, the pieces that stand around a sentence or a pair."""
    cls_place: int | None = None
    """Where sentences are read from a special piece, its place in the window; negative places count from the end."""

    @property
    def count(self) -> int:
        """Number of units."""
        return int(self.bounds[-1])

    @property
    def words_in_context(self) -> int:
        """Number of words of the sentences that have units, over which a model runs to make the vectors."""
        return int(np.diff(self.word_bounds)[np.diff(self.bounds) > 0].sum())

    def sentence_of_unit(self) -> Int32[np.ndarray, "unit"]:
        """Returns the number of every unit's sentence."""
        return np.repeat(np.arange(len(self.bounds) - 1, dtype=np.int32), np.diff(self.bounds))

    def describe(self, unit: int, corpus: Corpus) -> str:
        """Names a unit for a message: word and sentence, counted from 1."""
        sentence = int(np.searchsorted(self.bounds, unit, side="right")) - 1
        place = f"sentence {sentence + 1} of {corpus.name}"
        if self.unit == "sentence":
            return place
        word = int(np.flatnonzero(self.word_mask)[unit] if self.word_of_unit is None else self.word_of_unit[unit])
        if word == SPECIAL_PIECE:
            return f"a special piece of {place}"
        position = word - int(self.word_bounds[sentence])
        word_name = f"word {position + 1} ({corpus.sentences[sentence][position]!r}) of {place}"
        return word_name if self.piece_forms is None else f"piece {self.piece_forms[unit]!r} of {word_name}"

    def columns(self, corpus: Corpus) -> dict[str, pa.Array]:
        """Returns sentence, position, form and labels of every unit, as the table of words has them."""
        if self.unit == "sentence":
            return self._sentence_columns(corpus)
        sentences = self.sentence_of_unit()
        words = np.flatnonzero(self.word_mask) if self.word_of_unit is None else self.word_of_unit
        is_word = words != SPECIAL_PIECE
        word_places = pa.array(np.where(is_word, words, 0), mask=~is_word)
        in_sentence = words - self.word_bounds[sentences]
        columns = {"sentence": pa.array(sentences)}
        if self.piece_forms is None:
            columns["position"] = pa.array(in_sentence.astype(np.int32))
            columns["form"] = pa.array(corpus.words(), pa.string()).take(word_places)
        else:
            columns["position"] = pa.array((np.arange(self.count) - self.bounds[sentences]).astype(np.int32))
            columns["form"] = pa.array(self.piece_forms, pa.string())
            columns["word"] = pa.array(in_sentence.astype(np.int32), mask=~is_word)
        for task in corpus.tasks:
            columns[LABEL_PREFIX + task] = make_column(corpus.flat_labels(task), word_places)
        for task, labels in corpus.sentence_labels.items():
            columns[SENTENCE_LABEL_PREFIX + task] = make_column(labels, pa.array(sentences))
        return columns

    def _sentence_columns(self, corpus: Corpus) -> dict[str, pa.Array]:
        sentences = self.sentence_of_unit()
        starts = corpus.second_starts
        texts = [
            " ".join(words) if starts is None else f"{' '.join(words[:start])}{TEXT_SEPARATOR}{' '.join(words[start:])}"
            for words, start in zip(corpus.sentences, starts or [0] * corpus.sentence_count, strict=True)
        ]
        sentence_places = pa.array(sentences)
        columns = {
            "sentence": sentence_places,
            "position": pa.array(np.zeros(len(sentences), np.int32)),
            "form": pa.array(texts, pa.string()).take(sentence_places),
        }
        for task, labels in corpus.sentence_labels.items():
            columns[LABEL_PREFIX + task] = make_column(labels, sentence_places)
        return columns


def all_words(corpus: Corpus) -> Units:
    """Returns the units of a store that has every word of a corpus."""
    bounds = word_bounds_of(corpus)
    return Units(
        unit="word", bounds=bounds, word_bounds=bounds, word_mask=np.ones(corpus.word_count, bool), omissions={}
    )


def word_bounds_of(corpus: Corpus) -> Int64[np.ndarray, "sentence_bound"]:
    """Returns the number of the first word of each sentence, and at the end the number of all words."""
    return np.array([0, *accumulate(map(len, corpus.sentences))], np.int64)

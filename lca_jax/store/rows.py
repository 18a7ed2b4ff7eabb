"""What each row of a store is, before any model has run: a word, a piece of one, or a sentence.

Windows come with the words that are read from them; here they become windows with the rows that are read. The rows of a
sentence follow each other, and follow those of the sentences before. Rows of pieces need all words tokenized once
more than others do, about 2 microseconds a word. Which words there are to read is for `choice`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int32, Int64

from lca_jax.errors import ModelError, SettingsError
from lca_jax.extraction.choice import WordChoice, choose_sentences, choose_words
from lca_jax.hugging_face import PreTrainedTokenizerBase
from lca_jax.store.recipe import Pool, Unit, unit_of
from lca_jax.store.store import LABEL_PREFIX, SENTENCE_LABEL_PREFIX
from lca_jax.text.alignment import AlignedSentence
from lca_jax.text.corpus import Corpus
from lca_jax.text.pairs import SpecialPieces, align_texts
from lca_jax.text.windows import NO_PIECE, Window

TEXT_SEPARATOR = "\t"
"""Between the two texts of a pair in the `form` of a sentence's row."""
SENTENCE_LONGER_THAN_A_WINDOW = "sentence longer than a window"
_SENTENCES_AT_ONCE = 4096
_SPECIAL = -1


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of a store, as numbers."""

    unit: Unit
    """What a row is."""
    bounds: Int64[np.ndarray, "sentence_bound"]
    """Number of the first row of each sentence, and after them of all rows."""
    word_bounds: Int64[np.ndarray, "sentence_bound"]
    """Number of the first word of each sentence in the corpus, and after them of all words."""
    kept: Bool[np.ndarray, "word"]
    """The words of the corpus that are read; where rows are sentences, all words."""
    left_out: Mapping[str, int]
    """Words (or sentences) that have no row, by reason."""
    words: Int64[np.ndarray, "row"] | None = None
    """Where rows are pieces, the word in the corpus of each; -1 for special pieces."""
    forms: tuple[str, ...] | None = None
    """Where rows are pieces, as the tokenizer writes them."""
    special: SpecialPieces | None = None
    """Where special pieces are rows, which ones."""
    cls: int | None = None
    """Where the row of a sentence is read from a special piece: its place in the window, negative from the end."""

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self.bounds[-1])

    def sentences(self) -> Int32[np.ndarray, "row"]:
        """Number of every row's sentence."""
        return np.repeat(np.arange(len(self.bounds) - 1, dtype=np.int32), np.diff(self.bounds))

    def describe(self, row: int, corpus: Corpus) -> str:
        """A row in words, counted from 1."""
        sentence = int(np.searchsorted(self.bounds, row, side="right")) - 1
        place = f"sentence {sentence + 1} of {corpus.name}"
        if self.unit == "sentence":
            return place
        word = int(np.flatnonzero(self.kept)[row] if self.words is None else self.words[row])
        if word == _SPECIAL:
            return f"a special piece of {place}"
        position = word - int(self.word_bounds[sentence])
        found = f"word {position + 1} ({corpus.sentences[sentence][position]!r}) of {place}"
        return found if self.forms is None else f"piece {self.forms[row]!r} of {found}"

    def read_from(
        self, sentence: int, aligned: AlignedSentence, windows: Sequence[Window], excluded: Mapping[int, str]
    ) -> tuple[list[Window], Int32[np.ndarray, "row"], dict[int, str]]:
        """The rows of one sentence in place of its words.

        Args:
            sentence: Its number.
            aligned: Its pieces.
            windows: With the words that are read from them.
            excluded: Why words are read nowhere.

        Returns:
            Windows with the rows that are read from them, counted from the sentence's first row (windows without one
            are left out); the number of pieces of each row; and why rows are read nowhere.
        """
        sizes = (aligned.ends - aligned.starts).astype(np.int32)
        if self.unit == "sentence":
            return self._read_sentence(sizes, windows, excluded)
        kept = self.kept[self.word_bounds[sentence] : self.word_bounds[sentence + 1]]
        if self.unit == "piece":
            return self._read_pieces(sentence, sizes, kept, windows, excluded)
        if kept.all():
            return list(windows), sizes, dict(excluded)
        row_of_word = np.cumsum(kept, dtype=np.int32) - 1
        read = []
        for window in windows:
            mine = kept[window.words]
            read.append(
                window._replace(
                    words=row_of_word[window.words[mine]], starts=window.starts[mine], ends=window.ends[mine]
                )
            )
        without = {int(row_of_word[word]): reason for word, reason in excluded.items() if kept[word]}
        return [window for window in read if window.words.size], sizes[kept], without

    def columns(self, corpus: Corpus) -> dict[str, pa.Array]:
        """Sentence, position, form and labels of every row, in the order of the table of words."""
        if self.unit == "sentence":
            return self._sentence_columns(corpus)
        sentences = self.sentences()
        words = np.flatnonzero(self.kept) if self.words is None else self.words
        is_word = words != _SPECIAL
        taken = pa.array(np.where(is_word, words, 0), mask=~is_word)
        in_sentence = words - self.word_bounds[sentences]
        columns = {"sentence": pa.array(sentences)}
        if self.forms is None:
            columns["position"] = pa.array(in_sentence.astype(np.int32))
            columns["form"] = pa.array(corpus.words(), pa.string()).take(taken)
        else:
            columns["position"] = pa.array((np.arange(self.count) - self.bounds[sentences]).astype(np.int32))
            columns["form"] = pa.array(self.forms, pa.string())
            columns["word"] = pa.array(in_sentence.astype(np.int32), mask=~is_word)
        for task in corpus.tasks:
            columns[LABEL_PREFIX + task] = pa.array(corpus.flat_labels(task), pa.string()).take(taken)
        for task, labels in corpus.sentence_labels.items():
            columns[SENTENCE_LABEL_PREFIX + task] = pa.array(labels, pa.string()).take(pa.array(sentences))
        return columns

    def _sentence_columns(self, corpus: Corpus) -> dict[str, pa.Array]:
        sentences = self.sentences()
        starts = corpus.second_starts
        texts = [
            " ".join(words) if starts is None else f"{' '.join(words[:start])}{TEXT_SEPARATOR}{' '.join(words[start:])}"
            for words, start in zip(corpus.sentences, starts or [0] * corpus.sentence_count, strict=True)
        ]
        taken = pa.array(sentences)
        columns = {
            "sentence": taken,
            "position": pa.array(np.zeros(len(sentences), np.int32)),
            "form": pa.array(texts, pa.string()).take(taken),
        }
        for task, labels in corpus.sentence_labels.items():
            columns[LABEL_PREFIX + task] = pa.array(labels, pa.string()).take(taken)
        return columns

    def _read_sentence(
        self, sizes: Int32[np.ndarray, "word"], windows: Sequence[Window], excluded: Mapping[int, str]
    ) -> tuple[list[Window], Int32[np.ndarray, "row"], dict[int, str]]:
        pieces = sizes.sum(dtype=np.int32, keepdims=True) if sizes.size else np.zeros(1, np.int32)
        if len(windows) != 1 or set(excluded.values()) - {NO_PIECE}:
            return [], pieces, {0: SENTENCE_LONGER_THAN_A_WINDOW if pieces[0] else NO_PIECE}
        (window,) = windows
        row = np.zeros(1, np.int32)
        if self.cls is None:
            return [window._replace(words=row, starts=window.starts[:1], ends=window.ends[-1:])], pieces, {}
        slot = np.array([self.cls % len(window.piece_ids)], np.int32)
        return [window._replace(words=row, starts=slot, ends=slot + 1)], pieces, {}

    def _read_pieces(
        self,
        sentence: int,
        sizes: Int32[np.ndarray, "word"],
        kept: Bool[np.ndarray, "word"],
        windows: Sequence[Window],
        excluded: Mapping[int, str],
    ) -> tuple[list[Window], Int32[np.ndarray, "row"], dict[int, str]]:
        first, last = self.bounds[sentence : sentence + 2].tolist()
        assert self.words is not None
        words = self.words[first:last] - self.word_bounds[sentence]
        is_special = self.words[first:last] == _SPECIAL
        rows = np.arange(last - first, dtype=np.int32)
        first_row = np.full(len(sizes), 0, np.int64)
        first_row[words[~is_special][::-1]] = rows[~is_special][::-1]
        read = []
        for number, window in enumerate(windows):
            mine = np.flatnonzero(kept[window.words])
            lengths = sizes[window.words[mine]]
            inside = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            of_window = [np.repeat(first_row[window.words[mine]], lengths) + inside]
            slots = [np.repeat(window.starts[mine], lengths) + inside]
            if self.special is not None:
                before, after = len(self.special.before), len(self.special.after)
                if number == 0:
                    of_window.append(rows[:before])
                    slots.append(np.arange(before))
                if window.gap is not None:
                    of_window.append(rows[is_special][before : len(rows[is_special]) - after])
                    slots.append(np.arange(*window.gap))
                if number == len(windows) - 1:
                    of_window.append(rows[len(rows) - after :])
                    slots.append(np.arange(len(window.piece_ids) - after, len(window.piece_ids)))
            chosen, starts = np.concatenate(of_window).astype(np.int32), np.concatenate(slots).astype(np.int32)
            order = np.argsort(chosen, kind="stable")
            if chosen.size:
                read.append(window._replace(words=chosen[order], starts=starts[order], ends=starts[order] + 1))
        without = {int(row): excluded[int(words[row])] for row in rows[~is_special] if int(words[row]) in excluded}
        if not windows:
            reason = next(reason for reason in excluded.values() if reason != NO_PIECE)
            without |= dict.fromkeys(rows[is_special].tolist(), reason)
        return read, np.ones(len(rows), np.int32), without


def all_words(corpus: Corpus) -> Rows:
    """A row a word, none left out."""
    return plan_word_rows(corpus, WordChoice())


def plan_word_rows(corpus: Corpus, choice: WordChoice) -> Rows:
    """A row for every chosen word."""
    kept, left_out = choose_words(corpus, choice)
    word_bounds = _word_bounds(corpus)
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])[word_bounds]
    return Rows(unit="word", bounds=bounds, word_bounds=word_bounds, kept=kept, left_out=left_out)


def plan_rows(
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerBase,
    special: SpecialPieces,
    *,
    pool: Pool,
    choice: WordChoice,
) -> Rows:
    """The rows of a store.

    Args:
        corpus: Words and labels.
        tokenizer: The model's own.
        special: The special pieces around a sentence, or of a pair.
        pool: What a row is.
        choice: Which words or sentences are read.

    Raises:
        ModelError: A sentence is to be read from a special piece, and the tokenizer adds none.
        SettingsError: A task is unknown, special pieces are asked for where pieces are no rows, or nothing is chosen.
    """
    unit = unit_of(pool)
    if choice.special_pieces and unit != "piece":
        raise SettingsError(f'`special_pieces` are rows only where every piece is one: pool="none", got {pool!r}.')
    if unit == "sentence":
        rows = _plan_sentences(corpus, choice, cls=_cls_place(tokenizer, special) if pool == "cls" else None)
    elif unit == "piece":
        rows = _plan_pieces(corpus, tokenizer, special, choice)
    else:
        rows = plan_word_rows(corpus, choice)
    if rows.count == 0:
        reasons = ", ".join(f"{count} {reason}" for reason, count in rows.left_out.items())
        raise SettingsError(f"Nothing of {corpus.name} is chosen ({reasons}). Choose less strictly.")
    return rows


def _plan_sentences(corpus: Corpus, choice: WordChoice, *, cls: int | None) -> Rows:
    chosen, left_out = choose_sentences(corpus, choice)
    return Rows(
        unit="sentence",
        bounds=np.concatenate([np.zeros(1, np.int64), np.cumsum(chosen)]),
        word_bounds=_word_bounds(corpus),
        kept=np.ones(corpus.word_count, bool),
        left_out=left_out,
        cls=cls,
    )


def _plan_pieces(
    corpus: Corpus, tokenizer: PreTrainedTokenizerBase, special: SpecialPieces, choice: WordChoice
) -> Rows:
    kept, left_out = choose_words(corpus, choice)
    word_bounds = _word_bounds(corpus)
    words: list[np.ndarray] = []
    ids: list[np.ndarray] = []
    counts: list[int] = []
    without = 0
    for first in range(0, corpus.sentence_count, _SENTENCES_AT_ONCE):
        numbers = range(first, min(first + _SENTENCES_AT_ONCE, corpus.sentence_count))
        for number, aligned in zip(numbers, align_texts(tokenizer, corpus, numbers), strict=True):
            mine = kept[word_bounds[number] : word_bounds[number + 1]]
            sizes = aligned.ends - aligned.starts
            without += int((mine & (sizes == 0)).sum())
            word_of_piece = np.repeat(np.arange(len(sizes)), sizes)
            taken = mine[word_of_piece]
            of_words, of_ids = word_bounds[number] + word_of_piece[taken], aligned.piece_ids[taken]
            if choice.special_pieces and taken.any():
                cut = len(of_words)
                if corpus.second_starts is not None:
                    cut = int(np.searchsorted(word_of_piece[taken], corpus.second_starts[number]))
                parts = (special.before, of_ids[:cut], special.between, of_ids[cut:], special.after)
                owners = [of_words[:cut], of_words[cut:]]
                of_ids = np.concatenate([np.asarray(part, np.int32) for part in parts])
                edges = [np.full(len(part), _SPECIAL) for part in parts[::2]]
                of_words = np.concatenate([edges[0], owners[0], edges[1], owners[1], edges[2]])
            words.append(of_words)
            ids.append(of_ids)
            counts.append(len(of_words))
    row_ids = np.concatenate([np.zeros(0, np.int32), *ids])
    return Rows(
        unit="piece",
        bounds=np.array([0, *accumulate(counts)], np.int64),
        word_bounds=word_bounds,
        kept=kept,
        left_out=Counter(left_out) + Counter({NO_PIECE: without}),
        words=np.concatenate([np.zeros(0, np.int64), *words]),
        forms=tuple(_spell(tokenizer, row_ids)),
        special=special if choice.special_pieces else None,
    )


def _spell(tokenizer: PreTrainedTokenizerBase, ids: Int32[np.ndarray, "row"]) -> list[str]:
    distinct, places = np.unique(ids, return_inverse=True)
    spelled = tokenizer.convert_ids_to_tokens(distinct.tolist())
    return [spelled[place] for place in places.tolist()]


def _cls_place(tokenizer: PreTrainedTokenizerBase, special: SpecialPieces) -> int:
    """The tokenizer's classification piece, else the first special piece; XLNet's stands at the end."""
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


def _word_bounds(corpus: Corpus) -> Int64[np.ndarray, "sentence_bound"]:
    return np.array([0, *accumulate(map(len, corpus.sentences))], np.int64)

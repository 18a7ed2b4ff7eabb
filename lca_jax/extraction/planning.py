"""Plans the units of a store, and reads them from windows: words, pieces of words, or sentences.

`plan_units` says which units a corpus gives. Windows come with the words that are read from them; `read_units` gives
each window the units that are read from it instead. Units that are pieces need all words tokenized once more than
others do, about 2 microseconds a word. `choice` says which words of a corpus are read.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32

from lca_jax.errors import SettingsError
from lca_jax.extraction.choice import choose_sentences, choose_words
from lca_jax.hugging_face import PreTrainedTokenizerBase
from lca_jax.store.recipe import Pool, WordChoice, unit_of
from lca_jax.store.units import SPECIAL_PIECE, Units, word_bounds_of
from lca_jax.text.alignment import AlignedSentence
from lca_jax.text.corpus import Corpus
from lca_jax.text.pairs import SpecialPieces, align_texts
from lca_jax.text.whole_texts import cls_place_of, read_whole
from lca_jax.text.windows import NO_PIECE, Window

_SENTENCES_AT_ONCE = 4096


class UnitWindows(NamedTuple):
    """The units of one sentence, and the windows that they are read from."""

    windows: list[Window]
    """Windows with the units that are read from them, counted from the sentence's first unit."""
    pieces: Int32[np.ndarray, "unit"]
    """Number of pieces of each unit."""
    excluded: dict[int, str]
    """Why a unit is read from no window, by its number in the sentence."""


def plan_units(
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerBase,
    special: SpecialPieces,
    *,
    pool: Pool,
    choice: WordChoice,
) -> Units:
    """Returns the units that a store of a corpus has.

    Args:
        corpus: Words and labels.
        tokenizer: The model's tokenizer.
        special: The special pieces around a sentence or a pair.
        pool: How units are made of pieces, which also says what a unit is.
        choice: Which words or sentences are read.

    Raises:
        ModelError: Sentences are read from a special piece, and the tokenizer adds none.
        SettingsError: A task is unknown, special pieces are chosen where pieces are not units, or nothing is chosen.
    """
    unit = unit_of(pool)
    if choice.special_pieces and unit != "piece":
        raise SettingsError(f'`special_pieces` are units only where every piece is one: pool="none", got {pool!r}.')
    if unit == "sentence":
        units = _plan_sentences(corpus, choice, cls_place=cls_place_of(tokenizer, special) if pool == "cls" else None)
    elif unit == "piece":
        units = _plan_pieces(corpus, tokenizer, special, choice)
    else:
        units = _plan_words(corpus, choice)
    if units.count == 0:
        reasons = ", ".join(f"{count} {reason}" for reason, count in units.omissions.items())
        raise SettingsError(f"Nothing of {corpus.name} is chosen ({reasons}). Choose less strictly.")
    return units


def read_units(
    units: Units,
    sentence: int,
    aligned: AlignedSentence,
    windows: Sequence[Window],
    excluded: Mapping[int, str],
) -> UnitWindows:
    """Returns the units of one sentence in place of its words; windows without a unit are left out.

    Args:
        units: The units of the store.
        sentence: Number of the sentence.
        aligned: Its pieces.
        windows: Windows with the words that are read from them.
        excluded: Why a word is read from no window.
    """
    sizes = (aligned.ends - aligned.starts).astype(np.int32)
    if units.unit == "sentence":
        return _read_sentence(units, sizes, windows, excluded)
    word_mask = units.word_mask[units.word_bounds[sentence] : units.word_bounds[sentence + 1]]
    if units.unit == "piece":
        return _read_pieces(units, sentence, sizes, word_mask, windows, excluded)
    return _read_words(sizes, word_mask, windows, excluded)


def _read_words(
    sizes: Int32[np.ndarray, "word"],
    word_mask: Bool[np.ndarray, "word"],
    windows: Sequence[Window],
    excluded: Mapping[int, str],
) -> UnitWindows:
    if word_mask.all():
        return UnitWindows(list(windows), sizes, dict(excluded))
    unit_of_word = np.cumsum(word_mask, dtype=np.int32) - 1
    unit_windows = []
    for window in windows:
        chosen = word_mask[window.words]
        words = unit_of_word[window.words[chosen]]
        unit_windows.append(window._replace(words=words, starts=window.starts[chosen], ends=window.ends[chosen]))
    without = {int(unit_of_word[word]): reason for word, reason in excluded.items() if word_mask[word]}
    return UnitWindows([window for window in unit_windows if window.words.size], sizes[word_mask], without)


def _read_sentence(
    units: Units, sizes: Int32[np.ndarray, "word"], windows: Sequence[Window], excluded: Mapping[int, str]
) -> UnitWindows:
    pieces = sizes.sum(dtype=np.int32, keepdims=True) if sizes.size else np.zeros(1, np.int32)
    whole = read_whole(windows, excluded, units.cls_place)
    return UnitWindows([], pieces, {0: whole}) if isinstance(whole, str) else UnitWindows([whole], pieces, {})


def _read_pieces(
    units: Units,
    sentence: int,
    sizes: Int32[np.ndarray, "word"],
    word_mask: Bool[np.ndarray, "word"],
    windows: Sequence[Window],
    excluded: Mapping[int, str],
) -> UnitWindows:
    first, last = units.bounds[sentence : sentence + 2].tolist()
    assert units.word_of_unit is not None
    words = units.word_of_unit[first:last] - units.word_bounds[sentence]
    is_special = units.word_of_unit[first:last] == SPECIAL_PIECE
    numbers = np.arange(last - first, dtype=np.int32)
    first_unit = np.full(len(sizes), 0, np.int64)
    first_unit[words[~is_special][::-1]] = numbers[~is_special][::-1]
    unit_windows = []
    for place, window in enumerate(windows):
        chosen = np.flatnonzero(word_mask[window.words])
        lengths = sizes[window.words[chosen]]
        inside = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        of_window = [np.repeat(first_unit[window.words[chosen]], lengths) + inside]
        slots = [np.repeat(window.starts[chosen], lengths) + inside]
        if units.special_pieces is not None:
            ends = (place == 0, place == len(windows) - 1)
            special = _special_slots(units.special_pieces, window, numbers, is_special, ends=ends)
            of_window += [some for some, _ in special]
            slots += [some for _, some in special]
        read, starts = np.concatenate(of_window).astype(np.int32), np.concatenate(slots).astype(np.int32)
        order = np.argsort(read, kind="stable")
        if read.size:
            unit_windows.append(window._replace(words=read[order], starts=starts[order], ends=starts[order] + 1))
    without = {int(unit): excluded[int(words[unit])] for unit in numbers[~is_special] if int(words[unit]) in excluded}
    if not windows:
        reason = next(reason for reason in excluded.values() if reason != NO_PIECE)
        without |= dict.fromkeys(numbers[is_special].tolist(), reason)
    return UnitWindows(unit_windows, np.ones(len(numbers), np.int32), without)


def _special_slots(
    special: SpecialPieces,
    window: Window,
    numbers: Int32[np.ndarray, "unit"],
    is_special: Bool[np.ndarray, "unit"],
    *,
    ends: tuple[bool, bool],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns units that are special pieces, and their slots in a window.

    Args:
        special: The special pieces of the tokenizer.
        window: The window.
        numbers: All units of the sentence.
        is_special: Whether each unit is a special piece.
        ends: Whether the window is the first one of its sentence, and whether it is the last one.
    """
    before, after = len(special.before), len(special.after)
    found = []
    if ends[0]:
        found.append((numbers[:before], np.arange(before)))
    if window.gap is not None:
        between = numbers[is_special]
        found.append((between[before : len(between) - after], np.arange(*window.gap)))
    if ends[1]:
        size = len(window.piece_ids)
        found.append((numbers[len(numbers) - after :], np.arange(size - after, size)))
    return found


def _plan_words(corpus: Corpus, choice: WordChoice) -> Units:
    word_mask, omissions = choose_words(corpus, choice)
    word_bounds = word_bounds_of(corpus)
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(word_mask)])[word_bounds]
    return Units(unit="word", bounds=bounds, word_bounds=word_bounds, word_mask=word_mask, omissions=omissions)


def _plan_sentences(corpus: Corpus, choice: WordChoice, *, cls_place: int | None) -> Units:
    chosen, omissions = choose_sentences(corpus, choice)
    return Units(
        unit="sentence",
        bounds=np.concatenate([np.zeros(1, np.int64), np.cumsum(chosen)]),
        word_bounds=word_bounds_of(corpus),
        word_mask=np.ones(corpus.word_count, bool),
        omissions=omissions,
        cls_place=cls_place,
    )


def _plan_pieces(
    corpus: Corpus, tokenizer: PreTrainedTokenizerBase, special: SpecialPieces, choice: WordChoice
) -> Units:
    word_mask, omissions = choose_words(corpus, choice)
    word_bounds = word_bounds_of(corpus)
    words: list[np.ndarray] = []
    ids: list[np.ndarray] = []
    without = 0
    for first in range(0, corpus.sentence_count, _SENTENCES_AT_ONCE):
        numbers = range(first, min(first + _SENTENCES_AT_ONCE, corpus.sentence_count))
        for number, aligned in zip(numbers, align_texts(tokenizer, corpus, numbers), strict=True):
            of_sentence = word_mask[word_bounds[number] : word_bounds[number + 1]]
            sizes = aligned.ends - aligned.starts
            without += int((of_sentence & (sizes == 0)).sum())
            word_of_piece = np.repeat(np.arange(len(sizes)), sizes)
            chosen = of_sentence[word_of_piece]
            of_words, of_ids = word_bounds[number] + word_of_piece[chosen], aligned.piece_ids[chosen]
            if choice.special_pieces and chosen.any():
                cut = len(of_words)
                if corpus.second_starts is not None:
                    cut = int(np.searchsorted(word_of_piece[chosen], corpus.second_starts[number]))
                of_words, of_ids = _with_special_pieces(of_words, of_ids, special, cut=cut)
            words.append(of_words)
            ids.append(of_ids)
    unit_ids = np.concatenate([np.zeros(0, np.int32), *ids])
    return Units(
        unit="piece",
        bounds=np.array([0, *accumulate(map(len, words))], np.int64),
        word_bounds=word_bounds,
        word_mask=word_mask,
        omissions=Counter(omissions) + Counter({NO_PIECE: without}),
        word_of_unit=np.concatenate([np.zeros(0, np.int64), *words]),
        piece_forms=tuple(_spell(tokenizer, unit_ids)),
        special_pieces=special if choice.special_pieces else None,
    )


def _with_special_pieces(
    words: np.ndarray, ids: np.ndarray, special: SpecialPieces, *, cut: int
) -> tuple[np.ndarray, np.ndarray]:
    """Puts special pieces before, between and after the pieces of a text; `cut` is where its second text begins."""
    parts = (special.before, ids[:cut], special.between, ids[cut:], special.after)
    edges = [np.full(len(part), SPECIAL_PIECE) for part in parts[::2]]
    all_words = np.concatenate([edges[0], words[:cut], edges[1], words[cut:], edges[2]])
    return all_words, np.concatenate([np.asarray(part, np.int32) for part in parts])


def _spell(tokenizer: PreTrainedTokenizerBase, ids: Int32[np.ndarray, "unit"]) -> list[str]:
    distinct, places = np.unique(ids, return_inverse=True)
    spelled = tokenizer.convert_ids_to_tokens(distinct.tolist())
    return [spelled[place] for place in places.tolist()]

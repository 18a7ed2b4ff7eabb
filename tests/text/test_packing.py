import time
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from lca_jax.errors import SettingsError
from lca_jax.text.alignment import AlignedSentence, align_sentences, special_pieces
from lca_jax.text.conllu import read_conllu
from lca_jax.text.packing import PackedRows, pack_windows
from lca_jax.text.windows import Window, cut_windows

PREFIX, SUFFIX, PAD = (-1, -2), (-3,), -9


def sentence_of(sizes: list[int], *, first_piece: int = 0) -> AlignedSentence:
    """A sentence whose words have the given numbers of pieces, every piece with a number of its own."""
    ends = np.cumsum(sizes, dtype=np.int32)
    return AlignedSentence(
        np.arange(first_piece, first_piece + sum(sizes), dtype=np.int32), ends - np.array(sizes, dtype=np.int32), ends
    )


def cut(sizes: list[int], max_pieces: int) -> tuple[list[Window], dict[int, str]]:
    return cut_windows(sentence_of(sizes), sentence=7, max_pieces=max_pieces, prefix=PREFIX, suffix=SUFFIX)


def text_of(window: Window) -> list[int]:
    return window.piece_ids[len(PREFIX) : -len(SUFFIX)].tolist()


sizes_of_words = st.lists(st.integers(0, 6), max_size=40)


@given(sizes_of_words, st.integers(4, 16))
def test_every_word_is_read_once_where_its_context_is_greatest(sizes: list[int], max_pieces: int) -> None:
    aligned = sentence_of(sizes)
    windows, excluded = cut(sizes, max_pieces)
    room = max_pieces - 3
    reason = {0: "no piece"} | dict.fromkeys(range(room + 1, 7), "longer than a window")
    assert excluded == {word: reason[size] for word, size in enumerate(sizes) if size in reason}

    read_in: dict[int, int] = {}
    for number, window in enumerate(windows):
        assert window.sentence == 7
        assert len(window.piece_ids) <= max_pieces
        assert window.piece_ids[:2].tolist() == list(PREFIX)
        assert window.piece_ids[-1:].tolist() == list(SUFFIX)
        text = text_of(window)
        assert text == list(range(text[0], text[0] + len(text)))
        for word, start, end in zip(window.words.tolist(), window.starts, window.ends, strict=True):
            assert word not in read_in
            read_in[word] = number
            assert window.piece_ids[start:end].tolist() == list(range(aligned.starts[word], aligned.ends[word]))
    assert sorted([*read_in, *excluded]) == list(range(len(sizes)))

    # Brute force: of all windows that hold the whole word, the first of those with the greatest smaller context.
    for word, chosen in read_in.items():
        start, end = int(aligned.starts[word]), int(aligned.ends[word])
        contexts = [
            min(start - text[0], text[-1] + 1 - end) if text[0] <= start and end <= text[-1] + 1 else -1
            for text in map(text_of, windows)
        ]
        assert contexts.index(max(contexts)) == chosen


@given(st.integers(1, 200), st.integers(4, 40))
def test_words_of_one_piece_keep_about_a_quarter_of_the_room_on_each_side(words: int, max_pieces: int) -> None:
    windows, excluded = cut([1] * words, max_pieces)
    assert not excluded
    room = max_pieces - 3
    for window in windows:
        for word, start, end in zip(window.words, window.starts, window.ends, strict=True):
            left, right = start - len(PREFIX), len(window.piece_ids) - len(SUFFIX) - end
            assert left >= min(word, room // 4 - 1)
            assert right >= min(words - 1 - word, room // 4 - 1)
    assert len(windows) <= max(1, -(-words // max(room // 2, 1)))


def test_a_sentence_that_just_fits_is_one_window() -> None:
    windows, excluded = cut([1, 0, 2, 1], 7)
    assert len(windows) == 1
    assert windows[0].piece_ids.tolist() == [-1, -2, 0, 1, 2, 3, -3]
    assert windows[0].words.tolist() == [0, 2, 3]
    assert (windows[0].starts.tolist(), windows[0].ends.tolist()) == ([2, 3, 5], [3, 5, 6])
    assert excluded == {1: "no piece"}
    assert len(cut([1, 0, 2, 1], 6)[0]) > 1


def test_a_word_too_long_ends_the_text_on_both_sides() -> None:
    windows, excluded = cut([1, 1, 9, 1, 1], 8)
    assert [text_of(window) for window in windows] == [[0, 1], [11, 12]]
    assert excluded == {2: "longer than a window"}


def test_sentences_without_a_word_to_read_give_no_window() -> None:
    assert cut([], 8) == ([], {})
    assert cut([0, 0], 8) == ([], {0: "no piece", 1: "no piece"})
    assert cut([6], 8) == ([], {0: "longer than a window"})


def test_special_pieces_must_leave_room() -> None:
    with pytest.raises(
        SettingsError, match=r"`max_pieces` is 3, and the tokenizer adds 3 special ones\. Give 4 or more"
    ):
        cut([1], 3)


def unpacked(packed: PackedRows) -> list[list[int]]:
    """The texts in the rows, read back by their segments, each checked for its positions."""
    texts = []
    for pieces, positions, segments in zip(packed.piece_ids, packed.positions, packed.segments, strict=True):
        count = segments.max(initial=0)
        assert sorted(set(segments[segments > 0].tolist())) == list(range(1, count + 1))
        for segment in range(1, count + 1):
            slots = np.flatnonzero(segments == segment)
            assert (np.diff(slots) == 1).all()
            assert positions[slots].tolist() == list(range(len(slots)))
            texts.append(pieces[slots].tolist())
        assert (pieces[segments == 0] == PAD).all()
        assert (positions[segments == 0] == 0).all()
    return texts


@given(st.lists(sizes_of_words, max_size=12), st.integers(0, 10))
def test_rows_hold_every_window_once_and_say_where_words_are(corpus: list[list[int]], spare: int) -> None:
    max_pieces, windows = 9, []
    word_offsets = np.cumsum([0, *map(len, corpus)])[:-1]
    words_read = []
    for number, sizes in enumerate(corpus):
        aligned = sentence_of(sizes, first_piece=1000 * number)
        cut_here, excluded = cut_windows(aligned, sentence=number, max_pieces=max_pieces, prefix=PREFIX, suffix=SUFFIX)
        windows += cut_here
        words_read += [word_offsets[number] + word for word in range(len(sizes)) if word not in excluded]
    packed = pack_windows(windows, row_length=max_pieces + spare, word_offsets=word_offsets, pad_id=PAD)

    assert sorted(unpacked(packed)) == sorted(window.piece_ids.tolist() for window in windows)
    assert packed.words.tolist() == words_read
    for word, row, start, end in zip(packed.words, packed.rows, packed.starts, packed.ends, strict=True):
        sentence = int(np.searchsorted(word_offsets, word, side="right")) - 1
        while not corpus[sentence]:  # an empty sentence has the offset of the next one
            sentence -= 1
        place = int(word - word_offsets[sentence])
        first = 1000 * sentence + sum(corpus[sentence][:place])
        assert packed.piece_ids[row, start:end].tolist() == list(range(first, first + corpus[sentence][place]))
        assert len(set(packed.segments[row, start:end].tolist())) == 1
    again = pack_windows(windows, row_length=max_pieces + spare, word_offsets=word_offsets, pad_id=PAD)
    jax.tree.map(np.testing.assert_array_equal, packed, again)


def window_of(length: int) -> Window:
    nothing = np.zeros(0, np.int32)
    return Window(0, np.arange(length, dtype=np.int32), nothing, nothing, nothing)


def best_fit_by_search(lengths: list[int], row_length: int) -> list[int]:
    """The oracle: what is left in every row, found by looking at all rows for every window."""
    left: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [row for row, slots in enumerate(left) if slots >= length]
        if fitting:
            left[min(fitting, key=lambda row: left[row])] -= length
        else:
            left.append(row_length - length)
    return sorted(left)


@given(st.lists(st.integers(1, 30), max_size=60))
def test_placing_is_best_fit_longest_first(lengths: list[int]) -> None:
    packed = pack_windows([window_of(length) for length in lengths], row_length=30, word_offsets=[0], pad_id=PAD)
    assert sorted((packed.segments == 0).sum(axis=1).tolist()) == best_fit_by_search(lengths, 30)


def test_a_row_must_hold_the_longest_window() -> None:
    with pytest.raises(SettingsError, match=r"at least the longest window, 12 pieces \(sentence 0\), got 10"):
        pack_windows([window_of(3), window_of(12)], row_length=10, word_offsets=[0], pad_id=PAD)


def test_no_window_is_no_row() -> None:
    packed = pack_windows([], row_length=8, word_offsets=[], pad_id=PAD)
    assert packed.piece_ids.shape == packed.positions.shape == packed.segments.shape == (0, 8)
    assert packed.words.shape == (0,)


def test_twenty_thousand_windows_pack_quickly() -> None:
    lengths = np.random.default_rng(0).integers(3, 120, 20_000).tolist()
    windows = [window_of(length) for length in lengths]
    start = time.perf_counter()
    packed = pack_windows(windows, row_length=512, word_offsets=[0], pad_id=PAD)
    # A tenth of this on an idle core; a search that looks at every row takes minutes.
    assert time.perf_counter() - start < 5
    assert (packed.segments > 0).mean() > 0.99


def test_real_text_reads_back_word_for_word(shared_data: Path, minilm_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(minilm_folder)
    corpus = read_conllu(shared_data / "ud" / "pud" / "ru_pud-ud-test.conllu.gz").take_words(2000)
    prefix, suffix = special_pieces(tokenizer)
    aligned = align_sentences(tokenizer, corpus.sentences)
    windows, excluded = [], 0
    for number, sentence in enumerate(aligned):
        cut_here, left_out = cut_windows(sentence, sentence=number, max_pieces=32, prefix=prefix, suffix=suffix)
        windows += cut_here
        excluded += len(left_out)
    word_offsets = np.cumsum([0, *map(len, corpus.sentences)])
    packed = pack_windows(windows, row_length=96, word_offsets=word_offsets, pad_id=0)
    assert len(windows) > corpus.sentence_count
    assert len(packed.words) == corpus.word_count - excluded == corpus.word_count
    pieces_of_word = [
        sentence.piece_ids[start:end].tolist()
        for sentence in aligned
        for start, end in zip(sentence.starts, sentence.ends, strict=True)
    ]
    for word, row, start, end in zip(packed.words, packed.rows, packed.starts, packed.ends, strict=True):
        assert packed.piece_ids[row, start:end].tolist() == pieces_of_word[word]

"""Whatever the corpus and however it is packed: each word is in the store once, in order, with the vector it has alone.

The reference knows nothing of alignment, packing and shards: it asks the tokenizer for the pieces of one word at a time
and the model for one sentence at a time. Only where a sentence is longer than the model takes does it ask `cut_windows`
for the windows, which has tests of its own (`test_packing`).
"""

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Batch, Params
from lca_jax.text.alignment import AlignedSentence
from lca_jax.text.corpus import Corpus
from lca_jax.text.windows import cut_windows
from tests.tiny_bert import CONFIG, write_bert

SLOTS = CONFIG["max_position_embeddings"]
ROOM = SLOTS - 2
"""Pieces of text beside [CLS] and [SEP]."""

PLAIN = st.sampled_from(["the", "cat", "cats", "satly", "a", "z", "catss", "thesly"])
NO_PIECES = st.sampled_from(["", " ", "\u200b", "\ufeff", "\t", "\xa0", "\u00ad", "\x00"])
ODD = st.sampled_from(
    ["[MASK]", "[CLS]", "##s", "e\u0301", "é", "👩‍👩‍👧", "日本語", "مرحبا", "a\u200bb", "😀" * 40, "İ", "ﬁ", "\ud7ff"]
)
LONG = st.integers(ROOM - 3, ROOM + 8).map(lambda length: "cat" + "s" * length)
"""About as many pieces as a window holds, some of them one too many."""
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
WORD = st.one_of(PLAIN, PLAIN, PLAIN, ODD, NO_PIECES, LONG, ANY)
SENTENCE = st.one_of(
    st.lists(PLAIN, max_size=12), st.lists(WORD, max_size=8), st.lists(PLAIN, min_size=20, max_size=60)
)
SENTENCES = st.lists(SENTENCE, min_size=1, max_size=12).filter(any)
PACKINGS = st.tuples(st.sampled_from([(24, 8), (64, 8)]), st.sampled_from([1, 3, 16, 64, 256]))
"""Row length and rows of a batch, which are compiled, and words of a shard, which are not."""


Forward = Callable[[Params, Batch], dict]


@cache
def load_tiny() -> tuple[Model, Forward]:
    """A model and its compiled forward pass; no fixture, which hypothesis would print whole with a failing example."""
    with TemporaryDirectory() as folder:
        model = load_model(write_bert(Path(folder)))
    return model, jax.jit(model.forward)


def read_alone(
    model: Model, forward: Forward, sentence: list[str]
) -> tuple[list[np.ndarray | None], list[str | None], list[int]]:
    """The vectors (layer, neuron) of a sentence's words, why those without have none, and everyone's pieces."""
    pieces = [model.tokenizer(word, add_special_tokens=False)["input_ids"] for word in sentence]
    reasons = ["no piece" if not own else "longer than a window" if len(own) > ROOM else None for own in pieces]
    vectors: list[np.ndarray | None] = [None] * len(sentence)
    run: list[int] = []
    for word in range(len(sentence) + 1):
        if word < len(sentence) and reasons[word] != "longer than a window":
            run += [word] if pieces[word] else []
            continue
        for window in cut_run([pieces[word] for word in run]):
            for place, vector in read_window(model, forward, *window).items():
                assert vectors[run[place]] is None
                vectors[run[place]] = vector
        run = []
    return vectors, reasons, [len(own) for own in pieces]


def cut_run(pieces: list[list[int]]) -> list[tuple[list[list[int]], list[int]]]:
    """Windows as pieces of words in them and places in the run of those; of each, only the words to be read."""
    total = sum(map(len, pieces))
    if total <= ROOM:
        return [(pieces, list(range(len(pieces))))] if pieces else []
    ends = np.cumsum([len(own) for own in pieces]).astype(np.int32)
    starts = (ends - [len(own) for own in pieces]).astype(np.int32)
    flat = np.array([piece for own in pieces for piece in own], np.int32)
    cut, _ = cut_windows(AlignedSentence(flat, starts, ends), sentence=0, max_pieces=ROOM, prefix=(), suffix=())
    windows = []
    for window in cut:
        shift = int(starts[window.words[0]] - window.starts[0])
        inside = [
            word for word in range(len(pieces)) if shift <= starts[word] and ends[word] <= shift + len(window.piece_ids)
        ]
        read = set(window.words.tolist())
        windows.append(([pieces[word] for word in inside], [word if word in read else -1 for word in inside]))
    return windows


def read_window(model: Model, forward: Forward, pieces: list[list[int]], places: list[int]) -> dict[int, np.ndarray]:
    tokenizer = model.tokenizer
    flat = [tokenizer.cls_token_id, *(piece for own in pieces for piece in own), tokenizer.sep_token_id]
    piece_ids, positions, segments = (np.zeros((1, SLOTS), np.int32) for _ in range(3))
    piece_ids[0, : len(flat)], positions[0, : len(flat)], segments[0, : len(flat)] = flat, np.arange(len(flat)), 1
    hidden = np.asarray(forward(model.params, Batch(piece_ids, positions, segments))["residual"])[:, 0]
    last = np.cumsum([len(own) for own in pieces])
    return {place: hidden[:, end] for place, end in zip(places, last.tolist(), strict=True) if place >= 0}


@pytest.mark.slow
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
@given(sentences=SENTENCES, packing=PACKINGS, on_disk=st.booleans())
def test_nothing_is_lost(sentences: list[list[str]], packing: tuple, on_disk: bool) -> None:
    model, forward = load_tiny()
    (row_length, rows_per_batch), shard_words = packing
    corpus = Corpus.from_words(sentences, {"place": [[str(place) for place in range(len(one))] for one in sentences]})
    with TemporaryDirectory() as folder:
        store = extract(
            model,
            corpus,
            Path(folder) / "store" if on_disk else None,
            row_length=row_length,
            rows_per_batch=rows_per_batch,
            shard_words=shard_words,
        )
        held = store.read("residual")[:]
    alone = [read_alone(model, forward, sentence) for sentence in sentences]
    vectors, reasons, counts = ([entry for one in alone for entry in one[part]] for part in range(3))
    assert store.forms() == [word for sentence in sentences for word in sentence]
    where = [(number, place) for number, sentence in enumerate(sentences) for place in range(len(sentence))]
    columns = ("sentence", "position")
    assert list(zip(*(store.words[name].to_pylist() for name in columns), strict=True)) == where
    assert store.labels("place") == [str(place) for _, place in where]
    assert store.words["pieces"].to_pylist() == counts
    assert store.words["excluded"].to_pylist() == reasons
    assert store.excluded == Counter(reason for reason in reasons if reason)
    expected = np.stack([np.zeros_like(held[0]) if vector is None else vector for vector in vectors])
    np.testing.assert_allclose(held, expected, rtol=0, atol=1e-5)
    assert [vector is not None for vector in vectors] == store.usable.tolist()

"""Sizes of shards and batches: all processes of a job have work, none has more than another, and shards fit a host."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lca_jax.extraction import running, shapes
from lca_jax.extraction.extract import extract
from lca_jax.extraction.reading import plan_reading
from lca_jax.extraction.shapes import ACCELERATOR_BATCH_SLOTS, SHARD_WORDS, choose_shard_words, usual_slots
from lca_jax.models.load import load_model
from lca_jax.store.recipe import SiteShape, WordChoice
from lca_jax.text.corpus import Corpus
from tests.compilations import count_programs
from tests.extraction.corpora import draw_corpus
from tests.store.writing import hash_files
from tests.tiny_bert import write_bert

MINILM = {"residual": SiteShape(layers=tuple(range(7)), width=384)}
LLAMA_7B = {"residual": SiteShape(layers=tuple(range(33)), width=4096)}
EWT = 204_607


@pytest.mark.parametrize("words", [EWT, 1_000_000, 3_000])
@pytest.mark.parametrize("processes", [2, 7, 64])
def test_processes_of_a_job_have_alike_much_to_do(words: int, processes: int) -> None:
    size = choose_shard_words(words, MINILM, word_bytes=4, processes=processes)
    shards = -(-words // size)
    assert size % 256 == 0
    assert size <= SHARD_WORDS
    most = -(-shards // processes) * size
    assert most <= words / processes + 256 * -(-shards // processes)  # no more than a chunk a shard beyond its share
    if words >= 2560 * processes:
        assert shards > 0.9 * processes, "at 64 processes 13 had work"


def test_shards_of_large_models_stay_under_a_gigabyte() -> None:
    assert choose_shard_words(EWT, MINILM, word_bytes=4, processes=1) == SHARD_WORDS
    for processes in (1, 8):
        size = choose_shard_words(1_000_000, LLAMA_7B, word_bytes=4, processes=processes)
        assert 0.8e9 < size * 33 * 4096 * 4 <= 1e9
    assert (
        choose_shard_words(10, {"mlp": SiteShape(layers=(0,) * 1000, width=100_000)}, word_bytes=4, processes=1) == 256
    )


def test_every_device_has_the_rows_of_the_usual_batch() -> None:
    assert usual_slots(EWT, devices=8, processes=1) == 8 * ACCELERATOR_BATCH_SLOTS
    assert usual_slots(10**7, devices=4, processes=64) == 4 * ACCELERATOR_BATCH_SLOTS
    # A share of some thousand words is not computed in a batch for ten times as many.
    assert usual_slots(EWT, devices=4, processes=64) == ACCELERATOR_BATCH_SLOTS


@pytest.mark.parametrize("pool", ["none", "cls", "sentence-mean"])
def test_batches_of_a_job_suit_the_words_whatever_the_units_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: str
) -> None:
    """Twenty words of a sentence are as many slots where the sentence is one unit, and its pieces no more."""
    model, corpus = load_model(write_bert(tmp_path / "bert")), draw_corpus(400)
    monkeypatch.setattr(shapes, "platform_of", lambda _: "tpu")
    monkeypatch.setattr(shapes, "ACCELERATOR_BATCH_SLOTS", 256)
    monkeypatch.setattr("jax.process_count", lambda: 2)

    def shapes_of(pool: str, choice: WordChoice | None = None) -> dict[int, int]:
        usual: dict[str, Any] = {"neurons": None, "dtype": "float32", "edits": None, "rows_per_batch": None}
        asked: dict[str, Any] = {"sites": ("residual",), "layers": None, "row_length": 24, "shard_words": 64}
        return dict(plan_reading(model, corpus, pool=pool, choice=choice, **asked, **usual).shapes)  # pyright: ignore[reportArgumentType] - a name of a pool

    assert 8 * 256 > 1.5 * corpus.word_count / 2 > 2 * 256
    assert shapes_of(pool) == shapes_of("last")
    # What is not run takes no room: that is a sentence without a word that is read, and no other.
    few = WordChoice(max_sentences=100)
    assert shapes_of(pool, few) == shapes_of("last", few) != shapes_of("last")


def test_a_store_goes_on_with_the_shards_that_it_has(tmp_path: Path) -> None:
    """As one that was begun by a job of another size."""
    model, corpus = load_model(write_bert(tmp_path / "bert")), draw_corpus(300)
    extract(model, corpus, tmp_path / "store", shard_words=64)
    before = hash_files(tmp_path / "store")
    assert extract(model, corpus, tmp_path / "store").manifest.recipe.shard_words == 64
    assert hash_files(tmp_path / "store") == before


def test_each_row_length_is_compiled_once_for_full_padded_and_long_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program takes seconds to compile, and a corpus has thousands of batches."""
    program, batches, padded = running.read_vectors, Counter[tuple[int, ...]](), Counter[tuple[int, ...]]()

    def spy(params: Any, edits: Any, batch: Any, *arrays: Any, **records: Any) -> Any:
        shape = batch.piece_ids.shape
        batches[shape] += 1
        padded[shape] += not (batch.segments > 0).any(axis=1).all()
        return program(params, edits, batch, *arrays, **records)

    monkeypatch.setattr(running, "read_vectors", spy)
    model, long = load_model(write_bert(tmp_path / "bert")), [["a", "cat"] * size for size in (9, 10)]
    with count_programs(afresh=True) as compiled:
        extract(model, Corpus.from_words([*draw_corpus(90).sentences, *long * 8]), row_length=18, rows_per_batch=8)
        assert batches.keys() == {(8, 18), (8, 24)}
        assert all(count > padded[shape] > 0 for shape, count in batches.items()), "some are full, some are padded"
        assert compiled.count("jit(read_vectors)") == len(batches)
    with count_programs() as compiled:
        extract(model, Corpus.from_words([*long, *draw_corpus(70, seed=1).sentences]), row_length=18, rows_per_batch=8)
    assert len(batches) == 2
    assert compiled == []

"""Extraction: every word once, with the vector it has when its sentence is alone, however packed, split or interrupted.

The reference takes another way: sentences through the tokenizer's own `word_ids`, one sentence a row, pooled word by
word in NumPy.
"""

import logging
from dataclasses import replace
from functools import partial, partialmethod
from pathlib import Path
from typing import Literal, get_args

import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from transformers import AutoTokenizer

from lca_jax.errors import CorpusError, DataError, SettingsError, StoreError
from lca_jax.extraction import running
from lca_jax.extraction.batches import ReadBatch, plan_batches
from lca_jax.extraction.extract import extract
from lca_jax.extraction.reading import Reading
from lca_jax.extraction.running import WordVectors
from lca_jax.extraction.shapes import choose_row_length, plan_shapes
from lca_jax.machine.devices import data_mesh
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Batch
from lca_jax.models.stack.taps import Edit
from lca_jax.store.folder_writer import FolderWriter
from lca_jax.store.recipe import Recipe, SiteShape, StoreDtype
from lca_jax.store.store import open_store
from lca_jax.store.units import all_words
from lca_jax.text.alignment import align_sentences, special_pieces
from lca_jax.text.conllu import read_conllu
from lca_jax.text.corpus import Corpus
from lca_jax.text.windows import Window, cut_windows
from tests.extraction.corpora import ODD, draw_corpus
from tests.extraction.jobs import Killed
from tests.store.writing import hash_files
from tests.tiny_bert import write_bert

WordPool = Literal["last", "first", "mean", "max"]
ROOM = 22
"""Pieces of a sentence that the tiny model's windows of 24 hold."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_bert(tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return draw_corpus(200)


def read_alone(model: Model, corpus: Corpus, pool: str = "last") -> np.ndarray:
    """The vectors of a corpus whose sentences fit the model, (word, layer, neuron)."""
    sentences = [list(sentence) for sentence in corpus.sentences if sentence]
    encodings = [model.tokenizer(sentence, is_split_into_words=True) for sentence in sentences]
    piece_ids, positions, segments = (np.zeros((len(sentences), ROOM + 2), np.int32) for _ in range(3))
    for row, encoding in enumerate(encodings):
        size = len(encoding["input_ids"])
        piece_ids[row, :size], positions[row, :size], segments[row, :size] = encoding["input_ids"], np.arange(size), 1
    hidden = np.asarray(jax.jit(model.forward)(model.params, Batch(piece_ids, positions, segments))["residual"])
    vectors = []
    for row, (sentence, encoding) in enumerate(zip(sentences, encodings, strict=True)):
        owner = np.array([-1 if word is None else word for word in encoding.word_ids()])
        for word in range(len(sentence)):
            pieces = hidden[:, row, np.flatnonzero(owner == word)]
            pooled = {
                "last": pieces[:, -1],
                "first": pieces[:, 0],
                "mean": pieces.mean(axis=1),
                "max": pieces.max(axis=1),
            }
            vectors.append(pooled[pool])
    return np.stack(vectors)


def short(corpus: Corpus) -> Corpus:
    """Without the sentences that the model cannot take whole."""
    return Corpus.from_words([sentence for sentence in corpus.sentences if len("".join(sentence)) <= ROOM])


@pytest.mark.parametrize("pool", ["last", "first", "mean", "max"])
def test_every_word_once_with_the_vector_it_has_alone(model: Model, corpus: Corpus, pool: WordPool) -> None:
    words = short(corpus)
    store = extract(model, words, pool=pool)
    assert store.forms() == words.words()
    assert store.usable.all()
    expected = read_alone(model, words, pool)
    np.testing.assert_allclose(store.read("residual")[:], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("row_length", "rows_per_batch", "shard_words"), [(24, 8, 7), (128, 16, 256), (64, 24, 100)])
def test_the_shapes_of_rows_and_shards_change_nothing(
    model: Model, corpus: Corpus, row_length: int, rows_per_batch: int, shard_words: int
) -> None:
    usual = extract(model, corpus)
    other = extract(model, corpus, row_length=row_length, rows_per_batch=rows_per_batch, shard_words=shard_words)
    np.testing.assert_allclose(other.matrix(), usual.matrix(), rtol=0, atol=1e-5)
    assert other.words.equals(usual.words)
    assert other.labels("length") == corpus.flat_labels("length")


def test_disk_and_memory_are_the_same(model: Model, corpus: Corpus, tmp_path: Path) -> None:
    for dtype in get_args(StoreDtype):
        kept = extract(model, corpus, dtype=dtype)
        written = extract(model, corpus, tmp_path / dtype, dtype=dtype)
        assert written.read("residual")[:].tobytes() == kept.read("residual")[:].tobytes()
        assert written.words.equals(kept.words)
        assert (written.fingerprint, written.manifest.counts) == (kept.fingerprint, kept.manifest.counts)


def test_one_device_and_eight(model: Model, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    on_eight = extract(model, corpus, pool="mean").matrix()
    one = Mesh(np.array(jax.devices()[:1]), ("data",))
    monkeypatch.setattr("lca_jax.extraction.reading.data_mesh", lambda: one)
    np.testing.assert_allclose(extract(model, corpus, pool="mean").matrix(), on_eight, rtol=0, atol=1e-6)


def test_sites_and_layers(model: Model, corpus: Corpus) -> None:
    words = corpus.take_words(60)
    everything = extract(model, words, sites=("residual", "attention", "mlp"))
    assert everything.sites == {"residual": (0, 1, 2), "attention": (0, 1), "mlp": (0, 1)}
    assert everything.read("mlp").shape == (words.word_count, 2, 40)
    some = extract(model, words, sites=("mlp", "residual"), layers={"mlp": [1], "residual": [2, 0]})
    assert some.sites == {"mlp": (1,), "residual": (2, 0)}
    np.testing.assert_allclose(some.read("mlp")[:], everything.read("mlp")[:, [1]], rtol=0, atol=1e-5)
    np.testing.assert_allclose(some.read("residual")[:], everything.read("residual")[:, [2, 0]], rtol=0, atol=1e-5)
    with pytest.raises(SettingsError, match="run from 0 to 2"):
        extract(model, words, layers=[3])


def test_edits_are_made_inside_the_model(model: Model, corpus: Corpus) -> None:
    words = corpus.take_words(60)
    scale, shift = np.ones((3, 32), np.float32), np.zeros((3, 32), np.float32)
    plain = extract(model, words)
    same = extract(model, words, edits={"residual": Edit(scale, shift)})
    np.testing.assert_allclose(same.matrix(), plain.matrix(), rtol=0, atol=1e-6)
    scale[1, 5], shift[1, 5] = 0, 2.5
    edited = extract(model, words, edits={"residual": Edit(scale, shift)})
    assert (edited.read("residual")[:, 1, 5] == 2.5).all()
    np.testing.assert_allclose(edited.read("residual")[:, 0], plain.read("residual")[:, 0], rtol=0, atol=1e-6)
    assert np.abs(edited.read("residual")[:, 2] - plain.read("residual")[:, 2]).max() > 0.01
    assert len({plain.fingerprint, same.fingerprint, edited.fingerprint}) == 3


def test_odd_words_are_kept_or_counted(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    odd = Corpus.from_words(ODD)
    with caplog.at_level(logging.WARNING, "lca_jax"):
        store = extract(model, odd)
    assert store.forms() == odd.words()
    reasons = store.words["excluded"].to_pylist()
    forms = {
        reason: {form for form, why in zip(store.forms(), reasons, strict=True) if why == reason} for reason in reasons
    }
    assert forms["no piece"] == {"\u200b", "\ufeff", " ", "", "\t", "\xa0"}
    assert forms["longer than a window"] == {"cat" + "s" * 30}
    assert store.excluded == {"longer than a window": 1, "no piece": 6}
    assert any("6 of" in line and "no piece" in line for line in caplog.messages)
    vectors = store.matrix()
    np.testing.assert_array_equal(vectors[~store.usable], 0)
    assert (np.abs(vectors[store.usable]).max(axis=1) > 0).all()
    pieces = np.array(store.words["pieces"].to_pylist())
    assert ((pieces > 0) & (pieces <= ROOM)).tolist() == store.usable.tolist()


def test_long_sentences_are_read_in_windows(tmp_path: Path) -> None:
    """Windows of up to 300 pieces and a sentence of 1,000: three shapes of rows, each word from its best window."""
    model = load_model(write_bert(tmp_path, max_position_embeddings=300))
    generator = np.random.default_rng(0)
    sentences = [["cats" if draw else "a" for draw in generator.integers(0, 2, size)] for size in (5, 150, 700, 3, 190)]
    corpus = Corpus.from_words(sentences)
    store = extract(model, corpus, row_length=128, rows_per_batch=8)
    assert store.usable.all()
    prefix, suffix = special_pieces(model.tokenizer)
    windows: list[Window] = []
    for number, aligned in enumerate(align_sentences(model.tokenizer, sentences)):
        windows += cut_windows(aligned, sentence=number, max_pieces=300, prefix=prefix, suffix=suffix)[0]
    assert {len(window.piece_ids) > length for window in windows for length in (128, 256)} == {True, False}
    forward = jax.jit(model.forward)
    offsets = np.cumsum([0, *map(len, sentences)])
    held = store.read("residual")
    for window in windows:
        row, size = np.zeros((1, 300), np.int32), len(window.piece_ids)
        piece_ids, positions, segments = row.copy(), row.copy(), row.copy()
        piece_ids[0, :size], positions[0, :size], segments[0, :size] = window.piece_ids, np.arange(size), 1
        alone = np.asarray(forward(model.params, Batch(piece_ids, positions, segments))["residual"])[:, 0]
        words = offsets[window.sentence] + window.words
        np.testing.assert_allclose(held[words], alone[:, window.ends - 1].swapaxes(0, 1), rtol=0, atol=1e-5)


def test_one_compilation_serves_every_corpus(tmp_path: Path, corpus: Corpus, caplog: pytest.LogCaptureFixture) -> None:
    fresh = load_model(write_bert(tmp_path, seed=5, num_hidden_layers=1))
    with jax.log_compiles():
        extract(fresh, corpus)
        first = [line for line in caplog.messages if line.startswith("Compiling")]
        caplog.clear()
        extract(fresh, draw_corpus(50, seed=3))
        second = [line for line in caplog.messages if line.startswith("Compiling")]
    assert len([line for line in first if "read_vectors" in line]) == 1
    assert not second


def test_a_stopped_run_ends_with_the_same_bytes(
    model: Model, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites = ("residual", "mlp")
    run = partial(extract, model, corpus, sites=sites, shard_words=64, rows_per_batch=8, row_length=24)
    run(out=tmp_path / "undisturbed")
    write, copy_to_host = FolderWriter.write, running.copy_to_host
    batches: list[ReadBatch] = []

    def write_before(writer: FolderWriter, shard: int, *rest, stop_at: int) -> None:
        if shard == stop_at:
            raise Killed
        write(writer, shard, *rest)

    def count_batches(batch: ReadBatch, *rest, **keywords) -> WordVectors:
        batches.append(batch)
        return copy_to_host(batch, *rest, **keywords)

    for stop_at in (0, 3, 9):
        monkeypatch.setattr(FolderWriter, "write", partialmethod(write_before, stop_at=stop_at))
        with pytest.raises(Killed):
            run(out=tmp_path / "stopped")
        with pytest.raises(StoreError, match="unfinished"):
            open_store(tmp_path / "stopped")
    monkeypatch.setattr(FolderWriter, "write", write)
    monkeypatch.setattr(running, "copy_to_host", count_batches)
    run(out=tmp_path / "stopped")
    assert hash_files(tmp_path / "stopped") == hash_files(tmp_path / "undisturbed")
    words = np.concatenate([batch.words[batch.words >= 0] for batch in batches])
    assert words.min() > 7 * 64, "whole shards are not computed again"


def test_a_whole_store_is_opened_and_not_made_again(
    model: Model, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = extract(model, corpus, tmp_path / "store", dtype="bfloat16")
    stamps = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    monkeypatch.setattr("lca_jax.extraction.extract.compute_vectors", None)
    again = extract(model, replace(corpus, name="renamed"), tmp_path / "store", dtype="bfloat16", rows_per_batch=32)
    assert again.fingerprint == first.fingerprint
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == stamps
    for change, named in (
        ({"corpus": draw_corpus(50)}, "corpus: the store has"),
        ({"layers": [1]}, r"sites: the store has residual \[0, 1, 2\] of 32, requested residual \[1\]"),
        ({"pool": "first"}, "pool: the store has 'last', requested 'first'"),
        ({"dtype": "float32"}, "dtype: the store has 'bfloat16', requested 'float32'"),
        ({"row_length": 64}, "row_length: the store has 128, requested 64"),
    ):
        asked: dict = {"corpus": corpus, "dtype": "bfloat16"} | change
        with pytest.raises(StoreError, match=named):
            extract(model, out=tmp_path / "store", **asked)


def test_a_changed_tokenizer_is_told_from_changed_weights(corpus: Corpus, tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "model")
    extract(load_model(folder), corpus, tmp_path / "store")
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join([*vocabulary.read_text().split()[:-2], "##ly", "sat"]) + "\n")
    with pytest.raises(StoreError, match=r"model: the store has .*; tokenizer: the store has .*, requested "):
        extract(load_model(folder), corpus, tmp_path / "store")
    with pytest.raises(StoreError, match="model: the store has ") as told:
        extract(load_model(write_bert(tmp_path / "other", seed=1)), corpus, tmp_path / "store")
    assert "tokenizer: the store has" not in str(told.value)


def test_nan_and_overflow_are_named(model: Model, corpus: Corpus) -> None:
    scale, shift = np.ones((3, 32), np.float32), np.zeros((3, 32), np.float32)
    shift[2, 7] = np.inf
    first = next(sentence for sentence in corpus.sentences if sentence)
    place = f"layer 2 of `residual` is not at word 1 \\('{first[0]}'\\) of sentence"
    with pytest.raises(DataError, match=place):
        extract(model, corpus, edits={"residual": Edit(scale, shift)})
    shift[2, 7] = 1e6
    with pytest.raises(DataError, match="Stored as float16"):
        extract(model, corpus, edits={"residual": Edit(scale, shift)}, dtype="float16")
    extract(model, corpus, edits={"residual": Edit(scale, shift)}, dtype="bfloat16")


def test_settings_are_checked_before_anything_is_written(model: Model, corpus: Corpus, tmp_path: Path) -> None:
    for wrong, said in (
        ({"shard_words": 300}, "multiple of 256, or less than that, got 300"),
        ({"shard_words": 0}, "`shard_words`"),
        ({"row_length": 0}, "`row_length` must be 1 or more, got 0"),
        ({"rows_per_batch": -1}, "`rows_per_batch` must be 1 or more, got -1"),
    ):
        settings: dict = wrong
        with pytest.raises(SettingsError, match=said):
            extract(model, corpus, tmp_path / "store", **settings)
    with pytest.raises(CorpusError, match="no words"):
        extract(model, Corpus(sentences=((), ()), labels={}), tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_progress_goes_to_stderr(model: Model, corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    extract(model, corpus, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "word/s" in shown.err
    assert "100%" in shown.err


def plan(
    model: Model,
    corpus: Corpus,
    shapes: dict[int, int],
    *,
    longest_window: int,
    shard_words: int,
    missing: frozenset[int] | None = None,
) -> list[ReadBatch]:
    recipe = Recipe(
        model="",
        corpus="",
        words=corpus.word_count,
        sites={"residual": SiteShape(layers=(0,), width=1)},
        dtype="float32",
        pool="last",
        edits=None,
        longest_window=longest_window,
        row_length=min(shapes),
        shard_words=shard_words,
    )
    reading = Reading(
        model=model,
        corpus=corpus,
        units=all_words(corpus),
        recipe=recipe,
        edits={},
        mesh=data_mesh(),
        shapes=shapes,
    )
    items = plan_batches(reading, missing=frozenset(range(recipe.shard_count)) if missing is None else missing)
    return [item for item in items if isinstance(item, ReadBatch)]


def test_batches_that_are_left_out_change_no_other(model: Model, corpus: Corpus) -> None:
    plan_some = partial(plan, model, corpus, {24: 2}, longest_window=24, shard_words=64)
    every = plan_some()
    words = np.concatenate([batch.words[batch.words >= 0] for batch in every])
    np.testing.assert_array_equal(np.sort(words), np.arange(corpus.word_count))
    for shard in (0, 4, 8):
        needed = [batch for batch in every if np.any(batch.words // 64 == shard)]
        kept = plan_some(missing=frozenset([shard]))
        assert len(kept) == len(needed) < len(every) / 2
        for left, right in zip(needed, kept, strict=True):
            for one, other in zip(left, right, strict=True):
                np.testing.assert_array_equal(one, other)


def test_shapes_fit_windows_and_devices() -> None:
    usual = {"row_length": 128, "longest_window": 512, "rows_per_batch": 16}
    assert plan_shapes(**usual, devices=1) == {128: 16, 256: 1, 512: 1}
    assert plan_shapes(**usual, devices=8) == {128: 16, 256: 8, 512: 8}
    rows = dict.fromkeys((256, 512, 1024, 2048, 2176), 1)
    assert plan_shapes(**usual | {"longest_window": 2_100}, devices=1) == {128: 16} | rows
    assert plan_shapes(row_length=128, longest_window=24, rows_per_batch=3, devices=2) == {128: 4}
    assert plan_shapes(row_length=64, longest_window=300, rows_per_batch=64, devices=1) == {
        64: 64,
        128: 4,
        256: 2,
        300: 1,
    }


def test_row_length_follows_the_sentences() -> None:
    assert choose_row_length(Corpus.from_words([["a"] * 20] * 50 + [["a"] * 90])) == 128
    assert choose_row_length(Corpus.from_words([["a"] * 20, ["a"] * 150])) == 256
    assert choose_row_length(Corpus.from_words([["a"] * 1000])) == 512


def test_few_slots_are_padding(model: Model, shared_data: Path, minilm_folder: Path) -> None:
    corpus = read_conllu(shared_data / "ud/en_ewt-ud-train.conllu.gz", tasks=["upos"])
    trained = replace(model, tokenizer=AutoTokenizer.from_pretrained(minilm_folder, local_files_only=True))
    shapes = plan_shapes(row_length=128, longest_window=512, rows_per_batch=8, devices=1)
    batches = plan(trained, corpus, shapes, longest_window=512, shard_words=16_384)
    segments = [batch.segments for batch in batches]
    assert sum(map(np.count_nonzero, segments)) / sum(rows.size for rows in segments) >= 0.95

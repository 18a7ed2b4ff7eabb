"""Rows that are pieces, sentences, pairs or chosen words, against the tokenizer's own encodings and pooling in NumPy.

The reference sends every sentence or pair whole through the tokenizer and the model, one a row, and picks its vectors
by the tokenizer's `word_ids` and `sequence_ids`. Token types are checked against the embedding written out in NumPy.
"""

import json
from collections import Counter
from functools import partial, partialmethod
from pathlib import Path

import jax
import numpy as np
import pytest
from transformers import AutoTokenizer, BatchEncoding

from lca_jax.axes import LayerBlock, Neuron, NeuronAxis
from lca_jax.errors import DataError, SettingsError, StoreError
from lca_jax.extraction.choice import choose_words
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Batch
from lca_jax.models.stack.taps import Edit
from lca_jax.store.derived import pool_sentences
from lca_jax.store.folder_writer import FolderWriter
from lca_jax.store.recipe import Pool, Recipe, WordChoice
from lca_jax.store.store import open_store
from lca_jax.text.corpus import Corpus
from lca_jax.text.pairs import TokenTypes, special_pieces_of
from tests.extraction.jobs import Killed
from tests.store.writing import hash_files
from tests.tiny_bert import draw_tensors, write_bert

WINDOW = 24
TINY: dict = {"row_length": 24, "rows_per_batch": 8}
LONG, ZERO_WIDTH = "cat" + "s" * 30, "\u200b"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_bert(tmp_path_factory.mktemp("bert")))


def draw_sentences(count: int, *, longest: int = 5, seed: int = 0) -> list[list[str]]:
    """Words of one to four pieces; sentences of no word too, none longer than a window."""
    generator = np.random.default_rng(seed)
    stems = [*"abcdefghijklmnopqrstuvwxyz", "the", "cat", "sat"]
    return [
        [str(generator.choice(stems)) + "s" * int(generator.integers(0, 4)) for _ in range(int(size))]
        for size in generator.integers(0, longest + 1, count)
    ]


def label_words(sentences: list[list[str]]) -> dict[str, list[list[str | None]]]:
    """`length`: the pieces beyond the first, none for words of four; `end`: the letter of some words."""
    return {
        "length": [[None if word.count("s") > 2 else str(word.count("s")) for word in words] for words in sentences],
        "end": [[word if word in "abc" else None for word in words] for words in sentences],
    }


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    sentences = draw_sentences(120)
    polarity = [None if len(words) == 1 else str(len(words) % 2) for words in sentences]
    return Corpus.from_words(sentences, label_words(sentences), sentence_labels={"odd": polarity}, name="drawn")


@pytest.fixture(scope="module")
def pairs() -> Corpus:
    sentences = [words for words in draw_sentences(140, longest=2, seed=4) if words]
    firsts, seconds = sentences[0:60:2], sentences[1:60:2]
    both = [first + second for first, second in zip(firsts, seconds, strict=True)]
    same = [str(len(first) == len(second)) for first, second in zip(firsts, seconds, strict=True)]
    return Corpus.from_words(
        both,
        label_words(both),
        sentence_labels={"same": same},
        second_starts=[len(first) for first in firsts],
    )


class Seen:
    """One sentence or pair as the tokenizer and the model have it."""

    def __init__(self, words: list[int | None], ids: list[int], states: np.ndarray) -> None:
        self.words = np.array([-1 if word is None else word for word in words])
        self.ids = ids
        self.states = states[:, : len(ids)]

    def mean(self) -> np.ndarray:
        return self.states[:, self.words >= 0].mean(axis=1)


def see(model: Model, corpus: Corpus) -> list[Seen | None]:
    """Every sentence by itself in a row; None where it has no word."""
    encoded: list[BatchEncoding | None] = []
    for number, sentence in enumerate(corpus.sentences):
        start = len(sentence) if corpus.second_starts is None else corpus.second_starts[number]
        second = list(sentence[start:]) if corpus.second_starts else None
        text = list(sentence[:start])
        encoded.append(model.tokenizer(text, second, is_split_into_words=True) if sentence else None)
    shape = (len(encoded), WINDOW)
    ids, positions, segments, types = (np.zeros(shape, np.int32) for _ in range(4))
    for row, encoding in enumerate(encoded):
        if encoding is not None:
            size = len(encoding["input_ids"])
            ids[row, :size], types[row, :size] = encoding["input_ids"], encoding["token_type_ids"]
            positions[row, :size], segments[row, :size] = np.arange(size), 1
    states = np.asarray(jax.jit(model.forward)(model.params, Batch(ids, positions, segments, types))["residual"])
    seen: list[Seen | None] = []
    for row, encoding in enumerate(encoded):
        if encoding is None:
            seen.append(None)
            continue
        words, texts = encoding.word_ids(), encoding.sequence_ids()
        shift = corpus.second_starts[row] if corpus.second_starts else 0
        words = [
            None if word is None else word + (shift if text else 0) for word, text in zip(words, texts, strict=True)
        ]
        seen.append(Seen(words, encoding["input_ids"], states[:, row]))
    return seen


@pytest.mark.parametrize("kind", ["corpus", "pairs"])
def test_a_row_a_sentence(model: Model, kind: str, request: pytest.FixtureRequest) -> None:
    sentences: Corpus = request.getfixturevalue(kind)
    seen = see(model, sentences)
    empty = [number for number, sentence in enumerate(sentences.sentences) if not sentence]
    for pool in ("cls", "sentence-mean"):
        store = extract(model, sentences, pool=pool, **TINY)
        assert (store.unit, store.word_count) == ("sentence", sentences.sentence_count)
        assert store.tasks == sentences.sentence_tasks
        assert [store.labels(task) for task in store.tasks] == list(map(list, sentences.sentence_labels.values()))
        assert np.flatnonzero(~store.usable).tolist() == empty
        assert store.excluded == ({"no piece": len(empty)} if empty else {})
        for row, one in enumerate(seen):
            if one is not None:
                expected = one.states[:, 0] if pool == "cls" else one.mean()
                np.testing.assert_allclose(store.read("residual")[row], expected, rtol=0, atol=1e-5)
    first = sentences.sentences[0]
    start = sentences.second_starts[0] if sentences.second_starts else len(first)
    texts = [" ".join(part) for part in (first[:start], first[start:]) if part]
    assert store.forms()[0] == "\t".join(texts)
    assert seen[0] is not None
    assert store.words["pieces"][0].as_py() == sum(seen[0].words >= 0)


def test_token_types_are_those_of_the_embedding(model: Model, pairs: Corpus) -> None:
    """The first layer, written out: pieces + positions + token types, normalised."""
    tensors = draw_tensors()
    store = extract(model, pairs, pool="none", choice=WordChoice(special_pieces=True), layers=[0], **TINY)
    tokenizer = AutoTokenizer.from_pretrained(model.name, local_files_only=True)
    expected = []
    for sentence, start in zip(pairs.sentences, pairs.second_starts or (), strict=True):
        encoding = tokenizer(list(sentence[:start]), list(sentence[start:]), is_split_into_words=True)
        assert set(encoding["token_type_ids"]) == {0, 1}
        tables = (tensors[f"embeddings.{name}_embeddings.weight"] for name in ("word", "token_type", "position"))
        rows = (encoding["input_ids"], encoding["token_type_ids"], np.arange(len(encoding["input_ids"])))
        summed = np.sum([table[row] for table, row in zip(tables, rows, strict=True)], axis=0)
        normal = (summed - summed.mean(axis=1, keepdims=True)) / np.sqrt(summed.var(axis=1, keepdims=True) + 1e-12)
        expected.append(normal * tensors["embeddings.LayerNorm.weight"] + tensors["embeddings.LayerNorm.bias"])
    np.testing.assert_allclose(store.read("residual")[:, 0], np.concatenate(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["corpus", "pairs"])
@pytest.mark.parametrize("special", [True, False])
def test_a_row_a_piece(model: Model, kind: str, special: bool, request: pytest.FixtureRequest) -> None:
    words: Corpus = request.getfixturevalue(kind)
    store = extract(model, words, pool="none", choice=WordChoice(special_pieces=special), **TINY)
    lengths, row = words.labels["length"], 0
    held, table = store.read("residual")[:], store.words.to_pylist()
    for number, one in enumerate(see(model, words)):
        if one is None:
            continue
        position = 0
        for place in np.flatnonzero((one.words >= 0) | special):
            word = int(one.words[place])
            found = table[row]
            assert found["sentence"] == number
            assert (found["position"], found["word"]) == (position, None if word < 0 else word)
            assert found["form"] == model.tokenizer.convert_ids_to_tokens(one.ids[place])
            assert found["label:length"] == (None if word < 0 else lengths[number][word])
            np.testing.assert_allclose(held[row], one.states[:, place], rtol=0, atol=1e-5)
            row, position = row + 1, position + 1
    assert row == store.word_count == store.usable.sum()


def test_words_of_pairs_are_read_in_their_pair(model: Model, pairs: Corpus) -> None:
    store = extract(model, pairs, pool="max", **TINY)
    expected = [
        one.states[:, one.words == word].max(axis=1)
        for one in see(model, pairs)
        if one is not None
        for word in range(one.words.max() + 1)
    ]
    np.testing.assert_allclose(store.read("residual")[:], np.stack(expected), rtol=0, atol=1e-5)
    assert store.words["sentence_label:same"].to_pylist()[:2] == [pairs.sentence_labels["same"][0]] * 2


def test_what_fits_no_window_is_counted(model: Model) -> None:
    """24 pieces fit: alone 22 of text, in pairs 21."""
    singles = Corpus.from_words([["cats"] * 11, ["cats"] * 12, [LONG, "a"], [ZERO_WIDTH], ["a", ZERO_WIDTH]])
    store = extract(model, singles, pool="sentence-mean", **TINY)
    assert store.usable.tolist() == [True, False, False, False, True]
    assert store.excluded == {"no piece": 1, "sentence longer than a window": 2}
    for word, found in zip(("cls", "sentence-mean"), (1, 1), strict=True):
        pooled = extract(model, singles, pool=word, **TINY)
        assert pooled.excluded["no piece"] == found
    pooled = pool_sentences(extract(model, singles, **TINY))
    assert pooled.usable.tolist() == [True, True, True, False, True], "words have windows of their own"
    two = Corpus.from_words([["cats"] * 11, ["cats"] * 10, ["a", ZERO_WIDTH]], second_starts=[5, 5, 1])
    assert extract(model, two, **TINY).excluded == {"no piece": 1, "pair longer than a window": 11}
    assert extract(model, two, pool="cls", **TINY).usable.tolist() == [False, True, True]
    pieces = extract(model, singles, pool="none", choice=WordChoice(special_pieces=True), **TINY)
    assert pieces.excluded == {"longer than a window": 31, "no piece": 2}
    assert Counter(pieces.forms())["[CLS]"] == 4, "one for every sentence with a piece, also of several windows"
    np.testing.assert_array_equal(np.abs(pieces.matrix()).max(axis=1) > 0, pieces.usable)


def test_special_pieces_of_pairs_are_the_tokenizers(model: Model) -> None:
    special = special_pieces_of(model.tokenizer, pairs=True)
    cls, sep = model.tokenizer.cls_token_id, model.tokenizer.sep_token_id
    assert special == ((cls,), (sep,), (sep,), TokenTypes((0,), 0, (0,), 1, (1,)))
    assert special_pieces_of(model.tokenizer, pairs=False) == ((cls,), (sep,), (), None)


@pytest.mark.parametrize(
    "choice",
    [
        WordChoice(labelled=["length"]),
        WordChoice(labelled=["end"]),
        WordChoice(labelled=["length", "end"], per_class=5, seed=3),
        WordChoice(max_words=60),
        WordChoice(max_sentences=30, per_class=4),
    ],
    ids=str,
)
def test_chosen_words_have_the_vectors_they_have_among_all(model: Model, corpus: Corpus, choice: WordChoice) -> None:
    whole = extract(model, corpus, **TINY)
    kept, left_out = choose_words(corpus, choice)
    store = extract(model, corpus, choice=choice, shard_words=16, **TINY)
    assert store.words.to_pydict() == whole.words.filter(kept).to_pydict()
    np.testing.assert_allclose(store.matrix(), whole.matrix(kept), rtol=0, atol=1e-5)
    assert store.excluded == dict(sorted(left_out.items()))
    assert store.word_count + sum(store.excluded.values()) == corpus.word_count
    assert store.manifest.counts["sentences"] == corpus.sentence_count
    pieces = extract(model, corpus, pool="none", choice=choice, **TINY)
    assert set(zip(*(pieces.words[name].to_pylist() for name in ("sentence", "word")), strict=True)) == set(
        zip(*(store.words[name].to_pylist() for name in ("sentence", "position")), strict=True)
    )


def test_how_words_are_chosen(corpus: Corpus) -> None:
    lengths, ends = corpus.flat_labels("length"), corpus.flat_labels("end")
    kept, left_out = choose_words(corpus, WordChoice(labelled=["length", "end"]))
    assert kept.tolist() == [length is not None or end is not None for length, end in zip(lengths, ends, strict=True)]
    assert left_out == {"no label": int((~kept).sum())}
    drawn, left_out = choose_words(corpus, WordChoice(labelled=["length"], per_class=7, seed=1))
    counts = Counter(label for label, is_kept in zip(lengths, drawn, strict=True) if is_kept)
    assert counts == {"0": 7, "1": 7, "2": 7}
    assert left_out == {
        "no label": lengths.count(None),
        "not drawn from its class": len(lengths) - lengths.count(None) - 21,
    }
    others = [choose_words(corpus, WordChoice(labelled=["length"], per_class=7, seed=seed))[0] for seed in (1, 2)]
    assert (drawn == others[0]).all()
    assert (drawn != others[1]).any()
    kept, left_out = choose_words(corpus, WordChoice(max_sentences=10, max_words=12))
    assert kept.sum() == corpus.take_words(12).word_count <= 12
    assert set(left_out) == {"beyond `max_sentences`", "beyond `max_words`"}
    few, _ = choose_words(corpus, WordChoice(per_class=10**6))
    assert (few == choose_words(corpus, WordChoice(labelled=["end", "length"]))[0]).all()


def test_chosen_sentences(model: Model, corpus: Corpus) -> None:
    whole = extract(model, corpus, pool="sentence-mean", **TINY)
    choice = WordChoice(labelled=["odd"], per_class=9, max_sentences=100)
    store = extract(model, corpus, pool="sentence-mean", choice=choice, **TINY)
    labels = store.labels("odd")
    assert Counter(labels) == {"0": 9, "1": 9}
    rows = store.words["sentence"].to_pylist()
    assert rows == sorted(rows)
    assert max(rows) < 100
    np.testing.assert_allclose(store.matrix(), whole.matrix(rows), rtol=0, atol=1e-5)
    assert store.excluded["beyond `max_sentences`"] == 20


def test_chosen_neurons_keep_their_names(model: Model, corpus: Corpus, tmp_path: Path) -> None:
    whole = extract(model, corpus, sites=("residual", "mlp"), **TINY)
    store = extract(
        model,
        corpus,
        tmp_path / "store",
        sites=("residual", "mlp"),
        neurons={"residual": [7, 2, 30]},
        layers=[1],
        **TINY,
    )
    assert store.sites == {"residual": (1,), "mlp": (1,)}
    np.testing.assert_allclose(store.read("residual")[:], whole.read("residual")[:, [1]][:, :, [7, 2, 30]], atol=1e-5)
    np.testing.assert_allclose(store.read("mlp")[:], whole.read("mlp")[:, [1]], atol=1e-5)
    axis = open_store(tmp_path / "store").axis()
    assert axis.neurons([0, 1, 2, 3]) == [
        Neuron("residual", 1, 7), Neuron("residual", 1, 2), Neuron("residual", 1, 30), Neuron("mlp", 1, 0),
    ]  # fmt: skip
    assert [axis.column(neuron) for neuron in axis.neurons(range(axis.size))] == list(range(43))
    with pytest.raises(
        SettingsError, match="Only 3 neurons of layer 1 of `residual` were chosen, and 1:4 is not among"
    ):
        axis.column(Neuron("residual", 1, 4))
    through_json = json.loads(json.dumps([list(block) for block in axis.blocks]))  # as saved probes keep their axis
    assert NeuronAxis(blocks=tuple(LayerBlock(*block) for block in through_json)) == axis
    for wrong, said in (
        ([], "at least one"),
        ([1, 1], "different indices"),
        ([32], "run from 0 to 31, got 32 to 32"),
        ({"mlp": [1]}, "names the site `mlp`, which is not read"),
    ):
        neurons: dict = {"neurons": wrong}
        with pytest.raises(SettingsError, match=said):
            extract(model, corpus, **neurons)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"pool": "none", "choice": WordChoice(special_pieces=True)},
        {"pool": "sentence-mean"},
        {"choice": WordChoice(per_class=15, seed=2), "neurons": [3, 1]},
    ],
    ids=["pieces", "sentences", "chosen"],
)
def test_a_stopped_run_ends_with_the_same_bytes(
    model: Model, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict
) -> None:
    run = partial(extract, model, corpus, shard_words=8, **TINY, **settings)
    run(tmp_path / "undisturbed")
    write = FolderWriter.write

    def write_before(writer: FolderWriter, shard: int, *rest, stop_at: int) -> None:
        if shard == stop_at:
            raise Killed
        write(writer, shard, *rest)

    for stop_at in (1, 3):
        monkeypatch.setattr(FolderWriter, "write", partialmethod(write_before, stop_at=stop_at))
        with pytest.raises(Killed):
            run(tmp_path / "stopped")
    monkeypatch.setattr(FolderWriter, "write", write)
    run(tmp_path / "stopped")
    assert hash_files(tmp_path / "stopped") == hash_files(tmp_path / "undisturbed")
    monkeypatch.setattr("lca_jax.extraction.extract.compute_vectors", None)
    run(tmp_path / "stopped")


def test_a_store_of_another_choice_is_refused(model: Model, corpus: Corpus, tmp_path: Path) -> None:
    choice = WordChoice(labelled=["length"], per_class=15)
    extract(model, corpus, tmp_path / "store", choice=choice, neurons=range(8), **TINY)
    same = WordChoice(labelled=["length", "length"], per_class=15, seed=0)
    extract(model, corpus, tmp_path / "store", choice=same, neurons=range(8), **TINY)
    for change, named in (
        (
            {"choice": WordChoice(labelled=["length"])},
            r"choice: the store has labelled=\('length',\), per_class=15, requested labelled",
        ),
        ({"choice": WordChoice(labelled=["length"], per_class=15, seed=1)}, "requested .*seed=1"),
        ({"choice": None}, "requested everything"),
        ({"neurons": None}, r"residual \[0, 1, 2\] of 8 chosen \(0, 1, 2, 3, 4, …\), requested .* of 32"),
        ({"pool": "max"}, "pool: the store has 'last', requested 'max'"),
    ):
        asked: dict = {"choice": choice, "neurons": range(8)} | TINY | change
        with pytest.raises(StoreError, match=named):
            extract(model, corpus, tmp_path / "store", **asked)


def test_recipes_from_before_there_was_a_choice_are_read(model: Model, corpus: Corpus) -> None:
    recipe = extract(model, corpus, **TINY).manifest.recipe
    content = json.loads(json.dumps(recipe.as_json()))
    assert Recipe.from_json(content) == recipe
    del content["choice"], content["derived"], content["sites"][0]["neurons"]
    assert Recipe.from_json(content) == recipe


def test_wrong_choices_are_refused_before_anything_is_written(model: Model, corpus: Corpus, tmp_path: Path) -> None:
    for wrong, said in (
        ({"choice": WordChoice(special_pieces=True)}, "every piece is one: pool=\"none\", got 'last'"),
        ({"choice": WordChoice(labelled=["upos"])}, "has no task `upos`. Tasks: length, end. Tasks of sentences: odd"),
        ({"choice": WordChoice(labelled=["length"]), "pool": "cls"}, "no task of sentences `length`.*: odd"),
    ):
        settings: dict = wrong
        with pytest.raises(SettingsError, match=said):
            extract(model, corpus, tmp_path / "store", **settings)
    nothing: list[dict] = [{name: 0} for name in ("per_class", "max_words", "max_sentences")]
    for limit in nothing:
        with pytest.raises(SettingsError, match="must be 1 or more, got 0"):
            WordChoice(**limit)
    with pytest.raises(SettingsError, match="`seed` must be 0 or more, got -1"):
        WordChoice(per_class=1, seed=-1)
    unlabelled = corpus.with_task("none", [[None] * len(sentence) for sentence in corpus.sentences])
    with pytest.raises(SettingsError, match=rf"Nothing of drawn is chosen \({corpus.word_count} no label\)"):
        extract(model, unlabelled, choice=WordChoice(labelled=["none"]))
    assert not (tmp_path / "store").exists()


def test_rows_that_are_not_finite_are_named(model: Model, corpus: Corpus) -> None:
    scale, shift = np.ones((3, 32), np.float32), np.zeros((3, 32), np.float32)
    shift[2, 7] = np.inf
    edits = {"residual": Edit(scale, shift)}
    read: dict[Pool, str] = {
        "cls": r"is not at sentence \d+ of drawn",
        "none": r"is not at piece '.+' of word \d+ \('.+'\) of sentence \d+ of drawn",
    }
    for pool, said in read.items():
        with pytest.raises(DataError, match=said):
            extract(model, corpus, pool=pool, edits=edits, **TINY)
    with pytest.raises(DataError, match=r"is not at a special piece of sentence \d+ of drawn"):
        extract(model, corpus, pool="none", choice=WordChoice(special_pieces=True), edits=edits, **TINY)

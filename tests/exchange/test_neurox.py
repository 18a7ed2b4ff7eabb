"""NeuroX's files read and written, against files laid out by their description with h5py and json."""

import json
import logging
import subprocess
import sys
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import h5py
import numpy as np
import pytest

from lca_jax.errors import CorpusError, DataError, LcaError, SettingsError, StoreError
from lca_jax.exchange.neurox.convert import ALL_ZERO, read_neurox, write_neurox
from lca_jax.store import in_order
from lca_jax.store.store import ActivationStore, open_store
from tests.neurox_files import (
    KEYS,
    SENTENCES,
    WORDS,
    draw_vectors,
    json_line,
    load_as_neurox,
    open_hdf5,
    read_hdf5,
    write_hdf5,
    write_json,
)
from tests.stores import store_of, store_of_sites


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the store is read in several stretches, some of which are shorter than a sentence."""
    monkeypatch.setattr(in_order, "WORDS_AT_ONCE", 4)


def by_word(vectors: list[np.ndarray]) -> np.ndarray:
    """(word, layer, neuron) out of (layer, word, neuron) of sentences."""
    return np.concatenate([of_sentence.transpose(1, 0, 2) for of_sentence in vectors])


def text_file(path: Path, sentences: Sequence[Sequence[str]] = SENTENCES) -> Path:
    path.write_text("".join(" ".join(words) + "\n" for words in sentences), encoding="utf-8")
    return path


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shard_words", [5, 256])
def test_hdf5_comes_over_bit_for_bit_and_back(tmp_path: Path, dtype: str, shard_words: int) -> None:
    vectors = draw_vectors(dtype)
    source = write_hdf5(tmp_path / "old.hdf5", vectors)
    store = read_neurox(source, tmp_path / "store", shard_words=shard_words)
    assert store.sites == {"residual": (0, 1, 2)}
    assert np.asarray(store.read("residual")).tobytes() == by_word(vectors).tobytes()
    assert store.read("residual").dtype == np.dtype(dtype)
    assert store.forms() == [word for sentence in SENTENCES for word in sentence]
    lengths = list(map(len, SENTENCES))
    assert store.words["sentence"].to_pylist() == np.repeat(np.arange(len(lengths)), lengths).tolist()
    assert store.words["pieces"].null_count == WORDS
    assert store.manifest.counts == {"sentences": 8, "words": WORDS, "vectors": WORDS}
    store.verify()

    written = write_neurox(store, tmp_path / "new.hdf5")
    assert [path.name for path in written] == ["new.hdf5", "new.word"]
    index, datasets = read_hdf5(written[0])
    assert list(index.items()) == [(key, str(number)) for number, key in enumerate(KEYS)]
    assert sorted(datasets) == sorted(str(number) for number in range(8))
    for number, of_sentence in enumerate(vectors):
        held = datasets[str(number)]
        assert (held.shape, held.dtype, held.tobytes()) == (of_sentence.shape, of_sentence.dtype, of_sentence.tobytes())
    with open_hdf5(written[0]) as file:
        assert file["sentence_to_index"].shape == (1,)
        assert h5py.check_string_dtype(file["sentence_to_index"].dtype) == ("utf-8", None)
        assert not file.attrs
        assert all(data.chunks is None and data.compression is None and not data.attrs for data in file.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.hdf5", "new.word", "old.hdf5", "store"]


def test_the_loader_of_neurox_sees_the_matrix_of_the_store(tmp_path: Path) -> None:
    vectors = draw_vectors()
    store = read_neurox(write_hdf5(tmp_path / "old.hdf5", vectors))
    write_neurox(store, tmp_path / "new.hdf5")
    loaded = load_as_neurox(tmp_path / "new.hdf5")
    assert [len(of_sentence) for of_sentence in loaded] == list(map(len, SENTENCES))
    np.testing.assert_array_equal(np.concatenate(loaded), store.matrix())
    neuron = store.axis().neuron(6)
    assert (neuron.layer, neuron.index) == (6 // 4, 6 % 4)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_json_is_written_as_described_and_comes_back_the_same(tmp_path: Path, dtype: str) -> None:
    vectors = draw_vectors(dtype)
    store = read_neurox(write_hdf5(tmp_path / "old.hdf5", vectors))
    write_neurox(store, tmp_path / "a.json")
    expected = write_json(tmp_path / "expected.json", vectors)
    assert (tmp_path / "a.json").read_bytes() == expected.read_bytes()
    again = read_neurox(expected, tmp_path / "store", shard_words=4)
    assert again.forms() == store.forms()
    assert again.manifest.counts == store.manifest.counts
    assert again.read("residual").dtype == np.float32
    rounded = np.vectorize(lambda value: round(float(value), 8))(by_word(vectors)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(again.read("residual")), rounded)
    write_neurox(again, tmp_path / "b.json")
    assert (tmp_path / "b.json").read_bytes() == expected.read_bytes()


@pytest.mark.parametrize("kind", ["hdf5", "json"])
def test_layers_in_files_of_their_own_keep_their_numbers(tmp_path: Path, kind: str) -> None:
    vectors = draw_vectors()
    write = write_hdf5 if kind == "hdf5" else write_json
    for layer, number in enumerate((2, 6, 11)):
        write(tmp_path / f"old-layer{number}.{kind}", [of_sentence[[layer]] for of_sentence in vectors])
    write(tmp_path / f"older-layer0.{kind}", vectors)
    store = read_neurox(tmp_path / f"old.{kind}")
    assert store.sites == {"residual": (2, 6, 11)}
    np.testing.assert_allclose(np.asarray(store.read("residual")), by_word(vectors), atol=5e-9)
    written = write_neurox(store, tmp_path / f"new.{kind}", decompose_layers=True)
    assert [path.name for path in written[:3]] == [f"new-layer{number}.{kind}" for number in (2, 6, 11)]
    for layer, number in enumerate((2, 6, 11)):
        new, old = tmp_path / f"new-layer{number}.{kind}", tmp_path / f"old-layer{number}.{kind}"
        if kind == "json":
            assert new.read_bytes() == old.read_bytes()
        else:
            assert read_hdf5(new)[0] == read_hdf5(old)[0]
            for name, data in read_hdf5(new)[1].items():
                np.testing.assert_array_equal(data, vectors[int(name)][[layer]])
    alone = read_neurox(tmp_path / f"old-layer6.{kind}")
    assert alone.sites == {"residual": (6,)}


@pytest.mark.parametrize("axes", [2, 3])
def test_layers_side_by_side_are_cut(tmp_path: Path, axes: int) -> None:
    vectors = draw_vectors()
    side_by_side = [np.concatenate(list(of_sentence), axis=1) for of_sentence in vectors]
    path = write_hdf5(tmp_path / "a.hdf5", [wide if axes == 2 else wide[None] for wide in side_by_side])
    store = read_neurox(path, layers=3, layer_numbers=(0, 6, 12))
    assert store.sites == {"residual": (0, 6, 12)}
    np.testing.assert_array_equal(np.asarray(store.read("residual")), by_word(vectors))
    with pytest.raises(SettingsError, match=r"`layers` must divide the 12 columns of .*a\.hdf5, got 5"):
        read_neurox(path, layers=5)
    with pytest.raises(SettingsError, match=r"`layer_numbers` must be 3 different numbers .* got \[1, 1, 2\]"):
        read_neurox(path, layers=3, layer_numbers=(1, 1, 2))
    if axes == 2:
        with pytest.raises(SettingsError, match=r"side by side in 12 columns\. Give their number"):
            read_neurox(path)
    else:
        assert read_neurox(path).read("residual").shape == (WORDS, 1, 12)


def test_words_and_labels_of_text_files(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", draw_vectors())
    plain = [tuple(word.replace("##", "") or "e" for word in words) for words in SENTENCES]
    labels = [[f"L{len(word)}" if word != "a" else "_" for word in words] for words in plain]
    plain[6] = (*plain[6][:3], "y", "x")
    store = read_neurox(
        path,
        text=text_file(tmp_path / "a.txt", plain),
        labels={"size": text_file(tmp_path / "a.size", labels)},
        unlabelled="_",
    )
    assert store.forms() == [word for words in plain for word in words]
    expected = [None if label == "_" else label for of_words in labels for label in of_words]
    assert store.labels("size") == expected
    assert None in expected
    write_neurox(store, tmp_path / "b.hdf5", unlabelled="_")
    assert (tmp_path / "b.word").read_bytes() == (tmp_path / "a.txt").read_bytes()
    assert (tmp_path / "b.size.label").read_bytes() == (tmp_path / "a.size").read_bytes()


def test_sentences_that_differ_in_number_are_all_named_or_left_out(tmp_path: Path) -> None:
    vectors = draw_vectors()
    path = write_hdf5(tmp_path / "a.hdf5", vectors)
    plain = [list(words) for words in SENTENCES]
    plain[6] = ["v", "w", "x", "y", "z"]
    labels = [["L"] * len(words) for words in plain]
    plain[0].append("more")
    labels[2].pop()
    labels[0] = []
    text, label = text_file(tmp_path / "a.txt", plain), text_file(tmp_path / "a.label", labels)
    with pytest.raises(CorpusError) as caught:
        read_neurox(path, tmp_path / "store", text=text, labels={"L": label})
    assert str(caught.value).splitlines()[1:] == [
        "  sentence 1 ('the una##ffa##ble cat'): 3 vectors, but 4 words, 0 labels of `L`",
        "  sentence 3 ('a a'): 2 vectors, but 1 labels of `L`",
    ]
    assert not (tmp_path / "store").exists()
    store = read_neurox(path, tmp_path / "store", text=text, labels={"L": label}, drop_mismatched=True, shard_words=3)
    kept = [number for number in range(8) if number not in (0, 2)]
    np.testing.assert_array_equal(np.asarray(store.read("residual")), by_word([vectors[number] for number in kept]))
    assert store.manifest.skipped == {"sentence whose words, labels and vectors differ in number": 2}
    short = text_file(tmp_path / "short.label", labels[:-1])
    with pytest.raises(CorpusError, match=r"holds 8 sentences.*\n  labels of `L`: 7 lines"):
        read_neurox(path, labels={"L": short})


def test_words_of_zeros_have_no_vector(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    vectors = draw_vectors()
    vectors[6][:, 1] = 0
    vectors[0][0] = 0
    store = read_neurox(write_hdf5(tmp_path / "a.hdf5", vectors), shard_words=4)
    word = [0, *accumulate(map(len, SENTENCES))][6] + 1
    assert np.flatnonzero(~store.usable).tolist() == [word]
    assert store.excluded == {ALL_ZERO: 1}
    with caplog.at_level(logging.WARNING):
        write_neurox(store, tmp_path / "b.hdf5")
    assert "that 1 words, which are zeros there, have no vector" in caplog.text
    assert read_neurox(tmp_path / "b.hdf5").excluded == {ALL_ZERO: 1}


def test_a_killed_conversion_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_hdf5(tmp_path / "a.hdf5", draw_vectors())
    whole = read_neurox(source, tmp_path / "whole", shard_words=4)

    from lca_jax.store.folder_writer import FolderWriter

    write, done = FolderWriter.write, []

    def stop_after_two(self: FolderWriter, shard: int, *rest: object) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(shard)
        write(self, shard, *rest)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patched:
        patched.setattr(FolderWriter, "write", stop_after_two)
        with pytest.raises(KeyboardInterrupt):
            read_neurox(source, tmp_path / "killed", shard_words=4)
    with pytest.raises(StoreError, match="unfinished"):
        open_store(tmp_path / "killed")

    def count(self: FolderWriter, shard: int, *rest: object) -> None:
        done.append(shard)
        write(self, shard, *rest)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(FolderWriter, "write", count)
    resumed = read_neurox(source, tmp_path / "killed", shard_words=4)
    assert len(done) == len(set(done)) == -(-WORDS // 4)
    assert resumed.manifest.files == whole.manifest.files
    assert read_neurox(source, tmp_path / "killed", shard_words=4).fingerprint == whole.fingerprint
    with pytest.raises(StoreError, match="pool: the store has 'last', requested 'mean'"):
        read_neurox(source, tmp_path / "killed", shard_words=4, pool="mean")


def test_writing_leaves_what_is_there_and_nothing_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = read_neurox(write_hdf5(tmp_path / "a.hdf5", draw_vectors()))
    before = (tmp_path / "a.hdf5").read_bytes()
    with pytest.raises(StoreError, match=r"a\.hdf5: there already, and nothing is overwritten"):
        write_neurox(store, tmp_path / "a.hdf5")
    assert (tmp_path / "a.hdf5").read_bytes() == before

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("lca_jax.exchange.neurox.convert.write_text", fail)
    with pytest.raises(OSError, match="disk full"):
        write_neurox(store, tmp_path / "new" / "b.hdf5")
    assert list((tmp_path / "new").iterdir()) == []


def test_what_a_file_cannot_hold_is_refused_with_every_place(tmp_path: Path) -> None:
    store = store_of(
        np.ones((3, 1, 2), np.float32),
        [["New York", "b"], ["c"]],
        {"t": [["X Y", None], ["Z"]]},
    )
    with pytest.raises(DataError) as caught:
        write_neurox(store, tmp_path / "a.hdf5")
    assert str(caught.value).splitlines()[1:] == [
        "  word 1 ('New York') holds a space: give a mark to write for it, e.g. space_mark='~'",
        "  task `t`: 1 words have no label: give a mark to write for it as `unlabelled`",
        "  task `t`: the label 'X Y' is empty or holds white space, where lines are split",
    ]
    with pytest.raises(DataError, match="'Z' is a label, so it cannot mark words without one"):
        write_neurox(store, tmp_path / "a.hdf5", space_mark="~", unlabelled="Z")
    store = store_of(np.ones((3, 1, 2), np.float32), [["New York", "b"], ["c"]], {"feats:N": [["X", None], ["Z"]]})
    written = write_neurox(store, tmp_path / "a.hdf5", space_mark="~", unlabelled="_")
    assert [path.name for path in written] == ["a.hdf5", "a.word", "a.feats-N.label"]
    assert list(read_hdf5(written[0])[0]) == ["New~York b", "c"]
    assert written[1].read_text() == "New~York b\nc\n"
    assert written[2].read_text() == "X _\nZ\n"
    both = store_of_sites(
        {"residual": np.ones((1, 2, 2), np.float32), "mlp": np.full((1, 1, 3), 2, np.float32)}, [["a"]], {}
    )
    with pytest.raises(SettingsError, match="Give `site`, one of residual, mlp"):
        write_neurox(both, tmp_path / "b.hdf5")
    write_neurox(both, tmp_path / "b.hdf5", site="mlp")
    np.testing.assert_array_equal(read_hdf5(tmp_path / "b.hdf5")[1]["0"], np.full((1, 1, 3), 2, np.float32))
    with pytest.raises(SettingsError, match=r"ends in \.hdf5 or \.json, got b\.h5"):
        write_neurox(both, tmp_path / "b.h5", site="mlp")


def damaged_hdf5(path: Path, how: str) -> Path:
    vectors = draw_vectors()
    write_hdf5(path, vectors)
    with open_hdf5(path, "a") as file:
        if how == "no index":
            del file["sentence_to_index"]
        elif how == "index":
            file["sentence_to_index"][0] = "[1, 2"
        elif how == "datasets":
            del file["3"]
            file.create_dataset("9", data=vectors[0])
        elif how == "shapes":
            for name, of_sentence in (("0", vectors[0][:2]), ("4", vectors[4].astype(np.float64))):
                del file[name]
                file.create_dataset(name, data=of_sentence)
        elif how == "flat":
            for name in map(str, range(8)):
                del file[name]
                file.create_dataset(name, data=vectors[0][0, 0])
        elif how == "words":
            for name in ("2", "5"):
                del file[name]
                file.create_dataset(name, data=vectors[0])
    return path


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no index", "it has no dataset `sentence_to_index`. Datasets: 0, 1, 2, 3, 4, …."),
        ("index", "must hold a JSON object of sentences and indices"),
        (
            "datasets",
            "  the dataset '3' of 'the una##ffa##ble cat (Occurrence 2)' is missing\n"
            "  the dataset '9' belongs to no sentence",
        ),
        (
            "shapes",
            "  sentence 1, dataset '0': float32 of shape (2, 3, 4), but most sentences are float32 of shape (3, 0, 4); "
            "layers, neurons and type must be the same\n  sentence 5, dataset '4': float64 of shape (3, 4, 4)",
        ),
        ("flat", "sentences are float32 of shape (4,), but must be float32 or float16 of three axes"),
        (
            "words",
            "  sentence 3, dataset '2': 3 vectors, but its key is 'a a'\n"
            "  sentence 6, dataset '5': 3 vectors, but its key is 'a a (Occurrence 3)'",
        ),
    ],
)
def test_damaged_hdf5_names_every_place(tmp_path: Path, how: str, message: str) -> None:
    with pytest.raises(StoreError) as caught:
        read_neurox(damaged_hdf5(tmp_path / "a.hdf5", how))
    assert message in str(caught.value)


def test_damaged_json_names_every_line(tmp_path: Path) -> None:
    vectors = draw_vectors()
    good = [json_line(index, words, vectors[index]) for index, words in enumerate(SENTENCES)]
    lines = [
        good[0],
        "{\n",
        json_line(2, SENTENCES[2], vectors[2][:2]),
        good[3].replace('"index": 1', '"index": 7'),
        good[4].replace('"features"', '"feature"'),
        good[5].replace('"token": "a"', '"token": 5'),
        good[6],
    ]
    path = tmp_path / "a.json"
    path.write_text("".join(lines), encoding="utf-8")
    with pytest.raises(StoreError) as caught:
        read_neurox(path)
    found = str(caught.value).splitlines()[1:]
    assert [line.split(":")[0] for line in found] == [f"  line {number}" for number in (2, 4, 5, 6, 3)]
    assert "`index` must count the layers from 0" in found[1]
    assert "must be a JSON object with a list `features`" in found[2]
    assert "word 1: `token` must be text" in found[3]
    assert found[4].endswith("2 layers of 4 neurons, but most lines have 3 of 4")
    path.write_text(json.dumps({"linex_index": 0, "features": []}) + "\n", encoding="utf-8")
    with pytest.raises(StoreError, match="there is no word"):
        read_neurox(path)


def test_numbers_with_which_nothing_can_be_computed_are_named(tmp_path: Path) -> None:
    vectors = draw_vectors()
    vectors[4][2, 1, 3] = np.nan
    vectors[5][0, 1, 0] = np.inf
    path = write_hdf5(tmp_path / "a.hdf5", vectors)
    with pytest.raises(DataError) as caught:
        read_neurox(path)
    assert str(caught.value).splitlines()[1:] == ["  sentence 5, word 2 ('a')", "  sentence 6, word 2 ('a')"]
    vectors = draw_vectors()
    vectors[0][0, 2, 0] = 1e6
    path = write_hdf5(tmp_path / "b.hdf5", vectors)
    with pytest.raises(DataError, match=r"too large for float16.*\n  sentence 1, word 3 \('cat'\)"):
        read_neurox(path, dtype="float16")
    large = json_line(0, ("a", "b"), np.full((1, 2, 1), 1e39))
    (tmp_path / "c.json").write_text(large, encoding="utf-8")
    with pytest.raises(DataError, match="2 words have numbers that are not finite, or are too large for float32"):
        read_neurox(tmp_path / "c.json")
    wide = by_word(vectors)
    assert np.asarray(read_neurox(path).read("residual")).tobytes() == wide.tobytes()


def test_bfloat16_is_written_as_the_same_numbers_in_float32(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.hdf5", draw_vectors())
    store = read_neurox(path, dtype="bfloat16")
    write_neurox(store, tmp_path / "b.hdf5")
    again = read_neurox(tmp_path / "b.hdf5")
    assert again.read("residual").dtype == np.float32
    np.testing.assert_array_equal(again.matrix(), store.matrix())


def test_files_of_layers_that_do_not_belong_together(tmp_path: Path) -> None:
    vectors = draw_vectors()
    write_hdf5(tmp_path / "a-layer0.hdf5", [of_sentence[:1] for of_sentence in vectors])
    write_hdf5(tmp_path / "a-layer1.hdf5", [of_sentence[:1, :, :2] for of_sentence in vectors])
    write_hdf5(tmp_path / "a-layer2.hdf5", vectors[:3], KEYS[:3])
    with pytest.raises(StoreError) as caught:
        read_neurox(tmp_path / "a.hdf5")
    assert str(caught.value).splitlines()[1:] == [
        "  a-layer1.hdf5 holds 2 neurons of float32, a-layer0.hdf5 4 of float32",
        "  a-layer2.hdf5 holds 3 layers, but its name says that it holds one",
        "  a-layer2.hdf5 holds other sentences than a-layer0.hdf5",
    ]
    with pytest.raises(StoreError, match=r"none\.hdf5 does not exist, and neither do files of its layers"):
        read_neurox(tmp_path / "none.hdf5")


@pytest.mark.slow
def test_without_h5py_the_command_that_installs_it_is_said(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['h5py'] = None\n"
        "from lca_jax.exchange.neurox.convert import read_neurox\n"
        "from lca_jax.errors import MissingExtraError\n"
        "try:\n    read_neurox(sys.argv[1])\nexcept MissingExtraError as error:\n    print(error)\n"
    )
    path = write_hdf5(tmp_path / "a.hdf5", draw_vectors())
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert "pip install 'lca-jax[neurox]'" in done.stdout


def test_a_probe_is_fitted_to_a_converted_store(tmp_path: Path) -> None:
    from lca_jax.probing.fit import fit_probes
    from lca_jax.probing.objective import ElasticNet
    from tests.stores import planted_store

    planted = planted_store()
    write_neurox(planted, tmp_path / "a.hdf5")
    store: ActivationStore = read_neurox(
        tmp_path / "a.hdf5", text=tmp_path / "a.word", labels={"upos": tmp_path / "a.upos.label"}
    )
    assert store.labels("upos") == planted.labels("upos")
    settings = ElasticNet(l1=1e-2, l2=1e-2)
    ours, theirs = (fit_probes(each, settings).one("upos").weights for each in (planted, store))
    np.testing.assert_array_equal(ours, theirs)


def test_errors_are_of_the_package(tmp_path: Path) -> None:
    (tmp_path / "a.hdf5").write_bytes(b"no hdf5")
    with pytest.raises(LcaError, match="cannot be read as HDF5"):
        read_neurox(tmp_path / "a.hdf5")
    with pytest.raises(SettingsError, match="`shard_words` must be a multiple of 256"):
        read_neurox(tmp_path / "a.hdf5", shard_words=300)

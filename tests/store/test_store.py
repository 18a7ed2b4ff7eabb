"""The store by itself, with drawn vectors and no model: what is written is read, and what is damaged is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import ml_dtypes  # noqa: F401 - teaches NumPy the name bfloat16
import numpy as np
import pytest

from lca_jax.axes import LayerBlock
from lca_jax.errors import SettingsError, StoreError
from lca_jax.store.array import Index
from lca_jax.store.folder_writer import FolderWriter, find_finished
from lca_jax.store.recipe import StoreDtype
from lca_jax.store.store import open_store
from tests.store.writing import CORPUS, RECIPE, SITES, draw_vectors, hash_files, write_shard, write_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "whole"
    write_store(path)
    return path


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    write_store(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("dtype", get_args(StoreDtype))
@pytest.mark.parametrize("in_memory", [True, False])
def test_bits_come_back(tmp_path: Path, dtype: StoreDtype, in_memory: bool) -> None:
    recipe = replace(RECIPE, dtype=dtype)
    store = write_store(None if in_memory else tmp_path / "store", recipe)
    for site, expected in draw_vectors(recipe).items():
        held = store.read(site)
        assert (held.shape, held.dtype, len(held)) == (expected.shape, np.dtype(dtype), 50)
        assert np.asarray(held).tobytes() == expected.tobytes()
    wide = np.concatenate([vectors.astype(np.float32).reshape(50, -1) for vectors in draw_vectors(recipe).values()], 1)
    np.testing.assert_array_equal(store.matrix(), wide)


def test_says_what_it_holds(folder: Path) -> None:
    store = open_store(folder)
    assert store.sites == {"residual": (0, 2, 5), "mlp": (1,)}
    assert (store.word_count, store.tasks, store.excluded) == (50, ("upper",), {"no piece": 1})
    assert store.forms() == CORPUS.words()
    assert store.labels("upper") == CORPUS.flat_labels("upper")
    assert np.flatnonzero(~store.usable).tolist() == [2]
    assert store.words["sentence"].to_pylist() == [0] * 4 + [2] * 30 + [3] * 3 + [4] * 13
    assert store.words["position"].to_pylist() == [*range(4), *range(30), *range(3), *range(13)]
    assert store.words["pieces"].to_pylist()[:5] == [1, 2, 0, 1, 2]
    assert store.manifest.counts == {"sentences": 5, "words": 50, "vectors": 49}
    assert store.manifest.names["corpus"] == "drawn"
    assert store.fingerprint == RECIPE.fingerprint != replace(RECIPE, pool="mean").fingerprint
    manifest = json.loads((folder / "manifest.json").read_text())
    on_disk = hash_files(folder)
    on_disk.pop("manifest.json")
    assert {name: record["sha256"] for name, record in manifest["files"].items()} == on_disk
    store.verify()


def test_a_url_is_a_place_too(folder: Path) -> None:
    np.testing.assert_array_equal(open_store(f"file://{folder}").matrix(), open_store(folder).matrix())
    with pytest.raises(SettingsError, match="nowhere"):
        open_store("nowhere://bucket/run")


@pytest.mark.parametrize(
    "index",
    [
        3,
        -1,
        slice(10, 40, 7),
        slice(None, None, -1),
        slice(40, 20),
        (slice(None), 1),
        (..., 3),
        (slice(5, 9), slice(None), [0, -1]),
        (np.array([49, 0, 17, 17]), 2),
        np.arange(50) % 3 == 0,
        (np.zeros(0, int), 0),
        (7, 1, 2),
        (np.int64(4), slice(None), slice(2, 5)),
    ],
)
def test_slices_like_numpy(folder: Path, index: Index) -> None:
    expected = draw_vectors(RECIPE)["residual"][index]
    read = open_store(folder).read("residual")[index]
    assert read.shape == expected.shape
    np.testing.assert_array_equal(read, expected)


def test_wrong_slices_are_refused(folder: Path) -> None:
    held = open_store(folder).read("residual")
    for index in (50, -51, (0, 3), [0, 50], np.ones(49, bool), (0, 0, 0, 0)):
        with pytest.raises(IndexError):
            held[index]
    with pytest.raises(SettingsError, match="One array of positions"):
        held[[0, 1], [0, 1]]


@pytest.mark.parametrize("in_memory", [True, False])
def test_matrix_columns_are_those_of_the_axis(folder: Path, in_memory: bool) -> None:
    store = write_store(None) if in_memory else open_store(folder)
    vectors = draw_vectors(RECIPE)
    rows = np.array([49, 3, 3, 0, 31])
    for words, kept in ((None, slice(None)), (rows, rows), (store.usable, store.usable), ([], [])):
        for sites, layers in ((None, None), (["mlp"], None), (["mlp", "residual"], {"residual": [5, 0]})):
            matrix, axis = store.matrix(words, sites=sites, layers=layers), store.axis(sites, layers)
            assert matrix.flags.c_contiguous
            assert matrix.dtype == np.float32
            columns = [
                vectors[block.site][:, store.sites[block.site].index(block.layer)].astype(np.float32)
                for block in axis.blocks
            ]
            np.testing.assert_array_equal(matrix, np.concatenate(columns, axis=1)[kept])
    assert store.axis(["residual"], [2]).blocks == (LayerBlock("residual", 2, 8),)


def test_memory_is_not_copied_where_it_need_not_be() -> None:
    store = write_store(None)
    matrix = store.matrix(sites=["residual"])
    assert np.shares_memory(matrix, store.read("residual")[:])
    with pytest.raises(ValueError, match="read-only"):
        matrix[0, 0] = 1


def test_unknown_names_list_the_known_ones(folder: Path) -> None:
    store = open_store(folder)
    with pytest.raises(SettingsError, match=r"no site 'attention' in .*Its sites: residual, mlp"):
        store.read("attention")
    with pytest.raises(SettingsError, match=r"'upos'.*Its tasks: upper"):
        store.labels("upos")
    with pytest.raises(
        SettingsError, match=r"Layers of `residual` in .* are 0, 2, 5; name at least one, each once\. Got 1, 2\."
    ):
        store.matrix(sites=["residual"], layers=[1, 2])
    with pytest.raises(SettingsError, match="run from 0 to 49, got 50"):
        store.matrix(np.array([50]))
    with pytest.raises(SettingsError, match="one value for each of 50 words, got 49"):
        store.matrix(np.ones(49, bool))


def test_goes_on_from_the_last_whole_shard(tmp_path: Path, folder: Path) -> None:
    with FolderWriter(tmp_path / "store", RECIPE) as interrupted:
        for shard in (3, 0):
            write_shard(interrupted, RECIPE, shard)
    with pytest.raises(StoreError, match="unfinished"):
        open_store(tmp_path / "store")
    assert find_finished(tmp_path / "store", RECIPE) is None
    # A shard whose file is there, but which was not recorded, is not trusted.
    damaged = tmp_path / "store/residual/c/1/0/0"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"half")
    with FolderWriter(tmp_path / "store", RECIPE) as writer:
        assert writer.missing == {1, 2}
    write_store(tmp_path / "store")
    assert hash_files(tmp_path / "store") == hash_files(folder)


def test_another_recipe_is_refused_by_name(tmp_path: Path, folder: Path) -> None:
    other = replace(RECIPE, model="n" * 64, pool="mean", sites={"mlp": SITES["mlp"]})
    differs = (
        r"model: the store has mmm.*requested nnn.*sites: the store has residual \[0, 2, 5\] of 8.*"
        "pool: the store has 'last', requested 'mean'"
    )
    with pytest.raises(StoreError, match=differs):
        find_finished(folder, other)
    FolderWriter(tmp_path / "begun", RECIPE).close()
    with pytest.raises(StoreError, match=differs):
        FolderWriter(tmp_path / "begun", other)
    (tmp_path / "begun/unfinished/recipe.json").write_text('{"model": 1}')
    with pytest.raises(StoreError, match=r"recipe\.json breaks its format"):
        FolderWriter(tmp_path / "begun", RECIPE)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis.tex").write_text("do not touch")
    with pytest.raises(StoreError, match=r"not an activation store \(thesis\.tex"):
        FolderWriter(tmp_path / "home", RECIPE)


def test_altered_shard_is_refused_with_its_name(copy: Path) -> None:
    shard = copy / "residual/c/1/0/0"
    content = bytearray(shard.read_bytes())
    content[40] ^= 1
    shard.write_bytes(content)
    store = open_store(copy)
    np.testing.assert_array_equal(store.read("residual")[:16], draw_vectors(RECIPE)["residual"][:16])
    for read in (lambda: store.read("residual")[20], store.matrix, lambda: np.asarray(store.read("residual"))):
        with pytest.raises(StoreError, match=r"copy/residual/c/1/0/0 was altered"):
            read()
    with pytest.raises(StoreError, match=r"residual/c/1/0/0 was altered \(.* SHA-256"):
        store.verify()


def test_altered_words_are_refused(copy: Path) -> None:
    words = copy / "words.parquet"
    content = bytearray(words.read_bytes())
    content[100] ^= 1
    words.write_bytes(content)
    with pytest.raises(StoreError, match=r"words\.parquet was altered"):
        open_store(copy)


def test_truncated_and_missing_shards_are_refused_with_their_names(copy: Path) -> None:
    truncated, missing = copy / "mlp/c/2/0/0", copy / "residual/c/3/0/0"
    truncated.write_bytes(truncated.read_bytes()[:-1])
    missing.unlink()
    with pytest.raises(StoreError, match=r"mlp/c/2/0/0 is shorter .*residual/c/3/0/0 is missing"):
        open_store(copy)


def test_shard_that_vanishes_later_is_no_block_of_zeros(copy: Path) -> None:
    store = open_store(copy)
    (copy / "mlp/c/2/0/0").unlink()
    with pytest.raises(StoreError, match="mlp/c/2/0/0 is missing"):
        store.matrix()
    with pytest.raises(StoreError, match="mlp/c/2/0/0 is missing"):
        store.verify()


def test_other_formats_and_no_store_at_all(copy: Path, tmp_path: Path) -> None:
    manifest = copy / "manifest.json"
    text = manifest.read_text()
    older = {key: value for key, value in json.loads(text).items() if key != "checksum"} | {"format": 1}
    manifest.write_text(json.dumps(older))
    with pytest.raises(StoreError, match=r"has format 1, .* reads format 2"):
        open_store(copy)
    manifest.write_text(text[:-50])
    with pytest.raises(StoreError, match="breaks its format"):
        open_store(copy)
    with pytest.raises(StoreError, match="not an activation store"):
        open_store(tmp_path / "nothing")

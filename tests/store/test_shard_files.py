"""Shards read past tensorstore: the same numbers, and what is damaged is named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lca_jax.errors import StoreError
from lca_jax.machine.folders import open_folder
from lca_jax.store import array, folder, shard_files
from lca_jax.store.recipe import StoreDtype
from lca_jax.store.store import ActivationStore, open_store
from tests.store.writing import RECIPE, draw_vectors, write_store

CHUNK = 8


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two chunks a shard, and threads for a few bytes."""
    for module in (folder, array, shard_files):
        monkeypatch.setattr(module, "CHUNK_WORDS", CHUNK)
    monkeypatch.setattr(shard_files, "THREADS", 3)
    monkeypatch.setattr(shard_files, "BYTES_A_THREAD", 500)


def side_by_side(vectors: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([array.reshape(len(array), -1) for array in vectors.values()], axis=1).astype(np.float32)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_any_words_in_any_order_and_as_often_as_wanted(tmp_path: Path, dtype: StoreDtype) -> None:
    recipe = replace(RECIPE, dtype=dtype)
    store = write_store(tmp_path / "store", recipe)
    expected = side_by_side(draw_vectors(recipe))
    generator = np.random.default_rng(0)
    for rows in (
        None,
        np.arange(5, 43),
        np.array([49]),
        np.array([], int),
        generator.permutation(50),
        generator.integers(0, 50, 200),
        np.arange(49, -1, -1),
    ):
        np.testing.assert_array_equal(store.matrix(rows), expected if rows is None else expected[rows])
    np.testing.assert_array_equal(
        store.matrix(sites=["residual"], layers=[5, 0]), expected[:, [*range(16, 24), *range(8)]]
    )


def test_tensorstore_reads_the_same(tmp_path: Path) -> None:
    write_store(tmp_path / "store")
    rows = np.random.default_rng(1).integers(0, 50, 90)
    ours, theirs = (np.empty((90, 2, 8), np.float32) for _ in range(2))
    shards = shard_files.ShardFiles(
        tmp_path / "store", "residual", layers=3, width=8, dtype=np.dtype("float32"), shard_words=RECIPE.shard_words
    )
    shards.read_into(ours, words=rows, layers=[0, 2])
    through_tensorstore = array.LazyArray(folder.open_array(open_folder(tmp_path / "store"), "residual"))
    through_tensorstore.read_into(theirs, words=rows, layers=[0, 2])
    assert ours.tobytes() == theirs.tobytes()


def flip(place: int) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        altered = bytearray(content)
        altered[place] ^= 1
        return bytes(altered)

    return damage


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (flip(40), "was altered since it was written"),
        (flip(-1), "was altered since it was written"),
        (flip(-40), "was altered since it was written"),
        (lambda content: content[:100], "was altered since it was written"),
        (lambda content: b"", "was altered since it was written"),  # noqa: ARG005
        (None, "is missing"),
    ],
)
def test_a_damaged_shard_is_named(tmp_path: Path, damage: Callable[[bytes], bytes] | None, found: str) -> None:
    write_store(tmp_path / "store")
    store: ActivationStore = open_store(tmp_path / "store")
    shard = tmp_path / "store/residual/c/1/0/0"
    if damage is None:
        shard.unlink()
    else:
        shard.write_bytes(damage(shard.read_bytes()))
    store.matrix(np.arange(16))
    with pytest.raises(StoreError, match=rf"store/residual/c/1/0/0 {found}.*[Rr]estore the file from a copy"):
        store.matrix()
    shard.unlink(missing_ok=True)
    shard.mkdir()
    with pytest.raises(StoreError, match=r"store/residual/c/1/0/0 cannot be read"):
        store.matrix(np.arange(20, 24))

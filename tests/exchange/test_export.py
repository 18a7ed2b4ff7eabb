"""Stores written for other programs, read back by those programs' own libraries."""

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import ml_dtypes  # noqa: F401 - teaches NumPy the name bfloat16
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from safetensors import safe_open

from lca_jax.errors import SettingsError, StoreError
from lca_jax.exchange.export import write_arrow, write_safetensors
from lca_jax.store import in_order
from lca_jax.store.recipe import Recipe, StoreDtype
from tests.store.writing import RECIPE, draw_vectors, write_store


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that 50 words are several stretches."""
    monkeypatch.setattr(in_order, "WORDS_AT_ONCE", 16)


@pytest.mark.parametrize("dtype", get_args(StoreDtype))
def test_arrow_has_the_words_and_a_column_for_every_layer(tmp_path: Path, dtype: StoreDtype) -> None:
    recipe = replace(RECIPE, dtype=dtype)
    store = write_store(tmp_path / "store", recipe)
    path = write_arrow(store, tmp_path / "a.arrow")
    with pa.ipc.open_stream(path.read_bytes()) as reader:
        table = reader.read_all()
    assert table.select(store.words.column_names).equals(store.words.replace_schema_metadata(table.schema.metadata))
    assert table.column_names[len(store.words.column_names) :] == ["residual:0", "residual:2", "residual:5", "mlp:1"]
    for site, vectors in draw_vectors(recipe).items():
        for position, layer in enumerate(recipe.sites[site].layers):
            column = table[f"{site}:{layer}"].combine_chunks()
            assert column.type == pa.list_(pa.float16() if dtype == "float16" else pa.float32(), vectors.shape[2])
            held = np.stack(column.to_numpy(zero_copy_only=False))
            np.testing.assert_array_equal(held, vectors[:, position].astype(held.dtype))
    origin = json.loads(table.schema.metadata[b"lca_jax"])
    assert Recipe.from_json(origin["recipe"]) == recipe
    assert origin["names"] == store.manifest.names


def test_datasets_reads_the_arrow_file(tmp_path: Path) -> None:
    path = write_arrow(write_store(None), tmp_path / "a.arrow")
    rows = Dataset.from_file(str(path)).with_format("numpy")
    np.testing.assert_array_equal(rows["residual:5"][:], draw_vectors(RECIPE)["residual"][:, 2])
    assert rows.column_names[:3] == ["sentence", "position", "form"]


@pytest.mark.parametrize("dtype", get_args(StoreDtype))
def test_safetensors_holds_every_number(tmp_path: Path, dtype: StoreDtype) -> None:
    recipe = replace(RECIPE, dtype=dtype)
    store = write_store(tmp_path / "store", recipe)
    files = write_safetensors(store, tmp_path / "a.safetensors")
    assert [path.name for path in files] == ["a.safetensors", "a.parquet"]
    with safe_open(files[0], framework="numpy") as file:
        held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        metadata = file.metadata()
    for site, vectors in draw_vectors(recipe).items():
        assert (held[site].shape, held[site].tobytes()) == (vectors.shape, vectors.tobytes())
        assert held[f"{site}.layers"].tolist() == list(recipe.sites[site].layers)
    assert held["sentence"].tolist() == store.words["sentence"].to_pylist()
    assert held["usable"].tolist() == store.usable.tolist()
    classes = json.loads(metadata["classes"])["upper"]
    assert classes == sorted(set(classes))
    labels = [None if number == -1 else classes[number] for number in held["label:upper"]]
    assert labels == store.labels("upper")
    assert None in labels
    assert Recipe.from_json(json.loads(metadata["lca_jax"])["recipe"]) == recipe
    assert pq.read_table(files[1]).equals(store.words)
    assert len(held) == 7


def test_names_say_the_kind_and_nothing_is_overwritten(tmp_path: Path) -> None:
    store = write_store(None)
    with pytest.raises(SettingsError, match=r"must end in \.arrow, got a\.parquet"):
        write_arrow(store, tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_text("mine")
    with pytest.raises(StoreError, match=r"a\.parquet: there already"):
        write_safetensors(store, tmp_path / "a.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
    assert (tmp_path / "a.parquet").read_text() == "mine"

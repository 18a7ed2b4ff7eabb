"""Stores in an object store: `s3://` against a local server. `gs://` goes the same way through tensorstore."""

import json
import os
from collections.abc import Iterator

import numpy as np
import pytest

from lca_jax.cli.show import show
from lca_jax.errors import StoreError
from lca_jax.machine.folders import open_folder, read_file, write_file
from lca_jax.machine.urls import is_there
from lca_jax.store import lock
from lca_jax.store.folder_writer import FolderWriter, find_finished
from lca_jax.store.store import open_store
from tests.object_store import BUCKET, running_server
from tests.store.writing import RECIPE, draw_vectors, write_shard, write_store


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with running_server() as environment:
        yield environment


@pytest.fixture
def place(server: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(lock, "BEAT_S", 0.2)
    monkeypatch.setattr(lock, "WATCH_S", 2.0)
    return f"{BUCKET}/runs/{request.node.name}"


def test_a_bucket_is_a_place(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StoreError, match=f"{place} is not an activation store"):
        open_store(place)
    store = write_store(place)
    for site, expected in draw_vectors(RECIPE).items():
        np.testing.assert_array_equal(store.read(site)[:], expected)
    again = find_finished(place, RECIPE)
    assert again is not None
    assert again.place == place
    rows = np.array([49, 3, 31])
    np.testing.assert_array_equal(again.matrix(rows), write_store(None).matrix(rows))
    again.verify()
    show(place, verify=True)
    assert "50 words, residual [0, 2, 5]; mlp [1], every checksum right" in capsys.readouterr().out


def test_what_is_there_is_told_without_reading_it(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(open_folder(place), "large", b"0" * 100)

    def refuse(*_: object) -> bytes:
        raise AssertionError("the whole object was read")

    monkeypatch.setattr("lca_jax.machine.remote.read_file", refuse)
    assert is_there(f"{place}/large")
    assert not is_there(f"{place}/larg")
    assert not is_there(f"{place}/large/")
    assert not is_there(place)


def test_a_stopped_run_goes_on(place: str) -> None:
    with FolderWriter(place, RECIPE) as writer:
        for shard in (3, 0):
            write_shard(writer, RECIPE, shard)
    with pytest.raises(StoreError, match="unfinished"):
        open_store(place)
    with FolderWriter(place, RECIPE) as writer:
        assert writer.missing == {1, 2}
    store = write_store(place)
    np.testing.assert_array_equal(store.matrix(), write_store(None).matrix())
    folder = open_folder(place)
    assert not [key for key in folder.list().result() if key.startswith(b"unfinished")]


def test_the_second_writer_hears_who_holds_the_bucket(place: str) -> None:
    first = FolderWriter(place, RECIPE)
    with pytest.raises(StoreError, match=f"{place} is being written by process {os.getpid()} on"):
        FolderWriter(place, RECIPE)
    folder, name = open_folder(place), "unfinished/lock-0"
    left = read_file(folder, name) or b""
    assert "beat" in json.loads(left)
    first.close()
    write_file(folder, name, left)  # as if it had been killed
    write_store(place).verify()


def test_altered_objects_are_found_and_named(place: str) -> None:
    store, folder = write_store(place), open_folder(place)
    name = "residual/c/1/0/0"
    content = bytearray(read_file(folder, name) or b"")
    content[40] ^= 1
    write_file(folder, name, bytes(content))
    with pytest.raises(StoreError, match=f"{name} was altered"):
        store.verify()
    with pytest.raises(StoreError, match=rf"{name} was altered .*{place}"):
        store.read("residual")[20]
    write_file(folder, name, bytes(content[:-1]))
    with pytest.raises(StoreError, match=f"{name} is shorter"):
        open_store(place)
    folder.write(name, None).result()
    with pytest.raises(StoreError, match=f"{name} is missing"):
        open_store(place)
    with pytest.raises(StoreError, match=f"{name} is missing"):
        store.matrix()


def test_other_things_in_the_bucket_are_left_alone(place: str) -> None:
    write_file(open_folder(place), "thesis.tex", b"do not touch")
    with pytest.raises(StoreError, match=r"not an activation store \(thesis\.tex"):
        FolderWriter(place, RECIPE)

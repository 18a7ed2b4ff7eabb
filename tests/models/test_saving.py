"""A model in our own format: written whole or not at all, and refused where its parts do not belong together."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import pytest

from lca_jax.errors import ModelError
from lca_jax.models.load import load_model
from lca_jax.models.loading.folders import tokenizer_content
from lca_jax.models.model import Model
from tests.tiny_bert import write_bert

WRITES = ("mkdir", "rename", "replace", "unlink", "remove", "rmdir", "fsync")
"""Functions of `os` that every write, rename and removal goes through at least once."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Model]:
    """Two models that differ in their parameters, their sizes and their tokenizers."""
    parent = tmp_path_factory.mktemp("models")
    first = load_model(write_bert(parent / "first"))
    vocabulary = write_bert(parent / "second", seed=1, intermediate_size=24) / "vocab.txt"
    vocabulary.write_text(vocabulary.read_text().replace("cat", "dog"))
    return first, load_model(parent / "second")


def is_same(model: Model, other: Model) -> bool:
    leaves, others = jax.tree.leaves(model.params), jax.tree.leaves(other.params)
    return (
        (model.config, model.fingerprint, model.rules) == (other.config, other.fingerprint, other.rules)
        and tokenizer_content(model.tokenizer) == tokenizer_content(other.tokenizer)
        and all(np.array_equal(ours, theirs) for ours, theirs in zip(leaves, others, strict=True))
    )


@contextmanager
def copies_between_writes(folder: Path, copies: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Copies a folder before every write inside the block: what a kill at that moment would leave to a reader.

    Files that are still being written under another name are left out: no reader opens them. Equal copies are made
    once.
    """
    fingerprints = set()

    def copy() -> None:
        files = sorted(path for path in folder.rglob("*") if path.is_file() and ".unfinished" not in str(path))
        state = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)
        if state in fingerprints:
            return
        fingerprints.add(state)
        shutil.copytree(folder, copies / str(len(fingerprints)), ignore=shutil.ignore_patterns("*.unfinished"))

    def watch(write: Callable) -> Callable:
        def copy_and_write(*arguments, **settings):
            monkeypatch.undo()
            try:
                copy()
            finally:
                install()
            return write(*arguments, **settings)

        return copy_and_write

    originals = {name: getattr(os, name) for name in WRITES}

    def install() -> None:
        for name, write in originals.items():
            monkeypatch.setattr(os, name, watch(write))

    install()
    yield
    monkeypatch.undo()
    copy()


def test_a_flipped_bit_in_any_file_is_found_and_named(models: tuple[Model, Model], tmp_path: Path) -> None:
    model, _ = models
    model.save(tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size)
    assert len(files) > 5
    for place, file in enumerate(files):
        content = bytearray(file.read_bytes())
        content[len(content) * place // len(files)] ^= 1 << place % 8
        whole = file.read_bytes()
        file.write_bytes(content)
        with pytest.raises(ModelError, match=r"stack\.json|was altered") as refused:
            load_model(tmp_path)
        assert file.name in str(refused.value)
        file.write_bytes(whole)
    assert is_same(load_model(tmp_path), model)


def save_as_format_1(model: Model, folder: Path) -> None:
    """Writes a model as the first release of the format did."""
    model.save(folder)
    content = json.loads((folder / "stack.json").read_text())
    parts = folder / content.pop("parts")
    for path in (parts / "tokenizer").iterdir():
        path.rename(folder / path.name)
    (parts / "params").rename(folder / "params")
    (parts / "tokenizer").rmdir()
    parts.rmdir()
    (folder / "stack.json").write_text(json.dumps(content | {"format": 1}))


@pytest.mark.parametrize("before", [Model.save, save_as_format_1])
def test_a_kill_between_any_two_writes_leaves_the_old_model_or_the_new(
    models: tuple[Model, Model], before: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = models
    folder, copies = tmp_path / "saved", tmp_path / "copies"
    before(old, folder)
    with copies_between_writes(folder, copies, monkeypatch):
        new.save(folder)
    opened = [load_model(copies / str(number + 1)) for number in range(len(list(copies.iterdir())))]
    states = ["old" if is_same(model, old) else "new" if is_same(model, new) else "mixed" for model in opened]
    assert set(states) == {"old", "new"}, states
    assert states == sorted(states, reverse=True), states


def test_a_model_of_format_1_is_opened(models: tuple[Model, Model], tmp_path: Path) -> None:
    model, _ = models
    save_as_format_1(model, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"stack.json", "params", "tokenizer_config.json"}
    assert is_same(load_model(tmp_path), model)


def test_saving_again_leaves_one_model_and_nothing_of_killed_saves(models: tuple[Model, Model], tmp_path: Path) -> None:
    model, other = models
    other.save(tmp_path)
    model.save(tmp_path)
    (tmp_path / ".parts-0123456789abcdef.unfinished").mkdir()
    (tmp_path / "parts-0123456789abcdef").mkdir()
    (tmp_path / "notes.txt").write_text("not ours")
    model.save(tmp_path)
    (parts,) = tmp_path.glob("*parts-*")
    assert {path.name for path in tmp_path.iterdir()} == {"stack.json", "notes.txt", parts.name}
    assert {path.name for path in parts.iterdir()} == {"params", "tokenizer"}
    assert is_same(load_model(tmp_path), model)


def test_parts_that_do_not_belong_together_are_refused_by_name(models: tuple[Model, Model], tmp_path: Path) -> None:
    first, second = models
    first.save(tmp_path / "first")
    second.save(tmp_path / "second")
    other = (tmp_path / "second" / "stack.json").read_text()
    description = json.loads((tmp_path / "first" / "stack.json").read_text())
    parts = description["parts"]
    (tmp_path / "first" / "stack.json").write_text(other)
    with pytest.raises(ModelError, match=r"stack\.json names parts-.*, which is not in the folder: .* another save"):
        load_model(tmp_path / "first")
    mixed = json.loads(other) | {"parts": parts}
    (tmp_path / "first" / "stack.json").write_text(json.dumps(mixed))
    with pytest.raises(ModelError, match=r"stack\.json was altered since it was written: its checksum does not fit"):
        load_model(tmp_path / "first")
    without = {name: value for name, value in mixed.items() if name not in ("files", "checksum")}
    (tmp_path / "first" / "stack.json").write_text(json.dumps(without | {"format": 2}))
    with pytest.raises(ModelError, match=rf"stack\.json and {parts} do not belong together.*Save the model again"):
        load_model(tmp_path / "first")
    (tmp_path / "first" / "stack.json").write_text(json.dumps(description))
    shutil.rmtree(tmp_path / "first" / parts / "params")
    with pytest.raises(ModelError, match=rf"{parts} is damaged: params/.* is missing"):
        load_model(tmp_path / "first")
    shutil.rmtree(tmp_path / "first" / parts)
    with pytest.raises(ModelError, match=rf"names {parts}, which is not in the folder: files are missing"):
        load_model(tmp_path / "first")

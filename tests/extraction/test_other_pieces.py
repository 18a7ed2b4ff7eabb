"""Texts that another version of a package cuts otherwise: the store says which word, and which versions cut it.

The other version is one whose record of the reference words lies in the folder: no two versions are installed at once.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from lca_jax.errors import StoreError
from lca_jax.extraction.extract import extract
from lca_jax.machine.versions import package_versions
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.store.folder_writer import FolderWriter
from lca_jax.store.store import ActivationStore, open_store
from lca_jax.text.other_pieces import SPECIAL, tell_other_pieces
from lca_jax.text.reference import REFERENCE_WORDS, reference_pieces
from tests.extraction.corpora import draw_corpus
from tests.store.writing import hash_files
from tests.tiny_bert import write_bert

OLDER = {"tokenizers": "0.1.0", "transformers": package_versions(["transformers"])["transformers"]}
CORPUS = draw_corpus(10)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_bert(tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def store(model: Model, tmp_path_factory: pytest.TempPathFactory) -> ActivationStore:
    return extract(model, CORPUS, tmp_path_factory.mktemp("stores") / "store")


def cut_otherwise(store: ActivationStore) -> Mapping[str, str]:
    pieces = store.manifest.recipe.pieces
    assert pieces is not None
    return {**pieces, "x_y": "x_ y"}


def keep_manifest(store: ActivationStore, folder: Path, pieces: Mapping[str, str] | None) -> None:
    recipe = replace(store.manifest.recipe, pieces=pieces)
    folder.mkdir()
    manifest = replace(store.manifest, recipe=recipe, versions=OLDER)
    (folder / "manifest.json").write_text(manifest.to_text(), encoding="utf-8")


def test_pieces_are_those_of_each_word_in_its_sentence(model: Model) -> None:
    pieces = reference_pieces(model.tokenizer)
    assert list(pieces) == [SPECIAL, *REFERENCE_WORDS]
    assert pieces[SPECIAL] == "[CLS] … [SEP]"
    for word in REFERENCE_WORDS:  # BERT's pieces of a word do not depend on the words beside it
        assert pieces[word] == " ".join(model.tokenizer.tokenize(word)), word
    assert pieces["The"] == "the"
    assert pieces["x_y"] == "x [UNK] y"


def test_a_whole_store_tells_a_word_that_is_cut_otherwise(store: ActivationStore, model: Model, tmp_path: Path) -> None:
    keep_manifest(store, tmp_path / "other", cut_otherwise(store))
    before = hash_files(tmp_path / "other")
    with pytest.raises(StoreError) as told:
        extract(model, CORPUS, tmp_path / "other")
    here = package_versions(["tokenizers"])["tokenizers"]
    assert str(told.value).splitlines() == [
        f"{tmp_path / 'other'} was made from something else: pieces: `x_y` was cut into `x_ y`, now `x [UNK] y`. "
        f"It was made with tokenizers 0.1.0 ({here} here). Give another folder, or delete this one to make it anew."
    ]
    assert hash_files(tmp_path / "other") == before


def test_an_unfinished_store_is_not_gone_on_with(store: ActivationStore, model: Model, tmp_path: Path) -> None:
    recipe = store.manifest.recipe
    FolderWriter(tmp_path, recipe).close()
    begun = tmp_path / "unfinished/recipe.json"
    content = json.loads(begun.read_text())
    assert content["versions"]["tokenizers"] == package_versions(["tokenizers"])["tokenizers"]
    begun.write_text(json.dumps({**content, "pieces": dict(cut_otherwise(store)), "versions": OLDER}))
    with pytest.raises(StoreError, match=r"`x_y` was cut into `x_ y`.* made with tokenizers 0\.1\.0 \("):
        extract(model, CORPUS, tmp_path)
    del content["versions"]  # as an earlier version began it
    begun.write_text(json.dumps(content))
    extract(model, CORPUS, tmp_path)
    assert open_store(tmp_path).manifest.recipe == recipe


def test_stores_without_a_record_are_taken_as_before(store: ActivationStore, model: Model, tmp_path: Path) -> None:
    keep_manifest(store, tmp_path / "older", None)
    assert '"pieces"' not in (tmp_path / "older/manifest.json").read_text()
    store.manifest.recipe.refuse_other(
        replace(store.manifest.recipe, pieces=None), place="a store", made_with=store.manifest.versions
    )
    with pytest.raises(StoreError, match="pool: the store has") as other:
        extract(model, CORPUS, tmp_path / "older", pool="first")
    assert "pieces" not in str(other.value)


def test_a_difference_is_counted() -> None:
    before = {SPECIAL: "[CLS] … [SEP]", "a": "a", "b": "b"}
    assert tell_other_pieces(before, before) is None
    assert tell_other_pieces(before, {**before, "new": "x"}) is None
    assert tell_other_pieces(before, {**before, "b": "b b"}) == "`b` was cut into `b`, now `b b`"
    told = tell_other_pieces(before, {SPECIAL: "…", "a": "A", "b": "B"})
    assert told == "special pieces were `[CLS] … [SEP]`, now `…` (2 more reference words differ)"

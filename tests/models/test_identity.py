"""The fingerprint of a model is that of the parameters that it has, however it came to them."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from lca_jax.errors import ModelError, StoreError
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.models.loading.identity import HashedParams
from lca_jax.models.model import Model
from tests.extraction.corpora import draw_corpus
from tests.tiny_bert import write_bert


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_bert(tmp_path_factory.mktemp("bert")))


def tuned(model: Model) -> object:
    return jax.tree.map(lambda array: array + array.dtype.type(0.5), model.params)


def test_the_hash_of_reading_is_the_hash_of_the_parameters(model: Model) -> None:
    assert model.hashed is not None
    assert model.hashed.digest == HashedParams.of(model.params).digest


def test_other_parameters_are_another_model(model: Model) -> None:
    other = model.with_params(tuned(model))
    assert other.fingerprint == replace(model, params=tuned(model)).fingerprint != model.fingerprint
    assert other.with_params(model.params).fingerprint == model.fingerprint
    assert replace(model, name="renamed").fingerprint == model.fingerprint


def test_parameters_changed_in_place_are_another_model(model: Model) -> None:
    changed = replace(model, params=jax.tree.map(lambda array: array, model.params))
    assert changed.fingerprint == model.fingerprint
    first = next(iter(changed.params))
    changed.params[first] = jax.tree.map(lambda array: -array, changed.params[first])
    assert changed.fingerprint != model.fingerprint


def test_a_store_is_never_taken_for_that_of_tuned_parameters(model: Model, tmp_path: Path) -> None:
    corpus = draw_corpus(10)
    base = extract(model, corpus, tmp_path / "store").matrix()
    with pytest.raises(StoreError, match="was made from something else: model: the store has"):
        extract(replace(model, params=tuned(model)), corpus, tmp_path / "store")
    assert np.abs(extract(model.with_params(tuned(model)), corpus).matrix() - base).max() > 0.01


def test_a_saved_model_is_known_by_what_was_loaded(model: Model, tmp_path: Path) -> None:
    other = model.with_params(tuned(model))
    other.save(tmp_path)
    assert load_model(tmp_path).fingerprint == other.fingerprint


def test_parameters_of_another_shape_are_refused(model: Model) -> None:
    shorter = jax.tree.map(lambda array: array[:1], model.params)
    with pytest.raises(ModelError, match=r"The parameter `.*` of the model must be float32 \(.*, got float32 \(1"):
        model.with_params(shorter)
    with pytest.raises(ModelError, match="got none"):
        model.with_params({})

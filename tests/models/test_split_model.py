"""Models split over devices, and saved and loaded in our own format: the same states on every mesh."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from lca_jax.axes import SITES
from lca_jax.errors import ModelError, SettingsError
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.models.loading.folders import tokenizer_content
from lca_jax.models.model import Model
from lca_jax.text.corpus import Corpus
from tests.tiny_bert import draw_windows, pack, write_bert
from tests.tiny_models import TINY, write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"))


def run(model: Model) -> dict[str, np.ndarray]:
    batch, _ = pack(draw_windows([5, 9, 16, 12]), slots=16, alone=True)
    states = jax.jit(lambda params: model.forward(params, batch, sites=SITES))(model.params)
    return jax.tree.map(np.asarray, states)


def assert_same(states: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    for site in SITES:
        np.testing.assert_allclose(states[site], expected[site], rtol=0, atol=1e-5)


@pytest.mark.parametrize("parts", [2, 8])
def test_split_over_devices_gives_the_same_states(folder: Path, parts: int) -> None:
    whole, split = load_model(folder), load_model(folder, split_over=parts)
    assert split.fingerprint == whole.fingerprint
    kernels = [split.params["blocks"][0]["mlp"][name]["kernel"] for name in ("expand", "contract")]
    assert [kernel.addressable_shards[0].data.size for kernel in kernels] == [32 * 40 // parts] * 2
    assert_same(run(split), run(whole))


def test_extraction_with_a_split_model(folder: Path) -> None:
    corpus = Corpus.from_words([["the", "cat", "sat"], ["cats"], ["the", "the"]])
    ours = extract(load_model(folder, split_over=4), corpus, row_length=16).read("residual")[:]
    np.testing.assert_allclose(ours, extract(load_model(folder), corpus, row_length=16).read("residual")[:], atol=1e-5)


def test_random_weights_do_not_depend_on_the_devices(folder: Path) -> None:
    assert_same(run(load_model(folder, random_weights=3, split_over=2)), run(load_model(folder, random_weights=3)))


def test_number_of_parts_that_does_not_divide_the_devices(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"a number of devices that divides 8, got 3"):
        load_model(folder, split_over=3)


@pytest.mark.parametrize(("before", "after"), [(1, 1), (1, 4), (8, 2)])
def test_saved_model_is_loaded_on_another_mesh(folder: Path, tmp_path: Path, before: int, after: int) -> None:
    model = load_model(folder, split_over=before)
    model.save(tmp_path / "saved")
    again = load_model(tmp_path / "saved", split_over=after)
    assert again.config == model.config
    assert (again.fingerprint, again.max_pieces, again.random_weights) == (model.fingerprint, model.max_pieces, None)
    assert tokenizer_content(again.tokenizer) == tokenizer_content(model.tokenizer)
    for ours, theirs in zip(jax.tree.leaves(again.params), jax.tree.leaves(model.params), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert_same(run(again), run(model))


def test_saved_model_takes_no_other_choice_and_says_what_is_damaged(folder: Path, tmp_path: Path) -> None:
    load_model(folder).save(tmp_path)
    with pytest.raises(ModelError, match="is loaded as it was saved"):
        load_model(tmp_path, dtype="bfloat16")
    description = json.loads((tmp_path / "stack.json").read_text())
    (tmp_path / "stack.json").write_text(json.dumps(description | {"format": 99}))
    with pytest.raises(ModelError, match=r"stack\.json cannot be read as a saved model: .*format is 99, not "):
        load_model(tmp_path)
    description["config"]["layers"] = 3
    (tmp_path / "stack.json").write_text(json.dumps(description))
    with pytest.raises(ModelError, match=r"stack\.json was altered since it was written"):
        load_model(tmp_path)
    (tmp_path / description["parts"] / "params").rename(tmp_path / "params")
    (tmp_path / "stack.json").write_text(json.dumps(description | {"format": 1}))
    for file in (tmp_path / description["parts"] / "tokenizer").iterdir():
        file.rename(tmp_path / file.name)
    with pytest.raises(ModelError, match=r"params does not hold the parameters of stack\.json"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["deberta-v2", "gemma2", "llama, stretched, tied, biased", "mpnet", "xlnet"])
def test_description_of_every_kind_of_stack_is_read_back(tmp_path: Path, name: str) -> None:
    pytest.importorskip("torch")
    write_model(tmp_path / "theirs", TINY[next(key for key in TINY if key.startswith(name))])
    model = load_model(tmp_path / "theirs", head=True)
    model.save(tmp_path / "ours")
    assert load_model(tmp_path / "ours").config == model.config

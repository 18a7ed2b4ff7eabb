"""One rule wherever sites and layers are chosen: a name that is not there is refused, and the known ones are listed."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from lca_jax import Gathering, extract, gather_statistics, recompute
from lca_jax.axes import Neuron
from lca_jax.errors import SettingsError
from lca_jax.exchange.neurox.convert import write_neurox
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Batch
from lca_jax.models.stack.taps import Edit
from lca_jax.store.derived import pair_words, pool_sentences
from lca_jax.store.shuffled import read_shuffled
from lca_jax.store.store import ActivationStore
from lca_jax.text.corpus import Corpus
from tests.stores import store_of_sites
from tests.tiny_bert import write_bert

Call = Callable[[ActivationStore], object]
CORPUS = Corpus.from_words([["a", "b", "c"]])
EDIT = Edit(np.ones((2, 40), np.float32), np.zeros((2, 40), np.float32))
PIECES = np.ones((1, 4), np.int32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_bert(tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def store() -> ActivationStore:
    vectors = np.random.default_rng(0).normal(size=(6, 2, 4)).astype(np.float32)
    labels: dict = {"head": [["2", "0", "2"]] * 2}
    return store_of_sites({"residual": vectors, "mlp": vectors[:, :1]}, [["a", "b", "c"]] * 2, labels)


def first_batch(store: ActivationStore, **choice) -> object:
    return next(read_shuffled(store, 2, seed=0, **choice))


OF_STORES: dict[str, Call] = {
    "matrix, sites": lambda store: store.matrix(sites=["resdiual"]),
    "matrix, layers": lambda store: store.matrix(layers={"resdiual": [1]}),
    "matrix, layers of a site": lambda store: store.matrix(sites=["mlp"], layers={"resdiual": [1]}),
    "axis, sites": lambda store: store.axis(["resdiual"]),
    "axis, layers": lambda store: store.axis(layers={"resdiual": [1]}),
    "column": lambda store: store.axis().column(Neuron("resdiual", 0, 0)),
    "read": lambda store: store.read("resdiual"),
    "shuffled, sites": partial(first_batch, sites=["resdiual"]),
    "shuffled, layers": partial(first_batch, layers={"resdiual": [1]}),
    "pairs": lambda store: pair_words(store).matrix(layers={"head.resdiual": [1]}),
    "sentences": lambda store: pool_sentences(store).matrix(layers={"resdiual": [1]}),
    "covariance": lambda store: gather_statistics(store).covariance("resdiual", 0),
    "correlation": lambda store: gather_statistics(store).correlation("resdiual", 0),
    "write_neurox": lambda store: write_neurox(store, Path("never.json"), site="resdiual"),
}
OF_MODELS: dict[str, dict] = {
    "sites": {"sites": ["resdiual"]},
    "layers": {"layers": {"resdiual": [1]}},
    "layers of a site": {"sites": ["mlp"], "layers": {"resdiual": [1]}},
    "neurons": {"neurons": {"resdiual": [1]}},
    "edits": {"edits": {"resdiual": EDIT}},
}


@pytest.mark.parametrize("call", OF_STORES.values(), ids=OF_STORES.keys())
def test_a_misspelt_site_of_a_store_lists_its_sites(store: ActivationStore, call: Call) -> None:
    with pytest.raises(SettingsError, match=r"resdiual.*residual.*mlp"):
        call(store)


@pytest.mark.parametrize("make", [extract, partial(extract, statistics=Gathering()), recompute])
@pytest.mark.parametrize("choice", OF_MODELS.values(), ids=OF_MODELS.keys())
def test_a_misspelt_site_of_a_model_lists_its_sites(model: Model, make: Callable, choice: dict) -> None:
    with pytest.raises(SettingsError, match=r"resdiual.*(residual|mlp)"):
        make(model, CORPUS, **choice)


@pytest.mark.parametrize("choice", [choice for name, choice in OF_MODELS.items() if name != "neurons"])
def test_so_does_the_model_itself(model: Model, choice: dict) -> None:
    with pytest.raises(SettingsError, match=r"resdiual.*residual"):
        model.forward(model.params, Batch(PIECES, PIECES, PIECES), **choice)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"layers": [7]}, "Layers of `residual` in memory run from 0 to 1; name at least one, each once. Got 7."),
        ({"layers": {"mlp": [1]}}, "Layers of `mlp` in memory run from 0 to 0"),
        ({"layers": {"residual": []}}, "name at least one"),
        ({"sites": ["mlp"], "layers": [0, 0]}, "each once. Got 0, 0"),
        ({"sites": ["mlp", "mlp"]}, "`sites` must name at least one site, each once"),
        ({"sites": []}, "`sites` must name at least one site"),
        ({"sites": ["mlp"], "layers": {"residual": [1]}}, "`layers` names residual, but the chosen sites are mlp"),
    ],
)
def test_other_choices_that_are_refused(store: ActivationStore, choice: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        store.matrix(**choice)


def test_a_site_that_layers_leave_out_has_all(store: ActivationStore) -> None:
    assert store.axis(layers={"residual": [1]}).layer_names == ["residual 1", "mlp 0"]

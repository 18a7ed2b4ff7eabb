"""The entry of a task in `results.json`: what is read for it."""

from collections import Counter
from pathlib import Path

import pytest

from lca_jax import ElasticNet, Experiment, fit_probes, rank_neurons
from lca_jax.experiment.results import Stores, analyse_task
from lca_jax.store.store import ActivationStore
from tests.stores import planted_store


def test_each_store_is_read_once_for_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    stores = Stores(planted_store(), planted_store(seed=1), planted_store(seed=2))
    probes = fit_probes(stores.train, ElasticNet(l1=1e-2, l2=1e-3))
    names = {id(store): part for part, store in zip(Stores._fields, stores, strict=True)}
    reads: Counter[str] = Counter()
    whole = ActivationStore.matrix

    def matrix(self: ActivationStore, *arguments, **settings):
        reads[names[id(self)]] += 1
        return whole(self, *arguments, **settings)

    monkeypatch.setattr(ActivationStore, "matrix", matrix)
    train, dev, test = (Path(f"{part}.conllu") for part in Stores._fields)
    experiment = Experiment(model="m", train=train, dev=dev, test=test, tasks=("upos",), out=Path("out"), draws=2)
    entry = analyse_task(probes, rank_neurons(probes, "upos"), stores, experiment)
    assert reads == {"train": 1, "dev": 1, "test": 1}
    assert entry["control_accuracy"] is not None

"""The entry of a task in `results.json`: what is read for it."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from lca_jax import ElasticNet, Experiment, fit_probes
from lca_jax.experiment.rankings import Rankings
from lca_jax.experiment.reliability import fit_halves
from lca_jax.experiment.results import Stores, analyse_task
from lca_jax.experiment.scores import determined_by
from lca_jax.probing.selection import Criterion
from lca_jax.report.findings import findings
from lca_jax.store.store import ActivationStore
from tests.stores import planted_store, store_of


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
    entry = analyse_task(Rankings(name="mass", probes=probes, samples=None), "upos", stores, experiment)
    assert reads == {"train": 1, "dev": 1, "test": 1}
    assert entry["control_accuracy"] is not None


def experiment_of(*, mdl: bool = False) -> Experiment:
    train, dev, test = (Path(f"{part}.conllu") for part in Stores._fields)
    return Experiment(
        model="m",
        train=train,
        dev=dev,
        test=test,
        tasks=("upos",),
        out=Path("out"),
        draws=2,
        mdl=mdl,
        fractions=(0.25,),
    )


def noise_store(seed: int) -> ActivationStore:
    """Words whose vectors say nothing of their labels; three of four have the first label."""
    rng = np.random.default_rng(seed)
    labels: list[list[str | None]] = [
        [str(rng.choice(["A", "B"], p=[0.75, 0.25])) for _ in range(4)] for _ in range(50)
    ]
    sentences = [[f"w{rng.integers(0, 30)}" for _ in range(4)] for _ in range(50)]
    return store_of(rng.normal(size=(200, 2, 4)).astype(np.float32), sentences, {"t": labels})


def test_the_entry_keeps_what_determined_it_and_its_code() -> None:
    stores = Stores(planted_store(), planted_store(seed=1), planted_store(seed=2))
    probes = fit_probes(stores.train, ElasticNet(l1=1e-2, l2=1e-3))
    entry = analyse_task(Rankings(name="mass", probes=probes, samples=None), "upos", stores, experiment_of(mdl=True))
    confusion = np.array(entry["confusion"])
    assert confusion.sum() == entry["words"]["test"]
    assert np.trace(confusion) / confusion.sum() == pytest.approx(entry["accuracy"]["test"])
    recalls = np.diag(confusion) / confusion.sum(axis=1)
    assert entry["balanced_accuracy"]["value"] == pytest.approx(recalls.mean())
    assert sum(entry["training_words"].values()) == entry["words"]["train"]
    assert entry["entities"] is None
    code = entry["codelength"]
    assert code["uniform_bits"] == pytest.approx(entry["words"]["train"] * np.log2(len(entry["classes"])))
    assert code["compression"] == pytest.approx(code["uniform_bits"] / code["bits"])
    assert code["compression"] > code["control_compression"]
    assert entry["determined_by"]["masked_to"] == entry["masked_to"]
    minimal = entry["minimal"]
    assert minimal["gain_kept_dev"] >= 1 - minimal["drop"]
    assert minimal["accuracy_dev"] > minimal["constant_dev"]


def test_every_rule_of_choice_has_its_words() -> None:
    stores = Stores(planted_store(), planted_store(seed=1), planted_store(seed=2))
    probes = fit_probes(stores.train, ElasticNet(l1=1e-2, l2=1e-3))
    rankings = Rankings(name="mass", probes=probes, samples=None)
    rules = {
        rule: determined_by(rankings, replace(experiment_of(), select=rule), stores.train, masked_to=None)[
            "penalty_rule"
        ]
        for rule in get_args(Criterion)
    }
    assert len(set(rules.values())) == len(rules) == 3


def test_where_nothing_is_found_there_is_no_minimal_set(caplog: pytest.LogCaptureFixture) -> None:
    stores = Stores(noise_store(0), noise_store(1), noise_store(2))
    probes = fit_probes(stores.train, ElasticNet(l1=1e-1, l2=1e-3))
    with caplog.at_level("WARNING", logger="lca_jax"):
        samples = fit_halves(probes, ["t"], replicates=2, least_l2=1.0)
        entry = analyse_task(Rankings(name="bagged", probes=probes, samples=samples), "t", stores, experiment_of())
    assert entry["minimal"] is entry["layers"] is entry["centre_of_mass"] is entry["sharing"] is None
    assert entry["codelength"] is None
    assert not entry["beats_baselines"]
    assert "there is no gain" in caplog.text
    said = findings({"tasks": {"t": entry}}, "t")
    assert said.lines[0].startswith("The probe of t does not beat its baselines")
    assert said.ranked_by == said.reliability == ""
    assert "does not beat its baselines" in findings({"tasks": {"t": entry}}, "t").verdict

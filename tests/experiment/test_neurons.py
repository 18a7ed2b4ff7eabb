"""What is told of single neurons and single layers, against plain writings of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lca_jax import ElasticNet, Experiment, ProbeSet, fit_probes, rank_neurons
from lca_jax.analysis.retraining import TrainingWords
from lca_jax.experiment.layers import layer_accuracies
from lca_jax.experiment.neurons import describe_neurons
from lca_jax.experiment.rankings import Rankings
from lca_jax.experiment.results import Stores, analyse_task
from lca_jax.probing.measuring import measured_words
from lca_jax.store.store import ActivationStore
from tests.stores import CLASSES, PLANTED, planted_store, store_of

SETTINGS = ElasticNet(l1=1e-2, l2=1e-3)


def with_copy(seed: int) -> ActivationStore:
    """The planted store with a near copy, turned over, of column 3 in another layer, and a constant neuron."""
    planted = planted_store(seed=seed)
    vectors = planted.read("residual")[:].copy()
    vectors[:, 2, 6] = -4 * vectors[:, 0, 3] + 0.1 * np.random.default_rng(seed).normal(size=len(vectors))
    vectors[:, 1, 0] = 7.0
    return _store(vectors, planted.forms(), planted.labels("upos"))


def _store(vectors: np.ndarray, forms: list, labels: list) -> ActivationStore:
    def by_sentence(values: list) -> list[list]:
        return [values[start : start + 4] for start in range(0, len(values), 4)]

    return store_of(vectors, by_sentence(forms), {"upos": by_sentence(labels)})


@pytest.fixture(scope="module")
def probes() -> ProbeSet:
    return fit_probes(with_copy(0), SETTINGS)


def test_neurons_are_described_as_a_loop_over_words_would(probes: ProbeSet) -> None:
    dev = measured_words(with_copy(1), probes.axis, "upos", CLASSES)
    training = TrainingWords.of(probes, "upos")
    columns = rank_neurons(probes, "upos").columns
    by_mass = Rankings(name="mass", probes=probes, samples=None)
    entries = describe_neurons(by_mass, "upos", columns, training, dev)
    of_column: dict[int, dict[str, Any]] = dict(zip(columns.tolist(), entries, strict=True))
    gold = np.array(with_copy(0).labels("upos"))
    for name, planted in PLANTED.items():
        for column in planted:
            entry = of_column[column]
            if column != 3:  # whose copy shares its weight
                assert entry["class"] == name
                assert entry["weight"] == pytest.approx(probes.one("upos").weights[column, CLASSES.index(name)])
    for column, entry in of_column.items():
        assert (entry["site"], entry["layer"], entry["index"]) == tuple(probes.axis.neuron(column))
        values = training.X[:, column].astype(float)
        assert entry["deviation"] == pytest.approx(values.std(), abs=1e-6)
        if entry["class"] is None:
            assert not probes.one("upos").weights[column].any()
            assert entry["weight"] is entry["mean_inside"] is entry["mean_outside"] is None
        else:
            assert entry["mean_inside"] == pytest.approx(values[gold == entry["class"]].mean(), abs=1e-5)
            assert entry["mean_outside"] == pytest.approx(values[gold != entry["class"]].mean(), abs=1e-5)
    (copy,) = of_column[3]["copies"]
    expected = np.corrcoef(dev.X[:, 3], dev.X[:, 22])[0, 1]
    assert (copy["layer"], copy["index"], copy["correlation"]) == (2, 6, pytest.approx(expected, abs=1e-4))
    assert of_column[22]["copies"][0]["index"] == 3
    assert of_column[8]["copies"] == []


def test_layers_are_the_probes_of_single_layers(probes: ProbeSet) -> None:
    test = measured_words(with_copy(2), probes.axis, "upos", CLASSES)
    found: list[dict[str, Any]] = layer_accuracies(TrainingWords.of(probes, "upos"), probes.axis, test, seed=0)
    alone = fit_probes(with_copy(0), SETTINGS, subsets="layers")
    assert [entry["layer"] for entry in found] == probes.axis.layer_names
    for entry in found:
        right = alone.one("upos", subset=str(entry["layer"])).predict(test.X) == test.gold
        assert entry["accuracy"] == pytest.approx(right.mean(), abs=1 / len(right))
        low, high = entry["interval"]
        assert low <= entry["accuracy"] <= high


@pytest.mark.slow
def test_labels_that_training_lacks_are_told_and_do_not_end_a_run(caplog: pytest.LogCaptureFixture) -> None:
    test = with_copy(2)
    labels = ["INTJ" if place % 7 == 0 else label for place, label in enumerate(test.labels("upos"))]
    stores = Stores(with_copy(0), with_copy(1), _store(test.read("residual")[:], test.forms(), labels))
    probes = fit_probes(stores.train, SETTINGS)
    train_file, dev_file, test_file = (Path(f"{part}.conllu") for part in Stores._fields)
    settings = Experiment(model="m", train=train_file, dev=dev_file, test=test_file, out=Path("out"), draws=2)
    with caplog.at_level("WARNING", logger="lca_jax"):
        entry: dict[str, Any] = analyse_task(
            Rankings(name="mass", probes=probes, samples=None), "upos", stores, settings
        )
    count = labels.count("INTJ")
    assert entry["unseen_labels"] == {"dev": {}, "test": {"INTJ": count}}
    said = f"upos: {count} words of test with a label that training lacks, of 1 such label, counted as errors: INTJ"
    assert f"{said} {count}" in caplog.text
    assert entry["neurons_without_weight"] >= entry["silent_neurons"] == 1

"""A run that fits its probes to half-samples: what it writes, and what is done again."""

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from lca_jax import (
    ElasticNet,
    Experiment,
    load_probes,
    measure_stability,
    open_store,
    rank_samples,
    reliability_and_validity,
    run,
)
from lca_jax.axes import Neuron
from lca_jax.errors import SettingsError
from tests.experiment.files import tiny_experiment


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return tiny_experiment(tmp_path_factory.mktemp("reliability"), fractions=(0.25,), replicates=4)


@pytest.fixture(scope="module")
def results(experiment: Experiment) -> dict:
    return run(experiment)


def test_results_and_rankings_have_what_the_halves_say(experiment: Experiment, results: dict) -> None:
    samples = load_probes(experiment.out / "replicates")
    for task in ("upos", "feats:Number"):
        entry = results["tasks"][task]["reliability"]
        stability = measure_stability(rank_samples(samples, task, method="bagged"))
        assert (entry["replicates"], entry["kind"]) == (4, "halves")
        assert [row["overlap"] for row in entry["overlap"]] == [point.overlap for point in stability.points]
        assert [row["share"] for row in entry["overlap"]] == [0.01, 0.02, 0.05, 0.1, 0.2]
        assert entry["stable_neurons"] == len(stability.stable)
        assert entry["error_bound"] == stability.error_bound
        assert set(entry["per_class"]) == set(results["tasks"][task]["classes"])
        for row in entry["per_class"].values():
            assert row["neurons_interval"][0] <= row["neurons"] <= row["neurons_interval"][1]
        file = experiment.out / "rankings" / f"{task.replace(':', '-')}.csv"
        rows = list(csv.DictReader(file.read_text("utf-8").splitlines()))
        neurons = [Neuron(row["site"], int(row["layer"]), int(row["index"])) for row in rows]
        columns = [samples.axis.column(neuron) for neuron in neurons]
        np.testing.assert_allclose([float(row["frequency"]) for row in rows], stability.frequency[columns])
        np.testing.assert_allclose([float(row["rank_high"]) for row in rows], stability.rank_high[columns])
        first = entry["top_neurons"][0]
        assert (first["layer"], first["index"]) == (int(rows[0]["layer"]), int(rows[0]["index"]))
        assert first["frequency"] == float(rows[0]["frequency"])
        assert first["rank_interval"] == [float(rows[0]["rank_low"]), float(rows[0]["rank_high"])]
    penalty = load_probes(experiment.out / "probes").one("upos").l1
    assert {probe.l1 for probe in samples.of("upos", replicate=3)} == {penalty}
    assert "--replicates 4" in results["command"]


def test_the_default_ranking_is_the_mean_over_the_halves_less_for_copies(experiment: Experiment, results: dict) -> None:
    samples = load_probes(experiment.out / "replicates")
    axis = samples.axis
    weights = [samples.one("upos", replicate=number).weights.astype(np.float64) for number in (1, 2, 3, 4)]
    mean = np.mean(np.abs(weights), axis=(0, 2))
    by_hand = np.empty_like(mean)
    for index in np.unique(axis.index_of_column):
        copies = np.flatnonzero(axis.index_of_column == index)
        for better, column in enumerate(copies[np.argsort(-mean[copies], kind="stable")]):
            by_hand[column] = mean[column] * 0.9**better
    rows = list(csv.DictReader((experiment.out / "rankings" / "upos.csv").read_text("utf-8").splitlines()))
    neurons = [Neuron(row["site"], int(row["layer"]), int(row["index"])) for row in rows]
    np.testing.assert_allclose(
        [float(row["score"]) for row in rows], by_hand[[axis.column(one) for one in neurons]], rtol=1e-6
    )
    assert {row["ranking"] for row in rows} == {results["tasks"]["upos"]["ranking"]} == {"bagged"}
    assert "mean weight over classes and half-samples" in results["tasks"]["upos"]["determined_by"]["ranking"]
    sharing = results["tasks"]["upos"]["sharing"]
    assert sharing["distinct"] <= results["tasks"]["upos"]["minimal"]["neurons"] <= sharing["sum"]
    first = results["tasks"]["upos"]["top_neurons"][0]
    column = axis.column(Neuron(first["site"], first["layer"], first["index"]))
    largest = np.abs(weights)[:, column].mean(axis=0)
    assert first["class"] == results["tasks"]["upos"]["classes"][int(largest.argmax())]


@pytest.mark.slow
def test_every_method_is_measured_where_that_is_asked_for(experiment: Experiment, results: dict) -> None:
    measured = run(replace(experiment, tasks=("upos",), methods=True, out=experiment.out.parent / "methods"))
    entry = measured["tasks"]["upos"]
    store = open_store(experiment.out.parent / "methods" / "activations" / "train")
    settings = ElasticNet(l1=entry["l1"], l2=entry["l2"])
    expected = reliability_and_validity(store, "upos", settings=settings, replicates=4, kind="halves", least_l2=1.0)
    assert entry["methods"]["points"] == [asdict(point) for point in expected.points]
    assert {"bagged", "lca", "random"} <= {point["method"] for point in entry["methods"]["points"]}
    assert "methods" not in results["tasks"]["upos"]
    assert "--methods" in measured["command"]


def test_only_what_depends_on_the_halves_is_done_again(experiment: Experiment, results: dict) -> None:
    before = json.loads((experiment.out / "steps.json").read_text("utf-8"))
    assert run(experiment) == results
    by_mass = run(replace(experiment, ranking="mass"))
    assert by_mass["tasks"]["upos"]["accuracy"] == results["tasks"]["upos"]["accuracy"]
    without = run(replace(experiment, ranking="mass", replicates=0))
    after = json.loads((experiment.out / "steps.json").read_text("utf-8"))
    assert {name for name in after if after[name]["key"] != before[name]["key"]} == {
        "rank", "ablate upos", "ablate feats:Number", "report",
    }  # fmt: skip
    assert "halves" not in after
    assert not (experiment.out / "replicates").exists()
    for task, entry in without["tasks"].items():
        same = {key: value for key, value in by_mass["tasks"][task].items() if key != "reliability"}
        same["determined_by"] = {**same["determined_by"], "replicates": 0}
        assert entry == same
    lines = (experiment.out / "rankings" / "upos.csv").read_text("utf-8").splitlines()
    assert "frequency" not in lines[0]
    assert lines[1].endswith(",mass")


def test_a_folder_of_an_older_version_goes_on_with_the_ranking_that_it_has(experiment: Experiment) -> None:
    content = experiment.as_json()
    del content["ranking"]
    content["replicates"] = 0
    assert Experiment.from_json(content).ranking == "mass"


def test_halves_come_in_pairs(experiment: Experiment, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"must be even, got 5\. Give 6"):
        replace(experiment, replicates=5, out=tmp_path)
    with pytest.raises(SettingsError, match="`bagged` is a mean over half-samples"):
        replace(experiment, replicates=0, out=tmp_path)
    with pytest.raises(SettingsError, match="`replicates` must be 0 or more, got -2"):
        replace(experiment, replicates=-2, out=tmp_path)

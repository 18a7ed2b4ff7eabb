"""The answers of a survey, each read from the folders of its runs and compared; nothing is fitted here."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from lca_jax.analysis.depth import depth_profile
from lca_jax.analysis.neuron_map import map_by_neurons
from lca_jax.analysis.samples import rank_samples
from lca_jax.analysis.shared_neurons import SHARED_SHARES, SharedNeurons, shared_neurons
from lca_jax.analysis.specificity import language_specificity
from lca_jax.analysis.transfer import measure_transfer
from lca_jax.axes import NeuronAxis
from lca_jax.experiment.class_places import localisation_entry
from lca_jax.experiment.config import Experiment
from lca_jax.experiment.rankings import Rankings, load_rankings
from lca_jax.ranking.bagged import rank_bagged
from lca_jax.ranking.lca import rank_neurons
from lca_jax.ranking.ranking import Ranking
from lca_jax.store.store import open_store

SHARE = 0.05
"""Share of the neurons of which sentences, maps and depths tell."""
_LISTED = 20
_COPIED = (
    "words", "accuracy", "accuracy_interval", "most_frequent_class", "word_type_majority", "control_accuracy", "lead",
    "beats_baselines", "selectivity", "selectivity_interval", "sharing",
)  # fmt: skip
_OF_MINIMAL = ("neurons", "neurons_interval", "fraction", "accuracy", "accuracy_interval")


def describe_cell(experiment: Experiment, results: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entry of a cell: its model, and what its run found of every task, with the depth of its neurons.

    Args:
        experiment: The run.
        results: Its `results.json`.
    """
    rankings, tasks = load_rankings(experiment), {}
    halves = {task: rankings.of_halves(task) for task in results["tasks"]}
    for task, found in results["tasks"].items():
        minimal = found["minimal"]
        at = min(found["reliability"]["overlap"], key=lambda row: abs(row["share"] - SHARE))
        tasks[task] = {name: found[name] for name in _COPIED} | {
            "minimal": None if minimal is None else {name: minimal[name] for name in _OF_MINIMAL},
            "class_neurons": {name: entry["neurons"] for name, entry in found["per_class"].items()},
            "reliability": {name: at[name] for name in ("share", "neurons", "overlap", "chance", "chance_high")},
            "depth": _depth(rankings, task, halves[task]),
            "localisation": localisation_entry(
                rankings, task, halves[task], count=at["neurons"] if minimal is None else minimal["neurons"]
            ),
            "untrained": _best_untrained(found),
        }
    good = [task for task, found in results["tasks"].items() if found["beats_baselines"]]
    shared = _sharing({task: rankings.of(task) for task in good}, halves) if len(good) > 1 else None
    return {"model": results["model"], "corpus": results["corpus"], "tasks": tasks, "tasks_shared": shared}


def compare_sharing(experiments: Mapping[str, Experiment], task: str) -> dict[str, Any]:
    """Returns what the rankings of a task in several corpora share: by neurons, and by groups of one index.

    Args:
        experiments: The run of each corpus.
        task: The task.
    """
    rankings = {name: load_rankings(experiment) for name, experiment in experiments.items()}
    own = {name: of_name.of(task) for name, of_name in rankings.items()}
    halves = {name: of_name.of_halves(task) for name, of_name in rankings.items()}
    entry = {"neurons": _sharing(own, halves)}
    if all(block.site.endswith("residual") for block in next(iter(own.values())).axis.blocks):
        own = {name: _group_ranking(of_name, task) for name, of_name in rankings.items()}
        halves = {name: _group_halves(of_name, task) for name, of_name in rankings.items()}
        entry["groups"] = _sharing(own, halves)
    return entry


def compare_transfer(experiments: Mapping[str, Experiment], task: str, *, seed: int) -> list[dict[str, Any]]:
    """Returns every probe on the test words of every corpus."""
    probes = {name: load_rankings(experiment).probes.one(task) for name, experiment in experiments.items()}
    trains, tests = (
        {name: open_store(experiment.out / "activations" / part) for name, experiment in experiments.items()}
        for part in ("train", "test")
    )
    return [_plain(asdict(one)) for one in measure_transfer(probes, trains, tests, seed=seed)]


def find_specific(experiments: Mapping[str, Experiment], *, seed: int) -> dict[str, Any]:
    """Returns the language-specific neurons of a model, from the training words of every corpus."""
    stores = {name: open_store(experiment.out / "activations" / "train") for name, experiment in experiments.items()}
    found = language_specificity(stores, seed=seed)
    return {
        "neurons": len(found.specific),
        "of": found.axis.size,
        "expected": found.expected,
        "p": found.p,
        "highest_entropy": found.highest,
        "languages": {
            name: {
                "neurons": len(columns),
                "layers": np.bincount(found.axis.block_of_column[columns], minlength=len(found.axis.blocks)).tolist(),
                "first": _neurons(found.axis, columns[:_LISTED]),
            }
            for name, columns in found.languages.items()
        },
        "layer_names": found.axis.layer_names,
    }


def _best_untrained(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the layer of the untrained model that does best by itself, where it was measured."""
    return max(found.get("by_layer_untrained") or (), key=lambda layer: layer["accuracy"], default=None)


def _depth(rankings: Rankings, task: str, halves: Sequence[Ranking]) -> dict[str, Any]:
    found = depth_profile(rankings.of(task), halves, share=SHARE)
    return _plain(
        {
            "neurons": found.neurons,
            "mean": found.mean_depth.value,
            "interval": [found.mean_depth.low, found.mean_depth.high],
            "expected": found.expected,
            "lower_half": list(found.lower_half),
            "expected_lower_half": found.expected_lower_half,
            "layers": [asdict(layer) for layer in found.layers],
        }
    )


def _group_ranking(rankings: Rankings, task: str) -> Ranking:
    if rankings.name == "mass":
        return rank_neurons(rankings.probes, task, groups="index")
    assert rankings.samples is not None
    return rank_bagged(rankings.samples, task, groups="index")


def _group_halves(rankings: Rankings, task: str) -> Sequence[Ranking]:
    assert rankings.samples is not None
    method: Literal["lca", "bagged"] = "lca" if rankings.name == "mass" else "bagged"
    return rank_samples(rankings.samples, task, method=method, groups="index")


def _sharing(rankings: Mapping[str, Ranking], halves: Mapping[str, Sequence[Ranking]]) -> dict[str, Any]:
    halves = {name: halves[name] for name in rankings}
    found = shared_neurons(rankings, halves, shares=SHARED_SHARES)
    return {
        "names": list(found.names),
        "size": found.axis.size,
        "pairs": [
            _plain(asdict(point)) | {"of_ceiling": point.of_ceiling, "verdict": point.verdict} for point in found.points
        ],
        "by_all": _by_all(found),
        "map": None if len(found.names) < 3 else _map(halves),
    }


def _by_all(found: SharedNeurons) -> list[dict[str, Any]]:
    return [
        {
            "share": point.share,
            "of": point.neurons,
            "neurons": len(point.columns),
            "expected": point.expected,
            "p": point.p,
            "first": _neurons(found.axis, point.columns[:_LISTED]),
        }
        for point in found.of_all
    ]


def _map(halves: Mapping[str, Sequence[Ranking]]) -> dict[str, Any]:
    found = map_by_neurons(halves, share=SHARE)
    return {
        "share": found.share,
        "leaves": found.leaves(),
        "joins": [_plain(asdict(join)) for join in found.joins],
    }


def _neurons(axis: NeuronAxis, columns: Sequence[int] | np.ndarray) -> list[list[Any]]:
    return [list(neuron) for neuron in axis.neurons(columns)]


def _plain(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in entry.items()}

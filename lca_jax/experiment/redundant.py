"""The answer `redundancy` of a survey: what of the neurons of a run could be spared, and how alike its layers are."""

from collections.abc import Mapping
from typing import Any

from lca_jax.analysis.minimal import least_accuracy
from lca_jax.analysis.retraining import TrainingWords, hits_of_nested_sets
from lca_jax.analysis.similarity import layer_similarity
from lca_jax.analysis.spare_sets import best_of_clusters, disjoint_sets, lower_layers
from lca_jax.experiment.config import Experiment
from lca_jax.experiment.rankings import load_rankings
from lca_jax.gathering.correlate import correlate_models
from lca_jax.probing.measuring import measured_words
from lca_jax.probing.probe_set import load_probes
from lca_jax.ranking.correlated import correlated_groups
from lca_jax.store.derived import pair_words
from lca_jax.store.store import ActivationStore, open_store

_THRESHOLD = 0.7
"""Mean magnitude of the correlations that joins two clusters: the cut at 0.3 of Dalvi et al. 2020."""
_MOST = 5
"""Number of disjoint sets after which the search ends."""


def find_redundancy(experiment: Experiment, results: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entry of a cell: by task, and of the layers whatever the task.

    Args:
        experiment: The run.
        results: Its `results.json`.
    """
    train, dev = (_open(experiment, part) for part in ("train", "dev"))
    rankings = load_rankings(experiment, probes=load_probes(experiment.out / "probes", store=train))
    clusters = correlated_groups(dev, threshold=_THRESHOLD, linkage="average")
    moments = correlate_models([train], drawn=0)
    entry: dict[str, Any] = {
        "clusters": {"threshold": _THRESHOLD, "neurons": clusters.axis.size, "clusters": clusters.groups.size},
        "layers": {
            "names": train.axis().layer_names,
            **{
                measure: {"values": found.values.tolist(), "chance": found.chance.tolist()}
                for measure in ("cka", "pwcca")
                for found in [layer_similarity(moments, measure)]
            },
        },
        "tasks": {},
    }
    for task, found in results["tasks"].items():
        if not found["beats_baselines"] or found["minimal"] is None:
            continue
        ranking, probe = rankings.of(task), rankings.probes.one(task)
        training = TrainingWords.of(rankings.probes, task)
        words = measured_words(dev, rankings.probes.axis, task, probe.classes)
        least = least_accuracy(found["accuracy"]["dev"], words, drop=experiment.drop)
        spare = disjoint_sets(training, words, ranking, least=least, most=_MOST, seed=experiment.seed)
        lower = lower_layers(training, words, rankings.probes.axis, least=least)
        best = best_of_clusters(ranking, clusters)
        reached = float(hits_of_nested_sets(training, words, best, [len(best)]).mean())
        entry["tasks"][task] = {
            "accuracy": found["accuracy"]["dev"],
            "least": least,
            "disjoint_sets": {
                "neurons": [len(columns) for columns in spare.sets],
                "accuracies": list(spare.accuracies),
                "is_all": spare.is_all,
                "random_sets": spare.random_sets,
                "random_enough": spare.random_enough,
            },
            "lower_layers": {
                "names": list(lower.layers),
                "accuracies": list(lower.accuracies),
                "enough": lower.enough,
            },
            "one_a_cluster": {"neurons": len(best), "accuracy": reached, "enough": reached >= least},
        }
    return entry


def _open(experiment: Experiment, part: str) -> ActivationStore:
    store = open_store(experiment.out / "activations" / part)
    return store if experiment.heads is None else pair_words(store, experiment.heads)

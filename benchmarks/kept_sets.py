"""Sets of neurons that are kept or trained again, for `benchmarks.paper_tables`: accuracies, leads, minimal sets."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from lca_jax.analysis.minimal import minimal_neurons
from lca_jax.analysis.retraining import TrainingWords, hits, hits_of_nested_sets
from lca_jax.probing.labelling import control_task_of
from lca_jax.probing.measuring import MeasuredWords, measured_words
from lca_jax.probing.metrics import mean_intervals
from lca_jax.probing.probe import predict_masked
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.ranking.ranking import Ranking
from lca_jax.store.store import ActivationStore

_LEADS = (
    ("all", "top"),
    ("top", "random"),
    ("top", "bottom"),
    ("random", "bottom"),
    ("top", "magnitude"),
    ("top", "probeless"),
    ("probeless", "random"),
)

Right = Callable[[Int[np.ndarray, " neuron"]], Bool[np.ndarray, " word"]]
"""Tells for which words a probe is right that has some neurons only."""


def masked_by(probes: ProbeSet, task: str, words: MeasuredWords) -> Right:
    """Returns what tells for which words the trained probe is right with some neurons kept and all others masked."""
    probe = probes.one(task)

    def right(columns: Int[np.ndarray, " neuron"]) -> Bool[np.ndarray, " word"]:
        keep = np.zeros((1, 1, len(probe.weights)), bool)
        keep[0, 0, columns] = True
        return predict_masked([probe], words.X, keep=keep)[0, 0] == words.gold

    return right


def retrained_by(training: TrainingWords, words: MeasuredWords) -> Right:
    """Returns what tells for which words a probe is right that is trained on some neurons alone."""

    def right(columns: Int[np.ndarray, " neuron"]) -> Bool[np.ndarray, " word"]:
        return hits_of_nested_sets(training, words, columns, [len(columns)])[0]

    return right


def sets_of(
    rankings: dict[str, Ranking],
    shares: Sequence[float],
    words: MeasuredWords,
    right: Right,
    draws: int,
    all_of: Right,
) -> dict[str, Any]:
    """Measures the first neurons of every ranking, the last of `lca` and random ones, at every share."""
    found, lca = {}, rankings["lca"]
    for share in shares:
        count = round(share * len(lca.columns))
        hit: dict[str, Float[np.ndarray, " word"]] = {
            "all": all_of(lca.columns).astype(float),
            "top": right(lca.top(count)).astype(float),
            "bottom": right(lca.bottom(count, seed=0)).astype(float),
            "random": np.mean([right(lca.random(count, seed=0, draw=draw)) for draw in range(draws)], axis=0),
            **{name: right(rankings[name].top(count)).astype(float) for name in ("magnitude", "probeless")},
        }
        leads = {f"{one} over {other}": with_interval(hit[one] - hit[other], words, least=-1) for one, other in _LEADS}
        accuracy = {name: with_interval(of_set, words) for name, of_set in hit.items()}
        found[str(share)] = {"neurons": count, "accuracy": accuracy, "leads": leads}
    return found


def minimal(
    probes: ProbeSet,
    task: str,
    ranking: Ranking,
    training: TrainingWords,
    stores: tuple[ActivationStore, ActivationStore],
) -> dict[str, Any]:
    """Finds the minimal set on dev, and measures it and its control task on test."""
    dev, test = stores
    found = minimal_neurons(training, dev, ranking, probes)
    probe, store = probes.one(task), probes.store
    assert found.control is not None  # tasks of words have one
    assert store is not None  # the probes were just fitted
    drawn = control_task_of(store, task, seed=probes.settings.seed)
    real = measured_words(test, probes.axis, task, probe.classes)
    control = measured_words(test, probes.axis, task, probe.classes, control=drawn)
    of_all = [
        (probes.one(task, control=is_control).predict(words.X) == words.gold).astype(float)
        for is_control, words in ((False, real), (True, control))
    ]
    of_set = [
        hits([trained], words, found.columns)[0].astype(float)
        for trained, words in ((found.probe, real), (found.control, control))
    ]
    return {
        "neurons": len(found.columns),
        "share": found.fraction,
        "interval": list(found.interval),
        "accuracy": with_interval(of_set[0], real),
        "selectivity_all": with_interval(of_all[0] - of_all[1], real, least=-1),
        "selectivity": with_interval(of_set[0] - of_set[1], real, least=-1),
        "selectivity_gained": with_interval(of_set[0] - of_set[1] - of_all[0] + of_all[1], real, least=-2, most=2),
    }


def with_interval(
    values: Float[np.ndarray, " word"], words: MeasuredWords, *, least: int = 0, most: int = 1
) -> list[float]:
    """Returns the mean over the words with its interval over sentences; a word can have `least` to `most`."""
    ((low, high),) = mean_intervals(values[None], words.sentences, least=least, most=most)
    return [float(values.mean()), float(low), float(high)]

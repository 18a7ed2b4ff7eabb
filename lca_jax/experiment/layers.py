"""How much of a task each layer knows by itself: a probe of every layer, with the penalty that was chosen for all.

The first layer of the residual stream is the embedding output, which knows the word and nothing around it. Beside the
trained model the same can be measured on random weights: what such layers reach is due to the architecture and the
words, not to training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from lca_jax.analysis.retraining import TrainingWords
from lca_jax.axes import NeuronAxis
from lca_jax.experiment.inputs import Inputs
from lca_jax.probing.batching import fit_on_matrix
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.matrix.held import hold_matrix
from lca_jax.probing.matrix.source import MatrixSource
from lca_jax.probing.measuring import MeasuredWords, measured_words
from lca_jax.probing.metrics import mean_intervals
from lca_jax.probing.probe import Probe
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.probing.subsets import plan_matrices


def layer_accuracies(
    training: TrainingWords, axis: NeuronAxis, test: MeasuredWords, *, seed: int
) -> list[dict[str, Any]]:
    """Fits a probe of every layer and returns the `by_layer` entry: name, accuracy on test, and its interval."""
    probes: list[Probe] = []
    for plan in plan_matrices(axis, "layers"):
        source = _columns_of(training.X, plan.columns, layers=plan.layers)
        matrix = hold_matrix(source, standardize=training.settings.standardize)
        probes += fit_on_matrix(matrix, [training.real], training.settings, subsets=plan.subsets)
    return _measured(probes, axis, test, seed=seed)


def untrained_accuracies(inputs: Inputs, probes: ProbeSet, *, seed: int) -> Mapping[str, list[dict[str, Any]]]:
    """Measures the layers of a model with random weights for every task, with the penalties that the tasks have.

    Args:
        inputs: Inputs whose model has random weights. Their vectors are computed when they are read.
        probes: The selected probes of the trained model.
        seed: Seed of the resampling behind the intervals.
    """
    train, test = inputs.store("train"), inputs.store("test")
    tasks_of: dict[tuple[float, float], list[str]] = {}
    for task in probes.tasks:
        probe = probes.one(task)
        tasks_of.setdefault((probe.l1, probe.l2), []).append(task)
    entries: dict[str, list[dict[str, Any]]] = {}
    for (l1, l2), tasks in tasks_of.items():
        fitted = fit_probes(train, replace(probes.settings, l1=l1, l2=l2), tasks=tasks, subsets="layers")
        for task in tasks:
            of_layers = [fitted.one(task, subset=name) for name in fitted.axis.layer_names]
            words = measured_words(test, fitted.axis, task, of_layers[0].classes)
            entries[task] = _measured(of_layers, fitted.axis, words, seed=seed)
    return entries


def _measured(probes: Sequence[Probe], axis: NeuronAxis, test: MeasuredWords, *, seed: int) -> list[dict[str, Any]]:
    probe_of = {probe.subset: probe for probe in probes}
    right = np.stack([probe_of[name].predict(test.X) == test.gold for name in axis.layer_names])
    ends = mean_intervals(right.astype(np.float64), test.sentences, seed=seed)
    return [
        {"layer": name, "accuracy": float(hits.mean()), "interval": [float(low), float(high)]}
        for name, hits, (low, high) in zip(axis.layer_names, right, ends, strict=True)
    ]


def _columns_of(X: Float[np.ndarray, "word feature"], columns: np.ndarray, *, layers: int | None) -> MatrixSource:
    def read_into(first: int, target: Float[np.ndarray, "word column"]) -> None:
        target[...] = X[first : first + len(target), columns]

    return MatrixSource(words=len(X), features=len(columns), read_into=read_into, layers=layers)

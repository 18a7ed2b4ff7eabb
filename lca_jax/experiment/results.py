"""Computes the entries of `results.json`: those of each task, from the chosen probes and the three stores, and more.

Penalty and minimal set are chosen on dev. Everything else is measured on test, except `accuracy.dev`, the steps of the
minimal set and the search table. `README.md` in this folder documents every key; keys keep their meaning within a
`format` number.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from lca_jax.analysis.baselines import majority_accuracy
from lca_jax.analysis.curves import keep_curve
from lca_jax.analysis.distribution import centre_of_mass, class_neurons, layer_shares, sharing
from lca_jax.analysis.minimal import MinimalSet, minimal_neurons
from lca_jax.analysis.retraining import TrainingWords, accuracies
from lca_jax.axes import NeuronAxis
from lca_jax.experiment.config import Experiment
from lca_jax.models.model import Model
from lca_jax.probing.labelling import control_task_of, usable_labels
from lca_jax.probing.measuring import MeasuredWords, measured_words
from lca_jax.probing.metrics import accuracy_interval, class_accuracy
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.ranking.lca import neurons_by_class
from lca_jax.ranking.ranking import Ranking
from lca_jax.store.store import ActivationStore
from lca_jax.text.corpus import Corpus

FORMAT = 1
"""Number of the layout of `results.json`."""


class Stores(NamedTuple):
    """The stores of the three parts of a corpus."""

    train: ActivationStore
    dev: ActivationStore
    test: ActivationStore


def describe_model(model: Model, axis: NeuronAxis) -> dict[str, object]:
    """Returns the entry `model`: the weights, and the neurons that were read."""
    return {
        "name": model.name,
        "fingerprint": model.fingerprint,
        "random_weights": model.random_weights,
        "layers": len(axis.blocks),
        "layer_names": axis.layer_names,
        "width": max(block.width for block in axis.blocks),
        "neurons": axis.size,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(model.params)),
    }


def describe_corpus(corpus: Corpus, store: ActivationStore) -> dict[str, object]:
    """Returns one part of the entry `corpus`: counts, and the words that are left out by reason."""
    return {
        "name": corpus.name,
        "fingerprint": corpus.fingerprint(),
        "sentences": corpus.sentence_count,
        "words": corpus.word_count,
        "excluded": store.excluded,
        "skipped": dict(corpus.skipped),
    }


def analyse_task(probes: ProbeSet, ranking: Ranking, stores: Stores, settings: Experiment) -> dict[str, object]:
    """Returns the entry of one task.

    Tasks of sentences have no control task: their control accuracy and selectivity are None.

    Args:
        probes: Chosen probes, with their training store.
        ranking: Ranking of the neurons for the task.
        stores: Stores of train, dev and test.
        settings: Settings of the run.
    """
    task = ranking.task
    probe = probes.one(task)
    test = measured_words(stores.test, probes.axis, task, probe.classes)
    control_test = control_accuracy = control_gap = None
    if (control_task := control_task_of(stores.train, task, seed=settings.seed)) is not None:
        control_probe = probes.one(task, control=True)
        control_test = test.labelled_by(control_task)
        control_accuracy = float((control_probe.predict(test.X) == control_test.gold).mean())
        control_gap = control_probe.duality_gap
    dev = measured_words(stores.dev, probes.axis, task, probe.classes)
    predicted = probe.predict(test.X)
    right = predicted == test.gold
    training = TrainingWords.of(probes, task)
    minimal = minimal_neurons(training, dev, ranking, probes, drop=settings.drop)
    accuracy = float(right.mean())
    return {
        "unit": stores.train.unit,
        "classes": list(probe.classes),
        "words": {"train": probe.words, "dev": len(dev.gold), "test": len(test.gold)},
        "majority": majority_accuracy(
            stores.train.forms(),
            usable_labels(stores.train, task),
            stores.test.forms(),
            usable_labels(stores.test, task),
        ),
        "accuracy": {"dev": float((probe.predict(dev.X) == dev.gold).mean()), "test": accuracy},
        "accuracy_interval": {"test": list(accuracy_interval(right, test.sentences, seed=settings.seed))},
        "l1": probe.l1,
        "l2": probe.l2,
        "objective": probe.objective,
        "null_objective": probe.null_objective,
        "duality_gap": probe.duality_gap,
        "iterations": probe.iterations,
        "converged": probe.converged,
        "nonzero_fraction": probe.nonzero_fraction,
        "control_accuracy": control_accuracy,
        "control_duality_gap": control_gap,
        "selectivity": _selectivity(accuracy, control_accuracy),
        "keep": _keep_entry(probes, ranking, test, settings, training),
        "minimal": _minimal_entry(minimal, test, control_test),
        **_neuron_entries(probes, ranking, minimal, test, predicted),
        "search": _search_rows(probes, task),
    }


def _keep_entry(
    probes: ProbeSet, ranking: Ranking, test: MeasuredWords, settings: Experiment, training: TrainingWords
) -> dict[str, list[dict[str, float]]]:
    """Returns the points of both keep curves."""
    entry = {}
    for mode in ("mask", "retrain"):
        curve = keep_curve(
            probes,
            ranking,
            test,
            fractions=settings.fractions,
            mode=mode,
            draws=settings.draws,
            seed=settings.seed,
            training=training,
        )
        entry[mode] = [
            {
                "fraction": point.fraction,
                "neurons": point.neurons,
                "top": point.top,
                "random": point.random,
                "random_std": point.random_std,
                "bottom": point.bottom,
            }
            for point in curve.points
        ]
    return entry


def _selectivity(accuracy: float, control: float | None) -> float | None:
    return None if control is None else accuracy - control


def _minimal_entry(minimal: MinimalSet, test: MeasuredWords, control_test: MeasuredWords | None) -> dict[str, object]:
    accuracy = float(accuracies([minimal.probe], test, minimal.columns)[0])
    control = None
    if minimal.control is not None and control_test is not None:
        control = float(accuracies([minimal.control], control_test, minimal.columns)[0])
    return {
        "drop": minimal.drop,
        "neurons": len(minimal.columns),
        "fraction": minimal.fraction,
        "accuracy": accuracy,
        "accuracy_dev": minimal.accuracy,
        "control_accuracy": control,
        "selectivity": _selectivity(accuracy, control),
        "duality_gap": minimal.probe.duality_gap,
        "steps": [{"neurons": size, "accuracy_dev": reached} for size, reached in minimal.steps],
    }


def _neuron_entries(
    probes: ProbeSet, ranking: Ranking, minimal: MinimalSet, test: MeasuredWords, predicted: np.ndarray
) -> dict[str, object]:
    """Returns the entries about the layers of the minimal set and the classes that its neurons serve."""
    axis = probes.axis
    classes = probes.one(ranking.task).classes
    shares = layer_shares(minimal.columns, axis)
    by_class = neurons_by_class(probes, ranking.task, count=len(minimal.columns))
    of_class = class_neurons(by_class, axis)
    shared_use = sharing(by_class)
    recall = class_accuracy(predicted, test.gold, classes=len(classes))
    words = np.bincount(test.gold[test.gold >= 0], minlength=len(classes))
    per_class: Mapping[str, dict[str, object]] = {
        name: {
            "neurons": len(of_class[name].columns),
            "accuracy": recall[number],
            "words": int(words[number]),
            "layers": of_class[name].layers.tolist(),
        }
        for number, name in enumerate(classes)
    }
    return {
        "layers": shares.tolist(),
        "layer_names": axis.layer_names,
        "centre_of_mass": centre_of_mass(shares, axis),
        "per_class": per_class,
        "sharing": {
            "sum": shared_use.total,
            "distinct": shared_use.distinct,
            "shared": shared_use.shared,
            "factor": shared_use.factor,
        },
        "top_neurons": [list(neuron) for neuron in ranking.neurons[:20]],
    }


def _search_rows(probes: ProbeSet, task: str) -> list[dict[str, object]]:
    return [
        {name: value for name, value in row.__dict__.items() if name not in ("task", "target", "subset")}
        for row in probes.search
        if (row.task, row.target, row.subset) == (task, None, None)
    ]

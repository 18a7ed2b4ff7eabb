"""Computes the entries of `results.json`: those of each task, from the chosen probes and the three stores, and more.

Penalty and minimal set are chosen on dev. Everything else is measured on test, except `accuracy.dev`, the steps of the
minimal set and the search table. `README.md` in this folder documents every key; keys keep their meaning within a
`format` number. For a task each store is read once.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import NamedTuple

import jax
import numpy as np

from lca_jax.analysis.curves import keep_curve
from lca_jax.analysis.distribution import centre_of_mass, class_neurons, layer_shares, sharing
from lca_jax.analysis.minimal import MinimalSet, minimal_neurons
from lca_jax.analysis.retraining import TrainingWords, accuracies
from lca_jax.axes import NeuronAxis
from lca_jax.experiment.config import Experiment
from lca_jax.models.model import Model
from lca_jax.probing.baselines import word_type_majority
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
_PROBE_FACTS = (
    "l1", "l2", "objective", "null_objective", "duality_gap", "iterations", "converged", "nonzero_fraction",
)  # fmt: skip


class Stores(NamedTuple):
    """Activations of the three parts of a corpus."""

    train: ActivationStore
    dev: ActivationStore
    test: ActivationStore


def describe_model(model: Model, axis: NeuronAxis) -> dict[str, object]:
    """Returns the `model` entry: name and weights of the model, and the layers that were read."""
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
    """Returns one part of the `corpus` entry: counts, and the number of words left out for each reason."""
    return {
        "name": corpus.name,
        "fingerprint": corpus.fingerprint(),
        "sentences": corpus.sentence_count,
        "words": corpus.word_count,
        "excluded": store.excluded,
        "skipped": dict(corpus.skipped),
    }


def analyse_task(probes: ProbeSet, ranking: Ranking, stores: Stores, settings: Experiment) -> dict[str, object]:
    """Measures one task and returns its entry.

    Tasks of sentences have no control task: their control accuracy and selectivity are None.

    Args:
        probes: The selected probes, with their training store.
        ranking: The ranking of the task.
        stores: Train, dev and test.
        settings: The experiment.
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
    curves = {
        mode: keep_curve(
            probes,
            ranking,
            test,
            fractions=settings.fractions,
            mode=mode,
            draws=settings.draws,
            seed=settings.seed,
            training=training,
        )
        for mode in ("mask", "retrain")
    }
    minimal = minimal_neurons(training, dev, ranking, probes, drop=settings.drop)
    accuracy = float(right.mean())
    return {
        "unit": stores.train.unit,
        "classes": list(probe.classes),
        "words": {"train": probe.words, "dev": len(dev.gold), "test": len(test.gold)},
        "majority": word_type_majority(
            stores.train.forms(),
            usable_labels(stores.train, task),
            stores.test.forms(),
            usable_labels(stores.test, task),
        ),
        "accuracy": {"dev": float((probe.predict(dev.X) == dev.gold).mean()), "test": accuracy},
        "accuracy_interval": {"test": list(accuracy_interval(right, test.sentences, seed=settings.seed))},
        **{name: getattr(probe, name) for name in _PROBE_FACTS},
        "control_accuracy": control_accuracy,
        "control_duality_gap": control_gap,
        "selectivity": _selectivity(accuracy, control_accuracy),
        "keep": {mode: [asdict(point) for point in curve.points] for mode, curve in curves.items()},
        "minimal": _minimal_entry(minimal, test, control_test),
        **_neuron_entries(probes, ranking, minimal, test, predicted),
        "search": _search_entries(probes, task),
    }


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
    """Returns the entries about the minimal set's neurons: their layers, and the classes that need them."""
    axis = probes.axis
    classes = probes.one(ranking.task).classes
    shares = layer_shares(minimal.columns, axis)
    by_class = neurons_by_class(probes, ranking.task, count=len(minimal.columns))
    found = class_neurons(by_class, axis)
    together = sharing(by_class)
    recall = class_accuracy(predicted, test.gold, classes=len(classes))
    words = np.bincount(test.gold[test.gold >= 0], minlength=len(classes))
    per_class: Mapping[str, dict[str, object]] = {
        name: {
            "neurons": len(found[name].columns),
            "accuracy": recall[number],
            "words": int(words[number]),
            "layers": found[name].layers.tolist(),
        }
        for number, name in enumerate(classes)
    }
    return {
        "layers": shares.tolist(),
        "layer_names": axis.layer_names,
        "centre_of_mass": centre_of_mass(shares, axis),
        "per_class": per_class,
        "sharing": {
            "sum": together.total,
            "distinct": together.distinct,
            "shared": together.shared,
            "factor": together.factor,
        },
        "top_neurons": [list(neuron) for neuron in ranking.neurons[:20]],
    }


def _search_entries(probes: ProbeSet, task: str) -> list[dict[str, object]]:
    return [
        {name: value for name, value in asdict(score).items() if name not in ("task", "target", "subset")}
        for score in probes.search
        if (score.task, score.target, score.subset) == (task, None, None)
    ]

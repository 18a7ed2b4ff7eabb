"""Computes the entries of `results.json`: those of each task, from the chosen probes and the three stores, and more.

Penalty and minimal set are chosen on dev. Everything else is measured on test, except `accuracy.dev`, the steps of the
minimal set and the search table. `README.md` in this folder documents every key; keys keep their meaning within a
`format` number. For a task each store is read once.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lca_jax.analysis.codelength import online_codes
from lca_jax.analysis.curves import keep_curve
from lca_jax.analysis.distribution import centre_of_mass, class_neurons, layer_shares, sharing
from lca_jax.analysis.minimal import MinimalSet, minimal_neurons
from lca_jax.analysis.retraining import TrainingWords, hits
from lca_jax.axes import NeuronAxis
from lca_jax.errors import NoGainError
from lca_jax.experiment.config import Experiment
from lca_jax.experiment.controls import measure_selectivity
from lca_jax.experiment.layers import layer_accuracies
from lca_jax.experiment.methods import methods_entry
from lca_jax.experiment.neurons import describe_neurons
from lca_jax.experiment.rankings import Rankings
from lca_jax.experiment.reliability import reliability_entry, stability_of
from lca_jax.experiment.scores import codelength_entry, confusion_entries, determined_by, score_entries
from lca_jax.models.model import Model
from lca_jax.probing.comparison import Comparison, compare_probe
from lca_jax.probing.labelling import control_task_of
from lca_jax.probing.measuring import MeasuredWords, measured_words
from lca_jax.probing.metrics import mean_intervals
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.probing.selection import edges_of_search
from lca_jax.ranking.ranking import Ranking
from lca_jax.store.store import ActivationStore
from lca_jax.text.corpus import Corpus

_log = logging.getLogger(__name__)
FORMAT = 5
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
        "name": model.name.rstrip("/").rsplit("/", 1)[-1] if Path(model.name).is_dir() else model.name,
        "fingerprint": model.fingerprint,
        "random_weights": model.random_weights,
        "layers": len(axis.blocks),
        "layer_names": axis.layer_names,
        "width": max(block.width for block in axis.blocks),
        "neurons": axis.size,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(model.params)),
    }


def describe_corpus(whole: Corpus, corpus: Corpus, store: ActivationStore) -> dict[str, object]:
    """Returns one part of the `corpus` entry: counts, and the number of words left out for each reason.

    Args:
        whole: The texts as they are in their file.
        corpus: Those of them that were drawn.
        store: Their activations.
    """
    return {
        "name": corpus.name,
        "fingerprint": corpus.fingerprint(),
        "sentences": corpus.sentence_count,
        "words": corpus.word_count,
        "drawn_from": {"sentences": whole.sentence_count, "words": whole.word_count},
        "excluded": store.excluded,
        "skipped": dict(corpus.skipped),
    }


def analyse_task(rankings: Rankings, task: str, stores: Stores, settings: Experiment) -> dict[str, Any]:
    """Measures one task and returns its entry.

    Tasks of sentences have no word types: their word-type majority, control accuracy and selectivity are None.

    Args:
        rankings: The rankings of the run, whose probes have their training store.
        task: The task.
        stores: Train, dev and test.
        settings: The experiment.
    """
    probes, ranking = rankings.probes, rankings.of(task)
    probe = probes.one(task)
    test = measured_words(stores.test, probes.axis, task, probe.classes)
    dev = measured_words(stores.dev, probes.axis, task, probe.classes)
    training = TrainingWords.of(probes, task)
    found = compare_probe(probes, task, test, seed=settings.seed)
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
    try:
        minimal = minimal_neurons(training, dev, ranking, probes, drop=settings.drop)
    except NoGainError as error:
        _log.warning("%s: no minimal set. %s", task, error)
        minimal = None
    known = training.real.numbers
    unseen = {"dev": _unseen_labels(dev, stores.dev), "test": dict(found.unseen_labels)}
    warn_of_unseen_labels(task, unseen)
    return {
        "unit": stores.train.unit,
        "classes": list(probe.classes),
        "words": {"train": probe.words, "dev": len(dev.gold), "test": len(test.gold)},
        "unseen_labels": unseen,
        "training_words": dict(
            zip(probe.classes, np.bincount(known[known >= 0], minlength=len(probe.classes)).tolist(), strict=True)
        ),
        **score_entries(found, measure_selectivity(probes, task, training, test)),
        "accuracy": {"dev": float((probe.predict(dev.X) == dev.gold).mean()), "test": found.accuracy},
        **{name: getattr(probe, name) for name in _PROBE_FACTS},
        "neurons_without_weight": int((probe.weights == 0).all(axis=1).sum()),
        "silent_neurons": int(np.isinf(probe.scale).sum()),
        "control_duality_gap": probes.one(task, control=True).duality_gap if "control" in found.rivals else None,
        "draws": settings.draws,
        "masked_to": curves["mask"].masked_to,
        "keep": {mode: [asdict(point) for point in curve.points] for mode, curve in curves.items()},
        "minimal": None if minimal is None else _minimal_entry(minimal, stores.train, test, found, settings.seed),
        **_neuron_entries(rankings, task, minimal, found),
        "top_neurons": describe_neurons(rankings, task, ranking.columns[:20], training, dev),
        "by_layer": layer_accuracies(training, probes.axis, test, seed=settings.seed),
        "confusions": confusion_entries(found, test, stores.test),
        **_search_entries(probes, task),
        "determined_by": determined_by(rankings, settings, stores.train, masked_to=curves["mask"].masked_to),
        "ranking": rankings.name,
        **_reliability_entries(rankings, ranking, minimal),
        **({"methods": methods_entry(training, stores.train, settings)} if settings.methods else {}),
        "codelength": codelength_entry(online_codes(training, seed=settings.seed)) if settings.mdl else None,
    }


def warn_of_unseen_labels(task: str, unseen: Mapping[str, Mapping[str, int]]) -> None:
    """Says in the log how many words have labels that training lacks."""
    for part, counts in unseen.items():
        if counts:
            named = ", ".join(f"{label} {count}" for label, count in list(counts.items())[:5])
            total = sum(counts.values())
            _log.warning(
                "%s: %d %s of %s with a label that training lacks, of %d such label%s, counted as errors: %s%s",
                *(task, total, "words" if total > 1 else "word", part, len(counts), "s" * (len(counts) > 1)),
                *(named, ", …" if len(counts) > 5 else ""),
            )


def _unseen_labels(words: MeasuredWords, store: ActivationStore) -> dict[str, int]:
    labels = np.array(store.labels(words.task), object)[words.units]
    counts = Counter(labels[words.gold == -2].tolist())
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _minimal_entry(
    minimal: MinimalSet, train: ActivationStore, test: MeasuredWords, found: Comparison, seed: int
) -> dict[str, object]:
    right = hits([minimal.probe], test, minimal.columns)[0]
    lost = (found.predicted == test.gold).astype(np.float64) - right
    ends = mean_intervals(np.stack([right.astype(np.float64), lost]), test.sentences, least=(0, -1), seed=seed)
    control = None
    if minimal.control is not None and (task := control_task_of(train, minimal.task, seed=seed)) is not None:
        control = float(hits([minimal.control], test.labelled_by(task), minimal.columns)[0].mean())
    return {
        "drop": minimal.drop,
        "constant_dev": minimal.constant,
        "gain_kept_dev": minimal.kept,
        "neurons": len(minimal.columns),
        "neurons_interval": list(minimal.interval),
        "fraction": minimal.fraction,
        "accuracy": float(right.mean()),
        "accuracy_interval": ends[0].tolist(),
        "loss": float(lost.mean()),
        "loss_interval": ends[1].tolist(),
        "accuracy_dev": minimal.accuracy,
        "loss_dev": minimal.oracle - minimal.accuracy,
        "control_accuracy": control,
        "selectivity": None if control is None else float(right.mean()) - control,
        "duality_gap": minimal.probe.duality_gap,
        "steps": [{"neurons": size, "accuracy_dev": reached} for size, reached in minimal.steps],
    }


def _reliability_entries(rankings: Rankings, ranking: Ranking, minimal: MinimalSet | None) -> dict[str, object]:
    if rankings.samples is None:
        return {}
    stability = stability_of(rankings, ranking.task, count=None if minimal is None else len(minimal.columns))
    return {"reliability": reliability_entry(stability, ranking)}


def _neuron_entries(rankings: Rankings, task: str, minimal: MinimalSet | None, found: Comparison) -> dict[str, object]:
    """Returns the entries about the minimal set's neurons: their layers, and the classes that read them.

    Without a minimal set they are None, and the classes have their recalls alone.
    """
    axis = rankings.probes.axis
    per_class: dict[str, dict[str, object]] = {
        name: {
            "words": score.words,
            "recall": score.recall,
            "recall_interval": None if score.interval is None else list(score.interval),
            "neurons": None,
            "layers": None,
            "top": None,
        }
        for name, score in found.by_class.items()
    }
    if minimal is None:
        nothing = dict.fromkeys(("layers", "centre_of_mass", "sharing"))
        return {**nothing, "layer_names": axis.layer_names, "per_class": per_class}
    shares = layer_shares(minimal.columns, axis)
    by_class = rankings.by_class(task, minimal.columns)
    of_class = class_neurons(by_class, axis)
    together = sharing(by_class)
    for name, entry in per_class.items():
        entry |= {
            "neurons": len(of_class[name].columns),
            "layers": of_class[name].layers.tolist(),
            "top": [list(neuron) for neuron in axis.neurons(of_class[name].columns[:5])],
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
    }


def _search_entries(probes: ProbeSet, task: str) -> dict[str, object]:
    scores = [score for score in probes.search if (score.task, score.target, score.subset) == (task, None, None)]
    left_out = ("task", "target", "subset")
    return {
        "search": [{name: value for name, value in asdict(one).items() if name not in left_out} for one in scores],
        "search_edges": edges_of_search(scores),
    }

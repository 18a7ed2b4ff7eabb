"""Three claims of the papers that need several probes or several rankings of one layer's neurons.

    python -m benchmarks.probes_and_rankings --corpus en_ewt-ud-train.conllu.gz --work WORK --out result.json

Sentences are drawn by the seed 0 and divided: to train on, to choose by, to measure on. A *configuration* is one
property of words (parts of speech, a feature) in one layer. Words without the property are left out, and so are values
with fewer word types than `least_types` in any part (Antverg and Belinkov ask for 100, of more text).

- `crossings` (Antverg and Belinkov 2022, section 3): both probes, linear and Gaussian, trained on the first neurons by
  every ranking, by its reverse and at random: 14 combinations. The *better probe* of a configuration has the larger
  mean over all orders, the better ranking the larger mean over both probes. `misjudged` is the share of configurations
  in which the ranking that wins where each is measured by its own probe loses by the mean of both probes;
  `good_probe_bad_order` that in which the better probe on its own ranking reversed beats the worse one on its own
  ranking. `tests` are Wilcoxon's of all combinations.
- `information` (Torroba Hennigen et al. 2020, Figure 2): bits that the greedily chosen neurons tell, by Gaussians
  or linear probes of them, at least. What they tell is never less than what fewer of them tell, so the bound is the
  largest so far; `of_all` is its share of that of all neurons of the layer.
- `overlaps` (Fan et al. 2023, Table 2): mean overlap of every method with the others, for tags as concepts, each told
  from as many other words; mean over 10, 30 and 50 neurons and the layers.

Intervals are of 95 % over properties or concepts (Student's t), each with the mean of its layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from jaxtyping import Float, Int

from benchmarks import harness
from benchmarks.concepts import CONCEPTS, concepts, over_properties, overlapped
from benchmarks.paper_tables import divide
from benchmarks.source import ModelAndCorpus
from lca_jax.analysis.crossing import REVERSED, Crossing, cross_readouts, signed_rank_tests
from lca_jax.analysis.information import information_curve
from lca_jax.analysis.parts import to_train
from lca_jax.analysis.retraining import TrainingWords, train_nested_sets
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.probing.fit import fit_problems
from lca_jax.probing.measuring import MeasuredWords, measured_words
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe import Probe
from lca_jax.ranking.methods import rank
from lca_jax.ranking.ranking import Ranking
from lca_jax.ranking.words import take_part
from lca_jax.store.store import ActivationStore
from lca_jax.text.formats import read_corpus

_OWN = {"linear": "linear", "gaussian": "gaussian"}
"""The ranking that each probe makes."""
_STEPS = (1, 2, 5, 10, 20, 35, 50, 100, 150, 250)
"""Numbers of neurons whose information is bounded, beside all of them."""


@dataclass(frozen=True, kw_only=True)
class Settings(ModelAndCorpus):
    """Settings of the benchmark."""

    work: Path
    """Folder in which every configuration is kept when it is done."""
    out: Path
    """Where the result is written."""
    words: tuple[int, int, int] = (8000, 2500, 5000)
    """Words to train on, to choose by and to measure on; whole sentences."""
    properties: tuple[str, ...] = (
        "upos",
        "feats:Number",
        "feats:Tense",
        "feats:VerbForm",
        "feats:Mood",
        "feats:Person",
    )
    """Label columns; those of which no two values are left are left out. Without any, only overlaps are measured."""
    layers: tuple[int, ...] = (1, 3, 6)
    """Layers of the residual stream; the papers' are the second, the middle and the last of twelve."""
    sizes: tuple[int, ...] = (10, 50, 150)
    """Numbers of neurons that probes are trained on."""
    least_types: int = 10
    """Word types of a value, in every part."""
    concept_words: int = 200
    """Training words that are drawn of a concept, and of all others; tags with fewer are no concepts."""
    l1: float = 1e-3
    l2: float = 1e-2


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures all configurations, prints the main figures and writes the result."""
    settings = tyro.cli(Settings, args=arguments, description="Probes crossed with rankings, information, overlaps.")
    model, tasks = load_model(settings.model_folder), [*settings.properties, CONCEPTS]
    corpora = divide(read_corpus(settings.corpus_file, tasks=tasks), settings.words)
    rows: list[dict[str, Any]] = []
    overlaps: list[dict[str, Any]] = []
    for layer in settings.layers:
        stores = [extract(model, corpus, layers=[layer]) for corpus in corpora]
        for task in settings.properties:
            file = settings.work / f"{task.replace(':', '-')}-{layer}.json"
            measured = harness.kept(file, lambda of=stores, task=task: configuration(of, task, settings))
            rows += [{"property": task, "layer": layer, **measured}] if measured else []
        file = settings.work / f"concepts-{layer}.json"
        found = harness.kept(file, lambda of=stores: concepts(of[0], settings.concept_words))
        overlaps += [{"layer": layer, **one} for one in found]
    compared = {"overlaps": overlapped(overlaps)}
    if rows:
        compared |= {"crossings": judged(rows, settings.sizes), "information": informed(rows)}
    harness.print_table("overlap with the other methods", {"mean": compared["overlaps"]["average"]})
    read = {"words": list(settings.words), "layers": list(settings.layers)}
    read |= {"least_types": settings.least_types, "concept_words": settings.concept_words}
    head = {"input": {**settings.names(), **read}, "penalty": {"l1": settings.l1, "l2": settings.l2}}
    harness.write_result(settings.out, "probes_and_rankings", {**head, **compared})


def words_of_property(stores: Sequence[ActivationStore], task: str, least: int) -> list[MeasuredWords] | None:
    """Returns the words of every part with a value of enough word types; None where fewer than two values have them."""
    types = []
    for store in stores:
        found: dict[str, set[str]] = {}
        for form, label in zip(store.forms(), store.labels(task), strict=True):
            if label is not None:
                found.setdefault(label, set()).add(form.lower())
        types.append(found)
    values = sorted(set.intersection(*(set(found) for found in types)))
    values = [value for value in values if min(len(found[value]) for found in types) >= least]
    if len(values) < 2:
        return None
    read = [measured_words(store, store.axis(), task, values) for store in stores]
    return [take_part(words, words.gold >= 0) for words in read]


def configuration(stores: Sequence[ActivationStore], task: str, settings: Settings) -> dict[str, Any]:
    """Measures one property in one layer; nothing where too few of its values have enough word types."""
    if (parts := words_of_property(stores, task, settings.least_types)) is None:
        return {}
    train, dev, test = parts
    net, last = ElasticNet(l1=settings.l1, l2=settings.l2), max(settings.sizes)
    training = to_train(train, net)
    (probe,) = fit_problems(train.X, [training.real], net)
    rankings = {
        "linear": replace(rank(probe, method="mean_weight"), axis=train.axis),
        "gaussian": rank(train, method="gaussian", dev=dev, count=last),
        "probeless": rank(train, method="probeless"),
    }
    crossing = cross_readouts(rankings, train, test, readouts=tuple(_OWN), sizes=settings.sizes, settings=net)
    return {
        "values": list(train.classes),
        "words": [len(part.X) for part in parts],
        "linear_all": float((probe.predict(test.X) == test.gold).mean()),
        "accuracy": {
            readout: {order: accuracies.tolist() for order, accuracies in zip(crossing.orders, of_readout, strict=True)}
            for readout, of_readout in zip(crossing.readouts, crossing.accuracy, strict=True)
        },
        "information": information(rankings["gaussian"], training, train, test),
    }


def information(ranking: Ranking, training: TrainingWords, train: MeasuredWords, test: MeasuredWords) -> dict[str, Any]:
    """Bounds what the first neurons tell, by Gaussians and by linear probes of them alone."""
    order = ranking.columns
    steps = [*(step for step in _STEPS if step < len(order)), len(order)]
    curve = information_curve(ranking, train, test, sizes=steps)
    probes = train_nested_sets(training, order, steps, labellings=[training.real])
    linear = [curve.entropy + bits_of(probe, test.X[:, order], test.gold) for probe in probes]
    gaussian = [point.bits for point in curve.points]
    bound = np.maximum.accumulate(np.maximum(0, np.maximum(gaussian, linear))).tolist()
    bits = {"gaussian": gaussian, "linear": linear, "bound": bound}
    return {"entropy": curve.entropy, "constant": curve.constant, "neurons": steps, **bits}


def bits_of(probe: Probe, X: Float[np.ndarray, "word neuron"], gold: Int[np.ndarray, " word"]) -> float:
    """Returns the mean log₂ of what a linear probe gives the right class."""
    margins = X.astype(np.float64) @ probe.raw_weights.astype(np.float64) + probe.raw_bias
    margins -= margins.max(axis=1, keepdims=True)
    right = margins[np.arange(len(margins)), gold] - np.log(np.exp(margins).sum(axis=1))
    return float(right.mean() / np.log(2))


def judged(rows: Sequence[dict[str, Any]], sizes: Sequence[int]) -> dict[str, Any]:
    """Returns, by number of neurons, what the ranking of the worse probe gains over that of the better one."""
    by_size, crossings = {}, [_crossing(row, sizes) for row in rows]
    for at, size in enumerate(sizes):
        told = [judgement(row["accuracy"], at) for row in rows]
        by_size[str(size)] = {
            **over_properties([row["property"] for row in rows], [one["gain_of_worse_probe"] for one in told]),
            **{name: float(np.mean([one[name] for one in told])) for name in ("misjudged", "good_probe_bad_order")},
            "gaussian_is_better_probe": float(np.mean([one["better"] == "gaussian" for one in told])),
            "tests": signed_rank_tests(crossings, size=size),
        }
    return {"configurations": list(rows), "by_size": by_size}


def _crossing(row: dict[str, Any], sizes: Sequence[int]) -> Crossing:
    accuracy = row["accuracy"]
    orders = tuple(next(iter(accuracy.values())))
    return Crossing(
        task=row["property"],
        readouts=tuple(accuracy),
        orders=orders,
        sizes=tuple(sizes),
        accuracy=np.array([[of_readout[order] for order in orders] for of_readout in accuracy.values()]),
        measured_on=f"{row['words'][-1]} words",
    )


def judgement(accuracy: dict[str, dict[str, list[float]]], at: int) -> dict[str, Any]:
    """Says of one configuration which probe and which of their rankings are better."""
    probe = {name: np.mean([of_order[at] for of_order in accuracy[name].values()]) for name in _OWN}
    ranking = {own: np.mean([accuracy[name][own][at] for name in _OWN]) for own in _OWN.values()}
    better, worse = sorted(_OWN, key=lambda name: -probe[name])
    by_own = accuracy[better][_OWN[better]][at] - accuracy[worse][_OWN[worse]][at]
    gain = float(ranking[_OWN[worse]] - ranking[_OWN[better]])
    reverse = accuracy[better][f"{_OWN[better]}, {REVERSED}"][at]
    return {
        "better": better,
        "gain_of_worse_probe": gain,
        "misjudged": bool(by_own * gain > 0),
        "good_probe_bad_order": bool(reverse > accuracy[worse][_OWN[worse]][at]),
    }


def informed(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns, by layer and number of neurons, the share of what all neurons tell and of the entropy (LBNI)."""
    by_layer: dict[str, Any] = {}
    for layer in sorted({row["layer"] for row in rows}):
        here = {row["property"]: row["information"] for row in rows if row["layer"] == layer}
        by_layer[str(layer)] = {
            str(step): {
                "of_all": over_properties(list(here), [of["bound"][at] / of["bound"][-1] for of in here.values()]),
                "of_entropy": over_properties(list(here), [of["bound"][at] / of["entropy"] for of in here.values()]),
            }
            for at, step in enumerate(next(iter(here.values()))["neurons"])
        }
    return by_layer


if __name__ == "__main__":
    main()

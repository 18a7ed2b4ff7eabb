"""Three claims of the papers that need several probes or several rankings of one layer's neurons.

    python -m benchmarks.probes_and_rankings --corpus en_ewt-ud-train.conllu.gz --out probes-and-rankings.json

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
from benchmarks.paper_tables import divide
from benchmarks.relocated import interval_over_seeds
from benchmarks.source import ModelAndCorpus
from lca_jax.analysis.consensus import method_overlap
from lca_jax.analysis.crossing import RANDOM, REVERSED, Crossing, cross_readouts, signed_rank_tests
from lca_jax.analysis.information import information_curve
from lca_jax.analysis.parts import to_train
from lca_jax.analysis.retraining import TrainingWords, train_nested_sets
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.probing.fit import fit_elastic_net, fit_problems
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
_FEATURES = ("Number", "Tense", "VerbForm", "Mood", "Person", "Degree", "Case", "Definite", "PronType", "NumType")
_CONCEPTS = "xpos"
_PENALTY = {"lca": (1e-2, 1e-2), "lasso": (1e-2, 0.0), "ridge": (0.0, 1e-2)}
"""l1 and l2 of the binary probes, as Fan et al. print them."""
_TOPS = (10, 30, 50)
_STEPS = (1, 2, 5, 10, 20, 35, 50, 100, 150, 250)
"""Numbers of neurons whose information is bounded, beside all of them."""


@dataclass(frozen=True, kw_only=True)
class Settings(ModelAndCorpus):
    """Settings of the benchmark."""

    out: Path
    """Where the result is written."""
    words: tuple[int, int, int] = (12000, 4000, 6000)
    """Words to train on, to choose by and to measure on; whole sentences."""
    properties: tuple[str, ...] = ("upos", *(f"feats:{name}" for name in _FEATURES))
    """Label columns."""
    layers: tuple[int, ...] = (1, 3, 6)
    """Layers of the residual stream; the papers' are the second, the middle and the last of twelve."""
    sizes: tuple[int, ...] = (10, 50, 150)
    """Numbers of neurons that probes are trained on."""
    least_types: int = 20
    """Word types of a value, in every part."""
    least_words: int = 200
    """Training words of a concept; as many others are drawn."""
    most_words: int = 1000
    """The most that are taken of both."""
    l1: float = 1e-3
    l2: float = 1e-2


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures all configurations, prints the main figures and writes the result."""
    settings = tyro.cli(Settings, args=arguments, description="Probes crossed with rankings, information, overlaps.")
    model, tasks = load_model(settings.model_folder), [*settings.properties, _CONCEPTS]
    corpora = divide(read_corpus(settings.corpus_file, tasks=tasks), settings.words)
    rows: list[dict[str, Any]] = []
    crossings: list[Crossing] = []
    overlaps: list[dict[str, Any]] = []
    for layer in settings.layers:
        stores = [extract(model, corpus, layers=[layer]) for corpus in corpora]
        for task in settings.properties:
            if (parts := words_of_property(stores, task, settings.least_types)) is not None:
                row, crossing = configuration(parts, settings)
                rows.append({"property": task, "layer": layer, **row})
                crossings.append(crossing)
        overlaps += [{"layer": layer, **found} for found in concepts(stores[0], settings)]
    compared = {
        "crossings": judged(rows, crossings, settings.sizes),
        "information": informed(rows),
        "overlaps": overlapped(overlaps),
    }
    harness.print_table("overlap with the other methods", {"mean": compared["overlaps"]["average"]})
    read = {"words": list(settings.words), "layers": list(settings.layers), "least_types": settings.least_types}
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


def configuration(parts: Sequence[MeasuredWords], settings: Settings) -> tuple[dict[str, Any], Crossing]:
    """Measures one property in one layer."""
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
    row = {
        "values": list(train.classes),
        "words": [len(part.X) for part in parts],
        "linear_all": float((probe.predict(test.X) == test.gold).mean()),
        "accuracy": {
            readout: {order: accuracies.tolist() for order, accuracies in zip(crossing.orders, of_readout, strict=True)}
            for readout, of_readout in zip(crossing.readouts, crossing.accuracy, strict=True)
        },
        "information": information(rankings["gaussian"], training, train, test),
    }
    return row, crossing


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


def judged(rows: Sequence[dict[str, Any]], crossings: Sequence[Crossing], sizes: Sequence[int]) -> dict[str, Any]:
    """Returns, by number of neurons, what the ranking of the worse probe gains over that of the better one."""
    by_size = {}
    for at, size in enumerate(sizes):
        told = [_judgement(row["accuracy"], at) for row in rows]
        by_size[str(size)] = {
            **over_properties([row["property"] for row in rows], [one["gain_of_worse_probe"] for one in told]),
            **{name: float(np.mean([one[name] for one in told])) for name in ("misjudged", "good_probe_bad_order")},
            "gaussian_is_better_probe": float(np.mean([one["better"] == "gaussian" for one in told])),
            "tests": signed_rank_tests(crossings, size=size),
        }
    return {"configurations": list(rows), "by_size": by_size}


def _judgement(accuracy: dict[str, dict[str, list[float]]], at: int) -> dict[str, Any]:
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


def concepts(store: ActivationStore, settings: Settings) -> list[dict[str, Any]]:
    """Returns, for every concept of a layer, the overlap of each method with the others."""
    words = measured_words(store, store.axis(), _CONCEPTS, sorted({*store.labels(_CONCEPTS)} - {None}))
    found = []
    for number, concept in enumerate(words.classes):
        inside, outside = np.flatnonzero(words.gold == number), np.flatnonzero(words.gold != number)
        if len(inside) < settings.least_words:
            continue
        count, generator = min(len(inside), settings.most_words), np.random.default_rng((0, number))
        chosen = [np.sort(generator.choice(of, count, replace=False)) for of in (inside, outside)]
        X = words.X[np.concatenate(chosen)]
        rankings = rankings_of_concept(X, np.repeat([concept, f"not {concept}"], count))
        tops = [method_overlap(rankings, neurons=top) for top in _TOPS]
        average = np.mean([one.average for one in tops], axis=0)
        votes = np.mean([one.votes for one in tops], axis=0)
        figures = {name: [float(average[at]), float(votes[at])] for at, name in enumerate(rankings)}
        found.append({"concept": concept, "words": 2 * count, "methods": figures})
    return found


def rankings_of_concept(X: Float[np.ndarray, "word neuron"], labels: Any) -> dict[str, Ranking]:
    """Ranks the neurons for one concept by the methods of Fan et al.; `concept` is the first of both labels."""
    rankings = {
        name: rank(fit_elastic_net(X, labels, l1=l1, l2=l2), method="mean_weight")
        for name, (l1, l2) in _PENALTY.items()
    }
    given = (X, labels.tolist())
    rankings["probeless"] = rank(given, method="probeless")
    rankings["iou"] = rank(given, method="iou", direction="high").by_class[labels[0]]
    rankings["gaussian"] = rank(given, method="gaussian", count=max(_TOPS))
    drawn, places = rankings["lca"].random(X.shape[1], seed=0), np.arange(X.shape[1])
    rankings[RANDOM] = replace(rankings["lca"], columns=drawn, scores=-places.astype(float), ties=places, by_class={})
    return rankings


def overlapped(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the mean overlap and vote of every method over concepts and layers, and the leads of one over another."""
    names, methods = [one["concept"] for one in found], list(found[0]["methods"])
    leads = {
        f"{one} over {other}": over_properties(
            names, [each["methods"][one][0] - each["methods"][other][0] for each in found]
        )
        for one in methods
        for other in methods
        if one != other
    }
    average, votes = (
        {name: float(np.mean([one["methods"][name][at] for one in found])) for name in methods} for at in (0, 1)
    )
    return {"average": average, "votes": votes, "leads": leads, "concepts": list(found)}


def over_properties(names: Sequence[str], values: Sequence[float]) -> dict[str, Any]:
    """Returns the mean over properties, each with the mean of its layers, and its interval."""
    means = [
        np.mean([value for of, value in zip(names, values, strict=True) if of == name]) for name in dict.fromkeys(names)
    ]
    return {**interval_over_seeds(means), "properties": len(means)}


if __name__ == "__main__":
    main()

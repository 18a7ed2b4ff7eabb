"""How far rankings reproduce, and what their neurons are worth: two disjoint halves of a treebank, ranked apart.

    python -m benchmarks.reliability --corpus en_ewt-ud-train.conllu.gz --out reliability.json

Sentences are drawn by the seed into three parts without a common sentence: halves A and B, and words to measure on.
Every ranking is made on A and on B, by itself. For each the result has

- `overlap`: the share of the first 1, 5 and 20 % that both halves agree on, beside that of two random orders;
- `retrained`: the accuracy on the third part of a probe trained on the first neurons alone, with the penalty `l1`,
  `l2` whatever the ranking was made with, from A and from B. Rankings of groups give all neurons of the first groups.

A ranking that reproduces need not be worth anything, and one that is worth something need not reproduce: both columns
belong together. Probes are certified; the largest duality gap is in the result. No time is measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from jaxtyping import Int

from benchmarks import harness
from benchmarks.source import ModelAndCorpus
from lca_jax.analysis.agreement import agreement
from lca_jax.analysis.retraining import TrainingWords, hits_of_nested_sets
from lca_jax.axes import NeuronAxis
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.probing.bootstrap import replicate_labellings
from lca_jax.probing.fit import fit_problems
from lca_jax.probing.labelling import Labelling, SampleKind
from lca_jax.probing.matrix.scale import Scale
from lca_jax.probing.measuring import MeasuredWords
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.ranking.groups import discount_copies, neurons_of_groups, one_of_each_group
from lca_jax.ranking.lca import rank_neurons
from lca_jax.ranking.methods import rank
from lca_jax.ranking.ranking import Ranking
from lca_jax.text.conllu import read_conllu

SHARES = (0.01, 0.05, 0.2)


@dataclass(frozen=True, kw_only=True)
class Settings(ModelAndCorpus):
    """Settings of the benchmark."""

    out: Path
    """Where the result is written."""
    task: str = "upos"
    """Label column."""
    words: int = 5000
    """Number of words of each half, and of those to measure on; whole sentences."""
    replicates: int = 8
    """Number of samples of each half."""
    kind: SampleKind = "bootstrap"
    """How they are drawn."""
    l1: float = 1e-3
    l2: float = 1e-3
    strong_l2: float = 0.1
    """The l2 of the more stable probe."""
    sizes: tuple[int, ...] = (27, 134)
    """Numbers of neurons that probes are trained on again."""
    seed: int = 0


class Half(NamedTuple):
    """The probes of one half, and its words."""

    words: MeasuredWords
    training: TrainingWords
    probes: ProbeSet
    """The probe of the half, and of its samples."""
    strong: ProbeSet
    """The same with the strong l2."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the table and writes the result."""
    settings = tyro.cli(Settings, args=arguments, description="How far rankings reproduce.")
    result = measure(settings)
    harness.print_table("ranking", {name: _row(of_method) for name, of_method in result["rankings"].items()})
    harness.write_result(settings.out, "reliability", {"input": settings.names(), **result})


def measure(settings: Settings) -> dict[str, Any]:
    """Returns the content of the result file, after its head."""
    first, second, rest, classes = read_parts(settings)
    halves = [fit_half(part, settings, classes) for part in (first, second)]
    rankings = [rank_half(half, settings) for half in halves]
    axis = first.axis
    content: dict[str, Any] = {}
    for name in rankings[0]:
        pair = [of_half[name] for of_half in rankings]
        points = agreement(*pair, shares=SHARES).points
        neurons = [one if one.axis == axis else neurons_of_groups(one, axis) for one in pair]
        content[name] = {
            "overlap": {f"{point.share:g}": point.overlap for point in points},
            "chance": {f"{point.share:g}": point.chance for point in points},
            "first": [point.neurons for point in points],
            "of": len(pair[0].columns),
            "retrained": [
                dict(zip(map(str, settings.sizes), retrained(half, rest, one, settings.sizes), strict=True))
                for half, one in zip(halves, neurons, strict=True)
            ],
        }
    probes = [probe for half in halves for probe in (*half.probes, *half.strong)]
    return {
        "words": [len(part.X) for part in (first, second, rest)],
        "sentences": [len(np.unique(part.sentences)) for part in (first, second, rest)],
        "neurons": axis.size,
        "classes": len(classes),
        "samples": {"number": settings.replicates, "kind": settings.kind},
        "penalty": {"l1": settings.l1, "l2": settings.l2, "strong_l2": settings.strong_l2},
        "largest_gap": max(probe.duality_gap / probe.null_objective for probe in probes),
        "accuracy": [
            {
                name: float((probes.one(settings.task).predict(rest.X) == rest.gold).mean())
                for name, probes in (("l2", half.probes), ("strong_l2", half.strong))
            }
            for half in halves
        ],
        "rankings": content,
    }


def read_parts(settings: Settings) -> tuple[MeasuredWords, MeasuredWords, MeasuredWords, tuple[str, ...]]:
    """Extracts the words of three parts without a common sentence; classes are those of the first two."""
    corpus = read_conllu(settings.corpus_file, tasks=[settings.task])
    store = extract(load_model(settings.model_folder), corpus.take_words(3 * settings.words, seed=settings.seed))
    labels = np.array([label or "" for label in store.labels(settings.task)])
    sentences = store.words["sentence"].to_numpy()
    order = np.random.default_rng(settings.seed).permutation(np.unique(sentences))
    lengths = np.bincount(sentences)[order]
    part_of = np.full(sentences.max() + 1, 2)
    part_of[order] = np.minimum((np.cumsum(lengths) - 1) // settings.words, 2)
    part = np.where(store.usable & (labels != ""), part_of[sentences], -1)
    classes = tuple(np.unique(labels[(part == 0) | (part == 1)]).tolist())
    gold = np.array([classes.index(label) if label in classes else -2 for label in labels], np.int32)
    X = store.matrix()

    def words_of(number: int) -> MeasuredWords:
        units = np.flatnonzero(part == number)
        return MeasuredWords(
            store=store,
            axis=store.axis(),
            task=settings.task,
            classes=classes,
            control=False,
            X=X[units],
            gold=gold[units],
            units=units,
        )

    return words_of(0), words_of(1), words_of(2), classes


def fit_half(words: MeasuredWords, settings: Settings, classes: tuple[str, ...]) -> Half:
    """Fits the probe of a half and of its samples in one solve, and the same with the strong l2 in another."""
    real = Labelling(task=settings.task, control=False, classes=classes, numbers=words.gold)
    net = ElasticNet(l1=settings.l1, l2=settings.l2, seed=settings.seed)
    samples = replicate_labellings(
        [real], words.sentences, replicates=settings.replicates, seed=settings.seed, kind=settings.kind
    )
    fitted = fit_problems(words.X, samples, net)
    strong = replace(net, l2=settings.strong_l2)
    return Half(
        words=words,
        training=TrainingWords(
            X=words.X, real=real, control=None, settings=net, scale=Scale(fitted[0].mean, fitted[0].scale)
        ),
        probes=ProbeSet(probes=tuple(fitted), axis=words.axis, settings=net),
        strong=ProbeSet(probes=tuple(fit_problems(words.X, samples, strong)), axis=words.axis, settings=strong),
    )


def rank_half(half: Half, settings: Settings) -> Mapping[str, Ranking]:
    """Ranks by every method on one half."""
    probes, strong, words = half.probes, half.strong, half.words
    bagged = partial(rank_neurons, probes, settings.task, over="replicates")
    bagged_strong = partial(rank_neurons, strong, settings.task, over="replicates", by="weight")
    generator = np.random.default_rng([settings.seed, *words.units[:4].tolist()])
    return {
        "mass": rank_neurons(probes, settings.task),
        "mean weight": rank(probes, settings.task, method="mean_weight"),
        "mass, samples": bagged(),
        "frequency, samples": bagged(by="frequency"),
        "mean weight, samples": bagged(by="weight"),
        "mass, strong l2": rank_neurons(strong, settings.task),
        "mean weight, strong l2": rank(strong, settings.task, method="mean_weight"),
        "mean weight, samples, strong l2": bagged_strong(),
        "the same, copies discounted": discount_copies(bagged_strong()),
        "the same, one of each index first": one_of_each_group(bagged_strong()),
        "index": rank_neurons(probes, settings.task, groups="index"),
        "index, samples": bagged(groups="index"),
        "index, samples, strong l2": bagged_strong(groups="index"),
        "index, strong l2": rank_neurons(strong, settings.task, groups="index"),
        "anova": rank(words, method="anova"),
        "probeless, standardised": rank(words, method="probeless", standardize=True),
        "average precision": rank(words, method="average_precision"),
        "random": _random(words.axis, settings.task, generator.permutation(words.axis.size)),
    }


def retrained(half: Half, rest: MeasuredWords, ranking: Ranking, sizes: Sequence[int]) -> list[float]:
    """Returns the accuracy on the rest of probes trained on the first neurons of a ranking."""
    return hits_of_nested_sets(half.training, rest, ranking.columns, sizes).mean(axis=1).tolist()


def _random(axis: NeuronAxis, task: str, order: Int[np.ndarray, " neuron"]) -> Ranking:
    places = np.arange(len(order))
    return Ranking(task=task, axis=axis, columns=order, scores=-places.astype(np.float64), ties=places)


def _row(of_method: Mapping[str, Any]) -> dict[str, object]:
    row: dict[str, object] = {f"top {share}": value for share, value in of_method["overlap"].items()}
    for half, values in zip("AB", of_method["retrained"], strict=True):
        row |= {f"{half} {size}": value for size, value in values.items()}
    return row


if __name__ == "__main__":
    main()

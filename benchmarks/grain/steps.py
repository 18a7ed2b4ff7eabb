"""The steps of the experiment on models of one kind: rankings, probes, ablation, overlaps. Each is a pure function."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.grain.texts import TASKS
from lca_jax.analysis.curves import keep_curve
from lca_jax.analysis.distribution import sharing
from lca_jax.analysis.overlap import chance_overlap, first_part, overlap
from lca_jax.extraction.extract import extract
from lca_jax.gathering.correlate import correlate_models
from lca_jax.interventions.curve import ablation_curve
from lca_jax.interventions.measures import Measure
from lca_jax.interventions.task_probe import ProbeAccuracy
from lca_jax.models.model import Model
from lca_jax.probing.comparison import compare_probe
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.probing.weight_mass import class_levels
from lca_jax.ranking.cross_model import CrossModelRanking, rank_by_max_correlation
from lca_jax.ranking.lca import rank_neurons
from lca_jax.ranking.ranking import Ranking
from lca_jax.ranking.variance import rank_by_variance
from lca_jax.store.statistics import Gathering
from lca_jax.store.store import ActivationStore
from lca_jax.text.corpus import Corpus

SITES = ("residual",)
FIRST = 50
"""Number of first neurons whose overlap is told, as in the paper."""
MASS = 0.25
"""Share of a class's weight mass that its salient neurons hold (the paper's Figure 6)."""
EXCLUSIVE = 0.05
"""Share of the neurons that are a property's own, for the count of exclusive ones."""
PROBE = ElasticNet(l1=1e-3, l2=1e-3)
PROBED = TASKS
"""Properties that are probed."""
MODES = ("mask", "retrain")
"""How probes are measured with few neurons: the others set to their means, or trained anew without them."""


def read_outputs(model: Model, corpus: Corpus) -> ActivationStore:
    """Returns the outputs of the model's layers at every word, with variances; word vectors are no neurons here."""
    layers = range(1, model.config.layers + 1)
    gathering = Gathering(covariance=False, sample_words=0)
    return extract(model, corpus, sites=SITES, layers={"residual": [*layers]}, statistics=gathering)


def rank_across(models: Sequence[Model], corpus: Corpus) -> list[dict[str, Ranking]]:
    """Returns for every model its neurons by MaxCorr with the others and by variance."""
    stores = [read_outputs(model, corpus) for model in models]
    moments = correlate_models(stores, within=False)
    return [
        {"max_corr": rank_by_max_correlation(moments, of=number), "variance": rank_by_variance(store.statistics())}
        for number, store in enumerate(stores)
    ]


def describe_across(rankings: Mapping[str, Ranking]) -> dict[str, Any]:
    """Returns how well a model's neurons are found in the others, and what the two rankings share."""
    ranking = rankings["max_corr"]
    assert isinstance(ranking, CrossModelRanking)
    count = min(FIRST, len(ranking.columns) // 2)
    shared = overlap(first_part(ranking, count), first_part(rankings["variance"], count), count)
    chance = chance_overlap(count, len(ranking.columns))
    by_layer = ranking.axis.block_of_column[ranking.columns]
    return {
        "neurons": len(ranking.columns),
        "median": {
            name: float(np.median(ranking.scores[by_layer == place]))
            for place, name in enumerate(ranking.axis.layer_names)
        },
        "chance": ranking.chance,
        "above_chance": ranking.above_chance,
        "first": count,
        "shared_with_variance": shared,
        "shared_by_chance": {"mean": chance.overlap, "high": chance.high},
    }


def probe_properties(model: Model, train: Corpus, test: Corpus) -> tuple[ProbeSet, dict[str, Any]]:
    """Returns probes of all properties, and how good they are, also with few neurons kept."""
    train_store, test_store = read_outputs(model, train), read_outputs(model, test)
    probes = fit_probes(train_store, PROBE, tasks=PROBED)
    found = {}
    for task in probes.tasks:
        compared, ranking = compare_probe(probes, task, test_store), rank_neurons(probes, task)
        found[task] = {
            "accuracy": compared.accuracy,
            "interval": list(compared.interval),
            "baselines": {name: rival.accuracy for name, rival in compared.rivals.items()},
            "keep": {mode: keep_curve(probes, ranking, test_store, mode=mode).table() for mode in MODES},
        }
    return probes, found


def describe_distribution(probes: ProbeSet, task: str) -> dict[str, Any]:
    """Returns the salient neurons of every class: those that hold the first quarter of its weight mass."""
    probe = probes.one(task)
    needed = class_levels(probe.weights) < MASS
    by_class = {name: np.flatnonzero(needed[:, number]) for number, name in enumerate(probe.classes)}
    shared = sharing(by_class)
    counts = {name: len(columns) for name, columns in by_class.items()}
    words = probe.class_words or ()
    return {
        "classes": counts,
        "words": dict(zip(probe.classes, words, strict=True)),
        "neurons": probes.axis.size,
        "mean_share": float(np.mean([*counts.values()]) / probes.axis.size),
        "distinct": shared.distinct,
        "of_several_classes": shared.shared,
    }


def describe_exclusive(model: Model, probes: ProbeSet, test: Corpus, *, seed: int, slots: int) -> dict[str, Any]:
    """Returns how many of each property's first neurons are no other's, and what every probe loses without them."""
    rankings = {task: rank_neurons(probes, task) for task in probes.tasks}
    count = max(1, round(EXCLUSIVE * probes.axis.size))
    first = {task: set(ranking.top(count).tolist()) for task, ranking in rankings.items()}
    others = {task: set().union(*(first[other] for other in first if other != task)) for task in first}
    lost = {}
    for task in probes.tasks:
        measure = ProbeAccuracy.of(model, probes, task, test, slots=slots)
        curve = ablation_curve(
            model,
            rankings,
            counts=[count],
            sets=("top", "random"),
            fill="mean",
            measure=measure,
            seed=seed,
            slots=slots,
        )
        lost[task] = {"whole": curve.whole} | {
            point.ranking: {"accuracy": point.value, "change": [point.change, point.change_low, point.change_high]}
            for point in curve.points
        }
    return {
        "first": count,
        "exclusive": {task: len(first[task] - others[task]) for task in first},
        "of_all": len(set.intersection(*first.values())),
        "probes_without": lost,
    }


def ablate(
    model: Model,
    rankings: Mapping[str, Ranking],
    texts: Any,
    measure: str | Measure,
    *,
    shares: Sequence[float],
    fills: Sequence[str],
    seed: int,
    slots: int,
) -> dict[str, Any]:
    """Returns the curve of a model without the first, random and last neurons of every ranking."""
    total = len(next(iter(rankings.values())).columns)
    counts = [max(1, round(share * total)) for share in shares]
    curve = ablation_curve(
        model, rankings, texts, counts, fill=fills, measure=measure, random=5, seed=seed, slots=slots
    )
    return curve.to_dict()

"""What makes a ranking reproduce: optimiser, number of words, penalties and merge, each with its share of the variance.

    python -m benchmarks.factors --corpus en_ewt-ud-train.conllu.gz --out factors.json

Sentences are drawn by the seed into words to measure on, dev words, and a pool. For every number of words the pool is
divided several times into pairs of halves without a common sentence. Every ranking is made on both halves, each by
itself, and is one row of the result:

- `overlap`: share of the first 1, 5 and 20 % of the neurons that both halves have;
- `retrained`: accuracy on the words to measure on, of probes with l1 = l2 = 1e-3 whatever the ranking was made with,
  that are trained on the first 1 and 5 % of the neurons alone, in the mean over the halves;
- `centre`: mean layer number of the first 5 %, of both halves;
- `chosen`: whether the rule of one standard error chooses these penalties on the dev words, of both halves.

`defaults` has the same outcomes of what a run does: `bagged`, with the penalties chosen for each half by itself, and
half-samples of at least `--ranking-l2`.
Optimisers are compared at the first l1 and l2 alone.

`shares` has the share of each factor in the variance of an outcome over all rows of the certified solver, and `scores`
that of the neurons' ranks themselves: what all halves and optimisers have in common, and what goes with each. Each is
over a full table (`variance`). Probes are certified, except those of Adam; the largest duality gap is in the result.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from jaxtyping import Bool, Float

from benchmarks import harness
from benchmarks.source import ModelAndCorpus
from benchmarks.variance import share_by_factor, variance_shares
from lca_jax.analysis.overlap import chance_overlap, counts_of, first_part, overlap, ranks_of
from lca_jax.analysis.parts import take_part, to_train
from lca_jax.analysis.retraining import hits_of_nested_sets
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.probing.bootstrap import replicate_labellings
from lca_jax.probing.fit import fit_problems
from lca_jax.probing.measuring import MeasuredWords
from lca_jax.probing.metrics import mean_error
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe import Probe
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.probing.selection import strongest_near_best
from lca_jax.ranking.bagged import rank_bagged
from lca_jax.ranking.groups import neurons_of_groups
from lca_jax.ranking.lca import rank_neurons
from lca_jax.ranking.mean_weight import rank_by_mean_weight
from lca_jax.ranking.ranking import Ranking
from lca_jax.ranking.words import read_words
from lca_jax.text.formats import read_corpus

SHARES = (0.01, 0.05, 0.2)
CERTIFIED = "certified"
READER = ElasticNet(l1=1e-3, l2=1e-3)
"""The probe that measures what neurons are worth."""
ADAM: Mapping[str, Mapping[str, Any]] = {
    "adam 512": {},
    "adam 32": {"batch_size": 32},
    "neurox": {"batch_size": 32, "penalty": "neurox", "standardize": False, "proximal_step": False},
}
"""Settings of the optimisers beside the certified one; the last are those of NeuroX's probes."""
MERGES: Mapping[str, Callable[[ProbeSet, str], Ranking]] = {
    "mass": rank_neurons,
    "mean weight": rank_by_mean_weight,
    "mass, samples": partial(rank_neurons, over="replicates"),
    "mean weight, samples": partial(rank_neurons, over="replicates", by="weight"),
    "bagged": rank_bagged,
    "bagged, index": partial(rank_bagged, groups="index"),
}
"""Rankings by weights of a certified probe and its half-samples."""
OF_ONE = ("mass", "mean weight")
"""Merges that need no samples; optimisers are compared by them."""


@dataclass(frozen=True, kw_only=True)
class Settings(ModelAndCorpus):
    """Settings of the study."""

    out: Path
    """Where the result is written."""
    tasks: tuple[str, ...] = ("upos", "feats:Number")
    """Label columns."""
    words: tuple[int, ...] = (1000, 5000)
    """Numbers of words of each half; whole sentences."""
    pairs: int = 3
    """Number of pairs of halves."""
    measured: int = 5000
    """Number of words to measure on, and of dev words."""
    l1: tuple[float, ...] = (1e-4, 1e-3)
    l2: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0)
    merges: tuple[str, ...] = tuple(MERGES)
    """Rankings by the weights of a certified probe; `bagged` must be one."""
    ranking_l2: float = 1.0
    """The least l2 of half-samples in `defaults`, as a run has it: one of `l2`, or 0 for the chosen one."""
    replicates: int = 8
    """Number of half-samples of each half, for merges over samples."""
    seeds: int = 2
    """Number of seeds of each optimiser that has one; 0 leaves optimisers out."""
    seed: int = 0


class Parts(NamedTuple):
    """The words of a task."""

    rest: MeasuredWords
    """Words to measure on."""
    dev: MeasuredWords
    pool: MeasuredWords


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the shares of variance and writes the result."""
    settings = tyro.cli(Settings, args=arguments, description="What makes a ranking reproduce.")
    if settings.ranking_l2 and settings.ranking_l2 not in settings.l2:
        raise SystemExit(f"--ranking-l2 {settings.ranking_l2:g} is none of --l2. Add it there, or give 0.")
    result = measure(settings)
    harness.print_table("share of the variance of", result["shares"])
    harness.write_result(settings.out, "factors", {"input": settings.names(), **result})


def measure(settings: Settings) -> dict[str, Any]:
    """Returns the content of the result file, after its head."""
    rows: list[dict[str, Any]] = []
    defaults: list[dict[str, Any]] = []
    ranks: dict[str, list[Any]] = {}
    worst = 0.0
    all_parts = {task: read_parts(settings, task) for task in settings.tasks}
    some = all_parts[settings.tasks[0]].rest
    for task, parts in all_parts.items():
        for words in settings.words:
            for pair in range(settings.pairs):
                halves = divide_pool(parts.pool, words, seed=settings.seed + pair)
                fitted = [fit_half(half, settings) for half in halves]
                worst = max(worst, *(one.duality_gap / one.null_objective for of_half in fitted for one in of_half))
                ranked = [dict(rank_half(half, own, settings)) for half, own in zip(halves, fitted, strict=True)]
                chosen = [one_se(own, parts.dev) for own in fitted]
                for key in ranked[0]:
                    row = {"task": task, "words": words, "pair": pair, **dict(zip(_KEYS, key, strict=True))}
                    outcomes = compare([of_half[key] for of_half in ranked], halves, parts.rest)
                    rows.append({**row, **outcomes, "chosen": [key[1:3] == best for best in chosen]})
                own = [
                    of_half[CERTIFIED, l1, max(l2, settings.ranking_l2), "bagged", 0]
                    for of_half, (l1, l2) in zip(ranked, chosen, strict=True)
                ]
                place = {"task": task, "words": words, "pair": pair, "penalties": chosen}
                defaults.append({**place, **compare(own, halves, parts.rest)})
                if settings.seeds:
                    ranks.setdefault(f"{task}, {words} words", []).append(ranks_by_optimiser(ranked, settings))
    return {
        "design": {
            name: getattr(settings, name)
            for name in ("tasks", "words", "pairs", "measured", "l1", "l2", "replicates", "seeds", "seed")
        },
        "neurons": some.axis.size,
        "chance": {f"{share:g}": chance_overlap(*_count(share, some)).overlap for share in SHARES},
        "largest_gap": worst,
        "rows": rows,
        "defaults": defaults,
        "shares": shares_of_outcomes(rows),
        "scores": {place: shares_of_ranks(np.stack(of_place)) for place, of_place in ranks.items()},
    }


_KEYS = ("optimiser", "l1", "l2", "merge", "seed")


def read_parts(settings: Settings, task: str) -> Parts:
    """Extracts the words of a task; parts have no sentence in common."""
    corpus = read_corpus(settings.corpus_file, tasks=[task])
    # Words without a label of the task are no words of it, so the texts are drawn until there are enough.
    labelled = sum(label is not None for of_sentence in corpus.labels[task] for label in of_sentence)
    share = labelled / corpus.word_count
    needed = 2 * settings.measured + 2 * max(settings.words)
    limit = min(corpus.word_count, int(1.05 * needed / share) + 1)
    store = extract(load_model(settings.model_folder), corpus.take_words(limit, seed=settings.seed))
    words = read_words(store, task)
    part = _parts_of(words, [settings.measured, settings.measured], seed=settings.seed)
    return Parts(*(take_part(words, part == number) for number in range(3)))


def divide_pool(pool: MeasuredWords, words: int, *, seed: int) -> list[MeasuredWords]:
    """Draws two halves of some words each, by sentence."""
    part = _parts_of(pool, [words, words], seed=seed)
    return [take_part(pool, part == number) for number in range(2)]


def _parts_of(words: MeasuredWords, sizes: Sequence[int], *, seed: int) -> np.ndarray:
    """Returns the number of each word's part: whole sentences up to each size, in turn; what is left is the last."""
    distinct, place, lengths = np.unique(words.sentences, return_inverse=True, return_counts=True)
    order = np.random.default_rng((seed, len(sizes))).permutation(len(distinct))
    before = np.cumsum(lengths[order]) - lengths[order]
    part_of = np.empty(len(distinct), np.int64)
    part_of[order] = np.searchsorted(np.cumsum(sizes), before, side="right")
    return part_of[place]


def fit_half(words: MeasuredWords, settings: Settings) -> list[Probe]:
    """Fits all penalties to the half and its half-samples, in one solve."""
    net = ElasticNet(l1=settings.l1, l2=settings.l2, seed=settings.seed)
    samples = replicate_labellings(
        [to_train(words, READER).real],
        words.sentences,
        replicates=settings.replicates,
        seed=settings.seed,
        kind="halves",
    )
    return fit_problems(words.X, samples, net)


def rank_half(
    words: MeasuredWords, fitted: Sequence[Probe], settings: Settings
) -> Iterator[tuple[tuple[str, float, float, str, int], Ranking]]:
    """Ranks by every optimiser, penalty and merge."""
    task = words.task
    for l1, l2 in ElasticNet(l1=settings.l1, l2=settings.l2).pairs:
        probes = ProbeSet(
            probes=tuple(one for one in fitted if (one.l1, one.l2) == (l1, l2)), axis=words.axis, settings=READER
        )
        yield from (((CERTIFIED, l1, l2, name, 0), MERGES[name](probes, task)) for name in settings.merges)
    l1, l2 = settings.l1[0], settings.l2[0]
    for optimiser, options in ADAM.items():
        for seed in range(settings.seeds):
            net = ElasticNet(l1=l1, l2=l2, solver="adam", seed=seed, **options)
            own = fit_problems(words.X, [to_train(words, READER).real], net)
            alone = ProbeSet(probes=tuple(own), axis=words.axis, settings=net)
            for name, rank in zip(OF_ONE, (rank_neurons, rank_by_mean_weight), strict=True):
                yield (optimiser, l1, l2, name, seed), rank(alone, task)


def one_se(fitted: Sequence[Probe], dev: MeasuredWords) -> tuple[float, float]:
    """Returns the penalties that the rule of one standard error chooses (`lca_jax.probing.selection`)."""
    whole = [one for one in fitted if not one.replicate]
    right: list[Bool[np.ndarray, " word"]] = [one.predict(dev.X) == dev.gold for one in whole]
    best = max(right, key=np.mean)
    least = best.mean() - mean_error(best, dev.sentences)
    accuracies = {(one.l1, one.l2): float(own.mean()) for one, own in zip(whole, right, strict=True)}
    return max(strongest_near_best(accuracies, least=least), key=lambda pair: (pair[1], pair[0]))


def compare(pair: Sequence[Ranking], halves: Sequence[MeasuredWords], rest: MeasuredWords) -> dict[str, Any]:
    """Returns the outcomes of one ranking on both halves."""
    found = {}
    for share in SHARES:
        (count,) = counts_of([share], len(pair[0].columns))
        found[f"{share:g}"] = overlap(first_part(pair[0], count), first_part(pair[1], count), count)
    axis = rest.axis
    neurons = [one if one.axis == axis else neurons_of_groups(one, axis) for one in pair]
    sizes = [_count(share, rest)[0] for share in SHARES[:2]]
    accuracies = [
        hits_of_nested_sets(to_train(half, READER), rest, one.columns, sizes).mean(axis=1)
        for half, one in zip(halves, neurons, strict=True)
    ]
    layer = np.array([block.layer for block in axis.blocks])[axis.block_of_column]
    return {
        "overlap": found,
        "retrained": {
            f"{share:g}": float(one) for share, one in zip(SHARES[:2], np.mean(accuracies, axis=0), strict=True)
        },
        "centre": [float(layer[one.columns[: sizes[1]]].mean()) for one in neurons],
    }


def ranks_by_optimiser(
    ranked: Sequence[Mapping[tuple[str, float, float, str, int], Ranking]], settings: Settings
) -> Float[np.ndarray, "half optimiser neuron"]:
    """Returns the ranks of all neurons in the mass order, by half and optimiser, at the smallest penalties."""
    keys = [(optimiser, settings.l1[0], settings.l2[0], OF_ONE[0], 0) for optimiser in (CERTIFIED, *ADAM)]
    return np.stack([np.stack([ranks_of(of_half[key]) for key in keys]) for of_half in ranked])


def shares_of_ranks(ranks: Float[np.ndarray, "pair half optimiser neuron"]) -> dict[str, float]:
    """Returns what of the neurons' ranks all have in common, what goes with the words, the optimiser, and with both."""
    halves = ranks.reshape(-1, *ranks.shape[2:])  # all halves of all pairs are samples of the words
    shares = variance_shares(halves, ["words", "optimiser", "neuron"])
    return {
        "neuron": shares["neuron",],
        "neuron, words": shares["words", "neuron"],
        "neuron, optimiser": shares["optimiser", "neuron"],
        "neuron, words, optimiser": shares["words", "optimiser", "neuron"],
    }


def shares_of_outcomes(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Returns the share of every factor in the variance of each outcome: of certified rows, and of single probes."""
    outcomes = {
        **{f"overlap {share:g}": lambda row, share=share: row["overlap"][f"{share:g}"] for share in SHARES},
        **{f"retrained {share:g}": lambda row, share=share: row["retrained"][f"{share:g}"] for share in SHARES[:2]},
        "centre": lambda row: float(np.mean(row["centre"])),
    }
    certified = [row for row in rows if row["optimiser"] == CERTIFIED]
    compared = {(row["l1"], row["l2"]) for row in rows if row["optimiser"] != CERTIFIED}
    single = [row for row in rows if row["merge"] in OF_ONE and row["seed"] == 0 and (row["l1"], row["l2"]) in compared]
    shares = {}
    for name, outcome in outcomes.items():
        shares[f"{name}, certified"] = _shares(certified, ("task", "words", "l1", "l2", "merge", "pair"), outcome)
        if single:
            factors = ("optimiser", "task", "words", "merge", "pair")
            shares[f"{name}, one probe"] = _shares(single, factors, outcome)
    return shares


def _shares(rows: Sequence[Mapping[str, Any]], factors: Sequence[str], outcome: Any) -> dict[str, float]:
    """Divides an outcome's variance among the factors of which there are several levels."""
    factors = [name for name in factors if name == "pair" or len({row[name] for row in rows}) > 1]
    levels = [list(dict.fromkeys(row[factor] for row in rows)) for factor in factors]
    values = np.full([len(own) for own in levels], np.nan)
    for row in rows:
        values[tuple(own.index(row[factor]) for factor, own in zip(factors, levels, strict=True))] = outcome(row)
    return share_by_factor(values, factors, chance="pair")


def _count(share: float, words: MeasuredWords) -> tuple[int, int]:
    return counts_of([share], words.axis.size)[0], words.axis.size


if __name__ == "__main__":
    main()

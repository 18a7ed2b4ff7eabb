"""Measures what a model that runs in bfloat16 does to rankings, beside what other sentences do to them.

    python -m benchmarks.model_dtype --corpus en_ewt-ud-train.conllu.gz --words 2000 --out model_dtype.json

The same words are read by the model in float32 and in bfloat16 (vectors stored as float32 both times), and the same
probe and its half-samples are fitted to both. Told are the shares of the first neurons that the two rankings have in
common, by both rankings of a run, on the mean over several draws of the words with its smallest and largest. Beside
them stand what float32 shares with itself, of two draws of as many words (mean, smallest and largest pair of draws) and
of two halves of a draw, and chance. No times are compared.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import tyro

from benchmarks import harness
from benchmarks.source import ModelAndCorpus
from lca_jax.analysis.overlap import chance_overlap, counts_of, first_part, overlap
from lca_jax.analysis.samples import rank_samples
from lca_jax.analysis.stability import measure_stability
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.ranking.bagged import rank_bagged
from lca_jax.ranking.lca import rank_neurons
from lca_jax.ranking.ranking import Ranking
from lca_jax.store.store import ActivationStore
from lca_jax.text.conllu import read_conllu

SHARES = (0.01, 0.05)
"""Shares of the neurons whose overlap is told."""
RANKINGS: dict[str, tuple[Callable[..., Ranking], str]] = {
    "mass": (rank_neurons, "lca"),
    "bagged": (rank_bagged, "bagged"),
}
"""Both rankings of a run, of all words and of samples."""


@dataclass(frozen=True, kw_only=True)
class Settings(ModelAndCorpus):
    """Settings of the benchmark."""

    words: int = 2000
    """Number of words of a draw, whole sentences."""
    draws: int = 5
    """Number of draws, with the seeds 0, 1, …"""
    replicates: int = 10
    """Number of half-samples."""
    l1: float = 1e-3
    l2: float = 1e-2
    out: Path | None = None
    """Result file; without it the table is only printed."""


def main(arguments: Sequence[str] | None = None) -> None:
    settings = tyro.cli(Settings, args=arguments, description="Rankings of a model in bfloat16.")
    models = [load_model(settings.model_folder, dtype=dtype) for dtype in ("float32", "bfloat16")]
    differences, of_draws, exact = [], [], []
    for seed in range(settings.draws):
        stores, probes = zip(*(_fit(settings, model, seed) for model in models), strict=True)
        differences.append(_difference(*stores))
        of_draws.append(overlaps(*probes))
        exact.append({name: rank(probes[0], "upos") for name, (rank, _) in RANKINGS.items()})
    between = overlaps_of_draws(exact)
    rows = {name: _over_draws([of_draw[name] for of_draw in of_draws]) | between[name] for name in of_draws[0]}
    harness.print_table("rankings in bfloat16 and in float32", rows)
    found = {"differences": differences, "rows": rows}
    names = {name: getattr(settings, name) for name in ("words", "draws", "replicates", "l1", "l2")}
    if settings.out:
        harness.write_result(settings.out, "model_dtype", {"input": {**settings.names(), **names}, **found})


def _fit(settings: Settings, model: Model, seed: int) -> tuple[ActivationStore, ProbeSet]:
    corpus = read_conllu(settings.corpus_file, tasks=["upos"]).take_words(settings.words, seed=seed)
    store = extract(model, corpus)
    net = ElasticNet(l1=settings.l1, l2=settings.l2)
    return store, fit_probes(store, net, replicates=settings.replicates, kind="halves", control=False)


def _over_draws(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Returns the mean over the draws, and the smallest and largest overlap."""
    overlap = [row["overlap"] for row in rows]
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return mean | {"smallest": min(overlap), "largest": max(overlap)}


def _difference(one: ActivationStore, other: ActivationStore) -> float:
    """Returns the norm of the difference of all vectors, as a share of the norm of the first."""
    X, Y = one.matrix().astype(np.float64), other.matrix().astype(np.float64)
    return float(np.linalg.norm(X - Y) / np.linalg.norm(X))


def overlaps(exact: ProbeSet, rounded: ProbeSet) -> dict[str, dict[str, float]]:
    """Returns, by ranking and share, what both sets of probes share, what pairs of halves share, and chance."""
    rows = {}
    for name, (rank, method) in RANKINGS.items():
        pair = [rank(probes, "upos") for probes in (exact, rounded)]
        total = len(pair[0].columns)
        halves = measure_stability(rank_samples(exact, "upos", method=method), shares=SHARES)
        for share, count, point in zip(SHARES, counts_of(SHARES, total), halves.points, strict=True):
            chance = chance_overlap(count, total)
            rows[f"{name}, first {share:.0%}"] = {
                "neurons": count,
                "overlap": _common(pair[0], pair[1], count),
                "of_halves": point.overlap,
                "chance": chance.overlap,
                "chance_high": chance.high,
            }
    return rows


def overlaps_of_draws(rankings: Sequence[Mapping[str, Ranking]]) -> dict[str, dict[str, float]]:
    """Returns, by ranking and share, what pairs of draws of float32 share: the mean, smallest and largest pair.

    Nothing is told of a single draw.
    """
    rows: dict[str, dict[str, float]] = {}
    for name in RANKINGS:
        for share, count in zip(SHARES, counts_of(SHARES, len(rankings[0][name].columns)), strict=True):
            shared = [_common(one[name], other[name], count) for one, other in combinations(rankings, 2)]
            rows[f"{name}, first {share:.0%}"] = (
                {
                    "of_draws": float(np.mean(shared)),
                    "of_draws_smallest": min(shared),
                    "of_draws_largest": max(shared),
                }
                if shared
                else {}
            )
    return rows


def _common(one: Ranking, other: Ranking, count: int) -> float:
    """The share of the first neurons that two rankings have in common."""
    return overlap(first_part(one, count), first_part(other, count), count)


if __name__ == "__main__":
    main()

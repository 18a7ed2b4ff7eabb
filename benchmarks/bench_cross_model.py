"""Times the cross-model ranking (MaxCorr) of several models, with its null, against plain NumPy.

    python -m benchmarks.bench_cross_model --words 20000 --models 3 --out cross_model.json

Every model has 7 layers of 384 neurons, as MiniLM has, whose vectors are made here: mixtures of common sources, so that
there is something to find. What is timed is `correlate_models`, which reads the arrays block by block, and the ranking
of every model. `numpy` holds everything: it standardises each matrix, multiplies each pair once and takes the largest
magnitudes of rows and columns; it makes no null.

The floor is the products of the pairs at the rate of a large square product: 2·n·d² operations for each pair of models
of d neurons. Reading is no limit: n·d·4 bytes a model are read once. The null adds 2·n·256·d operations for each of the
two directions of every pair, 19 % of the products here, which the floor does not count.

The check: scores of both agree, and those of drawn neurons with float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import tyro

from benchmarks import harness
from lca_jax.gathering.correlate import DRAWN, correlate_models
from lca_jax.ranking.cross_model import rank_by_max_correlation

LARGEST_DIFFERENCE = 1e-5
"""Largest difference of a score that passes."""
_CHECKED = 64
"""Number of neurons of each model that are compared with float64."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the benchmark."""

    out: Path
    """Where the result is written."""
    words: int = 20_000
    models: int = 3
    layers: int = 7
    width: int = 384
    repetitions: int = 3
    """Number of interleaved rounds."""
    seed: int = 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the table and writes the result."""
    settings = tyro.cli(Settings, args=arguments, description="MaxCorr of several models.")
    result = measure(settings)
    harness.print_table("competitor", result["competitors"])
    shares = f"{result['share_of_peak']:.2f} with the null, {result['share_without_null']:.2f} without"
    print(f"share of the matrix peak: {shares}")
    harness.write_result(settings.out, "cross_model", result)


def measure(settings: Settings) -> dict:
    """Returns the content of the result file, after its head.

    Raises:
        ValueError: A score is not that of float64, or the two competitors disagree.
    """
    load, ceiling = harness.load_average(), harness.measure_machine()
    vectors = _vectors(settings)
    timings, scores = harness.time_interleaved(
        {
            "lca_jax": lambda: _ours(vectors, drawn=DRAWN),
            "lca_jax without null": lambda: _ours(vectors, drawn=0),
            "numpy": lambda: _numpy(vectors),
        },
        repetitions=settings.repetitions,
    )
    again = harness.measure_machine()
    peak = max(ceiling.flop_per_s, again.flop_per_s)
    neurons = settings.layers * settings.width
    flop = 2.0 * settings.words * neurons**2 * len(list(combinations(vectors, 2)))
    differences = {name: _check(name, vectors, found) for name, found in scores.items()}
    return {
        "input": {"words": settings.words, "models": settings.models, "neurons": neurons, "drawn": DRAWN},
        "load": load,
        "ceiling": {**ceiling.as_json(), "flop_per_s_after": again.flop_per_s},
        "floor_s": flop / peak,
        "share_of_peak": flop / timings["lca_jax"].median_s / peak,
        "share_without_null": flop / timings["lca_jax without null"].median_s / peak,
        "competitors": {
            name: {**timing.as_json(), "largest_difference": differences[name]} for name, timing in timings.items()
        },
    }


def _vectors(settings: Settings) -> list[np.ndarray]:
    rng, neurons = np.random.default_rng(settings.seed), settings.layers * settings.width
    sources = rng.normal(size=(settings.words, 64)).astype(np.float32)
    return [
        sources @ rng.normal(size=(64, neurons)).astype(np.float32)
        + 4 * rng.normal(size=(settings.words, neurons)).astype(np.float32)
        for _ in range(settings.models)
    ]


def _ours(vectors: Sequence[np.ndarray], *, drawn: int) -> list[np.ndarray]:
    moments = correlate_models(vectors, within=False, drawn=drawn)
    found = []
    for of in range(len(vectors)):
        ranking = rank_by_max_correlation(moments, of=of)
        scores = np.empty(len(ranking.columns))
        scores[ranking.columns] = ranking.scores
        found.append(scores)
    return found


def _numpy(vectors: Sequence[np.ndarray]) -> list[np.ndarray]:
    scaled = [(X - X.mean(axis=0)) / (X.std(axis=0) * np.float32(np.sqrt(len(X)))) for X in vectors]
    best = [np.zeros(X.shape[1]) for X in vectors]
    for one, other in combinations(range(len(vectors)), 2):
        correlation = np.abs(scaled[one].T @ scaled[other])
        best[one] = np.maximum(best[one], correlation.max(axis=1))
        best[other] = np.maximum(best[other], correlation.max(axis=0))
    return best


def _check(name: str, vectors: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    """Returns the largest difference of drawn neurons' scores from those in float64."""
    rng, largest = np.random.default_rng(1), 0.0
    for of, scores in enumerate(found):
        columns = rng.permutation(len(scores))[:_CHECKED]
        own, best = _standardised(vectors[of][:, columns]), np.zeros(len(columns))
        for other in (*vectors[:of], *vectors[of + 1 :]):
            for first in range(0, other.shape[1], _CHECKED):
                r = own.T @ _standardised(other[:, first : first + _CHECKED])
                best = np.maximum(best, np.abs(r).max(axis=1))
        largest = max(largest, float(np.abs(best - scores[columns]).max()))
    if largest > LARGEST_DIFFERENCE:
        raise ValueError(f"{name}: scores may differ from float64 by {LARGEST_DIFFERENCE:g}, got {largest:.2e}.")
    return largest


def _standardised(X: np.ndarray) -> np.ndarray:
    centred = X - X.mean(axis=0, dtype=np.float64)
    return centred / np.linalg.norm(centred, axis=0)


if __name__ == "__main__":
    main()

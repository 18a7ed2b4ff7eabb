"""Times every ranking of one task, each checked beside it, and NeuroX's procedures for those that it has.

    python -m benchmarks.bench_rankings --corpus en_ewt-ud-train.conllu.gz --out rankings.json

The words are `--words` of the corpus, by default 20,000 of 2,688 neurons. Rankings by weights read probes that were
solved before (`solve_s` beside them, since a fit serves all of them); rankings by statistics read statistics that were
gathered before. All others read the words in memory. The Gaussian selection takes most of the time, and is timed by
itself.

Checks. Every ranking is compared with a plain restatement in NumPy, float64, on `--checked` neurons drawn at random, or
with a property that its definition gives; anything beyond the tolerance is an error and nothing is written.

NeuroX. `probeless` (sums over pairs of classes), the cumulative mass order in blocks, and `iou_probe` (average
precision of values whose magnitude is at least 0.05, by scikit-learn, one neuron and one tag at a time) are restated
from what they compute; nothing is copied. Average precision is restated for one tag on the checked neurons, and scaled
to all neurons and tags (`scaled` is true there). The Gaussian selection is compared with one factorisation and one
posterior of its last set, of which NeuroX makes one for every candidate of every step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from sklearn.metrics import average_precision_score, mutual_info_score

from benchmarks import harness
from benchmarks.source import ModelAndCorpus
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.ranking.gaussian_selection import select_by_gaussians
from lca_jax.ranking.methods import METHODS, rank
from lca_jax.ranking.ranking import Ranking
from lca_jax.ranking.words import read_words, statistics_of_words
from lca_jax.text.conllu import read_conllu


@dataclass(frozen=True, kw_only=True)
class Settings(ModelAndCorpus):
    """Settings of the benchmark."""

    out: Path | None = None
    """Where the result is written."""
    task: str = "upos"
    words: int = 20_000
    """Number of words, about; whole sentences."""
    count: int = 50
    """Neurons that Gaussians select; 0 leaves them out."""
    checked: int = 24
    """Neurons whose scores are computed again plainly."""
    repetitions: int = 2
    seed: int = 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the tables and writes the result."""
    settings = tyro.cli(Settings, args=arguments, description="Every ranking of one task.")
    content = measure(settings)
    harness.print_table("ranking", content["rankings"])
    print(f"all but the Gaussian: {content['all_s']:.1f} s")
    if settings.out:
        harness.write_result(settings.out, "rankings", content)


def measure(settings: Settings) -> dict[str, Any]:
    """Returns the content of the result file, after its head."""
    corpus = read_conllu(settings.corpus_file, tasks=[settings.task]).take_words(settings.words, seed=settings.seed)
    store = extract(load_model(settings.model_folder), corpus)
    words, task = read_words(store, settings.task), settings.task
    net = ElasticNet(l1=1e-3, l2=1e-3, seed=settings.seed)
    probes, whole = harness.clock(lambda: fit_probes(store, net, tasks=[task]))
    binary, apart = harness.clock(lambda: fit_probes(store, net, tasks=[task], one_vs_rest=True))
    print(f"solved in {whole.wall_s:.1f} and {apart.wall_s:.1f} s")
    statistics, gathering = harness.clock(lambda: statistics_of_words(words))
    given = {"probes": probes, "statistics": statistics, "words": words}

    def call(name: str) -> Callable[[], Ranking]:
        method = METHODS[name]
        reads = binary if method.one_vs_rest else given[method.reads]
        return lambda: rank(reads, task if method.labels else None, method=name)

    competitors = {name: call(name) for name in METHODS if name != "gaussian"}
    timings, rankings = harness.time_interleaved(competitors, repetitions=settings.repetitions)
    columns = np.random.default_rng(settings.seed).choice(words.axis.size, settings.checked, replace=False)
    X, gold = words.X[:, columns].astype(np.float64), np.array(words.classes)[words.gold]
    incumbents = _incumbents(words.X, words.gold, probes, task, columns, repetitions=settings.repetitions)
    rows: dict[str, dict[str, Any]] = {}
    for name, ranking in rankings.items():
        error = _error(name, ranking, columns, X, gold, probes if name != "one_vs_rest" else binary, task)
        rows[name] = {**timings[name].as_json(), "error": error, **_ratio(incumbents.get(name), timings[name])}
    content: dict[str, Any] = {
        "input": {**settings.names(), "words": len(words.X), "neurons": words.axis.size, "classes": len(words.classes)},
        "load": harness.load_average(),
        "solve_s": {"all classes": whole.run_s, "one against the rest": apart.run_s},
        "statistics_s": gathering.run_s,
        "rankings": rows,
        "all_s": sum(timing.median_s for timing in timings.values()),
        "all_cpu_s": sum(row["cpu_median_s"] for row in rows.values()),
    }
    return content | ({"gaussian": _gaussian(words.X, words.gold, settings)} if settings.count else {})


def _error(
    name: str, ranking: Ranking, columns: np.ndarray, X: np.ndarray, gold: np.ndarray, probes: ProbeSet, task: str
) -> float:
    """Returns the largest distance of a score from a plain computation of it, as a share of the largest score."""
    scores = np.empty(len(ranking.columns))
    scores[ranking.columns] = ranking.scores
    plain = _plain(name, X, gold)
    if plain is None:
        plain = _by_weights(name, probes, task)
        found = scores
    else:
        found = scores[columns]
    if plain is None:  # solved problems: the order and the ties must be those of the scores
        assert (np.diff(ranking.scores) <= 0).all()
        return 0.0
    error = float(np.abs(found - plain).max() / max(np.abs(plain).max(), 1e-12))
    if error > 1e-4:
        raise ArithmeticError(f"{name}: off by {error:.1e} of the largest score")
    return error


def _plain(name: str, X: np.ndarray, gold: np.ndarray) -> np.ndarray | None:
    """Returns the scores of some neurons, written plainly; None for rankings that solve for all neurons together."""
    inside = [gold == one for one in np.unique(gold)]
    means = np.array([X[mask].mean(axis=0) for mask in inside])
    apart = np.array([X[mask].mean(axis=0) - X[~mask].mean(axis=0) for mask in inside])
    within = sum(mask.mean() * X[mask].var(axis=0) for mask in inside)
    columns = X.T
    if name == "probeless":
        return np.abs(means[:, None] - means[None]).sum(axis=(0, 1))
    if name == "mean_distance":
        return (np.abs(apart) / np.sqrt(within)).max(axis=0)
    if name == "anova":
        k, n = len(inside), len(X)
        between = np.sum([mask.sum() * (X[mask].mean(axis=0) - X.mean(axis=0)) ** 2 for mask in inside], axis=0)
        return (between / (k - 1)) / (within * n / (n - k))
    if name == "variance":
        return X.var(axis=0)
    if name == "mean_select":
        return np.max([np.abs(a) / np.ptp(X[mask], axis=0) for a, mask in zip(apart, inside, strict=True)], axis=0)
    if name == "iou":
        sets = [
            np.array([(mask & on).sum() / (mask | on).sum() for mask in inside for on in (x > 0, x < 0)])
            for x in columns
        ]
        return np.array([own.max() for own in sets])
    if name == "average_precision":
        return np.array([max(average_precision_score(m, s * x) for m in inside for s in (1, -1)) for x in columns])
    if name == "mutual_information":
        return np.array([_bits(x, gold) for x in columns])
    return None


def _bits(x: np.ndarray, gold: np.ndarray, bins: int = 16) -> float:
    ends = np.sort(x)[np.arange(1, bins) * len(x) // bins - 1]
    place = np.searchsorted(ends, x, side="left")
    cells = len(np.unique(np.stack([place, np.unique(gold, return_inverse=True)[1]]), axis=1).T)
    over = (cells - len(np.unique(place)) - len(np.unique(gold)) + 1) / (2 * len(x))
    return max(0.0, (mutual_info_score(place, gold) - over) / np.log(2))


def _by_weights(name: str, probes: ProbeSet, task: str) -> np.ndarray | None:
    """Returns the scores of all neurons that a probe's weights give, written plainly."""
    if name not in ("lca", "mean_weight", "one_vs_rest"):
        return None
    if name == "one_vs_rest":
        weights = np.stack([probes.one(task, target=target).weights[:, 1] for target in probes.targets], axis=1)
    else:
        weights = probes.one(task).weights
    magnitude = np.abs(weights.astype(np.float64))
    if name == "mean_weight":
        return magnitude.mean(axis=1)
    best = np.zeros(len(magnitude))
    for of_class in magnitude.T:
        falling = np.argsort(-of_class, kind="stable")
        before = np.concatenate([[0], np.cumsum(of_class[falling])[:-1]])
        own = np.zeros(len(of_class))
        own[falling] = np.where(of_class[falling] > 0, 1 - before / of_class.sum(), 0)
        best = np.maximum(best, own)
    return best


@dataclass(frozen=True)
class _Incumbent:
    seconds: float
    scaled: bool


def _incumbents(
    X: np.ndarray, gold: np.ndarray, probes: ProbeSet, task: str, columns: np.ndarray, *, repetitions: int
) -> dict[str, _Incumbent]:
    """Times NeuroX's procedures as they compute, on the same words."""
    weights, present = probes.one(task).weights.T, np.unique(gold)

    def probeless() -> np.ndarray:
        means = [X[gold == one].mean(axis=0) for one in present]
        return np.argsort(sum(np.abs(a - b) for a in means for b in means))[::-1]

    def in_blocks() -> list[int]:
        order: list[int] = []
        known: set[int] = set()
        for p in range(101):
            needed: set[int] = set()
            for of_class in np.abs(weights):
                falling = np.argsort(of_class)[::-1]
                mass = np.cumsum(of_class[falling])
                needed |= set(falling[: int((mass < mass[-1] * p / 100).sum()) + 1].tolist())
            order += list(needed - known)
            known |= needed
        return order

    def one_tag() -> list[float]:
        cut = np.where(np.abs(X[:, columns]) < 0.05, 0, X[:, columns])
        return [average_precision_score(gold == present[-1], cut[:, place]) for place in range(len(columns))]

    timings, _ = harness.time_interleaved(
        {"probeless": probeless, "lca": in_blocks, "average_precision": one_tag}, repetitions=repetitions
    )
    scale = len(present) * X.shape[1] / len(columns)
    return {
        "probeless": _Incumbent(timings["probeless"].median_s, scaled=False),
        "lca": _Incumbent(timings["lca"].median_s, scaled=False),
        "average_precision": _Incumbent(timings["average_precision"].median_s * scale, scaled=True),
    }


def _ratio(incumbent: _Incumbent | None, timing: harness.Timing) -> dict[str, Any]:
    if incumbent is None:
        return {}
    seconds = incumbent.seconds
    return {"neurox_s": seconds, "ratio": seconds / timing.median_s, "scaled": incumbent.scaled}


def _gaussian(X: np.ndarray, gold: np.ndarray, settings: Settings) -> dict[str, Any]:
    """Times the selection, and checks its bits against Gaussians that are factorised anew for every step."""
    from lca_jax.probing.gaussian import gather_gaussians, log_posteriors

    numbers, gold = np.unique(gold, return_inverse=True)
    held = np.random.default_rng(settings.seed).random(len(gold)) < 0.2
    held &= ~np.isin(gold, np.flatnonzero(np.bincount(gold) < 10))
    found, lap = harness.clock(
        lambda: select_by_gaussians(X[~held], gold[~held], X[held], gold[held], count=settings.count)
    )
    gaussians = gather_gaussians(
        X[~held][:, found.order], gold[~held], classes=len(numbers), shared=False, prior="class"
    )
    steps = list(range(1, settings.count + 1))
    posteriors, again = harness.clock(lambda: log_posteriors(gaussians, X[held][:, found.order], steps))
    bits = posteriors[:, np.arange(held.sum()), gold[held]].mean(axis=1) / np.log(2)
    error = float(np.abs(bits - found.bits).max())
    if error > 1e-2:
        raise ArithmeticError(f"gaussian: a step's bits are off by {error:.1e}")
    return {
        "selected": settings.count,
        "held_out_words": int(held.sum()),
        "wall_s": lap.wall_s,
        "cpu_s": lap.cpu_s,
        "compile_s": lap.compile_s,
        "error_bits": error,
        "one_refit_of_last_set_s": again.wall_s,
        "bits": found.bits.tolist(),
    }


if __name__ == "__main__":
    main()

"""Probes: seconds to a certified optimum, against the incumbent's ten epochs, and seconds a problem in a batch.

    python -m benchmarks.bench_probe --corpus en_ewt-ud-train.conllu.gz --words 20000 --out result.json

X are the activations of real words, standardised once for everyone (`--raw`: as they are; NeuroX trains on those). All
competitors start with X and y in host memory and end with weights there. Two objectives, and everyone on both:

    neurox        mean cross-entropy + l1 ‖W‖₁ + l2 ‖W‖_F          what NeuroX's code trains
    elastic_net   mean cross-entropy + l1 ‖W‖₁ + (l2/2) ‖W‖²_F     the package's default

    lca_jax              the exact solver, to a duality gap of 1e-4 of the objective at zero weights
    lca_jax adam         the papers' schedule in the package: proximal Adam, 10 epochs, batches of 512
    incumbent 32, 512    NeuroX's procedure, 10 epochs, in batches of 32 (its default) and 512
    neurox               NeuroX's own code at its defaults, where it is installed; on its own objective only
    saga 5, 50           scikit-learn's SAGA, 5 and 50 epochs (`--saga`, once; on the elastic net only)

A time says nothing without what was reached. Every competitor's weights are measured again here, by NumPy in float64:
the objective, how far it lies above the reference, and the accuracy on words held out. The reference is the package's
solver at a tolerance of 1e-6; a lower bound of the optimum, computed here in float64 from its weights by weak
duality, says how good the reference is. The package's certificate of each probe must not be smaller than the distance
measured.

The work, for n words, d features and k classes. A product with X costs 2·n·d·k operations and reads 4·n·d bytes. The
exact solver makes two an iteration, and the Gram matrix of up to 3·d words once: 2·d²·min(n, 3d). At 20,000 × 2,688 ×
17 that is 3.7 GFLOP and 430 MB an iteration, and 117 GFLOP once; 17 columns are 8.5 operations a byte, so the
products are bound by memory on anything with more operations than that a byte, and further problems in the batch are
nearly free there. The steps inside an iteration (`probing.proximal`) are no work in this count, nor is anything else:
`floor_s` and `peak_share` say how far the whole is from what X alone demands. The incumbent's ten epochs are 37 GFLOP
and read X twice an epoch.

The batch: P penalty pairs solved at once, for P = 1, 4, 12. Weak penalties need more iterations, so seconds are also
given for each problem-iteration: what of the gain is the batching, and what the mixture.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
import tyro
from jaxtyping import Float, Float32, Int

from benchmarks import harness, incumbent, reference
from lca_jax.activations.extract import extract
from lca_jax.demo import demo_corpus_file, demo_model_folder
from lca_jax.errors import NotConverged
from lca_jax.models.model import load_model
from lca_jax.probing.fit import fit_problems
from lca_jax.probing.labelling import Labelling
from lca_jax.probing.objective import ElasticNet, Penalty, sklearn_parameters
from lca_jax.probing.probe import Probe
from lca_jax.text.readers import read_conllu

PENALTIES: tuple[Penalty, ...] = ("neurox", "elastic_net")
TOLERANCE = 1e-4
REFERENCE_TOLERANCE = 1e-6
BATCHES: Mapping[int, tuple[tuple[float, ...], tuple[float, ...]]] = {
    1: ((1e-3,), (1e-3,)),
    4: ((3e-4, 1e-3), (3e-4, 1e-3)),
    12: ((1e-4, 3e-4, 1e-3, 3e-3), (1e-4, 3e-4, 1e-3)),
}
"""Problems in a batch: their l1 and l2."""
ROUNDING = 1e-6
"""Of an objective in float32, as a share of the objective at zero weights: no certificate is finer than that."""


class Weights(TypedDict):
    """Of the two terms of the penalty."""

    l1: float
    l2: float


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured."""

    model: Path | None = None
    """Hugging Face folder; the demo's MiniLM by default."""
    corpus: Path | None = None
    """CoNLL-U file; the embedded corpus by default."""
    task: str = "upos"
    """Label column."""
    words: int = 20_000
    """Training words: leading sentences with at most that many."""
    held_out: int = 5_000
    """Words after them, for the accuracy."""
    l1: float = 1e-3
    """Weight of the l1 norm."""
    l2: float = 1e-3
    """Weight of the second term."""
    raw: bool = False
    """Leave X as it was extracted."""
    saga: bool = False
    """Time scikit-learn too: minutes."""
    repetitions: int = 3
    """Timed rounds."""
    out: Path | None = None
    """Result file; without it the tables are printed only."""
    quick: bool = False
    """400 words, one round, two epochs, no larger batch than 4: for trying the benchmark, not the library."""

    @property
    def weights(self) -> Weights:
        """Of the penalty, for whoever takes them as keywords."""
        return {"l1": self.l1, "l2": self.l2}

    @property
    def epochs(self) -> int:
        """Of the incumbent."""
        return 2 if self.quick else 10


class Fitted(NamedTuple):
    """What a competitor ends with; the last two are None where it does not say."""

    weights: Float32[np.ndarray, "feature class"]
    bias: Float32[np.ndarray, " class"]
    certificate: float | None = None
    iterations: int | None = None


class Words(NamedTuple):
    """Activations and class numbers."""

    X: Float32[np.ndarray, "word feature"]
    y: Int[np.ndarray, " word"]


class Split(NamedTuple):
    """Training words and words held out; the latter have the number -1 where no training word has their class."""

    train: Words
    unseen: Words
    classes: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> None:
    settings = tyro.cli(Settings, args=arguments, description="Probes against the incumbent.")
    if settings.quick:
        settings = replace(settings, words=min(400, settings.words), held_out=100, repetitions=1)
    content = measure(settings)
    if settings.out:
        harness.write_result(settings.out, "probe", content)


def measure(settings: Settings) -> dict[str, object]:
    """Times everyone on both objectives and the batches, prints the tables and returns what the result file holds."""
    model_folder = settings.model or demo_model_folder()
    corpus_file = settings.corpus or demo_corpus_file("train")
    split = read_words(model_folder, corpus_file, settings)
    ceiling = harness.measure_machine(side=256 if settings.quick else None)
    before = harness.load_average()
    objectives = {penalty: measure_objective(split, penalty, settings, ceiling) for penalty in PENALTIES}
    batches = measure_batches(split, settings, ceiling)
    return {
        "input": {
            "model": model_folder.name,
            "corpus": corpus_file.name,
            "task": settings.task,
            "words": len(split.train.y),
            "held_out_words": len(split.unseen.y),
            "features": split.train.X.shape[1],
            "classes": len(split.classes),
            "l1": settings.l1,
            "l2": settings.l2,
            "standardized": not settings.raw,
        },
        "load": {"before": before, "after": harness.load_average()},
        "ceiling": ceiling.as_json(),
        "objectives": objectives,
        "batches": batches,
    }


def read_words(model_folder: Path, corpus_file: Path, settings: Settings) -> Split:
    """Extracts the words, and scales them by the training words' mean and deviation."""
    corpus = read_conllu(corpus_file, tasks=(settings.task,)).take_words(settings.words + settings.held_out)
    count = corpus.take_words(settings.words).word_count
    store = extract(load_model(model_folder), corpus)
    labels = store.labels(settings.task)
    rows = np.flatnonzero([usable and label is not None for usable, label in zip(store.usable, labels, strict=True)])
    X = store.matrix(rows)
    train = rows < count
    classes = tuple(sorted({str(labels[row]) for row in rows[train]}))
    numbers = {name: number for number, name in enumerate(classes)}
    y = np.array([numbers.get(str(labels[row]), -1) for row in rows], np.int32)
    if not settings.raw:
        mean, deviation = X[train].mean(axis=0, dtype=np.float64), X[train].std(axis=0, dtype=np.float64)
        X = ((X - mean) / np.where(deviation < 1e-6, 1, deviation)).astype(np.float32)
    return Split(Words(np.ascontiguousarray(X[train]), y[train]), Words(X[~train], y[~train]), classes)


def measure_objective(
    split: Split, penalty: Penalty, settings: Settings, ceiling: harness.Ceiling
) -> dict[str, object]:
    """All competitors on one objective."""
    squared = penalty == "elastic_net"
    timings, fitted = harness.time_interleaved(_competitors(split, penalty, settings), repetitions=settings.repetitions)
    if settings.saga and squared:
        for epochs in (5, 50):
            call = partial(_saga, split, settings, epochs)
            # Once each, without a first call: it compiles nothing and takes minutes.
            timings[f"saga {epochs}"], fitted[f"saga {epochs}"] = harness.time_once(call)
    best = _fit(split, ElasticNet(penalty=penalty, tolerance=REFERENCE_TOLERANCE, **settings.weights))
    measured = partial(reference.measure_objective, *split.train, squared=squared, **settings.weights)
    optimum, null = measured(best.weights, best.bias), reference.null_objective(split.train.y)
    bound = reference.lower_bound(*split.train, best.weights, best.bias, squared=squared, **settings.weights)
    rows: dict[str, dict[str, object]] = {}
    for name, one in fitted.items():
        above = measured(one.weights, one.bias) - optimum
        if one.certificate is not None and above > one.certificate + ROUNDING * null:
            raise ValueError(f"{name}: {above:.3e} above the reference, but certified to {one.certificate:.3e}.")
        rows[name] = timings[name].as_json() | {
            "objective": optimum + above,
            "above_reference_share": above / null,
            "certificate_share": None if one.certificate is None else one.certificate / null,
            "iterations": one.iterations,
            "nonzero_fraction": float((one.weights != 0).mean()),
            "held_out_accuracy": _accuracy(split.unseen, one),
        }
    iterations = fitted["lca_jax"].iterations or 0
    work = _work(split, problem_iterations=iterations, passes=iterations)
    ours = timings["lca_jax"].median_s
    rows["lca_jax"]["peak_share"] = work["flop"] / ours / ceiling.flop_per_s
    shown = ("median_s", "spread", "cpu_median_s", "compile_s", "above_reference_share", "certificate_share")
    shown += ("iterations", "nonzero_fraction", "held_out_accuracy")
    harness.print_table(
        f"{penalty}, {len(split.train.y)} words", {name: {key: row[key] for key in shown} for name, row in rows.items()}
    )
    return {
        "null_objective": null,
        "reference": {"objective": optimum, "lower_bound": bound, "gap_share": (optimum - bound) / null},
        "work": {**work, "floor_s": ceiling.floor_s(**work)},
        "competitors": rows,
        "times_as_long_as_lca_jax": {name: one.median_s / ours for name, one in timings.items() if name != "lca_jax"},
    }


def measure_batches(split: Split, settings: Settings, ceiling: harness.Ceiling) -> dict[str, dict[str, object]]:
    """Penalty grids of growing size on the elastic net, each solved in one call."""
    grids = {count: grid for count, grid in BATCHES.items() if count <= 4 or not settings.quick}
    calls = {
        str(count): partial(_fit_all, split, ElasticNet(l1=l1, l2=l2, tolerance=TOLERANCE, standardize=False))
        for count, (l1, l2) in grids.items()
    }
    timings, fitted = harness.time_interleaved(calls, repetitions=settings.repetitions)
    rows: dict[str, dict[str, object]] = {}
    for name, timing in timings.items():
        probes = fitted[name]
        iterations = [probe.iterations for probe in probes]
        work = _work(split, problem_iterations=sum(iterations), passes=max(iterations))
        rows[name] = {
            **timing.as_json(),
            "s_per_problem": timing.median_s / len(probes),
            "s_per_problem_iteration": timing.median_s / sum(iterations),
            "iterations": iterations,
            "worst_certificate_share": max(probe.duality_gap / probe.null_objective for probe in probes),
            "peak_share": work["flop"] / timing.median_s / ceiling.flop_per_s,
        }
    shown = ("median_s", "spread", "compile_s", "s_per_problem", "s_per_problem_iteration", "peak_share")
    harness.print_table("problems", {name: {key: row[key] for key in shown} for name, row in rows.items()})
    return rows


def _competitors(split: Split, penalty: Penalty, settings: Settings) -> dict[str, Callable[[], Fitted]]:
    net = ElasticNet(penalty=penalty, tolerance=TOLERANCE, epochs=settings.epochs, **settings.weights)

    def train(batch_size: int) -> Fitted:
        squared = penalty == "elastic_net"
        return Fitted(
            *incumbent.train_probe(
                *split.train, squared=squared, batch_size=batch_size, epochs=settings.epochs, **settings.weights
            )
        )

    competitors: dict[str, Callable[[], Fitted]] = {
        "lca_jax": lambda: _fit(split, net),
        "lca_jax adam": lambda: _fit(split, replace(net, solver="adam")),
        "incumbent 32": lambda: train(32),
        "incumbent 512": lambda: train(512),
    }
    if incumbent.has_neurox() and penalty == "neurox":
        competitors["neurox"] = lambda: Fitted(*incumbent.neurox_train_probe(*split.train, **settings.weights))
    return competitors


def _fit(split: Split, net: ElasticNet) -> Fitted:
    """One probe by the package, on X as it is."""
    (probe,) = _fit_all(split, replace(net, standardize=False))
    return Fitted(probe.weights, probe.bias, probe.duality_gap, probe.iterations)


def _fit_all(split: Split, net: ElasticNet) -> list[Probe]:
    labelling = Labelling(task="task", control=False, classes=split.classes, numbers=split.train.y)
    with warnings.catch_warnings():
        # The gap that is left is in the result; the reference may stop at float32's resolution.
        warnings.simplefilter("ignore", NotConverged)
        return fit_problems(split.train.X, [labelling], net)


def _saga(split: Split, settings: Settings, epochs: int) -> Fitted:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    parameters = sklearn_parameters(settings.l1, settings.l2, words=len(split.train.y))
    C, l1_ratio = parameters["C"], parameters["l1_ratio"]
    solver = LogisticRegression(solver="saga", C=C, l1_ratio=l1_ratio, max_iter=epochs, tol=1e-12, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        solver.fit(*split.train)
    return Fitted(np.asarray(solver.coef_.T, np.float32), np.asarray(solver.intercept_, np.float32))


def _work(split: Split, *, problem_iterations: int, passes: int) -> dict[str, float]:
    """Operations with X and the bytes of X read, as the module's docstring counts them."""
    count, features = split.train.X.shape
    classes = len(split.classes)
    metric = 2.0 * features**2 * min(count, 3 * features)
    return {
        "flop": 4.0 * count * features * classes * problem_iterations + metric,
        "read_bytes": 2.0 * split.train.X.nbytes * passes,
    }


def _accuracy(words: Words, fitted: Fitted) -> float:
    scores: Float[np.ndarray, "word class"] = words.X @ fitted.weights + fitted.bias
    return float((scores.argmax(axis=1) == words.y).mean())


if __name__ == "__main__":
    main()

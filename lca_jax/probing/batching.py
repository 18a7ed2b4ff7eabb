"""Many problems in few solves: which are solved together, and the probes they become.

Every labelling (task, control, bootstrap sample, class against the rest) with every penalty pair on every subset is one
problem. Problems whose class counts are within a factor of 1.5 share a batch, padded to the widest: a class that a
problem has not costs its columns of the products, never anything in its result. Memory: about ten arrays of (problem,
word, class) in float32, times the layers where the design is a matrix a layer; batches keep each under `_BATCH_BYTES`.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from lca_jax.errors import NotConverged
from lca_jax.probing.adam import solve_adam
from lca_jax.probing.design import Design, Gram, gram
from lca_jax.probing.labelling import Labelling
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe import Probe
from lca_jax.probing.problems import Problems, Solution, make_problems
from lca_jax.probing.proximal import solve
from lca_jax.probing.subsets import Subset

_log = logging.getLogger(__name__)
_BATCH_BYTES = 300e6
_WIDER = 1.5
"""How many times as many classes the widest problem of a batch may have as the narrowest."""


class _Question(NamedTuple):
    """One problem before it is on the devices."""

    labelling: Labelling
    pair: tuple[float, float]
    mask: int
    """Which of the masks."""


def fit_on_design(
    design: Design,
    words: int,
    labellings: Sequence[Labelling],
    settings: ElasticNet,
    *,
    keep: Bool[np.ndarray, "subset feature"] | None = None,
    subsets: Sequence[Subset | None] = (None,),
) -> list[Probe]:
    """Fits every labelling with every penalty pair on every subset of the features.

    Args:
        design: Features of the words.
        words: Real rows of the design; the later ones are padding.
        labellings: Tasks, controls, samples, checked before.
        settings: Objective, penalties and solver.
        keep: Masks over the features, one a subset; None keeps all. A named subset's probe has the weights of its own
            features, one without a name has weights of zero for the others.
        subsets: Names of the masks or, for a matrix a layer, of the layers.

    Returns:
        Probes, labelling outermost, then pair, then subset.
    """
    masks = keep if keep is not None else np.ones((1, design.X.shape[-1]), bool)
    metric = gram(design, words=words) if settings.solver == "proximal" else None
    questions = [
        _Question(labelling, pair, mask)
        for labelling in labellings
        for pair in settings.pairs
        for mask in range(len(masks))
    ]
    scale = _Scale.of(design, settings)
    answers: list[list[Probe]] = [[] for _ in questions]
    for batch in _batches(questions, design.layers * words):
        together = [questions[place] for place in batch]
        problems = _put(together, masks)
        solution = _solve(design, metric, problems, words, settings)
        _log.info(
            "%s: %d problems of up to %d classes, %d iterations at most",
            ", ".join(dict.fromkeys(question.labelling.task for question in together)),
            len(solution.iterations),
            problems.shares.shape[1],
            solution.iterations.max(),
        )
        for position, place in enumerate(batch):
            question = questions[place]
            for layer in range(design.layers):
                subset = subsets[question.mask if keep is not None else layer]
                own = None if keep is None or subset is None else masks[question.mask]
                number = layer * len(batch) + position
                answers[place].append(_probe(solution, number, question, subset, own, scale.of_layer(layer), settings))
    probes = [probe for answer in answers for probe in answer]
    _warn_if_not_converged(probes, settings)
    return probes


def _batches(questions: Sequence[_Question], rows: int) -> Iterator[list[int]]:
    """Places of the questions that are solved together: of like width, and as many as memory allows."""
    widths = [len(question.labelling.classes) for question in questions]
    falling = sorted(range(len(questions)), key=lambda place: -widths[place])
    while falling:
        widest = widths[falling[0]]
        limit = max(1, int(_BATCH_BYTES / (4 * rows * widest)))
        batch = [place for place in falling[:limit] if widths[place] * _WIDER >= widest]
        falling = falling[len(batch) :]
        yield batch


def _put(questions: Sequence[_Question], masks: Bool[np.ndarray, "mask feature"]) -> Problems:
    """One batch of problems on the devices; word weights only where some problem has them."""
    weights = None
    if any(question.labelling.weights is not None for question in questions):
        weights = np.stack([_weights_of(question.labelling) for question in questions])
    return make_problems(
        np.stack([question.labelling.numbers for question in questions]),
        classes=max(len(question.labelling.classes) for question in questions),
        l1=np.array([question.pair[0] for question in questions]),
        l2=np.array([question.pair[1] for question in questions]),
        keep=np.stack([masks[question.mask] for question in questions]),
        weights=weights,
    )


def _weights_of(labelling: Labelling) -> Float[np.ndarray, " word"]:
    return np.ones(len(labelling.numbers), np.float32) if labelling.weights is None else labelling.weights


def _solve(design: Design, metric: Gram | None, problems: Problems, words: int, settings: ElasticNet) -> Solution:
    squared = settings.penalty == "elastic_net"
    if metric is not None:
        return solve(
            design,
            metric,
            problems,
            squared=squared,
            tolerance=settings.tolerance,
            max_iterations=settings.max_iterations,
        )
    return solve_adam(
        design,
        problems,
        words=words,
        squared=squared,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        proximal_step=settings.proximal_step,
        tolerance=settings.tolerance,
        seed=settings.seed,
    )


class _Scale(NamedTuple):
    """Mean and scale of the features on the host, and whether the centre goes into the bias."""

    mean: Float[np.ndarray, "*layer feature"]
    scale: Float[np.ndarray, "*layer feature"]
    raw: bool

    @staticmethod
    def of(design: Design, settings: ElasticNet) -> "_Scale":
        shape = (design.layers, -1)
        mean, scale = np.asarray(design.mean).reshape(shape), np.asarray(design.scale).reshape(shape)
        return _Scale(mean, scale, raw=not settings.standardize)

    def of_layer(self, layer: int) -> "_Scale":
        return _Scale(self.mean[layer], self.scale[layer], self.raw)


def _probe(
    solution: Solution,
    number: int,
    question: _Question,
    subset: Subset | None,
    own: Bool[np.ndarray, " feature"] | None,
    scale: _Scale,
    settings: ElasticNet,
) -> Probe:
    """The probe of one solved problem: without the classes it was padded with, and its own features only."""
    labelling, classes = question.labelling, len(question.labelling.classes)
    chosen: slice | Int[np.ndarray, " own"] = slice(None) if own is None else np.flatnonzero(own)
    weights = np.ascontiguousarray(solution.weights[number][:classes, chosen].T)
    bias, mean = solution.bias[number][:classes], scale.mean[chosen]
    if scale.raw:
        # The solver centres in any case; on raw features the centre belongs into the bias.
        bias = bias - mean @ weights
        mean = np.zeros_like(mean)
    return Probe(
        task=labelling.task,
        control=labelling.control,
        target=labelling.target,
        replicate=labelling.replicate,
        subset=None if subset is None else subset.name,
        columns=None if subset is None else subset.columns,
        l1=question.pair[0],
        l2=question.pair[1],
        penalty=settings.penalty,
        solver=settings.solver,
        classes=labelling.classes,
        weights=weights,
        bias=bias,
        mean=mean,
        scale=scale.scale[chosen],
        objective=float(solution.objective[number]),
        null_objective=float(solution.null_objective[number]),
        duality_gap=float(solution.duality_gap[number]),
        iterations=int(solution.iterations[number]),
        converged=bool(solution.converged[number]),
        words=int(labelling.counted.sum()),
    )


def _warn_if_not_converged(probes: Sequence[Probe], settings: ElasticNet) -> None:
    failed = [probe for probe in probes if not probe.converged]
    if failed and settings.solver == "proximal":
        worst = max(failed, key=lambda probe: probe.duality_gap / probe.null_objective)
        warnings.warn(
            f"{len(failed)} of {len(probes)} problems reached {settings.max_iterations} iterations; the worst "
            f"(l1={worst.l1:g}, l2={worst.l2:g}) has a duality gap of {worst.duality_gap / worst.null_objective:.1e} "
            f"of the objective at zero weights, wanted {settings.tolerance:.0e}. "
            "Raise max_iterations or the penalties.",
            NotConverged,
            stacklevel=3,
        )

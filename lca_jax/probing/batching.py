"""Many problems in few solves: which are solved together, and the probes they become.

Every labelling (task, control, bootstrap sample, class against the rest) with every penalty pair on every subset is one
problem. Problems whose class counts are within a factor of 1.5 share a solve, padded to the widest: a class that a
problem has not costs its columns of the products, never anything in its result. Memory: about ten arrays of (problem,
word, class) in float32, times the layers where the design is a matrix a layer; as many problems are solved at a time as
keep each under `_BATCH_BYTES`.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from lca_jax.errors import NotConverged
from lca_jax.machine.devices import fetch
from lca_jax.probing.labelling import Labelling
from lca_jax.probing.matrix.held import Gram, Products
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe import Probe
from lca_jax.probing.problems import Answer, Question, make_problems
from lca_jax.probing.solvers.adam import solve_adam
from lca_jax.probing.solvers.path import neighbours
from lca_jax.probing.solvers.proximal import solve
from lca_jax.probing.subsets import Subset

_log = logging.getLogger(__name__)
_BATCH_BYTES = 300e6
_WIDER = 1.5
"""How many times as many classes the widest problem of a batch may have as the narrowest."""


class _Asked(NamedTuple):
    """One problem by what it is about."""

    labelling: Labelling
    pair: tuple[float, float]
    mask: int
    """Which of the masks."""


def fit_on_design(
    design: Products,
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
    masks = keep if keep is not None else np.ones((1, design.features), bool)
    metric = design.metric(words) if settings.solver == "proximal" else None
    asked = [
        _Asked(labelling, pair, mask)
        for labelling in labellings
        for pair in settings.pairs
        for mask in range(len(masks))
    ]
    scale = _Scale.of(design, settings)
    answers: list[list[Probe]] = [[] for _ in asked]
    for places in _groups([one.labelling.columns for one in asked]):
        group = [asked[place] for place in places]
        solved = _solve(design, metric, _questions(group, settings, masks), words, settings)
        _log.info(
            "%s: %d problems of up to %d classes, %d iterations at most",
            ", ".join(dict.fromkeys(one.labelling.task for one in group)),
            len(group),
            max(one.labelling.columns for one in group),
            max(answer.iterations.max() for answer in solved),
        )
        for place, one, answer in zip(places, group, solved, strict=True):
            for layer in range(design.layers):
                subset = subsets[one.mask if keep is not None else layer]
                own = None if keep is None or subset is None else masks[one.mask]
                answers[place].append(_probe(answer, layer, one, subset, own, scale.of_layer(layer), settings))
    probes = [probe for answer in answers for probe in answer]
    _warn_if_not_converged(probes, settings)
    return probes


def _groups(widths: Sequence[int]) -> Iterator[list[int]]:
    """Places of the problems that share a class axis: of like width, widest first, each group in its own order."""
    falling = sorted(range(len(widths)), key=lambda place: -widths[place])
    while falling:
        widest = widths[falling[0]]
        group = [place for place in falling if widths[place] * _WIDER >= widest]
        falling = falling[len(group) :]
        yield sorted(group)


def _questions(
    group: Sequence[_Asked], settings: ElasticNet, masks: Bool[np.ndarray, "mask feature"]
) -> list[Question]:
    """The problems of a group, each with its neighbours on the penalty grid."""
    place = {(id(one.labelling), one.pair, one.mask): number for number, one in enumerate(group)}
    beside = dict(zip(settings.pairs, neighbours(settings.pairs), strict=True))
    return [
        Question(
            labels=one.labelling.numbers if one.labelling.values is None else one.labelling.values,
            weights=one.labelling.weights,
            classes=one.labelling.columns,
            l1=one.pair[0],
            l2=one.pair[1],
            keep=masks[one.mask],
            parents=tuple(
                place[id(one.labelling), settings.pairs[neighbour], one.mask] for neighbour in beside[one.pair]
            ),
        )
        for one in group
    ]


def _solve(
    design: Products, metric: Gram | None, questions: Sequence[Question], words: int, settings: ElasticNet
) -> list[Answer]:
    """All questions of a group, as many at a time as memory allows."""
    squared = settings.penalty == "elastic_net"
    classes = max(question.classes for question in questions)
    slots = max(1, int(_BATCH_BYTES / (4 * design.layers * words * classes)))
    if metric is not None:
        return solve(
            design,
            metric,
            questions,
            classes=classes,
            slots=slots,
            squared=squared,
            tolerance=settings.tolerance,
            max_iterations=settings.max_iterations,
        )
    batches = [questions[first : first + slots] for first in range(0, len(questions), slots)]
    trained = [
        solve_adam(
            design,
            make_problems(batch, classes=classes, mesh=design.devices(), rows=design.rows),
            words=words,
            squared=squared,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            proximal_step=settings.proximal_step,
            tolerance=settings.tolerance,
            seed=settings.seed,
        )
        for batch in batches
    ]
    return [answer for batch in trained for answer in batch]


class _Scale(NamedTuple):
    """Mean and scale of the features on the host, and whether the centre goes into the bias."""

    mean: Float[np.ndarray, "*layer feature"]
    scale: Float[np.ndarray, "*layer feature"]
    raw: bool

    @staticmethod
    def of(design: Products, settings: ElasticNet) -> "_Scale":
        shape = (design.layers, -1)
        mean, scale = fetch(design.mean).reshape(shape), fetch(design.scale).reshape(shape)
        return _Scale(mean, scale, raw=not settings.standardize)

    def of_layer(self, layer: int) -> "_Scale":
        return _Scale(self.mean[layer], self.scale[layer], self.raw)


def _probe(
    answer: Answer,
    layer: int,
    one: _Asked,
    subset: Subset | None,
    own: Bool[np.ndarray, " feature"] | None,
    scale: _Scale,
    settings: ElasticNet,
) -> Probe:
    """The probe of one solved problem: without the classes it was padded with, and its own features only."""
    labelling, classes = one.labelling, one.labelling.columns
    chosen: slice | Int[np.ndarray, " own"] = slice(None) if own is None else np.flatnonzero(own)
    weights = np.ascontiguousarray(answer.weights[layer][:classes, chosen].T)
    bias, mean = answer.bias[layer][:classes], scale.mean[chosen]
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
        l1=one.pair[0],
        l2=one.pair[1],
        penalty=settings.penalty,
        solver=settings.solver,
        classes=labelling.classes,
        weights=weights,
        bias=bias,
        mean=mean,
        scale=scale.scale[chosen],
        objective=float(answer.objective[layer]),
        null_objective=answer.null_objective,
        duality_gap=float(answer.duality_gap[layer]),
        iterations=int(answer.iterations[layer]),
        converged=bool(answer.converged[layer]),
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
            "Raise max_iterations or the penalties."
            + (" Without any penalty separable classes have no finite optimum." if worst.l1 == worst.l2 == 0 else ""),
            NotConverged,
            stacklevel=3,
        )

"""Many problems in few solves: chooses the problems that are solved together, and makes probes of the answers.

Every labelling (task, control, bootstrap sample, class against the rest) with every penalty pair on every subset is one
problem. Problems with the same loss whose class counts are within a factor of 1.5 share a solve, padded to the widest:
a class that a problem does not have costs its columns of the products, and changes nothing in its result. Memory: about
ten arrays of (problem, class, word) in float32, times the layers where the matrix has layers; at most as many problems
are solved at a time as fit beside X (`room`), and no more than keep the devices busy (`solvers.proximal`).
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from lca_jax.errors import NotConverged
from lca_jax.machine.devices import fetch, platform_of
from lca_jax.machine.profiling import stretch
from lca_jax.machine.programs import let_go_of_programs
from lca_jax.machine.spill import Spill
from lca_jax.probing.choices import loss_named, penalty_named, solver_of
from lca_jax.probing.kept_answers import NONE_KEPT, KeptAnswers
from lca_jax.probing.labelling import Labelling
from lca_jax.probing.matrix.matrix import Matrix
from lca_jax.probing.objective import ElasticNet, LossName
from lca_jax.probing.penalties.penalty import Penalty
from lca_jax.probing.probe import Probe
from lca_jax.probing.problems import Answer, Question, Start
from lca_jax.probing.room import free_beside, problems_in_memory
from lca_jax.probing.solvers.path import next_stronger
from lca_jax.probing.subsets import Subset

_log = logging.getLogger(__name__)
_WIDER = 1.5
"""Largest ratio of the class counts of the widest and the narrowest problem of a batch."""


class _Request(NamedTuple):
    """One problem in the words of its user."""

    labelling: Labelling
    pair: tuple[float, float]
    mask: int
    """Number of its mask."""


def fit_on_matrix(
    matrix: Matrix,
    labellings: Sequence[Labelling],
    settings: ElasticNet,
    *,
    keep: Bool[np.ndarray, "subset feature"] | None = None,
    subsets: Sequence[Subset | None] = (None,),
    groups: Int[np.ndarray, " feature"] | None = None,
    kept: KeptAnswers | None = None,
    start: Start | None = None,
    spill: Spill | None = None,
) -> list[Probe]:
    """Fits every labelling with every penalty pair on every subset of the features.

    Args:
        matrix: Features of the words.
        labellings: Tasks, controls and samples, which were checked before.
        settings: Objective, penalties and solver.
        keep: Masks over the features, one for each subset; None keeps all. The probe of a named subset has the weights
            of its own features, that of a subset without a name has weights of zero for the others.
        subsets: Names of the masks or, where the matrix has layers, of the layers.
        groups: Number of every feature's group, for the group lasso over groups of neurons; not where the matrix has
            layers. None for neurons by themselves.
        kept: Where the answers are kept, and looked for, that are found on this matrix.
        start: Where problems start that no stronger penalty of the grid leads to; None for zero weights.
        spill: Takes the weights; one for all matrices of a fit. None for one of this call's own.

    Returns:
        Probes, labelling outermost, then pair, then subset.

    Raises:
        SettingsError: The penalty lacks a method that the solver needs, or has no groups.
    """
    check_settings(settings, groups)
    let_go_of_programs()  # a program is compiled for each shape, and callers fit one corpus after another
    penalty = penalty_named(settings.penalty, groups)
    masks = keep if keep is not None else np.ones((1, matrix.features), bool)
    requests = [
        _Request(labelling, pair, mask)
        for labelling in labellings
        for pair in settings.pairs
        for mask in range(len(masks))
    ]
    if kept is not None:
        kept = kept.about(replace(settings, l1=0.0, l2=0.0), groups)
    scale = _Scale.of(matrix, settings)
    probes: list[list[Probe]] = [[] for _ in requests]
    spill = spill or Spill()
    for places in _batches(requests):
        batch = [requests[place] for place in places]
        questions = _questions(batch, settings, masks, start)
        answers = _solve(matrix, questions, settings, penalty, kept, loss=batch[0].labelling.loss)
        _log.info(
            "%s: %d problem%s of up to %d classes, %d iterations at most",
            ", ".join(dict.fromkeys(request.labelling.task for request in batch)),
            len(batch),
            "s" * (len(batch) > 1),
            max(request.labelling.columns for request in batch),
            max(answer.iterations.max() for answer in answers),
        )
        answers.reverse()
        for place, request in zip(places, batch, strict=True):
            answer = answers.pop()  # a grid of thousands takes gigabytes, which are not to be there twice
            for layer in range(matrix.layers):
                subset = subsets[request.mask if keep is not None else layer]
                features = None if keep is None or subset is None else masks[request.mask]
                probes[place].append(
                    _probe(answer, layer, request, subset, features, scale.of_layer(layer), settings, spill)
                )
    fitted = [probe for of_request in probes for probe in of_request]
    _warn_if_not_converged(fitted, settings)
    return fitted


def check_settings(settings: ElasticNet, groups: Int[np.ndarray, " feature"] | None = None) -> None:
    """Refuses a penalty that lacks a method which the solver needs; call it before activations are read.

    Raises:
        SettingsError: Names the method, and the way out; or there are groups, and the penalty has none.
    """
    solver_of(settings).check(penalty_named(settings.penalty, groups))


def group_by_width(widths: Sequence[int]) -> Iterator[list[int]]:
    """Yields the places of problems that share a class axis: of like width, widest first, each group in its own order.

    Args:
        widths: Class count of each problem.
    """
    falling = sorted(range(len(widths)), key=lambda place: -widths[place])
    while falling:
        widest = widths[falling[0]]
        group = [place for place in falling if widths[place] * _WIDER >= widest]
        falling = falling[len(group) :]
        yield sorted(group)


def _batches(requests: Sequence[_Request]) -> Iterator[list[int]]:
    """Yields the places of the requests that are solved together: of one loss, and of like width."""
    for loss in dict.fromkeys(request.labelling.loss for request in requests):
        places = [place for place, request in enumerate(requests) if request.labelling.loss == loss]
        for group in group_by_width([requests[place].labelling.columns for place in places]):
            yield [places[number] for number in group]


def _solve(
    matrix: Matrix,
    questions: Sequence[Question],
    settings: ElasticNet,
    penalty: Penalty,
    kept: KeptAnswers | None,
    *,
    loss: LossName,
) -> list[Answer]:
    """Solves all questions of a batch, as many at a time as memory allows."""
    classes = max(question.classes for question in questions)
    mesh, words = matrix.mesh, matrix.words * matrix.layers
    devices, free = mesh.shape["data"], free_beside(matrix)
    at_once = problems_in_memory(platform_of(mesh), devices, words=words, classes=classes, free=free)
    with stretch("solve"):
        known = NONE_KEPT if kept is None else kept.about(loss).to(questions)
        return solver_of(settings).solve(matrix, questions, loss_named(loss), penalty, at_once=at_once, kept=known)


def _questions(
    batch: Sequence[_Request],
    settings: ElasticNet,
    masks: Bool[np.ndarray, "mask feature"],
    start: Start | None,
) -> list[Question]:
    """Makes the questions of a batch, each with the question at whose solution it starts."""
    place = {(id(request.labelling), request.pair, request.mask): number for number, request in enumerate(batch)}
    stronger = dict(zip(settings.pairs, next_stronger(settings.pairs), strict=True))

    def parent_of(request: _Request) -> int | None:
        pair = stronger[request.pair]
        return None if pair is None else place[id(request.labelling), settings.pairs[pair], request.mask]

    return [
        Question(
            labels=request.labelling.targets,
            weights=request.labelling.weights,
            classes=request.labelling.columns,
            l1=request.pair[0],
            l2=request.pair[1],
            keep=masks[request.mask],
            parent=parent_of(request),
            start=start,
        )
        for request in batch
    ]


class _Scale(NamedTuple):
    """Mean and scale of the features on the host."""

    mean: Float[np.ndarray, "*layer feature"]
    scale: Float[np.ndarray, "*layer feature"]
    raw: bool
    """Whether the penalty is on raw weights: then the mean goes into the bias."""

    @staticmethod
    def of(matrix: Matrix, settings: ElasticNet) -> "_Scale":
        shape = (matrix.layers, -1)
        mean, scale = fetch(matrix.mean).reshape(shape), fetch(matrix.scale).reshape(shape)
        return _Scale(mean, scale, raw=not settings.standardize)

    def of_layer(self, layer: int) -> "_Scale":
        return _Scale(self.mean[layer], self.scale[layer], self.raw)


def _probe(
    answer: Answer,
    layer: int,
    request: _Request,
    subset: Subset | None,
    features: Bool[np.ndarray, " feature"] | None,
    scale: _Scale,
    settings: ElasticNet,
    spill: Spill,
) -> Probe:
    """Makes the probe of one solved problem: without the classes that pad it, and with its own features only."""
    labelling, classes = request.labelling, request.labelling.columns
    chosen: slice | Int[np.ndarray, " chosen"] = slice(None) if features is None else np.flatnonzero(features)
    weights = np.ascontiguousarray(answer.weights[layer][:classes, chosen].T)
    bias, mean = answer.bias[layer][:classes], scale.mean[chosen]
    if scale.raw:
        # The solver centres in any case; on raw features the mean belongs into the bias.
        bias = bias - mean @ weights
        mean = np.zeros_like(mean)
    return Probe(
        task=labelling.task,
        control=labelling.control,
        target=labelling.target,
        replicate=labelling.replicate,
        kind=labelling.kind,
        subset=None if subset is None else subset.name,
        columns=None if subset is None else subset.columns,
        l1=request.pair[0],
        l2=request.pair[1],
        penalty=settings.penalty,
        solver=settings.solver,
        classes=labelling.classes,
        weights=spill.keep(weights),
        bias=bias,
        mean=mean,
        scale=scale.scale[chosen],
        objective=float(answer.objective[layer]),
        null_objective=answer.null_objective,
        duality_gap=float(answer.duality_gap[layer]),
        iterations=int(answer.iterations[layer]),
        converged=bool(answer.converged[layer]),
        words=int(labelling.counted.sum()),
        class_words=None if labelling.values is not None else _class_words(labelling),
    )


def _class_words(labelling: Labelling) -> tuple[int, ...]:
    counts = np.bincount(labelling.numbers[labelling.counted], minlength=len(labelling.classes))
    return tuple(counts.tolist())


def _warn_if_not_converged(probes: Sequence[Probe], settings: ElasticNet) -> None:
    failed = [probe for probe in probes if not probe.converged]
    if failed and solver_of(settings).iterates_to_tolerance:
        worst = max(failed, key=_relative_gap)
        warnings.warn(
            f"{len(failed)} of {len(probes)} problem{'s' * (len(probes) > 1)} reached {settings.max_iterations} "
            f"iterations; the worst (l1={worst.l1:g}, l2={worst.l2:g}) has a duality gap of {_relative_gap(worst):.1e} "
            f"of the objective at zero weights; the tolerance is {settings.tolerance:.0e}. "
            "Raise max_iterations or the penalties."
            + (" Without any penalty separable classes have no finite optimum." if worst.l1 == worst.l2 == 0 else ""),
            NotConverged,
            stacklevel=3,
        )


def _relative_gap(probe: Probe) -> float:
    """Returns the duality gap as a share of the objective at zero weights, which is 0 for a single class."""
    return probe.duality_gap / probe.null_objective if probe.null_objective else np.inf

"""Chooses one penalty for each task, on dev words.

The choice follows Durrani et al. 2020, A.2 (JMLR 2023, Algorithm 2): for every pair (l1, l2)

    S = ½ (A_top − A_bottom) − ½ (A_0 − A)

A is the accuracy on the dev words with all neurons. A_top and A_bottom are the accuracies with the first and the last
fifth of the probe's own weight-mass ranking kept and the rest masked. A_0 is the accuracy of a probe without penalty.
A_0 is the same for all pairs, so it moves S and never the choice; it is taken from the papers' own schedule (`adam`),
since without penalty there is no certified optimum. All pairs and masks of a task are one matrix product over the dev
words.

`by="one_se"` is the rule of one standard error (Breiman et al. 1984, section 3.4.3): of the pairs whose accuracy is at
most one standard error of the best accuracy below it, the strongest. The standard error is that of a mean over
sentences, whose words are not independent. One pair is stronger than another if neither number is smaller; where
several pairs have none stronger, they are told apart by the overlap of their rankings of half-samples (`stable_half`),
if the fit has some, and else by the larger l2, which shares weight among near copies, and then the larger l1.

The choice is made for a task, or for one target of it against the rest, on all neurons or on one subset. Each gets its
own pair, by its probe of the training words as they are; its control probe and its bootstrap samples follow that
choice. For regressions R² takes the place of the accuracy.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.probing.measuring import words_of_tasks
from lca_jax.probing.metrics import accuracy, determination, mean_error
from lca_jax.probing.probe import Probe, predict_masked, predict_masked_numbers
from lca_jax.probing.solvers.path import Pair
from lca_jax.probing.weight_mass import mass_order
from lca_jax.store.store import ActivationStore

Criterion = Literal["score", "accuracy", "one_se"]
_log = logging.getLogger(__name__)
_FIRST = 0.05
"""Share of the neurons whose overlap between half-samples tells pairs apart."""

_Key = tuple[str, str | None, str | None]
"""Task, target and subset, for which one penalty is chosen."""


@dataclass(frozen=True, kw_only=True)
class PenaltyScore:
    """The score of one penalty pair for one task on dev words; for regressions the accuracies are R²."""

    task: str
    l1: float
    l2: float
    score: float
    """S of the module's docstring."""
    accuracy: float
    """Accuracy with all neurons."""
    top: float
    """Accuracy with the first neurons of the probe's own ranking kept, the rest masked."""
    bottom: float
    """Accuracy with the last neurons of that ranking kept, the rest masked."""
    chosen: bool
    """Whether this pair was chosen."""
    target: str | None = None
    subset: str | None = None
    error: float | None = None
    """Standard error of the accuracy over sentences; of R² that of the squared errors, by the variance of the labels.
    None in sets of earlier versions."""


def choose_penalties(
    probes: Sequence[Probe],
    unpenalized: Sequence[Probe],
    dev: ActivationStore,
    *,
    axis: NeuronAxis,
    by: Criterion,
    fraction: float,
) -> tuple[tuple[Probe, ...], tuple[PenaltyScore, ...]]:
    """Chooses one penalty pair for each task, target and subset.

    Args:
        probes: All problems of a fit.
        unpenalized: The probe without penalty of each task, target and subset that has several pairs.
        dev: Activations of the dev words.
        axis: Neurons that the probes read.
        by: `score` for S of the papers, `accuracy` for the accuracy with all neurons; their ties go to the larger l1,
            then to the larger l2. `one_se` for the strongest pair within one standard error of the best accuracy.
        fraction: Share of the neurons kept at top and bottom for S.

    Returns:
        The probes of the chosen pairs, and the score of every pair.

    Raises:
        SettingsError: `fraction` is not in (0, 0.5], `by` is unknown, or the dev store has other neurons or no such
            task.
        DataError: No dev word is labelled, or an activation is not finite.
    """
    if not 0 < fraction <= 0.5:
        raise SettingsError(f"`fraction` must be in (0, 0.5], got {fraction}. Give a fraction, e.g. 0.2.")
    if by not in get_args(Criterion):
        raise SettingsError(f"`by` must be 'score', 'accuracy' or 'one_se', got {by!r}.")
    chosen: list[Probe] = []
    search: list[PenaltyScore] = []
    by_task: dict[str, list[Probe]] = {}
    for probe in probes:
        by_task.setdefault(probe.task, []).append(probe)
    classes_of = {task: of_task[0].classes for task, of_task in by_task.items()}
    for words in words_of_tasks(dev, axis, classes_of):
        task, of_task = words.task, by_task[words.task]
        labels = np.array(dev.labels(task), object)[words.units]
        for key in dict.fromkeys(_key(probe) for probe in of_task):
            # Words and X are the same for all targets; the gold number is 1 at the target and 0 at the rest.
            gold = words.gold if key[1] is None else (labels == key[1]).astype(np.int32)
            candidates = [probe for probe in of_task if _key(probe) == key]
            without = [probe for probe in unpenalized if _key(probe) == key]
            measured = _measure(candidates, without, words.X, gold, fraction=fraction, sentences=words.sentences)
            best = _strongest(measured, candidates) if by == "one_se" else _highest(measured, by)
            scores = [replace(one, chosen=one is best) for one in measured]
            _tell_edges(scores)
            search += scores
            chosen += [probe for probe in candidates if (probe.l1, probe.l2) == (best.l1, best.l2)]
    return tuple(chosen), tuple(search)


def edges_of_search(scores: Sequence[PenaltyScore]) -> list[str]:
    """Tells where the chosen pair of one task lies on the edge of its grid, where a better one may lie beyond.

    Returns:
        One text for l1 and for l2 each, such as "l2 = 0.001 is the largest of 2 that were tried"; none for a penalty of
        which one value was tried alone, for a smallest value of 0, which nothing lies beyond, and without a search.
    """
    edges: list[str] = []
    if not any(score.chosen for score in scores):
        return edges
    for name in ("l1", "l2"):
        values = sorted({getattr(score, name) for score in scores})
        chosen = next(getattr(score, name) for score in scores if score.chosen)
        if len(values) > 1 and chosen in (values[0], values[-1]) and chosen > 0:
            which = "smallest" if chosen == values[0] else "largest"
            edges.append(f"{name} = {chosen:g} is the {which} of {len(values)} that were tried")
    return edges


def _tell_edges(scores: Sequence[PenaltyScore]) -> None:
    place = ", ".join(part for part in (scores[0].task, scores[0].target, scores[0].subset) if part)
    for edge in edges_of_search(scores):
        _log.info("%s: the chosen %s; a better one may lie beyond.", place, edge)


def _highest(measured: Sequence[PenaltyScore], by: Criterion) -> PenaltyScore:
    return max(measured, key=lambda one: (one.score if by == "score" else one.accuracy, one.l1, one.l2))


def _strongest(measured: Sequence[PenaltyScore], candidates: Sequence[Probe]) -> PenaltyScore:
    """Returns the strongest pair within one standard error of the best accuracy."""
    best = max(measured, key=lambda one: one.accuracy)
    pairs = {(one.l1, one.l2): one.accuracy for one in measured}
    last = strongest_near_best(pairs, least=best.accuracy - (best.error or 0.0))
    l1, l2 = max(last, key=lambda pair: (stable_half(candidates, *pair), *reversed(pair)))
    return next(one for one in measured if (one.l1, one.l2) == (l1, l2))


def strongest_near_best(accuracies: Mapping[Pair, float], *, least: float) -> list[Pair]:
    """Returns the pairs that are accurate enough and have no stronger pair among those that are.

    Args:
        accuracies: Accuracy of every pair (l1, l2).
        least: The smallest accuracy that is enough, such as the best less its standard error.
    """
    near = [pair for pair, value in accuracies.items() if value >= least]
    return [pair for pair in near if not any(other != pair and np.greater_equal(other, pair).all() for other in near)]


def stable_half(probes: Sequence[Probe], l1: float, l2: float) -> float:
    """Returns the share of their first 5 % of the neurons that the two half-samples of a pair agree on, in the mean.

    Neurons are in the order of weight mass. Without half-samples it is 0.

    Args:
        probes: Probes of one task, target and subset.
        l1: Of the penalty.
        l2: Of the penalty.
    """
    order = {
        probe.replicate: mass_order(probe.weights).order
        for probe in probes
        if (probe.l1, probe.l2, probe.kind, probe.control) == (l1, l2, "halves", False) and probe.replicate
    }
    pairs = [(order[number], order[number + 1]) for number in order if number % 2 and number + 1 in order]
    shared = [np.isin(one[: (size := max(1, round(_FIRST * len(one))))], other[:size]).mean() for one, other in pairs]
    return float(np.mean(shared)) if shared else 0.0


def _measure(
    candidates: Sequence[Probe],
    without: Sequence[Probe],
    X: Float[np.ndarray, "word neuron"],
    gold: Int[np.ndarray, " word"] | Float[np.ndarray, " word"],
    *,
    fraction: float,
    sentences: Int[np.ndarray, " word"],
) -> list[PenaltyScore]:
    """Measures the pairs of one task, target and subset, by the probes of the task itself on all training words."""
    probes = [probe for probe in candidates if not probe.control and not probe.replicate]
    keep = np.stack([_ends_of(probe, fraction) for probe in probes])
    predicted, numbers = _predict(probes, X, keep), probes[0].regression
    accuracies = _score(predicted, gold, numbers=numbers)
    errors = [_error(one[0], gold, sentences, numbers=numbers) for one in predicted]
    reference = float(accuracies[:, 0].max())
    if without:
        all_features = np.ones((1, 1, keep.shape[2]), bool)
        reference = float(_score(_predict(without[:1], X, all_features), gold, numbers=numbers)[0, 0])
    return [
        PenaltyScore(
            task=probe.task,
            target=probe.target,
            subset=probe.subset,
            l1=probe.l1,
            l2=probe.l2,
            score=float(0.5 * (top - bottom) - 0.5 * (reference - whole)),
            accuracy=float(whole),
            top=float(top),
            bottom=float(bottom),
            chosen=False,
            error=error,
        )
        for probe, error, (whole, top, bottom) in zip(probes, errors, accuracies, strict=True)
    ]


def _predict(
    probes: Sequence[Probe], X: Float[np.ndarray, "word neuron"], keep: Bool[np.ndarray, "problem mask feature"]
) -> Int[np.ndarray, "problem mask word"] | Float[np.ndarray, "problem mask word"]:
    """Predicts classes, by regressions numbers, by every probe with every mask."""
    return (predict_masked_numbers if probes[0].regression else predict_masked)(probes, X, keep=keep)


def _score(
    predicted: Int[np.ndarray, "problem mask word"] | Float[np.ndarray, "problem mask word"],
    gold: Int[np.ndarray, " word"] | Float[np.ndarray, " word"],
    *,
    numbers: bool,
) -> Float[np.ndarray, "problem mask"]:
    """Returns the accuracy, for numbers R², of predictions."""
    return determination(predicted, gold.astype(np.float64)) if numbers else accuracy(predicted, gold.astype(np.int32))


def _error(
    predicted: Int[np.ndarray, " word"] | Float[np.ndarray, " word"],
    gold: Int[np.ndarray, " word"] | Float[np.ndarray, " word"],
    sentences: Int[np.ndarray, " word"],
    *,
    numbers: bool,
) -> float:
    """Returns the standard error over sentences of the accuracy, for numbers of R², of predictions."""
    if not numbers:
        return mean_error(predicted == gold, sentences)
    variance = float(gold.astype(np.float64).var())
    errors = (predicted - gold.astype(np.float64)) ** 2
    return mean_error(errors / variance, sentences) if variance > 0 else 0.0


def _ends_of(probe: Probe, fraction: float) -> Bool[np.ndarray, "mask feature"]:
    """Returns masks that keep all features, the first ones of the probe's ranking, and the last ones."""
    order = mass_order(probe.weights).order
    count = max(1, round(fraction * len(order)))
    masks = np.zeros((3, len(order)), bool)
    masks[0] = True
    masks[1, order[:count]] = True
    masks[2, order[-count:]] = True
    return masks


def _key(probe: Probe) -> _Key:
    return probe.task, probe.target, probe.subset

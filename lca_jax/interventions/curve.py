"""Ablation curves: what a model loses when neurons of a ranking are set to zero or to their means while it runs.

A probe says what can be read from a model; this says what the model uses. All points of a curve, over rankings, sets,
fills and counts, are one compiled program: `lax.map` over points, whose edits are made from their numbers inside it.
Memory is that of one point; a point costs one run of the model over the text.

Every change has a paired interval: the sentences are drawn anew, the same ones for all points (2,000 samples). Random
sets are drawn anew too, among those that were measured. A residual neuron is one channel at one depth, and setting it
in a low layer disturbs all layers above: compare sets at equal depth (`layers`, the set `matched`), and read the layers
of every set beside its curve.

References:
    Dalvi et al. 2019, section 5 and figures 4, 7 and 8 (BLEU and perplexity with top and bottom neurons erased).
    Bau et al. 2019, section 4 (erasing neurons of translation models).
    Koehn 2004 (paired bootstrap).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from lca_jax.axes import Layers, NeuronAxis
from lca_jax.errors import DataError, SettingsError
from lca_jax.interventions.chance import measure_effect
from lca_jax.interventions.choices import SetName, Sweep, Where, check_where
from lca_jax.interventions.classifier_accuracy import ClassifierAccuracy
from lca_jax.interventions.edits import ablate
from lca_jax.interventions.effect import AblationCurve
from lca_jax.interventions.measures import SLOTS, Lost, Measure, MinimalPairs, Perplexity, Score
from lca_jax.interventions.points import points_of, run_points, slot_means
from lca_jax.interventions.rows import Rows
from lca_jax.interventions.sets import Order, Span, orders_of, spans_of
from lca_jax.interventions.translation import Translations
from lca_jax.machine.progress import counted
from lca_jax.models.model import Model
from lca_jax.models.stack.taps import Edit
from lca_jax.ranking.ranking import Ranking

Vector = Float[np.ndarray, " feature"]
Fills = str | Vector | Sequence[str] | Mapping[str, str | Vector]
"""One fill or several: `zero`, `mean`, or a number for each column, which needs a name where there are several."""
MEASURES: Mapping[str, Callable[..., Measure]] = {
    "perplexity": Perplexity.of,
    "minimal-pairs": MinimalPairs.of,
    "bleu": partial(Translations.of, metric="bleu"),
    "chrf": partial(Translations.of, metric="chrf"),
    "classifier": ClassifierAccuracy.of,
}
"""Measures by their names; each is made of a model and texts."""
ByHand = Callable[[Mapping[str, Edit] | None], Sequence[float] | Float[np.ndarray, " sentence"]]
"""A function of edits (None for the model as it is) that returns one number for each sentence; more is better."""


def ablation_curve(
    model: Model,
    rankings: Ranking | Mapping[str, Ranking],
    texts: Any = None,
    counts: Sequence[int] = (),
    *,
    sets: Sequence[SetName] = ("top", "random", "bottom"),
    fill: Fills = ("zero", "mean"),
    sweep: Sweep = "cumulative",
    measure: str | Measure | ByHand = "perplexity",
    layers: Layers = None,
    where: Where = "all",
    random: int = 5,
    seed: int = 0,
    slots: int = SLOTS,
    at_once: int = 1,
) -> AblationCurve:
    """Measures a model with neurons of rankings removed, and how sure the differences are.

    Args:
        model: The model, with its head unless a probe or a classifier is measured.
        rankings: One ranking, or several by their names, all of the same neurons.
        texts: What a measure that is named is made of: a corpus or lines for `perplexity` (pairs of lines for an
            encoder-decoder), `MinimalPair`s for `minimal-pairs`, pairs of source and reference for `bleu` and `chrf`, a
            labelled corpus for `classifier`, the accuracy of the head that a model was tuned with.
        counts: Numbers of neurons that are removed.
        sets: Which sets are removed: `top`, `random`, `matched`, `bottom`.
        fill: What removed neurons are set to: `zero`, `mean` (over the slots that are edited, of the text itself), or a
            number for each column; several by their names in one curve.
        sweep: `cumulative`, `interval` or `each`: the first k, those between two counts, each of the first k alone.
        measure: A name; a measure such as `ProbeAccuracy`; or a function of edits that returns one number for each
            sentence, where more is better (it is called once a point).
        layers: Layers whose neurons are removed; all of the rankings if None.
        where: Which slots are edited: `all`, `words`, or `after first`.
        random: Number of random sets.
        seed: Seed of the random sets, of ties at the bottom, and of the intervals.
        slots: Number of slots that are computed together.
        at_once: Number of points that are computed together; more than 1 pays only where `slots` do not fill a device.

    Returns:
        The curve, with the model as it is, every point, and claims with their outcome.

    Raises:
        SettingsError: A name is unknown, a count is out of range, or a fill has another length than the rankings.
        DataError: Rankings are of different neurons, or the texts have nothing to measure.
        ModelError: The model has no head or no classifier, or cannot do what the measure asks for.
    """
    named = {rankings.task: rankings} if isinstance(rankings, Ranking) else dict(rankings)
    orders = orders_of(named, sets=sets, layers=layers, random=random, seed=seed)
    spans = spans_of(counts, sweep=sweep, size=len(orders[0].columns))
    check_where(where)
    axis = next(iter(named.values())).axis
    if callable(measure):
        fills = fills_of(model, axis, fill, batches=(), where=where)
        score: Score = _Function(name=getattr(measure, "__name__", "function"))
        values = _run_function(model, measure, axis, orders, spans, list(fills.values()))
        parts = np.stack([values, np.ones_like(values)], axis=1)
    else:
        score = made = measure_of(measure, model, texts, slots=slots)
        fills = fills_of(model, axis, fill, batches=made.batches, where=where)
        stacked = np.stack(list(fills.values()))
        parts = made.parts(run_points(model, made, axis, orders, spans, stacked, where=where, at_once=at_once))
    return measure_effect(
        score, parts, axis=axis, orders=orders, spans=spans, fills=list(fills), sweep=sweep, seed=seed
    )


def measure_of(measure: str | Measure, model: Model, texts: Any, *, slots: int) -> Measure:
    """Makes a measure that is named; one that is given stays as it is.

    Raises:
        SettingsError: The name is unknown.
        DataError: It needs texts.
    """
    if not isinstance(measure, str):
        return measure
    if measure not in MEASURES:
        raise SettingsError(
            f"`measure` must be one of {', '.join(MEASURES)}, a measure or a function; got {measure!r}."
        )
    if texts is None:
        raise DataError(f"The measure {measure!r} needs texts.")
    return MEASURES[measure](model, texts, slots=slots)


def fills_of(
    model: Model, axis: NeuronAxis, fill: Fills, *, batches: Sequence[Rows], where: Where
) -> dict[str, Float32[np.ndarray, " feature"]]:
    """Returns the number that each column is set to, by the names of the fills.

    Args:
        model: The model.
        axis: The neuron of each column.
        fill: One fill or several.
        batches: What means are taken over; none for a function of edits, which has no mean.
        where: The slots that are edited.

    Raises:
        SettingsError: A fill is none of these, or has another length.
    """
    if isinstance(fill, str):
        fill = (fill,)
    if isinstance(fill, np.ndarray):
        fill = {"given": fill}
    named = dict(fill) if isinstance(fill, Mapping) else {name: name for name in fill}
    fills = {}
    for name, given in named.items():
        if isinstance(given, str) and given == "zero":
            fills[name] = np.zeros(axis.size, np.float32)
        elif isinstance(given, str) and given == "mean" and batches:
            fills[name] = slot_means(model, batches, axis, where=where)
        elif not isinstance(given, str) and np.shape(given) == (axis.size,) and np.isfinite(given).all():
            fills[name] = np.asarray(given, np.float32)
        else:
            got = repr(given) if isinstance(given, str) else f"shape {np.shape(given)}"
            raise SettingsError(
                f"`fill` must be `zero`, `mean` (not for a function of edits) or {axis.size} finite numbers, got {got}."
            )
    if not fills:
        raise SettingsError("`fill` must name at least one fill.")
    return fills


@dataclass(frozen=True, kw_only=True, eq=False)
class _Function:
    """A measure that the caller computes: the mean over sentences of what a function of edits returned."""

    name: str
    lost: Lost = "drop"
    groups: None = None

    def value(self, sums: Float[np.ndarray, "... part"]) -> Float[np.ndarray, "..."]:
        """Returns the mean."""
        return sums[..., 0] / sums[..., 1]


def _run_function(
    model: Model,
    function: ByHand,
    axis: NeuronAxis,
    orders: Sequence[Order],
    spans: Sequence[Span],
    fills: Sequence[Vector],
) -> Float[np.ndarray, "point sentence"]:
    """Calls a function with the edits of one point after the other."""
    scored = [function(None)]
    points = points_of(len(orders), spans, len(fills))
    for order, first, last, fill in counted([*zip(*points, strict=True)][1:], "points of the curve"):
        columns = orders[order].columns[first:last]
        scored.append(function(ablate(model, columns, axis=axis, fill=fills[fill])))
    if len({len(one) for one in scored}) != 1 or not len(scored[0]) or not np.isfinite(np.concatenate(scored)).all():
        raise DataError("A function of edits must return one finite number for each sentence, of the same sentences.")
    return np.asarray(scored, np.float64)

"""Scores of all points from their sums over sentences, with what chance does to them: the record of a curve.

Scores are functions of sums over sentences, so that a sample of the sentences is scored without running the model. The
same samples serve all points, and differences are taken within a sample. Where sets were drawn at random, the draws are
drawn anew too (as many as there are), so that an interval also holds what the luck of the draw does. A bootstrap of few
units that agree has no width: the interval of a share reaches as far as units of a kind that was not seen could move it
(`with_unseen`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from lca_jax.axes import NeuronAxis
from lca_jax.interventions.choices import SetName, Sweep
from lca_jax.interventions.effect import AblationCurve, AblationPoint, Claim, Outcome
from lca_jax.interventions.measures import CountsUnits, Lost, Score
from lca_jax.interventions.sets import Order, Span
from lca_jax.probing.metrics import RESAMPLES, resampled_sums, units_of_sums, with_unseen

COMPARED: tuple[tuple[SetName, SetName], ...] = (
    ("top", "random"), ("top", "matched"), ("random", "bottom"), ("top", "bottom"),
)  # fmt: skip
"""Pairs of sets of which the first one should do more harm."""
_RANDOM = "random"
_LEVEL = (0.025, 0.975)
_HARM = {"log": np.log, "drop": np.negative}
_SCORE = {"log": np.exp, "drop": np.negative}


def measure_effect(
    measure: Score,
    parts: Float[np.ndarray, "point part sentence"],
    *,
    axis: NeuronAxis,
    orders: Sequence[Order],
    spans: Sequence[Span],
    fills: Sequence[str],
    sweep: Sweep,
    seed: int,
) -> AblationCurve:
    """Makes the record of a curve from the parts of its score, point by point.

    Args:
        measure: What was measured.
        parts: Numbers that add up over sentences: of the model as it is, then of (fill, order, span).
        axis: The neuron of each column.
        orders: The orders, in the order of the points.
        spans: The spans.
        fills: Names of the fills.
        sweep: The sweep.
        seed: Seed of the samples.
    """
    scores, sentences = sampled_scores(measure, parts, seed=seed)
    harm = _HARM[measure.lost](scores)
    grid = harm[:, 1:].reshape(len(harm), len(fills), len(orders), len(spans))
    groups = _group_values(measure, parts)
    chosen = _Chosen(
        whole=harm[:, 0],
        grid=grid,
        sentences=sentences,
        orders=orders,
        lost=measure.lost,
        generator=np.random.default_rng((seed, 1)),
    )
    value = _score(chosen.whole, measure.lost)
    return AblationCurve(
        measure=measure.name,
        sweep=sweep,
        whole=float(value[0]),
        **ends("whole_", value, sentences),
        lost=measure.lost,
        sentences=parts.shape[2],
        draws=len({order.draw for order in orders if order.set in (_RANDOM, "matched")}),
        layers=tuple(axis.layer_names),
        points=tuple(
            chosen.point(members, fill, span, name=name, spans=spans, axis=axis, groups=groups)
            for fill, name in enumerate(fills)
            for members in chosen.sets
            for span in range(len(spans))
        ),
        claims=tuple(chosen.claims(fills)),
        whole_by_group={name: float(of_points[0]) for name, of_points in groups.items()},
    )


def sampled_scores(
    measure: Score, parts: Float[np.ndarray, "point part sentence"], *, seed: int
) -> tuple[Float[np.ndarray, "row point"], Int[np.ndarray, " unit"]]:
    """Returns the score of every point in samples of the sentences, the same for all points; the first is the data.

    Of a share rows follow in which every unit is scored by itself, and the second array has their sentences; it is
    empty for other scores. What is linear in shares, such as a difference, may so be computed for all rows at once.
    """
    points, kinds, sentences = parts.shape
    sampled = resampled_sums(parts.reshape(-1, sentences), np.arange(sentences), seed=seed)
    values = measure.value(np.concatenate([parts.sum(axis=2)[None], sampled.reshape(-1, points, kinds)]))
    if not isinstance(measure, CountsUnits):
        return values, np.zeros(0, np.int64)
    right, of_units = units_of_sums(parts[:, 0], parts[0, 1])
    return np.concatenate([values, right.T]), of_units


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """Harm of every point in every row of `sampled_scores`, and the draws that each row takes."""

    whole: Float[np.ndarray, " row"]
    grid: Float[np.ndarray, "row fill order span"]
    sentences: Int[np.ndarray, " unit"]
    orders: Sequence[Order]
    lost: Lost
    generator: np.random.Generator

    def __post_init__(self) -> None:
        numbers: dict[tuple[str, SetName], list[int]] = {}
        for number, order in enumerate(self.orders):
            numbers.setdefault((order.ranking, order.set), []).append(number)
        weights: dict[int, np.ndarray] = {}
        for members in numbers.values():
            # Sets of as many draws take the same ones in a sample.
            size = len(members)
            if size not in weights:
                # The data and its units have every draw once.
                weights[size] = np.full((len(self.whole), size), 1 / size)
                times = self.generator.multinomial(size, np.full(size, 1 / size), size=RESAMPLES + 1) / size
                weights[size][1 : RESAMPLES + 1] = times[1:]
        object.__setattr__(self, "sets", numbers)
        object.__setattr__(self, "weights", weights)

    sets: Mapping[tuple[str, SetName], list[int]] = field(init=False)
    """Numbers of the orders of each set of each ranking."""
    weights: Mapping[int, Float[np.ndarray, "row draw"]] = field(init=False)
    """How much each draw counts in a row, for sets of a number of draws."""

    def harm_of(self, key: tuple[str, SetName]) -> Float[np.ndarray, "row fill span"]:
        """Returns the mean harm over the draws of a set."""
        members = self.sets[key]
        return np.einsum("bfds,bd->bfs", self.grid[:, :, members], self.weights[len(members)])

    def point(
        self,
        key: tuple[str, SetName],
        fill: int,
        span: int,
        *,
        name: str,
        spans: Sequence[Span],
        axis: NeuronAxis,
        groups: Mapping[str, Float[np.ndarray, " point"]],
    ) -> AblationPoint:
        """Makes the record of one point."""
        members, (ranking, of) = self.sets[key], key
        value = _score(self.harm_of(key)[:, fill, span], self.lost)
        removed = [self.orders[number].columns[spans[span].first : spans[span].last] for number in members]
        blocks = np.bincount(axis.block_of_column[np.concatenate(removed)], minlength=len(axis.blocks))
        places = [1 + (fill * len(self.orders) + number) * len(spans) + span for number in members]
        return AblationPoint(
            ranking=ranking,
            set=of,
            fill=name,
            first=spans[span].first,
            last=spans[span].last,
            **with_change(value, _score(self.whole, self.lost), self.sentences),
            draws=tuple(_score(self.grid[0, fill, members, span], self.lost).tolist()) if len(members) > 1 else (),
            layers=tuple(np.rint(blocks / len(members)).astype(int).tolist()),
            by_group={group: float(of_points[places].mean()) for group, of_points in groups.items()},
        )

    def claims(self, fills: Sequence[str]) -> list[Claim]:
        """Compares the sets that were measured, ranking by ranking and fill by fill."""
        rankings = list(dict.fromkeys(ranking for ranking, _ in self.sets if ranking != _RANDOM))
        claims = []
        for ranking in rankings:
            for stronger, weaker in COMPARED:
                keys: list[tuple[str, SetName]] = [
                    (_RANDOM if name == _RANDOM else ranking, name) for name in (stronger, weaker)
                ]
                if not all(key in self.sets for key in keys):
                    continue
                excess = (self.harm_of(keys[0]) - self.harm_of(keys[1])).mean(axis=2)
                for number, fill in enumerate(fills):
                    low, high = _ends(excess[:, number], self.sentences, least=-1)
                    outcome: Outcome = "holds" if low > 0 else "fails" if high < 0 else "within noise"
                    claims.append(
                        Claim(
                            ranking=ranking, fill=fill, stronger=stronger, weaker=weaker,
                            excess=float(excess[0, number]), low=low, high=high, outcome=outcome,
                        )
                    )  # fmt: skip
        return claims


def _score(harm: Float[np.ndarray, "..."], lost: Lost) -> Float[np.ndarray, "..."]:
    return np.asarray(_SCORE[lost](harm))


def with_change(
    value: Float[np.ndarray, " row"], whole: Float[np.ndarray, " row"], sentences: Int[np.ndarray, " unit"]
) -> dict[str, float]:
    """Returns a score and how far it is from that of the model as it is, both with the ends of their intervals.

    Args:
        value: The score in every row of `sampled_scores`.
        whole: That of the model as it is.
        sentences: The second array of `sampled_scores`.
    """
    change = value - whole
    return {
        "value": float(value[0]),
        **ends("", value, sentences),
        "change": float(change[0]),
        **ends("change_", change, sentences, least=-1),
    }


def ends(
    name: str, values: Float[np.ndarray, " row"], sentences: Int[np.ndarray, " unit"], *, least: int = 0
) -> dict[str, float]:
    """Returns both ends of the 95 % interval of a score, as `NAMElow` and `NAMEhigh`.

    Args:
        name: What comes before `low` and `high`.
        values: The score in every row of `sampled_scores`.
        sentences: The second array of `sampled_scores`.
        least: The least value of a unit, -1 for a difference of shares; plays no part in other scores.
    """
    low, high = _ends(values, sentences, least=least)
    return {f"{name}low": low, f"{name}high": high}


def _ends(values: Float[np.ndarray, " row"], sentences: Int[np.ndarray, " unit"], *, least: int) -> list[float]:
    found = np.quantile(values[1 : RESAMPLES + 1], _LEVEL)
    if len(sentences):
        found = with_unseen(found[None], values[None, RESAMPLES + 1 :], sentences, least=least)[0]
    return found.tolist()


def _group_values(
    measure: Score, parts: Float[np.ndarray, "point part sentence"]
) -> dict[str, Float[np.ndarray, " point"]]:
    """Returns the score of every point by group, where sentences are of several groups."""
    names = np.array(measure.groups or [])
    groups = np.unique(names)
    if len(groups) < 2:
        return {}
    return {str(name): measure.value(parts[:, :, names == name].sum(axis=2)) for name in groups}

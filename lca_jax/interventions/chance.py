"""Scores of all points from their sums over sentences, with what chance does to them: the record of a curve.

Scores are functions of sums over sentences, so that a sample of the sentences is scored without running the model. The
same samples serve all points, and differences are taken within a sample. Where sets were drawn at random, the draws are
drawn anew too (as many as there are), so that an interval also holds what the luck of the draw does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from lca_jax.axes import NeuronAxis
from lca_jax.interventions.choices import SetName, Sweep
from lca_jax.interventions.effect import AblationCurve, AblationPoint, Claim, Outcome
from lca_jax.interventions.measures import Lost, Score
from lca_jax.interventions.sets import Order, Span
from lca_jax.probing.metrics import resampled_sums

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
    harm = _HARM[measure.lost](sampled_scores(measure, parts, seed=seed))
    grid = harm[:, 1:].reshape(len(harm), len(fills), len(orders), len(spans))
    groups = _group_values(measure, parts)
    chosen = _Chosen(
        whole=harm[:, 0], grid=grid, orders=orders, lost=measure.lost, generator=np.random.default_rng((seed, 1))
    )
    value = _score(chosen.whole, measure.lost)
    return AblationCurve(
        measure=measure.name,
        sweep=sweep,
        whole=float(value[0]),
        **ends("whole_", value),
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
) -> Float[np.ndarray, "sample point"]:
    """Returns the score of every point in samples of the sentences, the same for all points; sample 0 is the data."""
    points, kinds, sentences = parts.shape
    sampled = resampled_sums(parts.reshape(-1, sentences), np.arange(sentences), seed=seed)
    return measure.value(np.concatenate([parts.sum(axis=2)[None], sampled.reshape(-1, points, kinds)]))


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """Harm of every point in every sample, and the draws that each sample takes; sample 0 is the data itself."""

    whole: Float[np.ndarray, " sample"]
    grid: Float[np.ndarray, "sample fill order span"]
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
                times = self.generator.multinomial(size, np.full(size, 1 / size), size=len(self.whole)) / size
                times[0] = 1 / size
                weights[size] = times
        object.__setattr__(self, "sets", numbers)
        object.__setattr__(self, "weights", weights)

    sets: Mapping[tuple[str, SetName], list[int]] = field(init=False)
    """Numbers of the orders of each set of each ranking."""
    weights: Mapping[int, Float[np.ndarray, "sample draw"]] = field(init=False)
    """How much each draw counts in a sample, for sets of a number of draws."""

    def harm_of(self, key: tuple[str, SetName]) -> Float[np.ndarray, "sample fill span"]:
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
            **with_change(value, _score(self.whole, self.lost)),
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
                    low, high = np.quantile(excess[1:, number], _LEVEL).tolist()
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


def with_change(value: Float[np.ndarray, " sample"], whole: Float[np.ndarray, " sample"]) -> dict[str, float]:
    """Returns a score and how far it is from that of the model as it is, both with the ends of their intervals."""
    change = value - whole
    return {"value": float(value[0]), **ends("", value), "change": float(change[0]), **ends("change_", change)}


def ends(name: str, sampled: Float[np.ndarray, " sample"]) -> dict[str, float]:
    """Returns both ends of the 95 % interval of samples, as `NAMElow` and `NAMEhigh`; sample 0 is the data itself."""
    low, high = np.quantile(sampled[1:], _LEVEL).tolist()
    return {f"{name}low": low, f"{name}high": high}


def _group_values(
    measure: Score, parts: Float[np.ndarray, "point part sentence"]
) -> dict[str, Float[np.ndarray, " point"]]:
    """Returns the score of every point by group, where sentences are of several groups."""
    names = np.array(measure.groups or [])
    groups = np.unique(names)
    if len(groups) < 2:
        return {}
    return {str(name): measure.value(parts[:, :, names == name].sum(axis=2)) for name in groups}

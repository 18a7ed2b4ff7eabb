"""How far a ranking reproduces: the same method on many samples of the training sentences, compared with itself.

`measure_stability` takes one ranking for every sample, of whatever method (`analysis.samples` makes them), and tells

- the **overlap** of the first 1, 2, 5, 10 and 20 % of two samples, beside that of two random orders. Halves of one
  division have no sentence in common, so theirs is the overlap of two independent studies of half the size. Bootstrap
  samples share sentences, and theirs is an upper bound of nothing but itself;
- the **selection frequency** of every neuron, the share of the samples in whose first part it is, and the interval of
  its ranks;
- of halves the **error bound** of stability selection. Of the neurons that no method better than chance would pick,
  those selected with a probability of at most q/d in a half, at most

      E |{j: π_j ≥ τ} ∩ L| ≤ q² / ((2τ − 1) d),        L = {j: P(j is selected) ≤ q/d}

  are expected among those with a frequency of at least τ > ½, with q neurons selected of d. This holds for any method
  and any number of pairs, and assumes nothing of the neurons (Shah and Samworth 2013, Theorem 1, with θ = q/d);
- the intervals of the **mean layer** of the first parts and of the number of **neurons of each class**.

All of this is of half the words: the ranking of all words is more stable than these figures say.

Reference: Shah and Samworth 2013, "Variable selection with error control: another look at stability selection";
Meinshausen and Bühlmann 2010, "Stability selection".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int

from lca_jax.analysis.overlap import (
    SHARES,
    chance_overlap,
    counts_of,
    first_part,
    overlap,
    ranks_of,
    refuse_other_axes,
)
from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.probing.halves import check_pairs
from lca_jax.probing.labelling import SampleKind
from lca_jax.ranking.ranking import Ranking
from lca_jax.ranking.replicates import selected
from lca_jax.tables import html_table, text_table

_ENDS = (0.025, 0.975)
"""Quantiles of the samples between which intervals lie; of fewer than 40 samples the smallest and the largest."""


class Spread(NamedTuple):
    """A number over the samples."""

    mean: float
    low: float
    high: float
    """Ends of the middle 95 % of the samples; of fewer than 40 the smallest and the largest."""


@dataclass(frozen=True, kw_only=True)
class OverlapPoint:
    """The first part of one size."""

    share: float
    """Share of all neurons."""
    neurons: int
    """Their number."""
    overlap: float
    """Mean share of them that two samples have in common."""
    overlap_std: float | None
    """Standard deviation of that over the pairs; None for one pair."""
    chance: float
    """The share that two random orders have in common, in the mean."""
    chance_high: float
    """The share that two random orders exceed with a probability of at most 2.5 %."""
    mean_layer: Spread
    """Mean layer number of these neurons."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Stability:
    """What many samples of the same words make of one ranking method."""

    task: str
    axis: NeuronAxis
    """The neuron of each column."""
    kind: SampleKind
    """How the samples were drawn."""
    replicates: int
    """Number of samples."""
    points: tuple[OverlapPoint, ...]
    """Overlap by size of the first part."""
    selected: int
    """Number of neurons that a sample selects at most: its first ones."""
    frequency: Float64[np.ndarray, " feature"] = field(repr=False)
    """Share of the samples that select each neuron."""
    rank_low: Float64[np.ndarray, " feature"] = field(repr=False)
    """Lower end of the interval of each neuron's rank, from 1."""
    rank_high: Float64[np.ndarray, " feature"] = field(repr=False)
    """Upper end of it."""
    threshold: float
    """τ: the frequency from which on a neuron counts as stable."""
    error_bound: float | None
    """Bound of the expected number of stable neurons that are no better than chance; None for bootstrap samples."""
    class_neurons: Mapping[str, Spread]
    """Number of neurons of each class."""

    def __repr__(self) -> str:
        """Describes the samples in two lines, and the overlap in a table."""
        return text_table(self.table(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption())

    @property
    def stable(self) -> Int[np.ndarray, " neuron"]:
        """Columns of the stable neurons, most often selected first, then by their columns."""
        often = np.flatnonzero(self.frequency >= self.threshold - 1e-9)
        return often[np.argsort(-self.frequency[often], kind="stable")]

    def table(self) -> dict[str, list[object]]:
        """Returns one row a share of the neurons, as columns of equal length, ready for `pandas.DataFrame(...)`."""
        table: dict[str, list[object]] = {
            name: [getattr(point, name) for point in self.points]
            for name in ("share", "neurons", "overlap", "overlap_std", "chance", "chance_high")
        }
        return {**table, "mean_layer": [point.mean_layer.mean for point in self.points]}

    def _caption(self) -> str:
        bound = "" if self.error_bound is None else f", of which at most {self.error_bound:.3g} expected by chance"
        samples = "half-samples" if self.kind == "halves" else "bootstrap samples"
        return (
            f"{self.task}: {self.replicates} {samples} of one method on {self.axis.size} neurons\n"
            f"{len(self.stable)} neurons are among the first {self.selected} in {self.threshold:g} of them{bound}"
        )


def measure_stability(
    rankings: Sequence[Ranking],
    *,
    kind: SampleKind = "halves",
    shares: Sequence[float] = SHARES,
    select: float = 0.1,
    threshold: float = 0.9,
    class_sets: Sequence[Mapping[str, Int[np.ndarray, " _"]]] | None = None,
) -> Stability:
    """Compares the rankings of many samples of the same words.

    Args:
        rankings: The ranking of each sample, by one method. Of halves the first two are a pair, and so on.
        kind: How the samples were drawn: `halves` are compared within pairs, `bootstrap` samples all with each other.
        shares: Shares of the neurons at which overlap is told, each in (0, 1].
        select: Share of the neurons that a sample selects, in (0, 1].
        threshold: τ, in (0.5, 1]: the frequency from which on a neuron is stable.
        class_sets: The columns of each class's neurons, by sample, to be counted. By default a class has those of the
            selected neurons whose rank for it is their best one among the classes.

    Raises:
        SettingsError: There are fewer than two rankings, or an odd number of halves; they order different neurons; or a
            share or the threshold is out of its range.
    """
    _check(rankings, kind, select, threshold)
    total, axis = len(rankings[0].columns), rankings[0].axis
    pairs = list(combinations(range(len(rankings)), 2))
    if kind == "halves":
        pairs = [(first, first + 1) for first in range(0, len(rankings), 2)]
    points = []
    for share, count in zip(shares, counts_of(shares, total), strict=True):
        points.append(_point(rankings, pairs, share, count))
    (count,) = counts_of([select], total)
    chosen = np.stack([selected(ranking, count) for ranking in rankings])
    ranks = np.stack([ranks_of(ranking) for ranking in rankings])
    low, high = np.quantile(ranks, _ENDS, axis=0, method="inverted_cdf")
    mean_selected = chosen.sum(axis=1).mean()
    bound = mean_selected**2 / ((2 * threshold - 1) * total) if kind == "halves" else None
    sets = class_sets or [_class_sets(ranking, columns) for ranking, columns in zip(rankings, chosen, strict=True)]
    return Stability(
        task=rankings[0].task,
        axis=axis,
        kind=kind,
        replicates=len(rankings),
        points=tuple(points),
        selected=count,
        frequency=chosen.mean(axis=0),
        rank_low=low,
        rank_high=high,
        threshold=threshold,
        error_bound=None if bound is None else float(bound),
        class_neurons={
            name: _spread([float(len(of_sample.get(name, ()))) for of_sample in sets])
            for name in dict.fromkeys(name for of_sample in sets for name in of_sample)
        },
    )


def _check(rankings: Sequence[Ranking], kind: SampleKind, select: float, threshold: float) -> None:
    if len(rankings) < 2:
        raise SettingsError(f"Stability needs the rankings of 2 samples or more, got {len(rankings)}.")
    if kind == "halves":
        check_pairs(len(rankings))
    if not 0 < select <= 1:
        raise SettingsError(f"`select` must be in (0, 1], got {select}. One tenth is 0.1.")
    if not 0.5 < threshold <= 1:
        raise SettingsError(f"`threshold` must be in (0.5, 1], got {threshold}: the error bound is for more than half.")
    refuse_other_axes(rankings)


def _point(rankings: Sequence[Ranking], pairs: Sequence[tuple[int, int]], share: float, count: int) -> OverlapPoint:
    axis = rankings[0].axis
    parts = [first_part(ranking, count) for ranking in rankings]
    found = [overlap(parts[one], parts[other], count) for one, other in pairs]
    layers = np.array([block.layer for block in axis.blocks], np.float64)[axis.block_of_column]
    chance = chance_overlap(count, axis.size)
    return OverlapPoint(
        share=share,
        neurons=count,
        overlap=float(np.mean(found)),
        overlap_std=float(np.std(found, ddof=1)) if len(found) > 1 else None,
        chance=chance.overlap,
        chance_high=chance.high,
        mean_layer=_spread([float(part @ layers / count) for part in parts]),
    )


def _spread(values: Sequence[float]) -> Spread:
    low, high = np.quantile(values, _ENDS, method="inverted_cdf")
    return Spread(float(np.mean(values)), float(low), float(high))


def _class_sets(ranking: Ranking, chosen: np.ndarray) -> dict[str, Int[np.ndarray, " _"]]:
    """Divides the selected neurons among the classes for which their rank is best."""
    if not ranking.by_class:
        return {}
    ranks = np.stack([ranks_of(of_class) for of_class in ranking.by_class.values()])
    best = ranks == ranks.min(axis=0)
    return {name: np.flatnonzero(best[number] & chosen) for number, name in enumerate(ranking.by_class)}

"""The neurons that several rankings all have among their first ones, beside what random sets have in common."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from lca_jax.analysis.overlap import chances_of_common, first_part
from lca_jax.ranking.ranking import Ranking

_NEGLIGIBLE = 1e-20
"""A chance that no sum of others feels."""


@dataclass(frozen=True, kw_only=True)
class SharedByAll:
    """The neurons that all rankings have among their first ones."""

    share: float
    """Share of all neurons."""
    neurons: int
    """Number of first neurons of each ranking."""
    columns: tuple[int, ...]
    """Those that all have, by their mean rank, best first."""
    expected: float
    """Their number for random sets, in the mean."""
    p: float
    """Probability that random sets have as many in common or more."""


def shared_by_all(rankings: Mapping[str, Ranking], share: float, count: int) -> SharedByAll:
    """Finds the neurons that all rankings have among their first.

    Args:
        rankings: The rankings, of the same neurons.
        share: Share of the neurons, as it is told.
        count: Their number.
    """
    total = next(iter(rankings.values())).axis.size
    common = np.all([first_part(ranking, count) == 1 for ranking in rankings.values()], axis=0)
    places = np.empty((len(rankings), total))
    for row, ranking in zip(places, rankings.values(), strict=True):
        row[ranking.columns] = np.arange(total)
    columns = np.flatnonzero(common)
    chances = chances_of_common_to_all(count, total, len(rankings))
    return SharedByAll(
        share=share,
        neurons=count,
        columns=tuple(columns[np.argsort(places.mean(axis=0)[columns], kind="stable")].tolist()),
        expected=float(chances @ np.arange(count + 1)),
        p=chance_of_so_many(chances, len(columns)),
    )


def chances_of_common_to_all(count: int, total: int, sets: int) -> Float64[np.ndarray, " common"]:
    """Returns the probability that `sets` random sets of `count` of `total` neurons have 0, 1, … `count` in common.

    What the first m sets have in common is a set whose size is known; the next set takes a hypergeometric part of it.
    """
    chances = np.zeros(count + 1)
    chances[count] = 1
    for _ in range(sets - 1):
        after = np.zeros(count + 1)
        for size in np.flatnonzero(chances > _NEGLIGIBLE).tolist():
            after[: size + 1] += chances[size] * chances_of_common(size, total, count)
        chances = after
    return chances


def chance_of_so_many(chances: Float64[np.ndarray, " common"], common: float | int) -> float:
    """Returns the probability of as many in common or more; a fraction, from neurons without order, is rounded down."""
    return float(min(chances[int(np.floor(common + 1e-9)) :].sum(), 1.0))

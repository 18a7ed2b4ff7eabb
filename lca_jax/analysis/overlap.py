"""How many neurons the first parts of two rankings share, and how many two rankings share that know nothing.

Two sets of k of d neurons drawn at random share a hypergeometric number: k²/d in the mean. The neurons of a ranking's
last tie block (those without any weight) have no order, so where a first part reaches into that block, its places there
go to each neuron of it with the same chance, and overlap is that to be expected.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.special import gammaln

from lca_jax.errors import SettingsError
from lca_jax.ranking.ranking import Ranking

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Shares of the neurons at which overlap is told."""
_SURE = 0.975
"""Probability that two random sets share no more than the upper end of chance."""


@dataclass(frozen=True, kw_only=True)
class Chance:
    """What the first parts of two rankings share that have nothing to do with each other."""

    overlap: float
    """Expected share of the neurons in both: k/d."""
    high: float
    """Share that they exceed with a probability of at most 2.5 %."""


def chance_overlap(count: int, total: int) -> Chance:
    """Returns the hypergeometric overlap of two random sets of `count` of `total` neurons, as shares of `count`."""
    high = int(np.searchsorted(np.cumsum(chances_of_common(count, total)), _SURE - 1e-12))
    return Chance(overlap=count / total, high=min(high, count) / count)


def chances_of_common(count: int, total: int, other: int | None = None) -> Float64[np.ndarray, " common"]:
    """Returns the probability that two random sets of `count` of `total` neurons have 0, 1, … `count` in common.

    `other` is the size of the second set, where it is another one.
    """
    drawn = count if other is None else other
    both = np.arange(count + 1)
    choose = _log_choose(count, both) + _log_choose(total - count, drawn - both)
    return np.exp(choose - _log_choose(total, np.array([drawn])))


def counts_of(shares: Sequence[float], total: int) -> list[int]:
    """Returns the number of neurons of each share of all, at least 1.

    Raises:
        SettingsError: There is no share, or one is not in (0, 1].
    """
    if not shares or any(not 0 < share <= 1 for share in shares):
        raise SettingsError(f"`shares` must each be in (0, 1], got {list(shares)}. One fifth is 0.2.")
    return [max(1, round(share * total)) for share in shares]


def first_part(ranking: Ranking, count: int) -> Float64[np.ndarray, " feature"]:
    """Returns the chance of every column to be in the first part: 1 or 0, or between where it has no order."""
    part = np.zeros(len(ranking.columns))
    part[ranking.columns[:count]] = 1
    unordered = ranking.columns[ranking.ties == ranking.ties[-1]]
    if (left := count - (len(ranking.columns) - len(unordered))) > 0:
        part[unordered] = left / len(unordered)
    return part


def overlap(one: Float[np.ndarray, " feature"], other: Float[np.ndarray, " feature"], count: int) -> float:
    """Returns the share of `count` neurons that two first parts have in common."""
    return float(one @ other / count)


def ranks_of(ranking: Ranking) -> Float64[np.ndarray, " feature"]:
    """Returns the rank of every column, from 1; neurons of the last tie block have its mean rank."""
    ranks = np.empty(len(ranking.columns))
    ranks[ranking.columns] = np.arange(1, len(ranks) + 1)
    unordered = ranking.columns[ranking.ties == ranking.ties[-1]]
    ranks[unordered] = ranks[unordered].mean()
    return ranks


def tied_ranks(ranking: Ranking) -> Float64[np.ndarray, " feature"]:
    """Returns the rank of every column, from 1; tied neurons have the mean rank of their block."""
    sizes: Int[np.ndarray, " block"] = np.bincount(ranking.ties)
    ends = np.cumsum(sizes)
    middle = ends - (sizes - 1) / 2
    ranks = np.empty(len(ranking.columns))
    ranks[ranking.columns] = middle[ranking.ties]
    return ranks


def refuse_other_axes(rankings: Sequence[Ranking]) -> None:
    """Refuses rankings of different neurons.

    Raises:
        SettingsError: Two rankings have different axes.
    """
    for ranking in rankings[1:]:
        if ranking.axis != rankings[0].axis:
            raise SettingsError(
                f"Rankings that are compared must order the same neurons: one has {rankings[0].axis.size} of "
                f"{', '.join(rankings[0].axis.layer_names)}, another {ranking.axis.size} of "
                f"{', '.join(ranking.axis.layer_names)}."
            )


def _log_choose(total: int, counts: Int[np.ndarray, " count"]) -> Float64[np.ndarray, " count"]:
    possible = (counts >= 0) & (counts <= total)
    inside = np.where(possible, counts, 0)
    return np.where(possible, gammaln(total + 1) - gammaln(inside + 1) - gammaln(total - inside + 1), -np.inf)

"""How far ranking methods agree with each other: pairwise overlap, AvgOverlap, NeuronVote and consensus subsets.

For the first s neurons S_m of every method m:

    o(m, m')      = |S_m ∩ S_m'| / |S_m ∪ S_m'|
    AvgOverlap_m  = mean of o(m, m') over the other methods m'
    NeuronVote_m  = o(S_m, V),  V the first s neurons by the votes of the other methods

A method gives 100 points to its first neuron, 99 to the next, and so on (Borda count, cut after 100 neurons); V has the
neurons with the most points, of equal ones those of lower column. A consensus subset lets only some methods vote. What
these figures mean is agreement, not truth: methods that share a mistake agree on it.

Reference: Fan, Dalvi, Durrani and Sajjad 2023, "Evaluating Neuron Interpretation Methods of NLP Models", section 3; the
cut after 100 neurons is that of the authors' code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float64, Int

from lca_jax.analysis.overlap import chances_of_common, refuse_other_axes
from lca_jax.errors import SettingsError
from lca_jax.ranking.ranking import Ranking
from lca_jax.tables import html_table, text_table

POINTS = 100
"""Points of the first neuron of a method, and the number of neurons that get any."""


@dataclass(frozen=True, kw_only=True, repr=False)
class MethodOverlap:
    """The overlap of several methods."""

    task: str
    methods: tuple[str, ...]
    neurons: int
    """Number s of first neurons that are compared."""
    pairwise: Float64[np.ndarray, "method method"]
    """o(m, m') of every pair, 1 on the diagonal: the data of a heat-map."""
    average: Float64[np.ndarray, " method"]
    """AvgOverlap of each method."""
    votes: Float64[np.ndarray, " method"]
    """NeuronVote of each method."""
    chance: float
    """The o of two random sets, in the mean."""

    def __repr__(self) -> str:
        """Describes the comparison in one line, and the methods in a table."""
        return text_table(self.table(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption())

    def table(self) -> dict[str, list[object]]:
        """Returns one row a method, as columns of equal length, ready for `pandas.DataFrame(...)`."""
        return {
            "method": list(self.methods),
            "average_overlap": self.average.tolist(),
            "neuron_vote": self.votes.tolist(),
            **{name: self.pairwise[:, place].tolist() for place, name in enumerate(self.methods)},
        }

    def _caption(self) -> str:
        return (
            f"{self.task}: intersection over union of the first {self.neurons} neurons of {len(self.methods)} methods; "
            f"two random sets have {self.chance:.3g}"
        )


def method_overlap(rankings: Mapping[str, Ranking], *, neurons: int = 50) -> MethodOverlap:
    """Compares the first neurons of several methods.

    Args:
        rankings: A ranking of the same neurons by each method's name, at least two.
        neurons: Number s of first neurons.

    Raises:
        SettingsError: There are fewer than two methods, they order different neurons, or `neurons` is out of range.
    """
    _check(rankings, neurons)
    names, orders = tuple(rankings), list(rankings.values())
    first = np.zeros((len(names), len(orders[0].columns)))
    for place, ranking in enumerate(orders):
        first[place, ranking.top(neurons)] = 1
    common = first @ first.T
    pairwise = common / (2 * neurons - common)
    others = len(names) - 1
    return MethodOverlap(
        task=orders[0].task,
        methods=names,
        neurons=neurons,
        pairwise=pairwise,
        average=(pairwise.sum(axis=1) - 1) / others,
        votes=np.array([neuron_vote(rankings, name, neurons=neurons) for name in names]),
        chance=_chance(neurons, first.shape[1]),
    )


def neuron_vote(
    rankings: Mapping[str, Ranking], method: str, *, voters: Sequence[str] | None = None, neurons: int = 50
) -> float:
    """Returns the overlap of a method's first neurons with those that other methods vote for.

    Args:
        rankings: A ranking of the same neurons by each method's name.
        method: The method that is judged.
        voters: Names of the methods that vote; None for all others.
        neurons: Number s of first neurons.

    Raises:
        SettingsError: A name is unknown, no method votes, the method votes on itself, they order different neurons, or
            `neurons` is out of range.
    """
    _check(rankings, neurons)
    voters = [name for name in rankings if name != method] if voters is None else voters
    if unknown := sorted({method, *voters} - set(rankings)):
        raise SettingsError(f"There is no ranking of {', '.join(unknown)}. Rankings: {', '.join(rankings)}.")
    if not voters or method in voters:
        raise SettingsError(f"Methods other than {method!r} must vote on it, got {list(voters)}.")
    chosen = set(elect([rankings[name] for name in voters], neurons=neurons).tolist())
    own = set(rankings[method].top(neurons).tolist())
    return len(own & chosen) / len(own | chosen)


def elect(rankings: Sequence[Ranking], *, neurons: int) -> Int[np.ndarray, " neuron"]:
    """Returns the columns with the most points of a Borda count over rankings, of equal ones the lower column first."""
    points = np.zeros(len(rankings[0].columns), np.int64)
    for ranking in rankings:
        voted = ranking.columns[:POINTS]
        points[voted] += np.arange(POINTS, POINTS - len(voted), -1)
    return np.argsort(-points, kind="stable")[:neurons]


def consensus_votes(
    rankings: Mapping[str, Ranking], methods: Sequence[str], *, neurons: int = 50
) -> dict[str, list[object]]:
    """Judges methods by every subset of the methods that are not among them (consensus subsets).

    A judgement that holds for most subsets does not hang on one voter.

    Args:
        rankings: A ranking of the same neurons by each method's name.
        methods: Names of the methods that are judged.
        neurons: Number s of first neurons.

    Returns:
        A table with one row a subset, smallest first: `voters`, and the NeuronVote of each method.

    Raises:
        SettingsError: As for `neuron_vote`; or no method is left to vote.
    """
    voters = [name for name in rankings if name not in methods]
    if not voters:
        raise SettingsError(f"No method is left to vote on {', '.join(methods)}. Give rankings of others too.")
    subsets = [subset for size in range(1, len(voters) + 1) for subset in combinations(voters, size)]
    table: dict[str, list[object]] = {"voters": [", ".join(subset) for subset in subsets]}
    for name in methods:
        table[name] = [neuron_vote(rankings, name, voters=subset, neurons=neurons) for subset in subsets]
    return table


def _check(rankings: Mapping[str, Ranking], neurons: int) -> None:
    if len(rankings) < 2:
        raise SettingsError(f"Agreement needs the rankings of 2 methods or more, got {len(rankings)}.")
    refuse_other_axes(list(rankings.values()))
    largest = min(POINTS, len(next(iter(rankings.values())).columns))
    if not 1 <= neurons <= largest:  # beyond the cut a vote would go to neurons without a point
        raise SettingsError(f"`neurons` must be in 1 to {largest}, got {neurons}.")


def _chance(count: int, total: int) -> float:
    """Returns the mean intersection over union of two random sets."""
    both = np.arange(count + 1)
    return float((chances_of_common(count, total) * both / (2 * count - both)).sum())

"""Do several corpora (languages, domains) share neurons, for one task in one model? Every pair, and all at once.

The first neurons of two rankings are compared with two things.

- **Chance.** Random sets share k²/d of d neurons, a hypergeometric number (`analysis.overlap`). Two rankings that have
  no more in common than a liking for the same layers share more than that: so the verdict asks for more than random
  sets *of the same layers* share, whose number is a sum of hypergeometric numbers, one a layer. Both take neurons as
  exchangeable. Near copies in a residual stream are not, so the same is told of groups by index, which have none.
- **Reliability.** Rankings of one language differ as well, where their sentences do. Every half-sample of the one is
  compared with a half of the other that has other sentences; what two halves of one language have in common is the
  reliability r of its ranking, and √(r_a · r_b) the ceiling. All of them are of half the words, so two rankings that
  differ by their words alone come to the ceiling, neither below nor above it. The `shortfall` is the ceiling less that
  overlap. Its standard error is its standard deviation over the divisions of the sentences, pooled over the pairs and
  *not* divided by the root of their number: divisions are of the same words. In simulations of rankings that share one
  order, that error was 1.1 to 1.6 times the true one, and a test at 5 % said "less" in 1 to 3 % of the trials.

So "shared" does not mean "the same": a verdict says whether two rankings share more than chance, and whether they
share less than their own reliability allows. The p-values of all pairs are corrected by Holm's method, at each size.

Reference: Stańczak et al. 2022, "Same neurons, different languages", sections 3 and 5 (significance of the overlap).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64
from scipy.special import stdtr, stdtrit

from lca_jax.analysis.crossing import holm
from lca_jax.analysis.overlap import (
    chance_overlap,
    chances_of_common,
    counts_of,
    first_part,
    overlap,
    refuse_other_axes,
)
from lca_jax.analysis.shared_by_all import SharedByAll, chance_of_so_many, shared_by_all
from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.probing.halves import check_pairs
from lca_jax.ranking.ranking import Ranking
from lca_jax.tables import html_table, text_table

SHARED_SHARES = (0.01, 0.05, 0.2)
"""Shares of the neurons at which sharing is told."""
_LEVEL = 0.05

Verdict = Literal["no more than chance", "less than reliability allows", "as far as reliability allows"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True, kw_only=True)
class SharedPoint:
    """The first neurons of two rankings, of one size."""

    pair: tuple[str, str]
    share: float
    """Share of all neurons."""
    neurons: int
    """Their number."""
    overlap: float
    """Share of them that both rankings have."""
    chance: float
    """The same for random sets, in the mean."""
    chance_of_layers: float
    """The same for random sets of the same layers."""
    p_chance: float
    """Probability that random sets of the same layers share as much or more, corrected for all pairs."""
    overlap_of_halves: float
    """What halves of other sentences of both share, in the mean."""
    ceiling: float
    """What two halves would share that differ by their words alone."""
    shortfall: float
    """The ceiling less that overlap."""
    shortfall_interval: tuple[float, float]
    """95 % interval of that."""
    p_less: float
    """Probability of such a shortfall where rankings differ by their words alone, corrected for all pairs."""

    @property
    def verdict(self) -> Verdict:
        """What both tests say, at 5 %."""
        if self.p_chance >= _LEVEL:
            return "no more than chance"
        return "less than reliability allows" if self.p_less < _LEVEL else "as far as reliability allows"

    @property
    def of_ceiling(self) -> float | None:
        """Overlap of halves above chance as a share of the ceiling above chance; None where the ceiling is not above.

        Below 0 it is less than chance; above 1 it is more than reliability makes one expect.
        """
        room = self.ceiling - self.chance
        return (self.overlap_of_halves - self.chance) / room if room > 0 else None


@dataclass(frozen=True, kw_only=True, repr=False)
class SharedNeurons:
    """What the rankings of several corpora have in common; from `shared_neurons`."""

    names: tuple[str, ...]
    axis: NeuronAxis
    """The neuron of each column; or the group."""
    points: tuple[SharedPoint, ...]
    """Every size, and every pair at each."""
    of_all: tuple[SharedByAll, ...]
    """The neurons that all rankings have among their first, at each size."""

    def __repr__(self) -> str:
        """Describes how many pairs share neurons, in a table of all of them."""
        return text_table(self.table(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption())

    def at(self, share: float) -> list[SharedPoint]:
        """Returns the pairs at one share of the neurons."""
        return [point for point in self.points if point.share == share]

    def matrix(self, share: float, figure: str = "overlap") -> Float64[np.ndarray, "one other"]:
        """Returns one figure of every pair (a field or property of `SharedPoint`), NaN on the diagonal and where None.

        Args:
            share: Share of the neurons.
            figure: Name of the figure.
        """
        table = np.full((len(self.names), len(self.names)), np.nan)
        for point in self.at(share):
            one, other = (self.names.index(name) for name in point.pair)
            value = getattr(point, figure)
            table[one, other] = table[other, one] = np.nan if value is None else value
        return table

    def table(self) -> dict[str, list[object]]:
        """Returns one row a pair and size, as columns of equal length, ready for `pandas.DataFrame(...)`."""
        names = ("share", "neurons", "overlap", "chance", "chance_of_layers", "p_chance", "overlap_of_halves")
        names += ("ceiling", "shortfall", "p_less", "verdict")
        return {
            "one": [point.pair[0] for point in self.points],
            "other": [point.pair[1] for point in self.points],
            **{name: [getattr(point, name) for point in self.points] for name in names},
        }

    def _caption(self) -> str:
        return f"{len(self.names)} rankings of {self.axis.size} neurons: {', '.join(self.names)}"


def shared_neurons(
    rankings: Mapping[str, Ranking],
    halves: Mapping[str, Sequence[Ranking]],
    *,
    shares: Sequence[float] = SHARED_SHARES,
) -> SharedNeurons:
    """Compares the rankings of one task in several corpora, pair by pair and all together.

    Args:
        rankings: The ranking of every corpus, of neurons or of groups; two or more.
        halves: The rankings of complementary half-samples of each (`rank_samples`), the first two of one division, and
            so on; two divisions or more. For parallel corpora they are to be of one seed: then a half of the one never
            meets the translation of its own sentences in the other.
        shares: Shares of the neurons, each in (0, 1].

    Raises:
        SettingsError: There are fewer than two rankings, they order different neurons, a share is out of its range, or
            halves are missing, not in pairs, or not as many for each.
    """
    _check(rankings, halves)
    names, axis = tuple(rankings), next(iter(rankings.values())).axis
    pairs = list(combinations(names, 2))
    points: list[SharedPoint] = []
    of_all = []
    for share, count in zip(shares, counts_of(shares, axis.size), strict=True):
        first = {name: first_part(ranking, count) for name, ranking in rankings.items()}
        parts = {name: np.stack([first_part(half, count) for half in of_name]) for name, of_name in halves.items()}
        points += _points(pairs, first, parts, share, count, axis)
        of_all.append(shared_by_all(rankings, share, count))
    return SharedNeurons(names=names, axis=axis, points=tuple(points), of_all=tuple(of_all))


def reliability_of(parts: Float64[np.ndarray, "half feature"], count: int) -> Float64[np.ndarray, " division"]:
    """Returns the overlap of the two halves of every division."""
    return np.sum(parts[::2] * parts[1::2], axis=1) / count


def overlap_of_halves(
    one: Float64[np.ndarray, "half feature"], other: Float64[np.ndarray, "half feature"], count: int
) -> Float64[np.ndarray, " division"]:
    """Returns the overlap of a half of one corpus with the opposite half of another, the mean of both of a division."""
    swapped = other.reshape(-1, 2, other.shape[1])[:, ::-1].reshape(other.shape)
    return np.mean(np.sum(one * swapped, axis=1).reshape(-1, 2) / count, axis=1)


def chances_of_layers(
    one: Float64[np.ndarray, " feature"], other: Float64[np.ndarray, " feature"], axis: NeuronAxis
) -> Float64[np.ndarray, " common"]:
    """Returns the probabilities of 0, 1, … common neurons of two random sets, each with as many of every layer as here.

    Layers are independent, so the probabilities of the sum are those of the layers convolved.
    """
    blocks = len(axis.blocks)
    sizes = [
        np.rint(np.bincount(axis.block_of_column, weights=part, minlength=blocks)).astype(int) for part in (one, other)
    ]
    chances = np.ones(1)
    for block, own, foreign in zip(axis.blocks, *sizes, strict=True):
        chances = np.convolve(chances, chances_of_common(int(own), block.width, int(foreign)))
    return chances


def _points(
    pairs: Sequence[tuple[str, str]],
    first: Mapping[str, Float64[np.ndarray, " feature"]],
    parts: Mapping[str, Float64[np.ndarray, "half feature"]],
    share: float,
    count: int,
    axis: NeuronAxis,
) -> list[SharedPoint]:
    """Returns all pairs at one size, with corrected p-values."""
    chances = [chances_of_layers(first[one], first[other], axis) for one, other in pairs]
    found = [overlap(first[one], first[other], count) for one, other in pairs]
    p_chance = holm(
        np.array([chance_of_so_many(row, value * count) for row, value in zip(chances, found, strict=True)])
    )
    reliability = {name: reliability_of(of_name, count) for name, of_name in parts.items()}
    across = np.array([overlap_of_halves(parts[one], parts[other], count) for one, other in pairs])
    ceilings = np.array([np.sqrt(reliability[one] * reliability[other]) for one, other in pairs])
    below = ceilings - across
    shortfall = below.mean(axis=1)
    error = float(np.sqrt(np.mean(below.var(axis=1, ddof=1))))
    # The pairs of L corpora are not independent of each other: L − 1 of them count.
    freedom = (below.shape[1] - 1) * (len(parts) - 1)
    p_less = holm(np.array([_upper_tail(value, error, freedom) for value in shortfall.tolist()]))
    reach = float(stdtrit(freedom, 0.975)) * error
    return [
        SharedPoint(
            pair=pair,
            share=share,
            neurons=count,
            overlap=found[place],
            chance=chance_overlap(count, axis.size).overlap,
            chance_of_layers=float(chances[place] @ np.arange(len(chances[place])) / count),
            p_chance=float(p_chance[place]),
            overlap_of_halves=float(across[place].mean()),
            ceiling=float(ceilings[place].mean()),
            shortfall=float(shortfall[place]),
            shortfall_interval=(float(shortfall[place]) - reach, float(shortfall[place]) + reach),
            p_less=float(p_less[place]),
        )
        for place, pair in enumerate(pairs)
    ]


def _upper_tail(value: float, error: float, freedom: int) -> float:
    if error == 0:
        return 0.0 if value > 0 else 1.0
    return float(stdtr(freedom, -value / error))


def _check(rankings: Mapping[str, Ranking], halves: Mapping[str, Sequence[Ranking]]) -> None:
    if len(rankings) < 2:
        raise SettingsError(f"Sharing is between two rankings or more, got {len(rankings)}.")
    refuse_other_axes([*rankings.values(), *(half for of_name in halves.values() for half in of_name)])
    if missing := [name for name in rankings if name not in halves]:
        raise SettingsError(f"{', '.join(missing)}: there are no rankings of half-samples, which tell the reliability.")
    counts = {name: len(halves[name]) for name in rankings}
    if len(set(counts.values())) > 1 or min(counts.values()) < 4:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise SettingsError(f"All rankings need as many half-samples, 4 or more, got {told}.")
    check_pairs(next(iter(counts.values())))

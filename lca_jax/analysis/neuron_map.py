"""A map of corpora (languages, domains) by the neurons that they share: the tree of average linkage.

The distance of two is the part of their ceiling that they do not share,

    1 − (overlap of halves − chance) / (ceiling − chance), within 0..1,

so a language whose ranking reproduces badly is not far from all others for that reason alone. Each join stands beside
its support: the share of the divisions of the sentences whose own tree has a branch of the same members. A tree is
always found, so a join without support tells nothing.

Reference: Sokal and Michener 1958 (average linkage); Felsenstein 1985 (support of branches by resampling).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from lca_jax.analysis.overlap import chance_overlap, counts_of, first_part
from lca_jax.analysis.shared_neurons import overlap_of_halves, reliability_of
from lca_jax.errors import SettingsError
from lca_jax.ranking.ranking import Ranking


@dataclass(frozen=True, kw_only=True)
class Join:
    """A branch of the tree: the members of two branches below it."""

    left: int
    """Number of the one: of a corpus, or, from their number on, of an earlier join."""
    right: int
    height: float
    """Mean distance of their members, in 0..1."""
    members: tuple[str, ...]
    support: float
    """Share of the divisions of the sentences whose tree has a branch of these members."""


@dataclass(frozen=True, kw_only=True)
class NeuronMap:
    """A tree of corpora; from `map_by_neurons`."""

    names: tuple[str, ...]
    share: float
    """Share of the neurons that are compared."""
    distances: Float64[np.ndarray, "one other"]
    joins: tuple[Join, ...]
    """From the nearest two up; the last one has all members."""

    def leaves(self) -> list[str]:
        """Returns the corpora in an order in which no two branches cross."""

        def below(number: int) -> list[str]:
            if number < len(self.names):
                return [self.names[number]]
            join = self.joins[number - len(self.names)]
            return [*below(join.left), *below(join.right)]

        return below(2 * len(self.names) - 2)


def map_by_neurons(halves: Mapping[str, Sequence[Ranking]], *, share: float = 0.05) -> NeuronMap:
    """Makes the tree.

    Args:
        halves: The rankings of complementary half-samples of each, as in `shared_neurons`; three corpora or more.
        share: Share of the neurons that are compared.

    Raises:
        SettingsError: There are fewer than three corpora, or the share is out of its range.
    """
    if len(halves) < 3:
        raise SettingsError(f"A tree needs three or more, got {len(halves)}. Two have one distance.")
    names, first = tuple(halves), next(iter(halves.values()))[0]
    (count,) = counts_of([share], first.axis.size)
    parts = [np.stack([first_part(half, count) for half in of_name]) for of_name in halves.values()]
    chance = chance_overlap(count, first.axis.size).overlap
    own = np.stack([reliability_of(part, count) for part in parts])
    across = np.array([[overlap_of_halves(one, other, count) for other in parts] for one in parts])
    distances = _distances(across.mean(axis=2), own.mean(axis=1), chance)
    joins = _joins(names, distances)
    divisions = [
        {frozenset(join.members) for join in _joins(names, _distances(across[:, :, number], own[:, number], chance))}
        for number in range(own.shape[1])
    ]
    supported = [
        Join(
            left=join.left,
            right=join.right,
            height=join.height,
            members=join.members,
            support=float(np.mean([frozenset(join.members) in branches for branches in divisions])),
        )
        for join in joins
    ]
    return NeuronMap(names=names, share=share, distances=distances, joins=tuple(supported))


def _distances(
    across: Float64[np.ndarray, "one other"], own: Float64[np.ndarray, " one"], chance: float
) -> Float64[np.ndarray, "one other"]:
    room = np.sqrt(np.outer(own, own)) - chance
    # Where nothing reproduces nothing is shared.
    shared = np.where(room > 0, (across - chance) / np.where(room > 0, room, 1), 0)
    distances = np.clip(1 - shared, 0, 1)
    np.fill_diagonal(distances, 0)
    return (distances + distances.T) / 2


def _joins(names: tuple[str, ...], distances: Float64[np.ndarray, "one other"]) -> list[Join]:
    joins: list[Join] = []
    for left, right, height, _ in linkage(squareform(distances, checks=False), method="average").tolist():
        members: list[str] = []
        for number in (int(left), int(right)):
            members += [names[number]] if number < len(names) else joins[number - len(names)].members
        joins.append(Join(left=int(left), right=int(right), height=height, members=tuple(members), support=1.0))
    return joins

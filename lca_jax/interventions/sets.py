"""The sets of neurons of a curve: orders over neurons, and the spans of them that are removed at each point.

A point is an order, the first and one past the last place that is removed, and a fill. So a set costs three numbers,
and a program that makes its edits from them has the memory of one edit, however many points there are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Int

from lca_jax.axes import Layers, NeuronAxis, choose_layers
from lca_jax.errors import DataError, SettingsError
from lca_jax.interventions.choices import SETS, SWEEPS, SetName, Sweep
from lca_jax.ranking.ranking import Ranking

_MATCHED = 3
"""Stream of random numbers, apart from those of `Ranking`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """Neurons in the order in which a set takes them."""

    ranking: str
    """Name of the ranking; `random` for sets that belong to none."""
    set: SetName
    draw: int
    """Number of the random draw; 0 for sets that are not drawn."""
    columns: Int[np.ndarray, " neuron"]


@dataclass(frozen=True, kw_only=True)
class Span:
    """The places of an order that are removed together."""

    first: int
    last: int
    """One past the last place."""


def orders_of(
    rankings: Mapping[str, Ranking], *, sets: Sequence[SetName], layers: Layers, random: int, seed: int
) -> list[Order]:
    """Returns the orders of all sets of all rankings, only of neurons in the chosen layers.

    Raises:
        SettingsError: A set is unknown, there are too few random sets, or a layer is not in the rankings.
        DataError: There is no ranking, or rankings are of different neurons.
    """
    if not rankings or len({ranking.axis for ranking in rankings.values()}) != 1:
        raise DataError("Rankings that are compared must be of the same neurons, and there must be at least one.")
    if "random" in rankings:
        raise SettingsError("`random` names the sets that belong to no ranking: give the ranking another name.")
    if not sets or (unknown := sorted(set(sets) - set(SETS))):
        raise SettingsError(f"`sets` must be among {', '.join(SETS)}, got {', '.join(sets) or 'none'}.")
    if random < 2 and {"random", "matched"} & set(sets):
        raise SettingsError(f"A single random set proves nothing: `random` must be 2 or more, got {random}.")
    del unknown
    axis = next(iter(rankings.values())).axis
    chosen = _chosen(axis, layers)
    orders = []
    for name, ranking in rankings.items():
        whole = len(ranking.columns)
        if "top" in sets:
            orders.append(Order(ranking=name, set="top", draw=0, columns=chosen(ranking.columns)))
        if "bottom" in sets:
            orders.append(Order(ranking=name, set="bottom", draw=0, columns=chosen(ranking.bottom(whole, seed=seed))))
        if "matched" in sets:
            orders += [
                Order(ranking=name, set="matched", draw=draw, columns=columns)
                for draw in range(random)
                for columns in [_matched(axis, chosen(ranking.columns), seed=seed, draw=draw)]
            ]
    if "random" in sets:
        ranking = next(iter(rankings.values()))
        draws = [ranking.random(len(ranking.columns), seed=seed, draw=draw) for draw in range(random)]
        orders += [
            Order(ranking="random", set="random", draw=draw, columns=chosen(columns))
            for draw, columns in enumerate(draws)
        ]
    return orders


def spans_of(counts: Sequence[int], *, sweep: Sweep, size: int) -> list[Span]:
    """Returns the spans of a sweep, without the empty one that is the model as it is.

    Raises:
        SettingsError: The sweep is unknown, or counts are not rising numbers between 0 and the number of neurons.
    """
    if sweep not in SWEEPS:
        raise SettingsError(f"`sweep` must be one of {', '.join(SWEEPS)}, got {sweep!r}.")
    counts = sorted({int(count) for count in counts} | {0})
    if len(counts) < 2 or counts[0] < 0 or counts[-1] > size:
        raise SettingsError(f"`counts` must name numbers of neurons from 1 to {size}, got {counts[1:] or 'none'}.")
    if sweep == "each":
        return [Span(first=place, last=place + 1) for place in range(counts[-1])]
    if sweep == "interval":
        return [Span(first=low, last=high) for low, high in pairwise(counts)]
    return [Span(first=0, last=count) for count in counts[1:]]


_Choose = Callable[[Int[np.ndarray, " neuron"]], Int[np.ndarray, " _neuron"]]


def _chosen(axis: NeuronAxis, layers: Layers) -> _Choose:
    """Returns a filter that keeps the columns of some layers."""
    known: dict[str, list[int]] = {}
    for block in axis.blocks:
        known.setdefault(block.site, []).append(block.layer)
    wanted = choose_layers(known, None, layers, place="the rankings")
    kept = np.array([block.layer in wanted.get(block.site, ()) for block in axis.blocks])[axis.block_of_column]

    def choose(columns: Int[np.ndarray, " neuron"]) -> Int[np.ndarray, " _neuron"]:
        return columns[kept[columns]]

    return choose


def _matched(
    axis: NeuronAxis, columns: Int[np.ndarray, " neuron"], *, seed: int, draw: int
) -> Int[np.ndarray, " neuron"]:
    """Puts a random neuron of the same layer in each place of an order; every neuron once."""
    blocks = axis.block_of_column[columns]
    generator = np.random.default_rng((_MATCHED, seed, draw))
    matched = np.empty_like(columns)
    for block in np.unique(blocks):
        inside = np.flatnonzero(blocks == block)
        matched[inside] = generator.permutation(columns[inside])
    return matched

"""A ranking: every neuron of a fit in one order, with a score each and the ties that the method left.

All methods of this room return a `Ranking`, and everything that uses one (curves, minimal sets, ablation) asks it for
`top`, `bottom` and `random` sets, so that no method is measured differently from another. Columns are the features of
the `NeuronAxis`; `neurons` names them.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from lca_jax.axes import Neuron, NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.machine.files import write_whole


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """A total order over neurons, best first; ties by score stay visible in `ties`."""

    task: str
    """The task, or `task: class` for the ranking of one class."""
    axis: NeuronAxis
    """Which neuron each column is."""
    columns: Int[np.ndarray, " rank"]
    """All columns, best first."""
    scores: Float[np.ndarray, " rank"]
    """Score of each, falling."""
    ties: Int[np.ndarray, " rank"]
    """Number of the tie block of each, 0 first: within a block the method says no order, and the one given is fixed."""
    by_class: Mapping[str, "Ranking"] = field(default_factory=dict)
    """The ranking of each class alone, where the method has one."""

    @property
    def neurons(self) -> list[Neuron]:
        """The neurons, best first."""
        return self.axis.neurons(self.columns)

    def top(self, count: int) -> Int[np.ndarray, " neuron"]:
        """Columns of the best neurons."""
        return self.columns[: self._checked(count)]

    def bottom(self, count: int, *, seed: int = 0) -> Int[np.ndarray, " neuron"]:
        """Columns of the worst neurons, worst first; smaller sets are parts of larger ones.

        Where the end of the ranking is a large tie (neurons without any weight), which of them are "the last" is not
        said by the ranking; their order by number would be an order by layer. They are drawn instead, by the seed.
        """
        drawn = np.random.default_rng(seed).permutation(len(self.columns))
        return self.columns[np.lexsort((drawn, -self.ties))][: self._checked(count)]

    def random(self, count: int, *, seed: int) -> Int[np.ndarray, " neuron"]:
        """Columns of neurons drawn at random; smaller sets of a seed are parts of larger ones."""
        # Drawn over columns, not ranks: two rankings of one axis meet the same random sets.
        return np.random.default_rng(seed).permutation(len(self.columns))[: self._checked(count)]

    def write_csv(self, path: Path) -> None:
        """Writes one row a neuron, best first: rank, site, layer, index, score, tie block, and each class's rank.

        The file is written whole or not at all, in place of an older one.
        """
        names = list(self.by_class)
        ranks = np.empty((len(names), len(self.columns)), np.int64)
        for place, name in enumerate(names):
            ranks[place, self.by_class[name].columns] = np.arange(len(self.columns))
        with (
            write_whole([path], overwrite=True) as (unfinished,),
            unfinished.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(["rank", "site", "layer", "index", "score", "tie", *(f"rank:{name}" for name in names)])
            for rank, (column, neuron) in enumerate(zip(self.columns, self.neurons, strict=True)):
                of_classes = (int(value) for value in ranks[:, column])
                writer.writerow([rank, *neuron, f"{self.scores[rank]:.9g}", int(self.ties[rank]), *of_classes])

    def _checked(self, count: int) -> int:
        if not 1 <= count <= len(self.columns):
            raise SettingsError(f"A set of this ranking has 1 to {len(self.columns)} neurons, got {count}.")
        return count


def rank_by_scores(
    task: str,
    axis: NeuronAxis,
    scores: Float[np.ndarray, " feature"],
    *,
    by_class: Mapping[str, Ranking] | None = None,
) -> Ranking:
    """The ranking of a score for every column: the highest first, equal ones tied, in the order of their columns."""
    order = np.lexsort((np.arange(len(scores)), -scores))
    falling = scores[order]
    return Ranking(
        task=task,
        axis=axis,
        columns=order,
        scores=falling,
        ties=np.concatenate([[0], np.cumsum(np.diff(falling) < 0)]),
        by_class=by_class or {},
    )

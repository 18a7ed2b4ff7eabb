"""A ranking: every neuron of a fit in one order, with a score each and the ties that the method left.

All methods of this room return a `Ranking`, and everything that uses one (curves, minimal sets, ablation) asks it for
`top`, `bottom` and `random` sets, so that all methods are measured alike. Columns are the features of the `NeuronAxis`;
`neurons` names them.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped

from lca_jax.axes import Neuron, NeuronAxis
from lca_jax.errors import DataError, SettingsError
from lca_jax.machine.files import write_text_whole
from lca_jax.tables import html_table, text_table

_RANK_OF_CLASS = "rank:"
"""Prefix of the columns that hold the rank of a neuron for one class."""
_COLUMNS = ("rank", "site", "layer", "index", "score", "tie")
"""The first columns of every table."""
_BOTTOM, _RANDOM = 1, 2
"""Streams of random numbers: the same seed must not draw the same neurons for sets that are compared."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Ranking:
    """A total order over neurons, best first; ties by score stay visible in `ties`."""

    task: str
    """The task, or `task: class` for the ranking of one class."""
    axis: NeuronAxis
    """The neuron of each column."""
    columns: Int[np.ndarray, " rank"]
    """All columns, best first."""
    scores: Float[np.ndarray, " rank"]
    """Score of each neuron; scores never rise."""
    ties: Int[np.ndarray, " rank"]
    """Number of each neuron's tie block, from 0. The method gives no order within a block; the order here is fixed."""
    by_class: Mapping[str, "Ranking"] = field(default_factory=dict)
    """The ranking of each class by itself; empty if the method has none."""
    left_out: tuple[str, ...] = ()
    """Classes with too few words, which took no part in the order over all classes."""

    def __repr__(self) -> str:
        """Describes the ranking in one line, and its first neurons in a table."""
        columns = {name: values for name, values in self.table().items() if not name.startswith(_RANK_OF_CLASS)}
        return text_table(columns, caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption())

    def table(self) -> dict[str, Shaped[np.ndarray, " rank"]]:
        """Returns one row a neuron, best first, as columns of equal length, ready for `pandas.DataFrame(...)`.

        The columns are `rank` (from 1), `site`, `layer`, `index`, `score`, `tie`, and `rank:CLASS` for every class.
        """
        ranks = np.arange(1, len(self.columns) + 1)
        blocks = self.axis.block_of_column[self.columns]
        table: dict[str, Shaped[np.ndarray, " rank"]] = {
            "rank": ranks,
            "site": np.array([block.site for block in self.axis.blocks])[blocks],
            "layer": np.array([block.layer for block in self.axis.blocks])[blocks],
            "index": self.axis.index_of_column[self.columns],
            "score": self.scores,
            "tie": self.ties,
        }
        for name, ranking in self.by_class.items():
            rank_of_column = np.empty_like(ranks)
            rank_of_column[ranking.columns] = ranks
            table[_RANK_OF_CLASS + name] = rank_of_column[self.columns]
        return table

    @property
    def neurons(self) -> list[Neuron]:
        """The neurons, best first."""
        return self.axis.neurons(self.columns)

    def top(self, count: int) -> Int[np.ndarray, " neuron"]:
        """Returns the columns of the best neurons."""
        return self.columns[: self._checked(count)]

    def bottom(self, count: int, *, seed: int = 0) -> Int[np.ndarray, " neuron"]:
        """Returns the columns of the worst neurons, worst first; smaller sets are parts of larger ones.

        Where the ranking ends in a large tie (neurons without any weight), it does not say which of them are last, and
        their order by number would be an order by layer. They are drawn instead, by the seed.
        """
        drawn = np.random.default_rng((_BOTTOM, seed)).permutation(len(self.columns))
        return self.columns[np.lexsort((drawn, -self.ties))][: self._checked(count)]

    def random(self, count: int, *, seed: int, draw: int = 0) -> Int[np.ndarray, " neuron"]:
        """Returns the columns of neurons drawn at random; smaller sets of a draw are parts of larger ones.

        Args:
            count: Number of neurons.
            seed: Seed of the draws.
            draw: Number of the draw. Draws of different seeds have no set in common.
        """
        # Drawn over columns, not ranks: two rankings of one axis meet the same random sets.
        generator = np.random.default_rng((_RANDOM, seed, draw))
        return generator.permutation(len(self.columns))[: self._checked(count)]

    def write_csv(self, path: Path, *, further: Mapping[str, Shaped[np.ndarray, " feature"]] | None = None) -> None:
        """Writes the columns of `table`, one line a neuron, in place of an older file; whole or not at all.

        `path` may be a URL.
        `further` has more columns of the file by their names, each with one value for every feature column.
        """
        table = self.table()
        table |= {name: values[self.columns] for name, values in (further or {}).items()}
        table["score"] = np.array([f"{score:.9g}" for score in self.scores])
        lines = StringIO(newline="")
        writer = csv.writer(lines)
        writer.writerow(table)
        writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))
        write_text_whole(path, lines.getvalue())

    def _checked(self, count: int) -> int:
        if not 1 <= count <= len(self.columns):
            raise SettingsError(f"A set of this ranking must have 1 to {len(self.columns)} neurons, got {count}.")
        return count

    def _caption(self) -> str:
        classes = f", and for each of its {len(self.by_class)} classes" if self.by_class else ""
        rare = f"; too few words: {', '.join(self.left_out)}" if self.left_out else ""
        return f"{len(self.columns)} neurons ranked for {self.task}{classes}{rare}"


def is_ranking(content: bytes) -> bool:
    """Returns whether a file begins as those of `Ranking.write_csv` do."""
    return content.startswith(",".join(_COLUMNS).encode())


def rank_by_scores(
    task: str,
    axis: NeuronAxis,
    scores: Float[np.ndarray, " feature"],
    *,
    by_class: Mapping[str, Ranking] | None = None,
    within: Float[np.ndarray, " feature"] | None = None,
) -> Ranking:
    """Ranks neurons by a score for every column: the highest first, equal ones tied, in the order of their columns.

    `within` is a second score, which orders neurons of equal score instead; they stay tied.
    """
    second = np.zeros(len(scores)) if within is None else within
    order = np.lexsort((np.arange(len(scores)), -second, -scores))
    falling = scores[order]
    return Ranking(
        task=task,
        axis=axis,
        columns=order,
        scores=falling,
        ties=np.concatenate([[0], np.cumsum(np.diff(falling) < 0)]),
        by_class=by_class or {},
    )


def rank_by_class_scores(
    task: str, axis: NeuronAxis, scores: Mapping[str, Float[np.ndarray, " feature"]], *, name: str
) -> Ranking:
    """Ranks neurons by one score for every class; the overall score is the largest of them.

    Args:
        task: The task.
        axis: The neuron of each column.
        scores: The scores of each class.
        name: Name of the method in messages.

    Raises:
        DataError: There is no class.
    """
    if not scores:
        raise DataError(f"{name} needs a class with words inside and outside of it, and `{task}` has none.")
    by_class = {of: rank_by_scores(f"{task}: {of}", axis, values) for of, values in scores.items()}
    return rank_by_scores(task, axis, np.max(list(scores.values()), axis=0), by_class=by_class)

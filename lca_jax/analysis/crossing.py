"""Rankings by one kind of probe, measured by another: a table of readout × ranking, and tests of its differences.

A ranking that is measured by the probe that made it is measured together with that probe. So every readout measures
every ranking, its reverse, and a random order, with the same numbers of neurons on the same words. Over several
configurations (tasks, layers, languages) two such combinations are compared by Wilcoxon's signed-rank test, and the
p-values of all pairs are corrected by Holm's method.

Reference: Antverg and Belinkov 2022, "On the Pitfalls of Analyzing Individual Neurons in Language Models", section 3.2;
Holm 1979, "A simple sequentially rejective multiple test procedure".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float64

from lca_jax.analysis.overlap import refuse_other_axes
from lca_jax.analysis.parts import describe, refuse_common_sentences, to_train
from lca_jax.analysis.readouts.kinds import readout_named
from lca_jax.errors import SettingsError
from lca_jax.probing.measuring import MeasuredWords
from lca_jax.probing.objective import ElasticNet
from lca_jax.ranking.ranking import Ranking
from lca_jax.tables import html_table, text_table

RANDOM = "random"
"""Name of the random order."""
REVERSED = "reversed"
"""What stands behind the name of a ranking that is read from its end."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Crossing:
    """Accuracies of every readout on every order, in one configuration."""

    task: str
    readouts: tuple[str, ...]
    orders: tuple[str, ...]
    """Names of the rankings, of each reversed, and of the random order."""
    sizes: tuple[int, ...]
    """Numbers of neurons."""
    accuracy: Float64[np.ndarray, "readout order size"]
    measured_on: str
    """The words of all accuracies."""

    def __repr__(self) -> str:
        """Describes the table in one line, and shows it."""
        return text_table(self.table(), caption=self._caption(), rows=len(self.orders))

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption(), rows=len(self.orders))

    def table(self) -> dict[str, list[object]]:
        """Returns one row an order, one column a readout and size, ready for `pandas.DataFrame(...)`."""
        table: dict[str, list[object]] = {"order": list(self.orders)}
        for place, name in enumerate(self.readouts):
            for at, size in enumerate(self.sizes):
                table[f"{name} {size}"] = self.accuracy[place, :, at].tolist()
        return table

    def _caption(self) -> str:
        return f"Accuracy on {self.task} by probe, order and number of neurons, on {self.measured_on}"


def cross_readouts(
    rankings: Mapping[str, Ranking],
    training: MeasuredWords,
    test: MeasuredWords,
    *,
    readouts: Sequence[str] = ("linear", "gaussian"),
    sizes: Sequence[int] = (10, 50, 150),
    seed: int = 0,
    settings: ElasticNet | None = None,
) -> Crossing:
    """Measures every ranking, its reverse and a random order by every readout.

    Args:
        rankings: Rankings of the same neurons by their names.
        training: Words of the probes, and of the rankings.
        test: Words to measure on, of other sentences (`divide_words`).
        readouts: Names of the readouts (`analysis.readouts`).
        sizes: Numbers of neurons.
        seed: Seed of the random order and of ties at the end of a ranking.
        settings: Objective and one pair of penalties of linear probes; l1 = l2 = 1e-3 if None.

    Raises:
        SettingsError: A name is unknown, a size is out of range, the rankings are of other neurons than the words, or
            a sentence of the test is one of training.
    """
    if not rankings:
        raise SettingsError("There is no ranking to measure. Give at least one.")
    refuse_other_axes(list(rankings.values()))
    first = next(iter(rankings.values()))
    if first.axis != training.axis:
        raise SettingsError("The rankings and the training words must be of the same neurons.")
    total = len(first.columns)
    if not sizes or any(not 1 <= size <= total for size in sizes):
        raise SettingsError(f"`sizes` must each be in 1 to {total}, got {list(sizes)}.")
    refuse_common_sentences(test, training, made="probe")
    train, largest = to_train(training, settings or ElasticNet(l1=1e-3, l2=1e-3)), max(sizes)
    orders = {}
    for name, ranking in rankings.items():
        orders[name] = ranking.top(largest)
        orders[f"{name}, {REVERSED}"] = ranking.bottom(largest, seed=seed)
    orders[RANDOM] = first.random(largest, seed=seed)
    accuracy = [
        [
            (readout_named(readout).on_sets(train, test.X, order, list(sizes)) == test.gold).mean(axis=1)
            for order in orders.values()
        ]
        for readout in readouts
    ]
    return Crossing(
        task=training.task,
        readouts=tuple(readouts),
        orders=tuple(orders),
        sizes=tuple(sizes),
        accuracy=np.array(accuracy, np.float64),
        measured_on=describe(test),
    )


def signed_rank_tests(crossings: Sequence[Crossing], *, size: int) -> dict[str, list[object]]:
    """Compares all combinations of readout and order over several configurations.

    Args:
        crossings: One for each configuration, with the same readouts and orders; at least two.
        size: Number of neurons.

    Returns:
        A table with one row a pair: `better` and `worse` by the median difference, that `difference`, `p` of
        Wilcoxon's two-sided signed-rank test (differences of 0 are left out; 1 where all are 0), `holm`, the p-value
        corrected for all pairs, and `least`, the smallest p that so many configurations can give: 2^(1 − n).

    Raises:
        SettingsError: There are fewer than two configurations, they have other readouts or orders, or no such size.
    """
    from scipy.stats import wilcoxon  # a second of imports that only this table needs

    if len(crossings) < 2:
        raise SettingsError(f"Tests need 2 configurations or more, got {len(crossings)}. Cross other tasks or layers.")
    head = crossings[0]
    for crossing in crossings:
        if (crossing.readouts, crossing.orders) != (head.readouts, head.orders) or size not in crossing.sizes:
            raise SettingsError(f"All configurations must have the same readouts and orders, and the size {size}.")
    values = np.stack([crossing.accuracy[:, :, crossing.sizes.index(size)].ravel() for crossing in crossings], axis=1)
    names = [f"{readout} on {order}" for readout in head.readouts for order in head.orders]
    rows = []
    for one, other in combinations(range(len(names)), 2):
        difference = values[one] - values[other]
        test: Any = wilcoxon(difference) if difference.any() else None
        p = 1.0 if test is None else float(test.pvalue)
        middle = float(np.median(difference))
        better, worse = (one, other) if middle >= 0 else (other, one)
        rows.append((names[better], names[worse], abs(middle), p))
    corrected = holm(np.array([row[3] for row in rows]))
    table: dict[str, list[object]] = {
        name: [row[place] for row in rows] for place, name in enumerate(("better", "worse", "difference", "p"))
    }
    return {**table, "holm": corrected.tolist(), "least": [2.0 ** (1 - len(crossings))] * len(rows)}


def holm(p: Float64[np.ndarray, " test"]) -> Float64[np.ndarray, " test"]:
    """Corrects p-values for their number m by Holm's method: max over j ≤ i of (m − j + 1) p_(j), at most 1."""
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return corrected

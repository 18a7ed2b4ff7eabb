"""What the neurons of a ranking are worth to a probe: keep and remove curves for any ranking and any kind of probe.

The probe is one of `analysis.readouts`. Sets are the first neurons of the ranking, as many random ones, and the last
ones of those that have any weight at all: neurons without weight carry no order, and there are often enough of them to
make every bottom set look bad. With `remove` the curve is of what is left without such a set. Everything is measured on
words that made neither the ranking nor the probe; the record says which.

Reference: Dalvi et al. 2019, section 4 (ablation); Antverg and Belinkov 2022, section 3 (the probe that ranks and the
probe that measures are two things).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int
from scipy.special import stdtrit

from lca_jax.analysis.parts import describe, refuse_common_sentences, to_train
from lca_jax.analysis.readouts.kinds import Readout, readout_named
from lca_jax.analysis.retraining import TrainingWords
from lca_jax.errors import SettingsError
from lca_jax.probing.measuring import MeasuredWords, measured_words
from lca_jax.probing.metrics import mean_intervals
from lca_jax.probing.objective import ElasticNet
from lca_jax.ranking.ranking import Ranking
from lca_jax.ranking.words import Words, read_words
from lca_jax.tables import html_table, text_table


@dataclass(frozen=True, kw_only=True)
class ValidityPoint:
    """Accuracies with, or without, one number of neurons."""

    neurons: int
    """Number of neurons of the set that is kept or removed."""
    top: float
    """Accuracy with (or without) the first ones of the ranking."""
    top_low: float
    """Lower end of its 95 % interval, over sentences."""
    top_high: float
    """Upper end of that interval."""
    random: float
    """Mean accuracy with (or without) random ones."""
    random_low: float
    """Lower end of the interval in which one more random set lies with 95 %: t with draws - 1 degrees of freedom."""
    random_high: float
    """Upper end of that interval."""
    bottom: float | None
    """Accuracy with (or without) the last ones of those with any weight; None if these are fewer."""


@dataclass(frozen=True, kw_only=True, repr=False)
class ValidityCurve:
    """Points by growing sets, and two accuracies to compare them with."""

    task: str
    readout: str
    """Name of the probe that measured."""
    mode: Literal["mask", "retrain"]
    """Whether one probe of all neurons had the others masked, or each set had a probe of its own."""
    removed: bool
    """Whether the sets were removed, and the other neurons kept."""
    draws: int
    """Number of random sets behind each point."""
    weighted: int
    """Number of neurons with any weight in the ranking."""
    whole: float
    """Accuracy of this kind of probe with all neurons."""
    constant: float
    """Accuracy of the most frequent training class."""
    trained_on: str
    """The words of the probe."""
    ranked_on: str
    """The words of the ranking."""
    measured_on: str
    """The words of all accuracies."""
    units: Int[np.ndarray, " word"] = field(repr=False)
    """Position of each measured word among the units of its store."""
    points: tuple[ValidityPoint, ...]

    def __repr__(self) -> str:
        """Describes the curve in two lines, and its points in a table."""
        return text_table(self.table(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption())

    def table(self) -> dict[str, list[object]]:
        """Returns one row a point, as columns of equal length, ready for `pandas.DataFrame(...)`."""
        return {each.name: [getattr(point, each.name) for point in self.points] for each in fields(ValidityPoint)}

    def _caption(self) -> str:
        done = "removed" if self.removed else "kept"
        return (
            f"Accuracy on {self.task} with sets of neurons {done} ({self.readout}, mode {self.mode}); all neurons "
            f"{self.whole:.4g}, most frequent class {self.constant:.4g}\nMeasured on {self.measured_on}"
        )


def validity_curve(
    ranking: Ranking,
    training: Words,
    test: Words,
    *,
    readout: str = "linear",
    mode: Literal["mask", "retrain"] = "retrain",
    remove: bool = False,
    sizes: Sequence[int] = (10, 50, 150),
    draws: int = 5,
    seed: int = 0,
    settings: ElasticNet | None = None,
    ranked_on: Words | None = None,
) -> ValidityCurve:
    """Measures top, random and bottom weighted sets of a ranking by a kind of probe.

    Args:
        ranking: The order of the neurons, by any method.
        training: Words that the probe is trained on: a store, words that were read before, or features and labels.
        test: Words to measure on, of other sentences than the ranking's and the probe's.
        readout: Name of the probe (`analysis.readouts`): `linear`, `one_vs_rest`, `gaussian`, `shared_gaussian` or
            `majority`.
        mode: `retrain` for a probe of each set alone; `mask` for one probe of all neurons with the others masked. For
            Gaussians and votes both are the same.
        remove: Whether the sets are removed and the other neurons kept.
        sizes: Numbers of neurons of the sets, each at least 1; with `remove`, fewer than all.
        draws: Number of random sets of each size, 2 or more.
        seed: Seed of the random sets.
        settings: Objective and one pair of penalties of linear probes; l1 = l2 = 1e-3 if None.
        ranked_on: Words that made the ranking; those of the probe if None.

    Raises:
        SettingsError: A size or the number of draws is out of range, a name is unknown, the ranking is of other
            neurons, the settings have several penalties, or a sentence of the test made the ranking or the probe.
        DataError: The words do not allow the probe: one class only, say.
    """
    sizes = _checked(ranking, sizes, draws, mode, remove)
    chosen = readout_named(readout)
    words = read_words(training, _task_of(training, ranking))
    if words.axis != ranking.axis:
        raise SettingsError("The ranking and the training words must be of the same neurons.")
    measured = measured_words(test, words.axis, words.task, words.classes)
    made = words if ranked_on is None else read_words(ranked_on, _task_of(ranked_on, ranking))
    for other, what in ((words, "probe"), (made, "ranking")):
        refuse_common_sentences(measured, other, made=what)
    train = to_train(words, settings or ElasticNet(l1=1e-3, l2=1e-3))
    total, weighted = len(ranking.columns), _weighted(ranking)
    orders = [ranking.columns, _bottom_first(ranking, weighted, seed)]
    orders += [ranking.random(total, seed=seed, draw=draw) for draw in range(draws)]
    hits, whole = _hits(chosen, train, measured, orders, sizes, mode=mode, remove=remove)
    random = hits[2:].mean(axis=2)
    reach = float(stdtrit(draws - 1, 0.975)) * random.std(axis=0, ddof=1) * np.sqrt(1 + 1 / draws)
    ends = mean_intervals(hits[0].astype(np.float64), measured.sentences, seed=seed)
    return ValidityCurve(
        task=ranking.task,
        readout=readout,
        mode=mode,
        removed=remove,
        draws=draws,
        weighted=weighted,
        whole=whole,
        constant=constant_accuracy(words, measured),
        trained_on=describe(words),
        ranked_on=describe(made),
        measured_on=describe(measured),
        units=measured.units,
        points=tuple(
            ValidityPoint(
                neurons=size,
                top=float(hits[0, place].mean()),
                top_low=float(ends[place, 0]),
                top_high=float(ends[place, 1]),
                random=float(random[:, place].mean()),
                random_low=max(0.0, float(random[:, place].mean() - reach[place])),
                random_high=min(1.0, float(random[:, place].mean() + reach[place])),
                bottom=float(hits[1, place].mean()) if size <= weighted else None,
            )
            for place, size in enumerate(sizes)
        ),
    )


def constant_accuracy(training: MeasuredWords, test: MeasuredWords) -> float:
    """Returns the accuracy of the most frequent training class."""
    return float((test.gold == np.bincount(training.gold[training.gold >= 0]).argmax()).mean())


def _hits(
    readout: Readout,
    training: TrainingWords,
    test: MeasuredWords,
    orders: Sequence[Int[np.ndarray, " neuron"]],
    sizes: Sequence[int],
    *,
    mode: str,
    remove: bool,
) -> tuple[Bool[np.ndarray, "order size word"], float]:
    """Tells for which words the probes are right, for all orders and sizes, and the accuracy with all neurons."""
    total = len(orders[0])
    if mode == "mask" and readout.masked is not None:
        inside = np.zeros((len(orders) * len(sizes) + 1, total), bool)
        for place, (order, size) in enumerate((order, size) for order in orders for size in sizes):
            inside[place, order[:size]] = True
        keep = ~inside if remove else inside
        keep[-1] = True
        right = readout.masked(training, test.X, keep) == test.gold
        return right[:-1].reshape(len(orders), len(sizes), -1), float(right[-1].mean())
    # What is left without the first k of an order are the first d - k of the reversed one: these sets are nested too.
    kept = [total - size for size in sizes] if remove else list(sizes)
    right = [
        readout.on_sets(training, test.X, order[::-1].copy() if remove else order, kept) == test.gold
        for order in orders
    ]
    whole = readout.on_sets(training, test.X, orders[0], [total])[0] == test.gold
    return np.stack(right), float(whole.mean())


def _weighted(ranking: Ranking) -> int:
    """Counts the neurons of a ranking that have a score above 0; all, where no score is 0 or scores are negative."""
    return int((ranking.scores > 0).sum()) if ranking.scores[-1] == 0 else len(ranking.columns)


def _bottom_first(ranking: Ranking, weighted: int, seed: int) -> Int[np.ndarray, " neuron"]:
    """Returns the weighted neurons, worst first with ties drawn by the seed, and then all others."""
    bottom = ranking.bottom(len(ranking.columns), seed=seed)
    unweighted = len(bottom) - weighted
    return np.concatenate([bottom[unweighted:], bottom[:unweighted]])


def _task_of(given: Words, ranking: Ranking) -> str | None:
    """Returns the name of the task to read, without the class of a ranking of one class."""
    return None if isinstance(given, tuple | MeasuredWords) else ranking.task.partition(": ")[0]


def _checked(ranking: Ranking, sizes: Sequence[int], draws: int, mode: str, remove: bool) -> list[int]:
    largest = len(ranking.columns) - remove
    if not sizes or any(not 1 <= size <= largest for size in sizes):
        raise SettingsError(f"`sizes` must each be in 1 to {largest}, got {list(sizes)}.")
    if draws < 2:
        raise SettingsError(f"`draws` must be 2 or more, or random sets have no interval; got {draws}.")
    if mode not in ("mask", "retrain"):
        raise SettingsError(f"`mode` must be 'mask' or 'retrain', got {mode!r}.")
    return sorted(set(sizes))

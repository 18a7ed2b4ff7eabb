"""Keep curves: how much of a task is read from the best neurons, from as many random ones and as many bottom ones.

`mask` measures the trained probe with all other neurons masked: one matrix product for all fractions and sets.
`retrain` trains a new probe on the kept neurons alone, which shows redundancy: for each kind of set (top, bottom, each
random draw) the largest set is one matrix, and its nested smaller sets are solved with it in one batch.

Reference: Dalvi et al. 2019, Tables 2 to 6; Durrani et al. 2020, Table 1; Durrani et al. 2023, Tables 2, 3 and 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

from lca_jax.analysis.retraining import TrainingWords, hits_of_nested_sets, training_words
from lca_jax.errors import SettingsError
from lca_jax.machine.progress import counted
from lca_jax.probing.arrays import Arrays
from lca_jax.probing.measuring import MeasuredWords, measured_words
from lca_jax.probing.metrics import mean_intervals
from lca_jax.probing.probe import Probe, predict_masked
from lca_jax.probing.probe_set import ProbeSet, as_probe_set
from lca_jax.ranking.ranking import Ranking
from lca_jax.store.store import ActivationStore
from lca_jax.tables import html_table, text_table

Mode = Literal["mask", "retrain"]


@dataclass(frozen=True, kw_only=True)
class KeepPoint:
    """Accuracies with one share of the neurons kept: the best, random and the worst ones."""

    fraction: float
    """Share of the neurons that is kept."""
    neurons: int
    """Their number."""
    top: float
    """Accuracy with the first neurons of the ranking."""
    random: float
    """Mean accuracy over the random sets."""
    random_std: float
    """Standard deviation over the random sets (n - 1)."""
    bottom: float
    """Accuracy with the last neurons of the ranking."""
    top_low: float
    """Lower end of the 95 % interval of `top`, over sentences."""
    top_high: float
    """Upper end of that interval."""


@dataclass(frozen=True, kw_only=True, repr=False)
class KeepCurve:
    """Points by growing fraction, and the accuracy with all neurons."""

    task: str
    mode: Mode
    draws: int
    """Number of random sets behind each point."""
    whole: float
    """Accuracy of the trained probe with all neurons."""
    masked_to: str | None
    """What takes the place of a masked neuron: `training mean` where features are standardised, else `zero`; None for
    `retrain`, which has no other neurons."""
    points: tuple[KeepPoint, ...]

    def __repr__(self) -> str:
        """Describes the curve in one line, and its points in a table."""
        return text_table(self.table(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption())

    def table(self) -> dict[str, list[float]]:
        """Returns one row a point, as columns of equal length, ready for `pandas.DataFrame(...)`."""
        return {field.name: [getattr(point, field.name) for point in self.points] for field in fields(KeepPoint)}

    def _caption(self) -> str:
        return (
            f"Accuracy on {self.task} with some neurons kept (mode {self.mode}, {self.draws} random sets); "
            f"with all neurons {self.whole:.4g}"
        )


def keep_curve(
    probes: ProbeSet | Probe,
    ranking: Ranking,
    test: ActivationStore | MeasuredWords | Arrays,
    *,
    fractions: Sequence[float] = (0.1, 0.15, 0.2),
    mode: Mode = "mask",
    draws: int = 5,
    seed: int = 0,
    training: TrainingWords | Arrays | None = None,
) -> KeepCurve:
    """Measures top, random and bottom sets of a ranking on a task's probe.

    Args:
        probes: A selected set that has the ranking's task, where `retrain` needs its training store too; or a probe of
            `fit_elastic_net`.
        ranking: The order of the neurons.
        test: Activations of the words to measure on, or these words where they were read before (`measured_words`); or
            features and labels (X, y).
        fractions: Shares of the neurons to keep, each in (0, 1].
        mode: `mask` or `retrain`.
        draws: Number of random sets for each fraction, 2 or more.
        seed: Seed of the random draws and of the order of ties at the bottom.
        training: The task's training words where they were read before, or as (X, y); `retrain` reads them if None.

    Raises:
        SettingsError: A fraction is out of range, there are fewer than two draws, the mode is unknown, or `retrain` has
            no training words.
    """
    if not fractions or any(not 0 < fraction <= 1 for fraction in fractions):
        raise SettingsError(f"`fractions` must each be in (0, 1], got {tuple(fractions)}. Give fractions, e.g. 0.2.")
    if draws < 2:
        raise SettingsError(f"`draws` must be 2 or more, or the random sets have no standard deviation; got {draws}.")
    if mode not in ("mask", "retrain"):
        raise SettingsError(f"`mode` must be 'mask' or 'retrain', got {mode!r}.")
    probes = as_probe_set(probes)
    probe = probes.one(ranking.task)
    words = measured_words(test, probes.axis, ranking.task, probe.classes)
    fractions = sorted(fractions)
    sizes = [max(1, round(fraction * len(ranking.columns))) for fraction in fractions]
    orders = [ranking.top(sizes[-1]), ranking.bottom(sizes[-1], seed=seed)]
    orders += [ranking.random(sizes[-1], seed=seed, draw=draw) for draw in range(draws)]
    if mode == "mask":
        right = _masked(probe, words, orders, sizes)
    else:
        training = training_words(probes if training is None else training, probes, ranking.task)
        shown = counted(orders, f"{ranking.task}: keep curve, sets trained again")
        right = np.stack([hits_of_nested_sets(training, words, order, sizes) for order in shown])
    top, bottom, random = right[0].mean(axis=1), right[1].mean(axis=1), right[2:].mean(axis=2)
    low, high = mean_intervals(right[0].astype(np.float64), words.sentences, seed=seed).T
    return KeepCurve(
        task=ranking.task,
        mode=mode,
        draws=draws,
        whole=float((probe.predict(words.X) == words.gold).mean()),
        masked_to=None if mode == "retrain" else "training mean" if probe.mean.any() else "zero",
        points=tuple(
            KeepPoint(
                fraction=fraction,
                neurons=size,
                top=float(top[place]),
                random=float(random[:, place].mean()),
                random_std=float(random[:, place].std(ddof=1)),
                bottom=float(bottom[place]),
                top_low=float(low[place]),
                top_high=float(high[place]),
            )
            for place, (fraction, size) in enumerate(zip(fractions, sizes, strict=True))
        ),
    )


def _masked(
    probe: Probe, words: MeasuredWords, orders: Sequence[Int[np.ndarray, " neuron"]], sizes: Sequence[int]
) -> Bool[np.ndarray, "set size word"]:
    """Tells for which words the trained probe is right with the leading parts of several orders kept."""
    masks: Bool[np.ndarray, "mask feature"] = np.zeros((len(orders) * len(sizes), len(probe.weights)), bool)
    for place, (order, size) in enumerate((order, size) for order in orders for size in sizes):
        masks[place, order[:size]] = True
    predicted = predict_masked([probe], words.X, keep=masks[None])[0]
    return (predicted == words.gold).reshape(len(orders), len(sizes), -1)

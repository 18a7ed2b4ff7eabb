"""Finds the smallest leading part of a ranking that does the task almost as well as all neurons.

For N = 1 %, 2 %, … of the neurons a probe is trained on the first N. The first set whose probe keeps all but a share
`drop` of the gain, on dev, is the minimal set (Durrani et al. 2020, §2.1; JMLR 2023, Algorithm 4, which prints a step
as one neuron, while the text and the tables say one per cent). The gain is the accuracy of the probe on all neurons
less that of the best constant answer on these words. The papers' `drop` is in points of accuracy, which a constant can
satisfy where it is nearly as good as the probe; a share of the gain it never can, and where there is no gain there is
no minimal set. There is no bisection, because accuracy need not
grow with N. The steps of one batch share a matrix and a solve. Batches grow, so all of them together take about twice
the work of the last one.

A few dev words more or less often move the size by per cents, so it has an interval: the same rule is applied to
bootstrap samples of the dev sentences, with the accuracies, the gain and the constant of each sample.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from lca_jax.analysis.retraining import TrainingWords, hits_of_nested_sets, train_nested_sets, training_words
from lca_jax.errors import NoGainError, SettingsError
from lca_jax.machine.progress import counted
from lca_jax.probing.arrays import Arrays
from lca_jax.probing.measuring import MeasuredWords, measured_words
from lca_jax.probing.metrics import resampled_sums
from lca_jax.probing.probe import Probe
from lca_jax.probing.probe_set import ProbeSet, as_probe_set
from lca_jax.ranking.ranking import Ranking
from lca_jax.store.store import ActivationStore
from lca_jax.tables import html_table, text_table

_BATCHES = (4, 8, 16, 32, 64, 100)
"""Per cents of the neurons at which the batches end."""


@dataclass(frozen=True, kw_only=True, repr=False)
class MinimalSet:
    """The smallest leading part whose own probe loses at most `drop` of the gain on dev, and its probes.

    The size is chosen on dev, so its accuracy there is too high an estimate: measure `probe` on test.
    """

    task: str
    drop: float
    """Share of the gain that may be lost."""
    columns: Int[np.ndarray, " neuron"]
    """Columns of the neurons, best first."""
    fraction: float
    """Their share of all neurons."""
    oracle: float
    """Accuracy on dev of the probe on all neurons."""
    constant: float
    """Accuracy on dev of the best constant answer."""
    accuracy: float
    """Accuracy on dev of the probe trained on the set."""
    interval: tuple[int, int | None]
    """Middle 95 % of the size over bootstrap samples of the dev sentences; None where the upper end is beyond the sizes
    that were tried."""
    steps: tuple[tuple[int, float], ...]
    """Every size tried, and the accuracy on dev of its probe."""
    probe: Probe
    """The probe trained on the set; its features are `columns`, in that order."""
    control: Probe | None
    """The probe trained on the set for the control task; None if the task has none."""

    def __repr__(self) -> str:
        """Describes the set in one line, and the sizes that were tried in a table."""
        return text_table(self.table(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption())

    @property
    def kept(self) -> float:
        """Share of the gain on dev that the set keeps; above 1 where it is better than all neurons."""
        return (self.accuracy - self.constant) / (self.oracle - self.constant)

    def table(self) -> dict[str, list[object]]:
        """Returns one row for every size tried, as columns of equal length, ready for `pandas.DataFrame(...)`.

        The columns are `neurons`, `accuracy` on dev, and `within_drop`: whether that loses at most `drop` of the gain.
        """
        sizes, reached = zip(*self.steps, strict=True)
        least = self.oracle - self.drop * (self.oracle - self.constant)
        within = [accuracy >= least for accuracy in reached]
        return {"neurons": list(sizes), "accuracy": list(reached), "within_drop": within}

    def _caption(self) -> str:
        return (
            f"{self.task}: the first {len(self.columns)} neurons ({self.fraction:.4g} of all), the smallest set tried "
            f"whose own probe keeps {1 - self.drop:g} of the gain on dev: accuracy {self.accuracy:.4g} there, "
            f"{self.oracle:.4g} with all neurons, {self.constant:.4g} by a constant ({self.kept:.4g} of the gain); not "
            "measured on test"
        )


def minimal_neurons(
    train: ActivationStore | TrainingWords | Arrays,
    dev: ActivationStore | MeasuredWords | Arrays,
    ranking: Ranking,
    probes: ProbeSet | Probe,
    *,
    drop: float = 0.01,
) -> MinimalSet:
    """Finds the smallest leading part of a ranking whose own probe keeps nearly all of the gain.

    Args:
        train: Activations of the training words, or these words where they were read before (`TrainingWords.of`), or
            features and labels (X, y).
        dev: Activations of the words on which the choice is made, or these words where they were read before
            (`measured_words`), or (X, y).
        ranking: The order in which neurons are taken.
        probes: A selected set that has the ranking's task, or a probe of `fit_elastic_net`.
        drop: Share that may be lost of the gain: the accuracy of the probe on all neurons less that of the best
            constant on the dev words.

    Raises:
        NoGainError: There is no gain: the probe on all neurons is no better than the best constant.
        SettingsError: `drop` is not in [0, 1), or the probes do not belong to these stores and this ranking.
    """
    _check_drop(drop)
    task, probes = ranking.task, as_probe_set(probes)
    whole = probes.one(task)
    training = training_words(train, probes, task)
    words = measured_words(dev, probes.axis, task, whole.classes)
    oracle = float((whole.predict(words.X) == words.gold).mean())
    constant = best_constant(words)
    if oracle <= constant:
        raise NoGainError(
            f"The probe of `{task}` is right on {oracle:.3f} of these words, and the best constant answer on "
            f"{constant:.3f}: there is no gain of which neurons could keep a share. Measure another task, or train on "
            "more words."
        )
    size, steps = _first_within(training, words, ranking, least_accuracy(oracle, words, drop=drop))
    accuracies = {tried: float(right.mean()) for tried, right in steps.items()}
    columns = ranking.top(size)
    labellings = [training.real] if training.control is None else [training.real, training.control]
    probe, *control = train_nested_sets(training, columns, [size], labellings=labellings)
    return MinimalSet(
        task=task,
        drop=drop,
        columns=columns,
        fraction=size / len(ranking.columns),
        oracle=oracle,
        constant=constant,
        accuracy=accuracies[size],
        interval=_interval(words, whole.predict(words.X) == words.gold, steps, drop),
        steps=tuple(accuracies.items()),
        probe=probe,
        control=control[0] if control else None,
    )


def least_accuracy(oracle: float, words: MeasuredWords, *, drop: float) -> float:
    """Returns the accuracy on some words that keeps all but a share of the gain of an accuracy on them.

    Raises:
        SettingsError: `drop` is not in [0, 1).
    """
    _check_drop(drop)
    return oracle - drop * (oracle - best_constant(words))


def _check_drop(drop: float) -> None:
    if not 0 <= drop < 1:
        raise SettingsError(f"`drop` must be in [0, 1), got {drop}. One hundredth of the gain is 0.01.")


def best_constant(words: MeasuredWords) -> float:
    """Returns the accuracy of the constant answer that is right most often on these words themselves."""
    known = words.gold[words.gold >= 0]
    return float(np.bincount(known).max() / len(words.gold)) if len(known) else 0.0


def _interval(
    words: MeasuredWords, whole: Bool[np.ndarray, " word"], steps: Mapping[int, Bool[np.ndarray, " word"]], drop: float
) -> tuple[int, int | None]:
    """Returns the middle 95 % of the size over samples of the sentences.

    Args:
        words: The dev words.
        whole: Whether the probe of all neurons is right on each of them.
        steps: The same for every size that was tried, smallest first.
        drop: Share of the gain that may be lost.
    """
    classes = [words.gold == number for number in np.unique(words.gold[words.gold >= 0])]
    rows = np.stack([whole, *steps.values(), *classes]).astype(np.float64)
    sums = resampled_sums(rows, words.sentences)
    # All are sums over the same words, so their number plays no part.
    oracle, reached, constant = sums[:, :1], sums[:, 1 : len(steps) + 1], sums[:, len(steps) + 1 :].max(axis=1)[:, None]
    enough = reached >= oracle - drop * (oracle - constant) - 1e-9
    place = np.where(enough.any(axis=1), enough.argmax(axis=1), len(steps))
    low, high = np.quantile(place, [0.025, 0.975], method="inverted_cdf").astype(int).tolist()
    sizes = [*steps, None]
    return sizes[low] or max(steps), sizes[high]


def _first_within(
    training: TrainingWords, words: MeasuredWords, ranking: Ranking, least: float
) -> tuple[int, dict[int, Bool[np.ndarray, " word"]]]:
    """Returns the first size that reaches the least accuracy, and what is right at all sizes up to its batch's end."""
    total = len(ranking.columns)

    def batches() -> Iterator[list[int]]:
        percent = 0
        for end in counted(_BATCHES, f"{ranking.task}: minimal set, up to {_BATCHES[-1]} % of the neurons"):
            yield sorted({max(1, round(step * total / 100)) for step in range(percent + 1, end + 1)})
            percent = end

    size, steps = smallest_enough(training, words, ranking.columns, batches(), least)
    # Retrained on all neurons, a probe misses the accuracy only by the solver's tolerance: all neurons are the set.
    return total if size is None else size, steps


def smallest_enough(
    training: TrainingWords,
    words: MeasuredWords,
    order: Int[np.ndarray, " neuron"],
    batches: Iterable[Sequence[int]],
    least: float,
) -> tuple[int | None, dict[int, Bool[np.ndarray, " word"]]]:
    """Finds the smallest leading part of an order whose own probe is right often enough.

    Args:
        training: The words to train on.
        words: The words to measure on.
        order: The order in which neurons are taken.
        batches: Rising sizes to try, those of a batch in one solve; the search ends with the first that has one.
        least: Accuracy that is enough.

    Returns:
        The size, None if none is enough; and what is right at every size that was tried.
    """
    steps: dict[int, Bool[np.ndarray, " word"]] = {}
    for sizes in batches:
        if not (new := [size for size in sizes if size not in steps]):
            continue
        steps |= dict(zip(new, hits_of_nested_sets(training, words, order, new), strict=True))
        enough = [size for size, right in steps.items() if right.mean() >= least]
        if enough:
            return enough[0], steps
    return None, steps

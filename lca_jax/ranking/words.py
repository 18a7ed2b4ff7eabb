"""Words that a ranking without training reads: those of a store, words that were read before, or plain arrays.

Rankings by statistics take the statistics of a store, for which no activation is read. Of words that are in memory
already (a half of them, say, or arrays) `statistics_of_words` makes the same record.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Float64

from lca_jax.errors import DataError, SettingsError
from lca_jax.probing.arrays import Arrays, array_axis, check_arrays
from lca_jax.probing.labelling import number_labels, usable_labels
from lca_jax.probing.measuring import MeasuredWords, measured_words
from lca_jax.store.statistics import LEVELS, ClassStatistics, Gathering, Statistics
from lca_jax.store.store import ActivationStore

_WORDS = 256
"""Words whose distances from the mean are in memory at a time."""
Words = ActivationStore | MeasuredWords | Arrays
"""A store, words that were read before (`measured_words`), or features and labels (X, y)."""


def read_words(given: Words, task: str | None = None) -> MeasuredWords:
    """Reads the labelled words of a task, with the classes that they have.

    Args:
        given: A store, words that were read before, or features and labels (X, y), whose task is `y`.
        task: The task; None for the only one.

    Raises:
        SettingsError: The task is not that of the words, or a store has several and none is named.
        DataError: No word is labelled, or an activation is not finite.
    """
    if isinstance(given, MeasuredWords):
        if task not in (None, given.task):
            raise SettingsError(f"These words were read for `{given.task}`, not for `{task}`.")
        return given
    if isinstance(given, tuple):
        X, labels = check_arrays(given)
        task = task or "y"
        return measured_words((X, labels), array_axis(X.shape[1]), task, number_labels(task, labels).classes)
    if task is None:
        if len(given.tasks) != 1:
            raise SettingsError(f"Name one of the tasks of {given.place}: {', '.join(given.tasks) or 'it has none'}.")
        task = given.tasks[0]
    return measured_words(given, given.axis(), task, number_labels(task, usable_labels(given, task)).classes)


def statistics_of_words(words: MeasuredWords) -> Statistics:
    """Computes means, variances and ranges of some words, and of each of their classes, in float64.

    They are those of `gather_statistics` for the labelled words alone, without covariances and quantiles.
    """
    classes, task = words.classes, words.task
    counts = np.array([(words.gold == number).sum() for number in range(len(classes))], np.int64)
    mean = np.full((len(classes), words.axis.size), np.nan)
    variance = mean.copy()
    for number in np.flatnonzero(counts).tolist():
        mean[number], variance[number] = mean_and_variance(words.X[words.gold == number])
    whole_mean, whole_variance = mean_and_variance(words.X)
    return Statistics(
        store="",
        place=f"these {len(words.X)} words",
        gathering=Gathering(tasks=(task,), covariance=False, sample_words=0),
        axis=words.axis,
        words=len(words.X),
        mean=whole_mean,
        variance=whole_variance,
        smallest=words.X.min(axis=0).astype(np.float32),
        largest=words.X.max(axis=0).astype(np.float32),
        covariances=None,
        by_task={task: ClassStatistics(classes=classes, counts=counts, mean=mean, variance=variance)},
        sampled=0,
        quantiles=np.full((len(LEVELS), words.axis.size), np.nan, np.float32),
    )


def mean_and_variance(
    X: Float[np.ndarray, "word feature"],
) -> tuple[Float64[np.ndarray, " feature"], Float64[np.ndarray, " feature"]]:
    """Returns mean and variance of each column in float64, some words at a time: all at once are wider than caches."""
    mean = X.mean(axis=0, dtype=np.float64)
    squares = np.zeros_like(mean)
    for first in range(0, len(X), _WORDS):
        apart = X[first : first + _WORDS] - mean
        squares += np.einsum("nd,nd->d", apart, apart)
    return mean, squares / len(X)


def take_part(words: MeasuredWords, chosen: Bool[np.ndarray, " word"]) -> MeasuredWords:
    """Returns some of the words, by a mask over them."""
    return replace(words, X=words.X[chosen], gold=words.gold[chosen], units=words.units[chosen])


def hold_out(words: MeasuredWords, share: float, *, seed: int) -> tuple[MeasuredWords, MeasuredWords]:
    """Divides words by sentence into those to train on and those to choose by.

    Args:
        words: The words.
        share: Share of the sentences to choose by, in (0, 1); at least one sentence, and not all.
        seed: Seed of the division.

    Raises:
        SettingsError: The share is out of its range.
        DataError: There is one sentence only.
    """
    if not 0 < share < 1:
        raise SettingsError(f"`held_out` must be in (0, 1), got {share}. A fifth is 0.2.")
    distinct = np.unique(words.sentences)
    if len(distinct) < 2:
        raise DataError("A part is held out by sentence, and there is one sentence only. Give more text, or `dev`.")
    count = min(max(1, round(share * len(distinct))), len(distinct) - 1)
    held = np.random.default_rng(seed).permutation(distinct)[:count]
    mask = np.isin(words.sentences, held)
    return take_part(words, ~mask), take_part(words, mask)


def classes_apart(words: MeasuredWords) -> dict[str, Bool[np.ndarray, " word"]]:
    """Returns for every class which words are of it; classes without words inside or outside are left out."""
    inside = {name: words.gold == number for number, name in enumerate(words.classes)}
    return {name: mask for name, mask in inside.items() if 0 < mask.sum() < len(mask)}


def divide(
    numbers: Float64[np.ndarray, "..."], by: Float64[np.ndarray, "..."], *, otherwise: float
) -> Float64[np.ndarray, "..."]:
    """Divides where the divisor is above 0; elsewhere 0 over 0 is 0, and anything else is `otherwise`."""
    fill = np.where(numbers > 0, otherwise, 0.0)
    return np.divide(numbers, by, out=fill, where=by > 0)

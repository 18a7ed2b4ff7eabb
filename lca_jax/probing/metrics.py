"""Scores of predictions: accuracy, recall, their intervals over sentences, confusions, and R² of numbers.

A bootstrap of answers that all agree, or all but one of few, has no width or hardly any. So an interval of a share or
of a difference of shares reaches at least as far as answers of a kind that was not seen could move it (`with_unseen`).
"""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float, Int

RESAMPLES = 2000
"""Number of bootstrap samples behind an interval."""
NORMAL_95 = 1.959964
"""The normal quantile of a 95 % interval."""


def accuracy(predicted: Int[np.ndarray, "... word"], gold: Int[np.ndarray, " word"]) -> Float[np.ndarray, "..."]:
    """Returns the share of words whose predicted class is the gold class; leading axes are kept."""
    return np.asarray((predicted == gold).mean(axis=-1))


def determination(
    predicted: Float[np.ndarray, "... word"], gold: Float[np.ndarray, " word"]
) -> Float[np.ndarray, "..."]:
    """Returns R²: 1 − squared errors / squared distances from the mean of the gold numbers; leading axes are kept.

    1 is perfect, 0 is as good as predicting the mean, and a negative number is worse than that. If all gold numbers are
    alike, R² is 1 where all predictions are right and −∞ otherwise.
    """
    wide = gold.astype(np.float64)
    errors = ((predicted - wide) ** 2).sum(axis=-1)
    from_mean = ((wide - wide.mean()) ** 2).sum()
    if from_mean == 0:
        return np.where(errors == 0, 1.0, -np.inf)
    return np.asarray(1 - errors / from_mean)


def class_accuracy(
    predicted: Int[np.ndarray, " word"], gold: Int[np.ndarray, " word"], *, classes: int
) -> list[float | None]:
    """Returns the share of right predictions among the words of each class (recall); None for a class without words."""
    words = np.bincount(gold[gold >= 0], minlength=classes)
    right = np.bincount(gold[(predicted == gold) & (gold >= 0)], minlength=classes)
    return [float(right[c] / words[c]) if words[c] else None for c in range(classes)]


def accuracy_interval(
    right: Bool[np.ndarray, " word"], sentences: Int[np.ndarray, " word"], *, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Returns the percentile bootstrap interval of an accuracy, over sentences: words of one are not independent.

    It reaches as far as words of a kind that was not seen could move it (`with_unseen`).

    Args:
        right: Whether each word was predicted rightly.
        sentences: Number of the sentence that each word stands in.
        level: Coverage of the interval, in (0, 1).
        seed: Seed of the resampling.

    Returns:
        The lower and the upper end.
    """
    low, high = mean_intervals(right[None].astype(np.float64), sentences, level=level, seed=seed)[0].tolist()
    return low, high


def mean_error(
    values: Bool[np.ndarray, " word"] | Float[np.ndarray, " word"], sentences: Int[np.ndarray, " word"]
) -> float:
    """Returns the standard error of a mean over words that were drawn by sentence.

    It is √(S/(S−1) Σ_s (Σ_i∈s (v_i − v̄))²)/n for n words in S sentences, by linearising the ratio of two sums; with one
    word a sentence that of a plain mean. Of a single sentence it is 0.

    Reference: Cochran 1977, "Sampling Techniques", section 9A.2 (clusters of unequal size, ratio to size).
    """
    number = np.unique(sentences, return_inverse=True)[1]
    sums = np.bincount(number, weights=values - values.mean())
    spread = len(sums) / max(len(sums) - 1, 1) * (sums**2).sum()
    return float(np.sqrt(spread) / len(values))


def mean_intervals(
    values: Float[np.ndarray, "row word"],
    sentences: Int[np.ndarray, " word"],
    *,
    least: int | Sequence[int] = 0,
    most: int = 1,
    level: float = 0.95,
    seed: int = 0,
) -> Float[np.ndarray, "row 2"]:
    """Returns the percentile bootstrap interval of the mean of every row, over sentences.

    All rows are resampled alike: the differences of two probes on the same words are a row like any other, and their
    interval is that of a paired comparison. Each reaches as far as words of a kind that was not seen could move it
    (`with_unseen`).

    Args:
        values: One value for each word: whether it was predicted rightly, or the difference of two such values.
        sentences: Number of the sentence that each word stands in.
        least: The least value that a word can have, of all rows or of each: 0 for right words, -1 for a difference.
        most: The greatest.
        level: Coverage of the intervals, in (0, 1).
        seed: Seed of the resampling.

    Returns:
        The lower and the upper end for each row.
    """
    rows = np.concatenate([np.ones((1, values.shape[1])), values])
    words, *sums = resampled_sums(rows, sentences, seed=seed).T
    ends = np.quantile(np.stack(sums) / words, [(1 - level) / 2, (1 + level) / 2], axis=1).T
    return with_unseen(ends, values, sentences, least=least, most=most, level=level)


def with_unseen(
    ends: Float[np.ndarray, "row 2"],
    values: Float[np.ndarray, "row word"],
    sentences: Int[np.ndarray, " word"],
    *,
    least: int | Sequence[int],
    most: int = 1,
    level: float = 0.95,
) -> Float[np.ndarray, "row 2"]:
    """Returns intervals of means that reach at least as far as words of a kind that was not seen could move them.

    Of n independent words none is of that kind, so its share may be up to w = z²/(n + z²), the upper end of Wilson's
    interval of 0 of n. Were these words as low or as high as words can be, the mean m would be m - w (m - least) or
    m + w (most - m). For answers that all are right it is Wilson's interval; for two probes that always agree that of
    Tango, ±w. If b pairs differ, all in one direction, it excludes 0 exactly where b > z², as McNemar's test does.
    With many words that differ it lies inside a bootstrap interval and changes nothing.

    n is the number of words by the design effect of the sentences (at least 1), or the number of sentences where all
    values are the same, as in `recall_intervals`.

    Args:
        ends: The intervals, such as those of a bootstrap.
        values: The values whose means they are of.
        sentences: Number of the sentence that each word stands in.
        least: The least value that a word can have, of all rows or of each.
        most: The greatest.
        level: Coverage of the intervals, in (0, 1).

    Reference: Wilson 1927. Tango 1998, "Equivalence test and confidence interval for the difference in proportions for
    the paired-sample design". Kish 1965 (design effect).
    """
    means, z = values.mean(axis=1), NormalDist().inv_cdf((1 + level) / 2)
    unseen = z**2 / (_worth(values, sentences) + z**2)
    low = means - unseen * (means - np.asarray(least))
    high = means + unseen * (most - means)
    return np.stack([np.minimum(ends[:, 0], low), np.maximum(ends[:, 1], high)], axis=1)


def resampled_sums(
    values: Float[np.ndarray, "row word"], sentences: Int[np.ndarray, " word"], *, seed: int = 0
) -> Float[np.ndarray, "sample row"]:
    """Returns the sum of every row over each bootstrap sample of the sentences; one seed draws the same samples.

    A score that is a function of sums (an accuracy, an F1) has its interval from that function of each sample.

    Args:
        values: One value for each word.
        sentences: Number of the sentence that each word stands in.
        seed: Seed of the resampling.
    """
    _, place = np.unique(sentences, return_inverse=True)
    sums = np.stack([np.bincount(place, weights=row) for row in values])
    generator = np.random.default_rng(seed)
    sampled = []
    for _ in range(RESAMPLES // 100):
        drawn = generator.integers(0, sums.shape[1], size=(100, sums.shape[1]))
        times = np.stack([np.bincount(draw, minlength=sums.shape[1]) for draw in drawn]).astype(np.float64)
        sampled.append(times @ sums.T)
    return np.concatenate(sampled)


def units_of_sums(
    right: Float[np.ndarray, "row sentence"], units: Float[np.ndarray, " sentence"]
) -> tuple[Float[np.ndarray, "row unit"], Int[np.ndarray, " unit"]]:
    """Returns the units behind sums over sentences, with the sentence of each.

    In every sentence those that are right come first: two rows differ in no more units than they must.

    Args:
        right: How many units of each sentence are right; a half counts half.
        units: How many there are.
    """
    counts = units.astype(np.int64)
    sentences = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(sentences)) - (np.cumsum(counts) - counts)[sentences]
    return np.clip(right[:, sentences] - place, 0.0, 1.0), sentences


def recall_intervals(
    predicted: Int[np.ndarray, " word"],
    gold: Int[np.ndarray, " word"],
    sentences: Int[np.ndarray, " word"],
    *,
    classes: int,
) -> list[tuple[float, float] | None]:
    """Returns the 95 % interval of the recall of each class; None for a class without words.

    It is Wilson's interval for as many words as the words of the sentences are worth: n / design effect, where the
    design effect is the variance of the recall over sentences by its variance over independent words, at least 1. Where
    all words of a class are right, or all wrong, the sentences that have the class are counted. Unlike a bootstrap it
    has a width for a class of which nothing was found.

    Reference: Wilson 1927; Kish 1965, "Survey Sampling" (design effect); Korn and Graubard 1998, "Confidence intervals
    for proportions with small expected number of positive counts estimated from survey data".
    """
    labelled = gold >= 0
    _, place = np.unique(sentences, return_inverse=True)
    width = int(place.max()) + 1 if len(place) else 1
    _, cluster = np.unique(gold[labelled].astype(np.int64) * width + place[labelled], return_inverse=True)
    words = np.bincount(cluster).astype(np.float64)
    hits = np.bincount(cluster, weights=(predicted == gold)[labelled]).astype(np.float64)
    of_class = np.zeros(len(words), np.int64)
    of_class[cluster] = gold[labelled]
    return [_wilson(words[of_class == number], hits[of_class == number]) for number in range(classes)]


def share_interval(hits: Bool[np.ndarray, " word"], sentences: Int[np.ndarray, " word"]) -> tuple[float, float] | None:
    """Returns the 95 % interval of a share of words, as that of a recall (`recall_intervals`); None without words."""
    predicted, gold = np.where(hits, 0, -1), np.zeros(len(hits), np.int64)
    return recall_intervals(predicted, gold, sentences, classes=1)[0]


def confusion_counts(
    predicted: Int[np.ndarray, " word"], gold: Int[np.ndarray, " word"], *, classes: int
) -> Int[np.ndarray, "class class"]:
    """Counts the words of each class (row) that were predicted as each class (column)."""
    known = gold >= 0
    pairs = gold[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def _worth(values: Float[np.ndarray, "row word"], sentences: Int[np.ndarray, " word"]) -> Float[np.ndarray, " row"]:
    """Returns how many independent words each row is worth: see `with_unseen`."""
    number = np.unique(sentences, return_inverse=True)[1]
    count, drawn = values.shape[1], int(number.max()) + 1
    worth = np.full(len(values), float(drawn))
    for row, of_row in enumerate(values):
        if drawn > 1 and np.ptp(of_row) > 0:
            effect = mean_error(of_row, sentences) ** 2 * count / of_row.var()
            worth[row] = count / max(effect, 1.0)
    return worth


def _wilson(words: Float[np.ndarray, " sentence"], hits: Float[np.ndarray, " sentence"]) -> tuple[float, float] | None:
    """Returns Wilson's interval of a share, from the words and the hits of every sentence that has any."""
    count, sentences = words.sum(), len(words)
    if not count:
        return None
    share = hits.sum() / count
    independent = share * (1 - share) / count
    if independent == 0 or sentences == 1:
        worth = float(sentences)
    else:
        over_sentences = sentences / (sentences - 1) * ((hits - share * words) ** 2).sum() / count**2
        worth = count / max(over_sentences / independent, 1.0)
    middle = (share + NORMAL_95**2 / (2 * worth)) / (1 + NORMAL_95**2 / worth)
    half = NORMAL_95 / (1 + NORMAL_95**2 / worth) * np.sqrt(share * (1 - share) / worth + NORMAL_95**2 / (4 * worth**2))
    # The ends are exactly 0 or 1 where nothing or everything was found; rounding must not put them beside it.
    low, high = min(middle - half, share), max(middle + half, share)
    return max(float(low), 0.0), min(float(high), 1.0)

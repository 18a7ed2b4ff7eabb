"""The word-type majority baseline: the accuracy of predicting each word type's most frequent training label.

Reference: Dalvi et al. 2019, "Evaluation" (local majority baseline).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

from lca_jax.errors import DataError


def word_type_majority(
    train_words: Sequence[str],
    train_labels: Sequence[str | None],
    test_words: Sequence[str],
    test_labels: Sequence[str | None],
) -> float:
    """Returns the accuracy of predicting each word type's most frequent training label.

    Types that training does not have get the most frequent label of all training words. Among equally frequent labels
    the first in sorted order is taken.

    Args:
        train_words: Word forms of the training words.
        train_labels: Their labels; words with None do not count.
        test_words: Word forms of the test words.
        test_labels: Their labels; words with None do not count.

    Raises:
        DataError: Train or test has no labelled word.
    """
    of_type: defaultdict[str, Counter[str]] = defaultdict(Counter)
    overall: Counter[str] = Counter()
    for word, label in zip(train_words, train_labels, strict=True):
        if label is not None:
            of_type[word][label] += 1
            overall[label] += 1
    test = [(word, label) for word, label in zip(test_words, test_labels, strict=True) if label is not None]
    if not overall or not test:
        raise DataError("The word-type majority baseline needs at least one labelled word in train and in test.")
    fallback = _most_frequent(overall)
    best = {word: _most_frequent(counts) for word, counts in of_type.items()}
    return sum(best.get(word, fallback) == label for word, label in test) / len(test)


def _most_frequent(counts: Counter[str]) -> str:
    return min(counts, key=lambda label: (-counts[label], label))

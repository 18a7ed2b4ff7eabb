"""The two baselines of a task, which need no model: one answer for all words, and one answer for each word type.

**Most frequent class**: the most frequent label of the training words, for every word. **Word-type majority**: the most
frequent training label of each word type, and the most frequent class for types that training does not have. Among
equally frequent labels the first in sorted order is taken.

Reference: Dalvi et al. 2019, "Evaluation" (local majority baseline).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from lca_jax.errors import DataError


class Baselines(NamedTuple):
    """What both baselines answer, learnt from training words."""

    most_frequent: str
    """The most frequent class."""
    by_type: dict[str, str]
    """The most frequent label of every word type of training."""

    def of_types(self, words: Sequence[str]) -> list[str]:
        """Returns the word-type majority of each word."""
        return [self.by_type.get(word, self.most_frequent) for word in words]


def learn_baselines(words: Sequence[str], labels: Sequence[str | None]) -> Baselines:
    """Learns both baselines.

    Args:
        words: Word forms of the training words.
        labels: Their labels; words with None do not count.

    Raises:
        DataError: No word has a label.
    """
    of_type: defaultdict[str, Counter[str]] = defaultdict(Counter)
    overall: Counter[str] = Counter()
    for word, label in zip(words, labels, strict=True):
        if label is not None:
            of_type[word][label] += 1
            overall[label] += 1
    if not overall:
        raise DataError("A baseline needs at least one labelled training word. Check the label column.")
    return Baselines(most_frequent(overall), {word: most_frequent(counts) for word, counts in of_type.items()})


def most_frequent(counts: Counter[str]) -> str:
    """Returns the most frequent label, of which there is one at least; among equals the first in sorted order."""
    return min(counts, key=lambda label: (-counts[label], label))


def word_type_majority(
    train_words: Sequence[str],
    train_labels: Sequence[str | None],
    test_words: Sequence[str],
    test_labels: Sequence[str | None],
) -> float:
    """Returns the accuracy of the word-type majority of the training words on other words.

    Args:
        train_words: Word forms of the training words.
        train_labels: Their labels; words with None do not count.
        test_words: Word forms of the test words.
        test_labels: Their labels; words with None do not count.

    Raises:
        DataError: Train or test has no labelled word.
    """
    test = [(word, label) for word, label in zip(test_words, test_labels, strict=True) if label is not None]
    answers = learn_baselines(train_words, train_labels).of_types([word for word, _ in test])
    if not test:
        raise DataError("The word-type majority needs at least one labelled test word. Check the label column.")
    return sum(said == label for said, (_, label) in zip(answers, test, strict=True)) / len(test)

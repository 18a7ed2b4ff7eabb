"""Control tasks: random labels by word type, which a probe can learn only by remembering words.

The accuracy on a task minus the accuracy on its control task is the probe's selectivity. A label costs one short hash;
the task holds one number per class and no list of words. Training the probe and taking the difference are left to
`probing` and `experiment`.

Reference: Hewitt and Liang 2019, Designing and Interpreting Probes with Control Tasks, §2; Durrani et al. 2020, §2.1.
"""

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from lca_jax.errors import DataError, SettingsError

_DIGEST_BITS = 64


@dataclass(frozen=True, kw_only=True)
class ControlTask:
    """A random but fixed map from word types to the classes of a task; from `draw_control_task`.

    Each class has a share of [0, 1), and a type's label is the class in whose share a hash of seed and word form falls.
    It depends on the seed, the form and the shares alone: not on the order of the corpus, on other types, or on whether
    the word occurred in training.
    """

    classes: tuple[str, ...]
    """Classes of the imitated task, sorted."""
    counts: tuple[int, ...]
    """Number of labelled training words of each class; a class is drawn in proportion to it."""
    seed: int
    """Number of the map; maps of different seeds are independent."""
    fold_case: bool = False
    """Whether `The` and `the` are one word type."""

    def label(self, word: str) -> str:
        """Returns the control label of one word form."""
        draw = _hash(word.casefold() if self.fold_case else word, self.seed)
        # Whole numbers leave nothing to rounding: floor(draw / 2^64 · words) lies in the share of one class.
        place = draw * self._bounds[-1] >> _DIGEST_BITS
        return self.classes[bisect_right(self._bounds, place)]

    def label_like(self, words: Sequence[str], labels: Sequence[str | None]) -> list[str | None]:
        """Returns control labels for the words that have a label, and None for the others."""
        of_type = {word: self.label(word) for word in set(words)}
        return [None if label is None else of_type[word] for word, label in zip(words, labels, strict=True)]

    @cached_property
    def _bounds(self) -> tuple[int, ...]:
        return tuple(accumulate(self.counts))


def draw_control_task(
    words: Sequence[str], labels: Sequence[str | None], *, seed: int, fold_case: bool = False
) -> ControlTask:
    """Makes the control task of a task from its training words.

    Args:
        words: Word forms on which the probe is trained.
        labels: Their labels; words with None do not count.
        seed: Number of the random map, 0 or more.
        fold_case: Whether forms that differ in case only are one word type.

    Returns:
        The map. In expectation over seeds, its classes are as frequent as the labels are among the labelled words.

    Raises:
        DataError: No word has a label.
        SettingsError: The seed is negative, or the number of labels differs from the number of words.
    """
    if len(words) != len(labels):
        raise SettingsError(
            f"A control task needs one label (or None) per word, got {len(words)} words, {len(labels)} labels."
        )
    if seed < 0:
        raise SettingsError(f"`seed` must be 0 or more, got {seed}.")
    counts = Counter(label for label in labels if label is not None)
    if not counts:
        raise DataError(
            f"A control task imitates the labels of a task, but none of the {len(words)} words has a label."
        )
    classes = tuple(sorted(counts))
    return ControlTask(classes=classes, counts=tuple(counts[name] for name in classes), seed=seed, fold_case=fold_case)


def _hash(word: str, seed: int) -> int:
    digest = hashlib.blake2b(f"{seed}\0{word}".encode(), digest_size=_DIGEST_BITS // 8).digest()
    return int.from_bytes(digest, "big")

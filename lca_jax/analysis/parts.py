"""Parts of the words without a common sentence: what is measured must not have made what it measures."""

import numpy as np

from lca_jax.analysis.retraining import TrainingWords
from lca_jax.errors import DataError, SettingsError
from lca_jax.probing.labelling import Labelling
from lca_jax.probing.measuring import MeasuredWords
from lca_jax.probing.objective import ElasticNet
from lca_jax.ranking.words import Words, read_words, take_part


def divide_words(given: Words, task: str | None = None, *, parts: int = 3, seed: int = 0) -> tuple[MeasuredWords, ...]:
    """Divides the labelled words of a task by sentence into parts of about equal size.

    Args:
        given: A store, words that were read before, or features and labels (X, y), whose words are sentences of their
            own.
        task: The task; None for the only one.
        parts: Number of parts, 2 or more.
        seed: Seed of the division.

    Returns:
        The parts. All have the classes of the whole; a part may lack words of a rare one.

    Raises:
        SettingsError: There are fewer than two parts, or the task is unknown.
        DataError: There are fewer sentences than parts.
    """
    if parts < 2:
        raise SettingsError(f"`parts` must be 2 or more, got {parts}.")
    words = read_words(given, task)
    distinct, place, sizes = np.unique(words.sentences, return_inverse=True, return_counts=True)
    if len(distinct) < parts:
        raise DataError(f"{parts} parts need as many sentences, and there are {len(distinct)}. Give more text.")
    order = np.random.default_rng(seed).permutation(len(distinct))
    before = np.cumsum(sizes[order]) - sizes[order]
    part_of = np.empty(len(distinct), np.int64)
    part_of[order] = before * parts // sizes.sum()
    # A sentence longer than a part may leave one empty; then sentences are counted instead of words.
    if len(np.unique(part_of)) < parts:
        part_of[order] = np.arange(len(distinct)) * parts // len(distinct)
    return tuple(take_part(words, part_of[place] == number) for number in range(parts))


def to_train(words: MeasuredWords, settings: ElasticNet) -> TrainingWords:
    """Makes training words of measured ones.

    Raises:
        SettingsError: The settings have several penalties, or the task is a regression.
    """
    if len(settings.pairs) != 1:
        raise SettingsError(f"Probes of sets need one pair of penalties, got {len(settings.pairs)}. Choose one first.")
    if not words.classes:
        raise SettingsError(f"`{words.task}` is a regression; sets of neurons are measured by the classes they tell.")
    real = Labelling(task=words.task, control=False, classes=words.classes, numbers=words.gold)
    return TrainingWords(X=words.X, real=real, control=None, settings=settings, sentences=words.sentences)


def refuse_common_sentences(one: MeasuredWords, other: MeasuredWords, *, made: str) -> None:
    """Refuses words to measure on that have a sentence in common with those that made something.

    Sentences are compared within one store. Words of plain arrays or of two stores cannot be told apart by number;
    those are the caller's to keep apart.

    Raises:
        SettingsError: Both are of one store and share a sentence.
    """
    if one.store is None or other.store is None or one.store.fingerprint != other.store.fingerprint:
        return
    common = np.intersect1d(one.sentences, other.sentences)
    if len(common):
        raise SettingsError(
            f"{len(common)} sentences to measure on also made the {made}, the first is number {common[0]}. Give words "
            "of other sentences: divide_words(store, task) makes parts without a common one."
        )


def describe(words: MeasuredWords) -> str:
    """Tells which words these are, in a few words."""
    place = "arrays" if words.store is None else words.store.place
    return f"{len(words.X):,} words of {len(np.unique(words.sentences)):,} sentences of {place}"

"""Describes what single neurons respond to: the words that move them most, and sentences in which they vary.

Word types are scored for many neurons in one pass: words are gathered by type and summed group by group, so the cost is
one sort of the words and one read of the chosen columns, for any number of neurons. Columns are taken in blocks, which
take about 300 MiB beside the input. The ranking decides which neurons get a card; the report draws the cards.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from lca_jax.axes import Neuron
from lca_jax.descriptors.activation_bins import ClassActivations, activations_by_class
from lca_jax.errors import DataError

BLOCK_VALUES = 2**23
"""Number of float64 values in a block of columns: 64 MiB."""


class TopWord(NamedTuple):
    """A word type, and how far it moves a neuron."""

    form: str
    score: float
    """Mean z-score of its occurrences by that of the strongest type: -1..1, with the sign of the mean."""
    occurrences: int
    """Number of words behind the mean."""


TopWords = tuple[TopWord, ...]
"""Word types, the largest absolute score first."""


@dataclass(frozen=True, kw_only=True)
class SentenceHeat:
    """One sentence, with a neuron's activation at each word."""

    words: tuple[str, ...]
    """The word forms."""
    labels: tuple[str | None, ...]
    """The label of each word; None where it has none."""
    values: tuple[float | None, ...]
    """The neuron's activation at each word in standard deviations from its mean; None where the word has no vector."""


@dataclass(frozen=True, kw_only=True)
class NeuronCard:
    """A short description of one neuron."""

    neuron: Neuron
    """The neuron that is described."""
    rank: int
    """The neuron's place in the ranking of the task; 1 is first."""
    classes: tuple[str, ...]
    """The classes among whose neurons it is."""
    top_words: TopWords
    """The words that move the neuron most, with signed scores in -1..1."""
    sentences: tuple[SentenceHeat, ...]
    """The sentences in which the neuron varies most."""
    activations: tuple[ClassActivations, ...] = ()
    """The words of every class by activation; none where words have no labels."""


def top_words(
    forms: Sequence[str],
    activations: Float[np.ndarray, "word neuron"],
    *,
    usable: Bool[np.ndarray, "word"] | None = None,
    count: int = 10,
    min_occurrences: int = 2,
) -> list[TopWords]:
    """Finds the word types that move each neuron most.

    The score of a type is the mean z-score of its occurrences, divided by the largest absolute mean of the neuron: the
    first word has 1 or -1, and the sign says on which side of its mean the neuron goes. NeuroX averages absolute
    z-scores, which loses the sign and lets a type that swings both ways look liked.

    Args:
        forms: The word forms of the corpus.
        activations: The chosen neurons, one column each.
        usable: Mask of the words that have a vector; all words if None.
        count: Maximum length of a list.
        min_occurrences: Minimum number of occurrences of a type; the mean of one occurrence says little about the type.

    Returns:
        A list for every column, ordered by absolute score, ties by form. It is shorter than `count` if fewer types
        occur often enough, and empty for a neuron that is constant.

    Raises:
        DataError: Lengths differ, no word has a vector, or an activation is not finite; the message names the word.

    Reference: Sajjad et al. 2023 (NeuroX), `get_top_words`; Dalvi et al. 2019, Table 3.
    """
    words = _usable_words(forms, activations, usable)
    used_forms = [forms[int(word)] for word in words]
    types = sorted(set(used_forms))
    number_of_type = {form: number for number, form in enumerate(types)}
    groups = _group_words(np.array([number_of_type[form] for form in used_forms]))
    frequent = np.flatnonzero(groups.sizes >= min_occurrences)

    lists: list[TopWords] = []
    width = max(1, BLOCK_VALUES // words.size)
    for start in range(0, activations.shape[1], width):
        block = activations[words, start : start + width].astype(np.float64)
        # The standard deviation is the same for every type of a neuron: it cancels when the largest mean becomes 1.
        means = _group_sums(block - block.mean(axis=0), groups)[frequent] / groups.sizes[frequent, None]
        largest = np.abs(means).max(axis=0, initial=0.0)
        moves = (np.ptp(block, axis=0) > 0) & (largest > 0)
        scores = means / np.where(moves, largest, 1.0)
        best = np.argsort(-np.abs(scores), axis=0, kind="stable")[:count]
        for column, best_of_column in enumerate(best.T):
            listed = (
                TopWord(types[frequent[place]], float(scores[place, column]), int(groups.sizes[frequent[place]]))
                for place in best_of_column
            )
            lists.append(tuple(listed) if moves[column] else ())
    return lists


def neuron_cards(
    forms: Sequence[str],
    sentence_of_word: Int[np.ndarray, "word"],
    activations: Float[np.ndarray, "word neuron"],
    *,
    neurons: Sequence[Neuron],
    classes: Sequence[Sequence[str]],
    labels: Sequence[str | None] | None = None,
    ranks: Sequence[int] | None = None,
    usable: Bool[np.ndarray, "word"] | None = None,
    count: int = 10,
    min_occurrences: int = 2,
    sentences: int = 3,
    shortest: int = 5,
    longest: int = 30,
) -> tuple[NeuronCard, ...]:
    """Describes neurons by their top words, the sentences in which they vary most, and their activations by class.

    Sentences are ordered by the standard deviation of the neuron over their words, ties by the order of the corpus.
    Each text is shown once.

    Args:
        forms: The word forms of the corpus.
        sentence_of_word: Number of each word's sentence.
        activations: One column for each of `neurons`.
        neurons: Neurons of the columns, best first.
        classes: Classes among whose neurons each one is.
        labels: Label of each word in the task; None where it has none.
        ranks: Place of each neuron in the ranking; 1, 2, … if None.
        usable: Mask of the words that have a vector; all words if None.
        count: Maximum number of top words.
        min_occurrences: Minimum number of occurrences of a top word.
        sentences: Maximum number of sentences on a card.
        shortest: Minimum number of words of a sentence that is shown.
        longest: Maximum number of words of a sentence that is shown.

    Returns:
        One card for each neuron, in their order.

    Raises:
        DataError: Lengths differ, no word has a vector, or an activation is not finite; the message names the word.
    """
    width = activations.shape[1]
    ranks = range(1, width + 1) if ranks is None else ranks
    labels = [None] * len(forms) if labels is None else labels
    _check_lengths("column of `activations`", width, neurons=neurons, classes=classes, ranks=ranks)
    _check_lengths("row of `activations`", activations.shape[0], labels=labels)
    words = _usable_words(forms, activations, usable)
    lists = top_words(forms, activations, usable=usable, count=count, min_occurrences=min_occurrences)

    scores = np.full(activations.shape, np.nan)
    scores[words] = _standardise(activations[words].astype(np.float64))
    by_class = activations_by_class(scores[words], [labels[word] for word in words.tolist()])
    texts = _Texts(forms, labels, scores, _group_words(np.unique(sentence_of_word, return_inverse=True)[1]))
    order = _order_by_deviation(texts, shortest=shortest, longest=longest)
    return tuple(
        NeuronCard(
            neuron=neuron,
            rank=int(ranks[column]),
            classes=tuple(classes[column]),
            top_words=lists[column],
            sentences=tuple(islice(_distinct_sentences(texts, order[column], column), sentences)),
            activations=by_class[column],
        )
        for column, neuron in enumerate(neurons)
    )


class _Groups(NamedTuple):
    """Words gathered by group: `order` lists them group after group, each from its `start` on. No group is empty."""

    order: Int[np.ndarray, "word"]
    starts: Int[np.ndarray, "group"]
    sizes: Int[np.ndarray, "group"]


class _Texts(NamedTuple):
    """The corpus as the cards show it: forms, labels, z-scores (NaN: no vector), and the words of each sentence."""

    forms: Sequence[str]
    labels: Sequence[str | None]
    scores: Float[np.ndarray, "word neuron"]
    sentences: _Groups


def _group_words(group_of_word: Int[np.ndarray, "word"]) -> _Groups:
    sizes = np.bincount(group_of_word)
    return _Groups(np.argsort(group_of_word, kind="stable"), np.cumsum(sizes) - sizes, sizes)


def _group_sums(values: Float[np.ndarray, "word neuron"], groups: _Groups) -> Float[np.ndarray, "group neuron"]:
    return np.add.reduceat(values[groups.order], groups.starts, axis=0)


def _standardise(values: Float[np.ndarray, "word neuron"]) -> Float[np.ndarray, "word neuron"]:
    deviation = values.std(axis=0)
    moves = (np.ptp(values, axis=0) > 0) & (deviation > 0)
    return np.where(moves, (values - values.mean(axis=0)) / np.where(moves, deviation, 1.0), 0.0)


def _order_by_deviation(texts: _Texts, *, shortest: int, longest: int) -> list[Int[np.ndarray, "sentence"]]:
    """Orders, for each neuron, the sentences of suitable length in which two words or more have a vector."""
    has_vector = np.isfinite(texts.scores[:, :1]).astype(np.float64)
    scores = np.nan_to_num(texts.scores)
    words = np.maximum(_group_sums(has_vector, texts.sentences), 1)
    variance = _group_sums(scores**2, texts.sentences) / words - (_group_sums(scores, texts.sentences) / words) ** 2
    sizes = texts.sentences.sizes
    suitable = np.flatnonzero((sizes >= shortest) & (sizes <= longest) & (words[:, 0] >= 2))
    return [suitable[np.argsort(-column, kind="stable")] for column in variance[suitable].T]


def _distinct_sentences(texts: _Texts, order: Int[np.ndarray, "sentence"], column: int) -> Iterator[SentenceHeat]:
    earlier: set[tuple[str, ...]] = set()
    for sentence in order:
        start = texts.sentences.starts[sentence]
        places = texts.sentences.order[start : start + texts.sentences.sizes[sentence]]
        words = tuple(texts.forms[int(place)] for place in places)
        if words not in earlier:
            earlier.add(words)
            scores = texts.scores[places, column]
            values = tuple(float(score) if np.isfinite(score) else None for score in scores)
            yield SentenceHeat(words=words, labels=tuple(texts.labels[int(place)] for place in places), values=values)


def _usable_words(
    forms: Sequence[str],
    activations: Float[np.ndarray, "word neuron"],
    usable: Bool[np.ndarray, "word"] | None,
) -> Int[np.ndarray, "usable"]:
    _check_lengths("row of `activations`", activations.shape[0], forms=forms)
    words = np.arange(len(forms)) if usable is None else np.flatnonzero(usable)
    if words.size == 0:
        raise DataError("At least one word must have a vector to describe a neuron, got none. Check the mask `usable`.")
    broken = words[~np.isfinite(activations[words]).all(axis=1)]
    if broken.size:
        raise DataError(
            f"Activations must be finite, got {broken.size} words with NaN or infinity, the first is word {broken[0]} "
            f"({forms[broken[0]]!r}). Leave out words without a vector with `usable`."
        )
    return words


def _check_lengths(of: str, expected: int, **columns: Sequence[object]) -> None:
    for name, column in columns.items():
        if len(column) != expected:
            raise DataError(f"`{name}` must have one entry for each {of} ({expected}), got {len(column)}.")

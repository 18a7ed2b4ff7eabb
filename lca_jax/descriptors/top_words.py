"""What single neurons respond to: the words that move them most, and sentences to see them at work.

Word types are scored for many neurons in one pass: rows are gathered by type and summed group by group, so the cost is
one sort of the words and one read of the chosen columns, however many neurons are asked for. Columns are taken in
blocks: some 300 MiB beside the input. Which neurons deserve a card is for the ranking to say; the report draws them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from lca_jax.axes import Neuron
from lca_jax.errors import DataError

BLOCK_VALUES = 2**23
"""Float64 values held at once: 64 MiB."""

TopWords = tuple[tuple[str, float], ...]
"""Word types with their scores, the largest absolute score first."""


@dataclass(frozen=True, kw_only=True)
class SentenceHeat:
    """One sentence as one neuron sees it."""

    words: tuple[str, ...]
    """The word forms."""
    labels: tuple[str | None, ...]
    """The label of each word; None where it has none."""
    values: tuple[float | None, ...]
    """The neuron's activation at each word in standard deviations from its mean; None where the word has no vector."""


@dataclass(frozen=True, kw_only=True)
class NeuronCard:
    """What is worth knowing of one neuron at a glance."""

    neuron: Neuron
    """Which neuron."""
    rank: int
    """Its place in the ranking of the task; 1 is first."""
    classes: tuple[str, ...]
    """The classes that it serves."""
    top_words: TopWords
    """The words that move it most, with signed scores in -1..1."""
    sentences: tuple[SentenceHeat, ...]
    """Sentences in which it varies most."""


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
        usable: Which words have a vector; all of them where it is not given.
        count: Longest list wanted.
        min_occurrences: Types seen less often are passed over: the mean of one occurrence says little of the type.

    Returns:
        A list for every column, ordered by absolute score, ties by form. It is shorter than `count` where fewer types
        occur often enough, and empty for a neuron that never moves.

    Raises:
        DataError: Lengths differ, no word is usable, or an activation is not finite; the message names the word.

    Reference: Sajjad et al. 2023 (NeuroX), `get_top_words`; Dalvi et al. 2019, Table 3.
    """
    rows = _usable_rows(forms, activations, usable)
    used = [forms[int(row)] for row in rows]
    types = sorted(set(used))
    number_of_type = {form: number for number, form in enumerate(types)}
    groups = _group_rows(np.array([number_of_type[form] for form in used]))
    frequent = np.flatnonzero(groups.sizes >= min_occurrences)

    lists: list[TopWords] = []
    width = max(1, BLOCK_VALUES // rows.size)
    for start in range(0, activations.shape[1], width):
        block = activations[rows, start : start + width].astype(np.float64)
        # The standard deviation is the same for every type of a neuron: it cancels when the largest mean becomes 1.
        means = _group_sums(block - block.mean(axis=0), groups)[frequent] / groups.sizes[frequent, None]
        largest = np.abs(means).max(axis=0, initial=0.0)
        moves = (np.ptp(block, axis=0) > 0) & (largest > 0)
        scores = means / np.where(moves, largest, 1.0)
        best = np.argsort(-np.abs(scores), axis=0, kind="stable")[:count]
        for column, rows_of_column in enumerate(best.T):
            listed = ((types[frequent[row]], float(scores[row, column])) for row in rows_of_column)
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
    """Describes neurons by their top words and by the sentences in which they vary most.

    A sentence is chosen by the standard deviation of the neuron over its words; the same text is shown once only. Equal
    spreads keep the order of the corpus.

    Args:
        forms: The word forms of the corpus.
        sentence_of_word: The number of each word's sentence.
        activations: One column for each of `neurons`.
        neurons: Which neurons the columns are, best first.
        classes: The classes that each neuron serves.
        labels: The task's label of each word; None where it has none.
        ranks: The place of each neuron in the ranking; 1, 2, … where it is not given.
        usable: Which words have a vector; all of them where it is not given.
        count: Longest list of top words.
        min_occurrences: Word types seen less often are no top words.
        sentences: Most sentences on a card.
        shortest: Fewest words of a sentence that is shown.
        longest: Most words of a sentence that is shown.

    Raises:
        DataError: Lengths differ, no word is usable, or an activation is not finite; the message names the word.
    """
    width = activations.shape[1]
    ranks = range(1, width + 1) if ranks is None else ranks
    labels = [None] * len(forms) if labels is None else labels
    _check_lengths("column of `activations`", width, neurons=neurons, classes=classes, ranks=ranks)
    _check_lengths("row of `activations`", activations.shape[0], labels=labels)
    rows = _usable_rows(forms, activations, usable)
    lists = top_words(forms, activations, usable=usable, count=count, min_occurrences=min_occurrences)

    scores = np.full(activations.shape, np.nan)
    scores[rows] = _standardise(activations[rows].astype(np.float64))
    texts = _Texts(forms, labels, scores, _group_rows(np.unique(sentence_of_word, return_inverse=True)[1]))
    order = _by_spread(texts, shortest=shortest, longest=longest)
    return tuple(
        NeuronCard(
            neuron=neuron,
            rank=int(ranks[column]),
            classes=tuple(classes[column]),
            top_words=lists[column],
            sentences=tuple(islice(_distinct_sentences(texts, order[column], column), sentences)),
        )
        for column, neuron in enumerate(neurons)
    )


class _Groups(NamedTuple):
    """Rows gathered by group: `order` lists them group after group, each from its `start` on. No group is empty."""

    order: Int[np.ndarray, "row"]
    starts: Int[np.ndarray, "group"]
    sizes: Int[np.ndarray, "group"]


class _Texts(NamedTuple):
    """The corpus as the cards show it: forms, labels, z-scores (NaN: no vector), and the rows of each sentence."""

    forms: Sequence[str]
    labels: Sequence[str | None]
    scores: Float[np.ndarray, "word neuron"]
    sentences: _Groups


def _group_rows(group_of_row: Int[np.ndarray, "row"]) -> _Groups:
    sizes = np.bincount(group_of_row)
    return _Groups(np.argsort(group_of_row, kind="stable"), np.cumsum(sizes) - sizes, sizes)


def _group_sums(values: Float[np.ndarray, "row neuron"], groups: _Groups) -> Float[np.ndarray, "group neuron"]:
    return np.add.reduceat(values[groups.order], groups.starts, axis=0)


def _standardise(values: Float[np.ndarray, "word neuron"]) -> Float[np.ndarray, "word neuron"]:
    deviation = values.std(axis=0)
    moves = (np.ptp(values, axis=0) > 0) & (deviation > 0)
    return np.where(moves, (values - values.mean(axis=0)) / np.where(moves, deviation, 1.0), 0.0)


def _by_spread(texts: _Texts, *, shortest: int, longest: int) -> list[Int[np.ndarray, "sentence"]]:
    """For every neuron the sentences of fitting length in which two words or more have a vector, widest first."""
    seen = np.isfinite(texts.scores[:, :1]).astype(np.float64)
    scores = np.nan_to_num(texts.scores)
    words = np.maximum(_group_sums(seen, texts.sentences), 1)
    spread = _group_sums(scores**2, texts.sentences) / words - (_group_sums(scores, texts.sentences) / words) ** 2
    sizes = texts.sentences.sizes
    shown = np.flatnonzero((sizes >= shortest) & (sizes <= longest) & (words[:, 0] >= 2))
    return [shown[np.argsort(-column, kind="stable")] for column in spread[shown].T]


def _distinct_sentences(texts: _Texts, order: Int[np.ndarray, "sentence"], column: int) -> Iterator[SentenceHeat]:
    told: set[tuple[str, ...]] = set()
    for sentence in order:
        start = texts.sentences.starts[sentence]
        rows = texts.sentences.order[start : start + texts.sentences.sizes[sentence]]
        words = tuple(texts.forms[int(row)] for row in rows)
        if words not in told:
            told.add(words)
            scores = texts.scores[rows, column]
            values = tuple(float(score) if np.isfinite(score) else None for score in scores)
            yield SentenceHeat(words=words, labels=tuple(texts.labels[int(row)] for row in rows), values=values)


def _usable_rows(
    forms: Sequence[str],
    activations: Float[np.ndarray, "word neuron"],
    usable: Bool[np.ndarray, "word"] | None,
) -> Int[np.ndarray, "row"]:
    _check_lengths("row of `activations`", activations.shape[0], forms=forms)
    rows = np.arange(len(forms)) if usable is None else np.flatnonzero(usable)
    if rows.size == 0:
        raise DataError("At least one word must have a vector to describe a neuron, got none. Check the mask `usable`.")
    broken = rows[~np.isfinite(activations[rows]).all(axis=1)]
    if broken.size:
        raise DataError(
            f"Activations must be finite, got {broken.size} words with NaN or infinity, the first is word {broken[0]} "
            f"({forms[broken[0]]!r}). Pass over words without a vector with `usable`."
        )
    return rows


def _check_lengths(of: str, expected: int, **columns: Sequence[object]) -> None:
    for name, column in columns.items():
        if len(column) != expected:
            raise DataError(f"`{name}` must have one entry for each {of} ({expected}), got {len(column)}.")

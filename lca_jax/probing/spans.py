"""Entities of labels that mark spans word by word, and their F1: an entity counts where its ends and type are right.

Read are IOB1, IOB2 (BIO), IOE and BIOES (also with L for E, and U, W or S for one word), by the rules of the CoNLL
scorer: a label continues the span before it if its type is the same and neither mark says otherwise. So a label `I-PER`
after `O` or after another type begins a span, as in conlleval; no label is an error.

The interval is from the same bootstrap over sentences as that of an accuracy: F1 is a function of three sums.

Reference: Tjong Kim Sang and Buchholz 2000, "Introduction to the CoNLL-2000 shared task: chunking" (evaluation);
Ramshaw and Marcus 1995 (IOB labels).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from lca_jax.probing.class_scores import Score, mean_ratio
from lca_jax.probing.metrics import resampled_sums

_OUTSIDE = "O"
_BEGINS, _ENDS = frozenset("BSUW"), frozenset("ESLUW")
"""Marks of the first and of the last word of a span."""
_MARKS = frozenset("IM") | _BEGINS | _ENDS


class Span(NamedTuple):
    """An entity: its words from `first` to before `end`, in one sentence."""

    type: str
    first: int
    end: int


class EntityScore(NamedTuple):
    """Precision, recall and F1 of entities, each with its interval over sentences, and the counts behind them."""

    f1: Score
    precision: Score
    recall: Score
    gold: int
    predicted: int
    right: int


def marks_spans(classes: Sequence[str]) -> bool:
    """Returns whether the classes of a task mark spans: `O` among them, and all others a mark, a dash and a type."""
    others = [name for name in classes if name != _OUTSIDE]
    return (
        len(others) < len(classes)
        and bool(others)
        and all(len(name) > 2 and name[1] == "-" and name[0] in _MARKS for name in others)
    )


def read_spans(labels: Sequence[str | None]) -> list[Span]:
    """Reads the entities of one sentence.

    Args:
        labels: The label of each word; None (no label, no vector) ends a span as `O` does.

    Returns:
        The entities in the order of the words.
    """
    spans: list[Span] = []
    open_type, first, ended = None, 0, False
    for place, label in enumerate([*labels, None]):
        mark, _, kind = (label or _OUTSIDE).partition("-")
        inside = None if mark == _OUTSIDE else kind
        if open_type is not None and (ended or inside != open_type or mark in _BEGINS):
            spans.append(Span(open_type, first, place))
            open_type = None
        if inside is not None and open_type is None:
            open_type, first = inside, place
        ended = mark in _ENDS
    return spans


def entity_score(
    predicted: Sequence[str | None],
    gold: Sequence[str | None],
    sentences: Int[np.ndarray, " word"],
    *,
    seed: int = 0,
) -> EntityScore:
    """Scores the entities that predicted labels mark.

    Args:
        predicted: The predicted label of each word.
        gold: Its own label; words of a sentence follow each other.
        sentences: Number of the sentence that each word stands in.
        seed: Seed of the resampling.
    """
    starts = np.flatnonzero(np.diff(sentences, prepend=sentences[:1] - 1)).tolist()
    rows = np.zeros((3, len(starts)))
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(sentences)], strict=True)):
        found, true = set(read_spans(predicted[start:end])), set(read_spans(gold[start:end]))
        rows[:, number] = len(true), len(found), len(found & true)
    totals = rows.sum(axis=1)
    samples = np.concatenate([totals[None], resampled_sums(rows, sentences[starts], seed=seed)])
    true, found, right = samples.T
    return EntityScore(
        f1=_ratio(2 * right, true + found, 2 * rows[2], rows[0] + rows[1]),
        precision=_ratio(right, found, rows[2], rows[1]),
        recall=_ratio(right, true, rows[2], rows[0]),
        gold=int(totals[0]),
        predicted=int(totals[1]),
        right=int(totals[2]),
    )


def _ratio(
    above: Float[np.ndarray, " sample"],
    below: Float[np.ndarray, " sample"],
    right: Float[np.ndarray, " sentence"],
    units: Float[np.ndarray, " sentence"],
) -> Score:
    """Returns `mean_ratio` of one class; 0 where there is nothing below, as in conlleval."""
    return mean_ratio(above[:, None], below[:, None], right[None], units[None])

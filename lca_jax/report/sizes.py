"""Keeps pages small enough to open anywhere: what is shown of single neurons is shortened where a page is too large."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from lca_jax.descriptors.top_words import NeuronCard

LARGEST_BYTES = 1_900_000
"""No page of a report is larger than this, whatever the number of tasks, languages or neurons."""
_KEPT = ((20, 3), (20, 1), (20, 0), (10, 0), (5, 0), (0, 0))
"""Number of neurons of a task, and of sentences of a neuron: the first with which the page is small enough."""
_TASK_BYTES, _CARD_BYTES, _CHART_BYTES, _WORD_BYTES = 24_000, 1_400, 4_000, 165
"""About what a task, a neuron, its activations by class and a word of its sentences take on the page of a run."""

Cards = Mapping[str, Sequence[NeuronCard]]


def render_small(
    cards: Cards, render: Callable[[Cards, bool], str], *, tasks: int, largest: int = LARGEST_BYTES
) -> str:
    """Returns a page with as much of the cards as it has room for.

    Args:
        cards: The cards of the first neurons, by task.
        render: Makes the page of some cards, and of whether they were shortened.
        tasks: Number of tasks on the page.
        largest: Largest number of bytes.
    """
    page = None
    for count, sentences in _KEPT:
        kept = {task: [_shorter(card, sentences) for card in of_task[:count]] for task, of_task in cards.items()}
        if tasks * _TASK_BYTES + sum(map(_bytes_of, kept.values())) <= largest or count == 0:
            page = render(kept, any(kept[task] != list(of_task) for task, of_task in cards.items()))
            if size_of(page) <= largest:
                break
    assert page is not None
    return page


def _shorter(card: NeuronCard, sentences: int) -> NeuronCard:
    """Returns a card with so many sentences at most; without any it has no activations either."""
    return replace(card, sentences=card.sentences[:sentences], activations=card.activations if sentences else ())


def _bytes_of(cards: Sequence[NeuronCard]) -> int:
    words = sum(len(heat.words) for card in cards for heat in card.sentences)
    return _CARD_BYTES * len(cards) + _CHART_BYTES * sum(bool(card.activations) for card in cards) + _WORD_BYTES * words


def size_of(text: str) -> int:
    """Returns the bytes of a text in a file; halves of surrogate pairs, which corpora may have, count as one."""
    return len(text.encode(errors="replace"))

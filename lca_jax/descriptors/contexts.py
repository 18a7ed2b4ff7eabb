"""Texts from all quantiles of a neuron's activation: the top alone hides what else the neuron does."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from lca_jax.descriptors.texts import Texts


class Context(NamedTuple):
    """A text, and where the neuron's activation on it stands."""

    text: str
    word: str | None
    """The word, where units are words."""
    deviations: float
    """Activation in standard deviations from the mean."""
    quantile: float
    """Share of the texts with a lower activation, 0 to 1."""


def contexts_of(
    activations: Float[np.ndarray, " text"], texts: Texts, numbers: Int[np.ndarray, " text"], *, count: int
) -> tuple[Context, ...]:
    """Returns texts at even steps from the highest activation to the lowest.

    Args:
        activations: A neuron's activations.
        texts: All texts.
        numbers: The text of each activation.
        count: Number of texts.
    """
    if count < 1:
        return ()
    order = np.argsort(-activations, kind="stable")
    places = np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int))
    deviation = float(activations.std()) or 1.0
    mean = float(activations.mean())
    return tuple(
        Context(
            text=texts.texts[numbers[order[place]]],
            word=None if texts.words is None else texts.words[numbers[order[place]]],
            deviations=(float(activations[order[place]]) - mean) / deviation,
            quantile=float(1 - place / max(len(order) - 1, 1)),
        )
        for place in places
    )

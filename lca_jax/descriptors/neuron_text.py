"""Shows one neuron on one sentence: every word on a ground whose colour says how far its activation is from the mean.

In a notebook the record is HTML that needs no script; at a prompt it is a table. `lca_jax.plot.neuron` draws it with
matplotlib.
"""

from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Float, Int

from lca_jax.axes import Neuron
from lca_jax.errors import DataError, SettingsError
from lca_jax.store.store import ActivationStore
from lca_jax.tables import text_table

_ABOVE, _BELOW = (202, 84, 36), (44, 102, 176)
"""Colours (red, green, blue) of activations above and below the mean; they differ in brightness too."""
_FULL = 3.0
"""Standard deviations at which a colour is full."""


@dataclass(frozen=True, kw_only=True, repr=False)
class NeuronText:
    """One sentence with a neuron's activation at each word."""

    neuron: Neuron
    words: tuple[str, ...]
    values: tuple[float | None, ...]
    """Activations in standard deviations from the mean of `reference`; None for a word without a vector."""
    reference: str
    """Name of the store whose mean and deviation were used."""

    def __repr__(self) -> str:
        """Describes the sentence as a table of words and activations."""
        return text_table({"word": list(self.words), "deviations": list(self.values)}, caption=self._caption())

    def _repr_html_(self) -> str:
        """Returns the sentence with coloured grounds; the number of every word is its tooltip."""
        spans = [
            f'<span title="{_told(value)}" style="background:{colour(value)};color:#111;padding:0.1em 0.25em;'
            f'border-radius:0.2em">{escape(word)}</span>'
            for word, value in zip(self.words, self.values, strict=True)
        ]
        return (
            f'<div dir="auto" style="line-height:1.9">{" ".join(spans)}</div><small>{escape(self._caption())}</small>'
        )

    def _caption(self) -> str:
        return f"Neuron {self.neuron}, in standard deviations from its mean in {self.reference}"


def neuron_text(
    store: ActivationStore,
    neuron: Neuron | tuple[str, int, int],
    sentence: int,
    *,
    reference: ActivationStore | None = None,
) -> NeuronText:
    """Reads a neuron on one sentence of a store.

    For a sentence of your own, extract it: `extract(model, Corpus.from_words([words]))`, with the training store as
    `reference`.

    Args:
        store: Activations of the words.
        neuron: The neuron: site, layer, index.
        sentence: Number of the sentence, from 0.
        reference: The store in which mean and deviation are taken; the same store if None.

    Raises:
        SettingsError: The store has no such sentence, or no such neuron.
        DataError: The neuron is constant in the reference, or no word there has a vector.
    """
    neuron = Neuron(*neuron)
    numbers = store.words["sentence"].to_numpy()
    places = np.flatnonzero(numbers == sentence)
    if not len(places):
        last = int(numbers.max()) if len(numbers) else -1
        raise SettingsError(f"{store.place} has sentences 0 to {last}, got {sentence}, or that one has no words.")
    scale = reference or store
    values = _column(scale, neuron, None)[scale.usable].astype(np.float64)
    if not len(values) or values.std() == 0:
        raise DataError(f"Neuron {neuron} has no deviation in {scale.place}: give another store as `reference`.")
    of_sentence = (_column(store, neuron, places) - values.mean()) / values.std()
    forms, usable = store.forms(), store.usable
    return NeuronText(
        neuron=neuron,
        words=tuple(forms[place] for place in places),
        values=tuple(float(value) if usable[place] else None for place, value in zip(places, of_sentence, strict=True)),
        reference=str(scale.place),
    )


def colour(value: float | None) -> str:
    """Returns the colour of a ground: white at the mean, full at three deviations; grey without a value."""
    if value is None:
        return "#dddddd"
    strength = min(abs(value) / _FULL, 1.0) * 0.85
    mixed = (round(255 + (part - 255) * strength) for part in (_ABOVE if value > 0 else _BELOW))
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def _column(
    store: ActivationStore, neuron: Neuron, words: Int[np.ndarray, " word"] | None
) -> Float[np.ndarray, " _word"]:
    axis = store.axis([neuron.site], [neuron.layer])
    return store.matrix(words, sites=[neuron.site], layers=[neuron.layer])[:, axis.column(neuron)]


def _told(value: float | None) -> str:
    return "no vector" if value is None else f"{value:+.2f}"

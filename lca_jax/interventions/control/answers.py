"""What a model answers with and without edits, unit by unit: the class that each answer shows, and what else changed.

A unit is what one answer is about: a sentence whose text the model writes, or a word that is predicted or read by a
probe. All kinds of answers are compared in the same way, by `lca_jax.control_property`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Bool, Int, PyTree

from lca_jax.interventions.rows import Rows, WordPlaces
from lca_jax.text.corpus import Corpus

Classify = Callable[[str], str | None]
"""Says which class a text that the model wrote shows: its name, that of another class, or None if it shows none."""
Lemmas = Callable[[str], object]
"""What remains of a text when its inflection is taken away; equal for two texts that differ in the property alone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """Answers of every point; the first point is the model as it is."""

    said: Sequence[Sequence[str | None]]
    """The class of each unit's answer, point by point; None where it shows none."""
    changed: Bool[np.ndarray, "point unit"]
    """Whether the answer is another one than without edits."""
    otherwise_same: Bool[np.ndarray, "point unit"] | None
    """Whether all but the property is as it was; None where a unit does not say, as a word that a probe reads."""
    sentences: Int[np.ndarray, " unit"]
    """Number of the sentence of each unit."""
    words: Int[np.ndarray, " unit"] | None
    """Number of the word of each unit; None where a unit is a sentence."""
    texts: Sequence[Sequence[str]] | None
    """What the model wrote, point by point; None for a probe."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """sacrebleu's metrics that compare the texts with those without edits, by their names."""


@runtime_checkable
class Answering(Protocol):
    """Something that a model answers while it runs with edits."""

    @property
    def name(self) -> str:
        """What it is."""
        ...

    @property
    def corpus(self) -> Corpus:
        """What the model reads."""
        ...

    @property
    def batches(self) -> Sequence[Rows]:
        """The same as rows."""
        ...

    @property
    def places(self) -> WordPlaces:
        """Where its words stand in the rows."""
        ...

    @property
    def further(self) -> PyTree[Array | np.ndarray]:
        """Arrays that the program needs besides."""
        ...

    @property
    def score(self) -> Callable[..., Array]:
        """A pure function (setting, params, rows, edits, further) of one batch; equal ones share their program."""
        ...

    def answers(self, scored: Sequence[np.ndarray]) -> Answers:
        """Turns what `score` returned for each batch, points first, into answers."""
        ...


def classify_all(texts: Sequence[Sequence[str]], classify: Classify) -> list[list[str | None]]:
    """Returns the class of every text; each distinct text is asked once."""
    known = {text: classify(text) for text in dict.fromkeys(text for point in texts for text in point)}
    return [[known[text] for text in point] for point in texts]


def same_lemmas(texts: Sequence[Sequence[str]], lemmas: Lemmas) -> Bool[np.ndarray, "point unit"]:
    """Returns for every text whether its lemmas are those of the first point's text."""
    known = {text: lemmas(text) for text in dict.fromkeys(text for point in texts for text in point)}
    return np.array(
        [[known[one] == known[plain] for one, plain in zip(point, texts[0], strict=True)] for point in texts], bool
    ).reshape(len(texts), -1)


def differing(texts: Sequence[Sequence[str]]) -> Bool[np.ndarray, "point unit"]:
    """Returns for every text whether it is another one than the first point's."""
    return np.array(
        [[one != plain for one, plain in zip(point, texts[0], strict=True)] for point in texts], bool
    ).reshape(len(texts), -1)

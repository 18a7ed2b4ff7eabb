"""The texts that descriptors are found in, one for each unit of a store: sentences, or words in their sentences."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int

from lca_jax.descriptors.prompts import Prompt
from lca_jax.errors import DataError, SettingsError
from lca_jax.machine.checksums import checksum_of
from lca_jax.store.store import ActivationStore


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Texts, their documents, and which units of a store they are."""

    texts: tuple[str, ...]
    words: tuple[str, ...] | None = None
    """The word of every text that is asked about, where units are words."""
    documents: tuple[int, ...] | None = None
    """Document of every text; texts of one document are never in both halves. None: each by itself."""
    units: tuple[int, ...] | None = None
    """Number of every text's unit in a store; None: 0, 1, 2, …"""

    def __post_init__(self) -> None:
        if not self.texts:
            raise DataError("There is no text to describe.")
        columns = {"words": self.words, "documents": self.documents, "units": self.units}
        for name, column in columns.items():
            if column is not None and len(column) != len(self.texts):
                raise DataError(f"Give one of `{name}` for each text: {len(self.texts)} texts, {len(column)} {name}.")

    @property
    def document_numbers(self) -> Int[np.ndarray, " text"]:
        """The document of every text."""
        return np.arange(len(self.texts)) if self.documents is None else np.asarray(self.documents)

    def halves(self, *, seed: int) -> Bool[np.ndarray, " text"]:
        """Draws half of the documents: True for their texts.

        Raises:
            DataError: There are fewer than two documents.
        """
        numbers = np.unique(self.document_numbers, return_inverse=True)[1]
        if numbers.max() == 0:
            raise DataError("All texts are of one document: nothing is left to check a description on.")
        return (np.random.default_rng(seed).permutation(numbers.max() + 1) % 2 == 0)[numbers]

    def checksum_of(self, numbers: Sequence[int]) -> str:
        """SHA-256 over some texts and words."""
        words = self.words or self.texts
        return checksum_of(json.dumps([(self.texts[number], words[number]) for number in numbers]).encode())

    def fill(self, prompt: Prompt, numbers: Sequence[int]) -> list[str]:
        """Returns the filled prompts of some texts."""
        words = self.words or (None,) * len(self.texts)
        return [prompt.fill(self.texts[number], words[number]) for number in numbers]

    def asked(self) -> list[str]:
        """Returns what is embedded: the texts, or each word with its text after it."""
        return (
            list(self.texts)
            if self.words is None
            else [f"{w}: {t}" for w, t in zip(self.words, self.texts, strict=True)]
        )

    def read(self, store: ActivationStore, sites: Sequence[str] | None = None) -> Float32[np.ndarray, "text neuron"]:
        """Returns the activations of all neurons of a store on every text.

        Raises:
            DataError: A unit of the store is another text or word, or has no vector; the message names the first.
        """
        units = np.arange(len(self.texts)) if self.units is None else np.asarray(self.units)
        if len(units) and not 0 <= int(units.min()) <= int(units.max()) < store.word_count:
            raise DataError(f"{store.place} has {store.word_count} units, and the texts name unit {int(units.max())}.")
        forms, wanted = store.forms(), self.words or self.texts
        for number, unit in enumerate(units):
            if forms[unit].split() != wanted[number].split():
                raise DataError(
                    f"Text {number} is {wanted[number][:40]!r}, but unit {unit} of {store.place} is "
                    f"{forms[unit][:40]!r}. Give the texts that the store was made from."
                )
            if not store.usable[unit]:
                raise DataError(f"Unit {unit} of {store.place}, {forms[unit][:40]!r}, has no vector. Leave it out.")
        return np.asarray(store.matrix(units, sites=sites))


def texts_of_store(
    store: ActivationStore, *, count: int | None = None, seed: int = 0, documents: Sequence[int] | None = None
) -> Texts:
    """Returns the texts of a store's units that have a vector: its sentences, or its words in their sentences.

    Args:
        store: A store of sentences or of words.
        count: Number of units that are drawn; all if None.
        seed: Seed of the draw.
        documents: Document of every unit of the store; words are told by their sentence if None.

    Raises:
        SettingsError: The units are pieces.
    """
    if store.unit == "piece":
        raise SettingsError("Descriptions are of sentences or of words in context: extract with another `pool`.")
    chosen = np.flatnonzero(store.usable)
    if count is not None and count < len(chosen):
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, count, replace=False))
    forms = store.forms()
    numbers = store.words["sentence"].to_numpy()
    told = numbers if documents is None else np.asarray(documents)
    of_words = store.unit == "word"
    sentences: dict[int, list[str]] = {}
    if of_words:
        for number, form in zip(numbers, forms, strict=True):
            sentences.setdefault(int(number), []).append(form)
    written = {number: " ".join(words) for number, words in sentences.items()}
    return Texts(
        texts=tuple(written[int(numbers[unit])] if of_words else forms[unit] for unit in chosen),
        words=tuple(forms[unit] for unit in chosen) if of_words else None,
        documents=tuple(int(told[unit]) for unit in chosen),
        units=tuple(int(unit) for unit in chosen),
    )

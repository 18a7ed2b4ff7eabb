"""Texts about planted concepts, a generator that names them, and a store whose first neurons follow them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lca_jax.descriptors.texts import Texts
from lca_jax.store.store import ActivationStore
from tests.stores import store_of

CONCEPTS = ("camera", "phone", "music", "router")
PER_DOCUMENT = 3


class Namer:
    """Writes the concepts that it finds in the text of a prompt, and a word of its own."""

    fingerprint = "namer"

    def __init__(self) -> None:
        self.calls = 0

    def write(self, prompts: Sequence[str], *, samples: int, seed: int) -> list[list[str]]:
        self.calls += 1
        rng = np.random.default_rng(seed)
        answers = []
        for prompt in prompts:
            text = prompt.rsplit("Text: ", 1)[1].split("\n")[0]
            named = [concept for concept in CONCEPTS if concept in text]
            answers.append([" ; ".join([*named, f"The thing{rng.integers(1000)}"]) for _ in range(samples)])
        return answers

    def log_probabilities(self, prompts: Sequence[str], answers: Sequence[str]) -> np.ndarray:
        """Finds " yes" likely where a topic of the last question stands in its text."""
        found = np.zeros((len(prompts), len(answers)), np.float32)
        for row, prompt in enumerate(prompts):
            if "Topics: " in prompt:
                topics = prompt.rsplit("Topics: ", 1)[1].split("\n")[0].split(", ")
                text = prompt.rsplit("Text: ", 1)[1].split("\n")[0]
                yes = any(topic in text.split() for topic in topics)
                found[row] = [np.log(0.9 if (answer == " yes") == yes else 0.1) for answer in answers]
            else:
                text = prompt.rsplit("Text: ", 1)[1].split("\n")[0]
                found[row] = [np.log(0.5 if answer.strip() in text else 0.01) for answer in answers]
        return found


def masks(count: int, *, seed: int = 0) -> np.ndarray:
    """Which concept is in which text (text, concept)."""
    return np.random.default_rng(seed).uniform(size=(count, len(CONCEPTS))) < 0.3


def planted(
    count: int = 240, *, signal: float = 2.0, noise: int = 40, seed: int = 0
) -> tuple[ActivationStore, Texts, Mapping[str, Mapping[str, np.ndarray]]]:
    """A store whose neurons 0 to 3 are high, and 4 to 7 low, where a concept is present; the others are noise."""
    present = masks(count, seed=seed)
    told = tuple(
        " ".join(["text", str(number), *(c for c, has in zip(CONCEPTS, row, strict=True) if has)])
        for number, row in enumerate(present)
    )
    rng = np.random.default_rng(seed + 1)
    vectors = rng.normal(size=(count, 1, 2 * len(CONCEPTS) + noise)).astype(np.float32)
    for number in range(len(CONCEPTS)):
        label = (present[:, number] - present[:, number].mean()) / present[:, number].std()
        vectors[:, 0, number] += signal * label
        vectors[:, 0, len(CONCEPTS) + number] -= signal * label
    store = store_of(vectors, [[text] for text in told], {"none": [[None]] * count})
    documents = tuple(number // PER_DOCUMENT for number in range(count))
    labels = {"topic": {concept: present[:, number] for number, concept in enumerate(CONCEPTS)}}
    return store, Texts(texts=told, documents=documents), labels


def of_model(store: ActivationStore, fingerprint: str) -> ActivationStore:
    """The same store, as if another model had made it."""
    recipe = replace(store.manifest.recipe, model=fingerprint)
    return replace(store, manifest=replace(store.manifest, recipe=recipe))

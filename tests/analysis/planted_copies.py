"""Stores with planted neurons of which some are near copies of each other, for the tests of stability."""

import numpy as np

from lca_jax.store.store import ActivationStore
from tests.stores import store_of

LAYERS, WIDTH = 3, 20
CARRIERS = {"A": 2, "B": 7, "C": 11}
"""The index that carries each class, in all layers: the layers' neurons of it are near copies of each other."""


def copied_store(*, sentences: int = 120, seed: int = 0, shuffled: bool = False) -> ActivationStore:
    """Words of three classes, four a sentence; every layer is the one before with a little noise.

    Args:
        sentences: Number of sentences.
        seed: Seed of all draws.
        shuffled: Whether the labels are drawn anew, so that nothing is to be found.
    """
    rng = np.random.default_rng(seed)
    words, names = 4 * sentences, list(CARRIERS)
    classes = rng.integers(0, 3, words)
    stream = rng.normal(size=(words, WIDTH))
    for number, name in enumerate(names):
        stream[:, CARRIERS[name]] += 2.5 * (classes == number)
    layers = np.stack([stream + 0.3 * rng.normal(size=stream.shape) for _ in range(LAYERS)], axis=1)
    if shuffled:
        classes = rng.integers(0, 3, words)
    labels = [names[number] for number in classes]
    forms = [f"w{number}" for number in rng.integers(0, 40, words)]

    def divided(values: list[str]) -> list[list[str]]:
        return [values[start : start + 4] for start in range(0, words, 4)]

    tagged: list[list[str | None]] = [list(part) for part in divided(labels)]
    return store_of(layers.astype(np.float32), divided(forms), {"t": tagged})

"""Draws complementary half-samples of the training words, by sentence: two halves that have no sentence in common.

Replicates 1 and 2 are the two halves of one random division of the sentences, replicates 3 and 4 those of another, and
so on. A word has weight 1 in the half of its sentence and 0 in the other, so no word of X is copied, and all halves are
problems of one solve. What both halves of a pair find was found twice, on words that have no sentence in common; this
is what the error bound of stability selection rests on (`analysis.stability`).

Both halves have ⌊sentences / 2⌋ sentences; of an odd number one sentence is in neither. Mean and deviation of the
features stay those of all words, so the halves share the scale of their features, and nothing else.

Reference: Shah and Samworth 2013, "Variable selection with error control: another look at stability selection",
section 2 (complementary pairs).
"""

import numpy as np
from jaxtyping import Float32, Int

from lca_jax.errors import DataError, SettingsError

_HALVES = 1
"""Stream of random numbers, apart from that of bootstrap samples of the same seed."""


def draw_half(sentences: Int[np.ndarray, " word"], *, seed: int, replicate: int) -> Float32[np.ndarray, " word"]:
    """Returns weight 1 for the words of one half of the sentences, 0 for all others.

    Args:
        sentences: Number of the sentence that each word stands in.
        seed: Seed of all divisions.
        replicate: Number of the half, from 1. An odd one and the next are the halves of one division; it is the same
            division however many others are drawn.

    Raises:
        DataError: There are fewer than two sentences.
    """
    distinct, place = np.unique(sentences, return_inverse=True)
    size = len(distinct) // 2
    if not size:
        raise DataError(f"Halves are drawn by sentence and need at least 2, got {len(distinct)}. Give more text.")
    division, second = divmod(replicate - 1, 2)
    order = np.random.default_rng((seed, _HALVES, division)).permutation(len(distinct))
    chosen = np.zeros(len(distinct), np.float32)
    chosen[order[size * second : size * (second + 1)]] = 1
    return chosen[place]


def check_pairs(replicates: int) -> None:
    """Refuses a number of half-samples that does not make whole pairs.

    Raises:
        SettingsError: The number is odd.
    """
    if replicates % 2:
        raise SettingsError(
            f"Half-samples come in complementary pairs, so `replicates` must be even, got {replicates}. "
            f"Give {replicates + 1}."
        )

"""Draws bootstrap samples of the training words, by sentence: words of one sentence are not independent of each other.

A sample draws as many sentences as there are, with replacement; how often a sentence was drawn is the weight of its
words. So no word of X is copied, and all samples are problems of one solve. Their probes vary as probes of other
treebanks of the same kind would.

Reference: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 8 (the units drawn are the independent
ones).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float32, Int

from lca_jax.probing.labelling import Labelling


def draw_sentences(sentences: Int[np.ndarray, " word"], *, seed: int, replicate: int) -> Float32[np.ndarray, " word"]:
    """Counts how often each word's sentence is drawn.

    Args:
        sentences: Number of the sentence that each word stands in.
        seed: Seed of all samples.
        replicate: Number of the sample; it is the same sample however many others are drawn.
    """
    distinct, place = np.unique(sentences, return_inverse=True)
    drawn = np.random.default_rng((seed, replicate)).integers(0, len(distinct), len(distinct))
    return np.bincount(drawn, minlength=len(distinct))[place].astype(np.float32)


def replicate_labellings(
    labellings: Sequence[Labelling], sentences: Int[np.ndarray, " word"], *, replicates: int, seed: int
) -> list[Labelling]:
    """Returns the labellings, followed by all of them on each bootstrap sample.

    A sample is the same for all tasks and controls, so that their differences within it can be compared.
    """
    replicated = list(labellings)
    for number in range(1, replicates + 1):
        weights = draw_sentences(sentences, seed=seed, replicate=number)
        replicated += [replace(labelling, weights=weights, replicate=number) for labelling in labellings]
    return replicated

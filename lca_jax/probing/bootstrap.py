"""Draws samples of the training words, by sentence: words of one sentence are not independent of each other.

A bootstrap sample draws as many sentences as there are, with replacement; how often a sentence was drawn is the weight
of its words. So no word of X is copied, and all samples are problems of one solve. Their probes vary as probes of other
treebanks of the same kind would. The other kind of sample is in `halves`.

Reference: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 8 (the units drawn are the independent
ones).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float32, Int

from lca_jax.errors import SettingsError
from lca_jax.probing.halves import check_pairs, draw_half
from lca_jax.probing.labelling import SAMPLE_KINDS, Labelling, SampleKind


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
    labellings: Sequence[Labelling],
    sentences: Int[np.ndarray, " word"],
    *,
    replicates: int,
    seed: int,
    kind: SampleKind = "bootstrap",
) -> list[Labelling]:
    """Returns the labellings, followed by all of them on each sample.

    A sample is the same for all tasks and controls, so that their differences within it can be compared.

    Raises:
        SettingsError: The number of samples is negative, or odd where they are halves; or the kind is unknown.
        DataError: There are too few sentences to be halved.
    """
    check_samples(replicates, kind)
    replicated = list(labellings)
    for number in range(1, replicates + 1):
        weights = draw_sample(sentences, kind=kind, seed=seed, replicate=number)
        sample = {"weights": weights, "replicate": number, "kind": kind}
        replicated += [replace(labelling, **sample) for labelling in labellings]
    return replicated


def draw_sample(
    sentences: Int[np.ndarray, " word"], *, kind: SampleKind, seed: int, replicate: int
) -> Float32[np.ndarray, " word"]:
    """Returns how much each word counts in a sample of a kind; arguments are those of `draw_sentences`."""
    draw = draw_half if kind == "halves" else draw_sentences
    return draw(sentences, seed=seed, replicate=replicate)


def check_samples(replicates: int, kind: str) -> None:
    """Refuses a number or a kind of samples that cannot be drawn.

    Raises:
        SettingsError: The number is negative, or odd where samples are halves; or the kind is unknown.
    """
    if kind not in SAMPLE_KINDS:
        raise SettingsError(f"`kind` of samples must be one of {', '.join(SAMPLE_KINDS)}, got {kind!r}.")
    if replicates < 0:
        raise SettingsError(f"`replicates` must be 0 or more, got {replicates}.")
    if kind == "halves":
        check_pairs(replicates)

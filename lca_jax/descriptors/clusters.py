"""Makes one descriptor of phrases that say the same: average-linkage clusters, named by the central phrase.

"dvd", "dvd player" and "player" as three descriptors would make a right description look like two wrong ones, and the
tags of two halves of the data look different.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage

from lca_jax.descriptors.embedding import directions
from lca_jax.errors import SettingsError


class PhraseCluster(NamedTuple):
    """Phrases that count as one descriptor."""

    name: str
    """The central phrase."""
    phrases: tuple[str, ...]
    """All of them, the name first, then by the number of their texts."""


def cluster_phrases(
    counts: Mapping[str, int], vectors: Float[np.ndarray, "phrase neuron"], *, cosine: float
) -> list[PhraseCluster]:
    """Returns clusters of phrases, those of most texts first.

    Two clusters are joined while the mean cosine between their phrases is at least `cosine`, the nearest first. The
    name is the phrase with the largest mean cosine to the others, each weighted by the number of its texts.

    Args:
        counts: Phrase to the number of its texts.
        vectors: Their vectors, in the order of `counts`; the mean is taken off.
        cosine: Smallest mean cosine inside a cluster.

    Raises:
        SettingsError: `cosine` is not between -1 and 1, or numbers differ.
    """
    phrases = list(counts)
    if not -1 < cosine <= 1 or len(phrases) != len(vectors):
        raise SettingsError(
            f"`cosine` must be above -1 and at most 1, with a vector for each phrase; got {cosine}, {len(phrases)} "
            f"phrases and {len(vectors)} vectors."
        )
    unit = directions(vectors.astype(np.float64))
    numbers = number_clusters(unit, cosine=cosine)
    weight = np.array([counts[phrase] for phrase in phrases], np.float64)
    clusters = []
    for number in range(numbers.max(initial=-1) + 1):
        members = np.flatnonzero(numbers == number)
        central = (unit[members] @ unit[members].T) @ weight[members]
        order = members[np.lexsort((members, -weight[members]))]
        name = members[int(np.argmax(central))]
        clusters.append(PhraseCluster(phrases[name], (phrases[name], *(phrases[m] for m in order if m != name))))
    return sorted(clusters, key=lambda cluster: (-sum(counts[phrase] for phrase in cluster.phrases), cluster.name))


def number_clusters(unit: Float[np.ndarray, "phrase neuron"], *, cosine: float) -> Int[np.ndarray, " phrase"]:
    """Returns the number of each vector's cluster, from 0; average linkage over cosines (SciPy's)."""
    if len(unit) < 2:
        return np.zeros(len(unit), np.int64)
    apart = 1 - unit @ unit.T
    upper = np.clip(apart[np.triu_indices(len(unit), 1)], 0, 2)
    return fcluster(linkage(upper, method="average"), t=1 - cosine + 1e-12, criterion="distance").astype(np.int64) - 1


def by_texts(counts: Mapping[str, int], *, fewest: int, most: int) -> dict[str, int]:
    """Returns the phrases of at least `fewest` texts, at most `most` of them, those of most texts first."""
    chosen = sorted(
        (phrase for phrase, count in counts.items() if count >= fewest), key=lambda one: (-counts[one], one)
    )
    return {phrase: counts[phrase] for phrase in chosen[:most]}


def cluster_texts(
    clusters: Sequence[PhraseCluster], of_text: Sequence[Mapping[str, float]]
) -> Float[np.ndarray, "text descriptor"]:
    """Returns the share of each text's answers that hold a phrase of each cluster, at most 1."""
    place = {phrase: number for number, cluster in enumerate(clusters) for phrase in cluster.phrases}
    shares = np.zeros((len(of_text), len(clusters)), np.float32)
    for number, phrases in enumerate(of_text):
        for phrase, share in phrases.items():
            if phrase in place:
                shares[number, place[phrase]] += share
    return np.minimum(shares, 1)

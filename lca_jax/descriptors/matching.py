"""Ties all neurons to all descriptors at once: one product of standardised activations and presence, on the device.

The signed score of a neuron and a descriptor is Pearson's r over the texts. Average precision and AUC tell how well the
neuron, in the direction of its r, separates the texts where the descriptor is present from the others. What chance
alone reaches is measured by permuting the texts: the bound is a quantile of the largest |r| of all pairs, so the
chance of even one false pair is at most `level` (Westfall & Young 1993, maxT). Whole documents are permuted, since
sentences of one document are alike.

Cost: 2 · text · neuron · descriptor a product; r is one, the bound one a permutation, AUC one and a sort of each
neuron; average precision, which is for chosen pairs, a sort and a running sum of each.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int, Shaped

from lca_jax.errors import DataError
from lca_jax.machine.precision import FLOAT32

_BLOCK = 64
"""Neurons that are sorted together."""


class Match(NamedTuple):
    """Scores of all pairs."""

    r: Float32[np.ndarray, "neuron descriptor"]
    """Pearson's correlation over the texts; 0 for a neuron or descriptor that never changes."""
    auc: Float32[np.ndarray, "neuron descriptor"]
    """Chance that a text with the descriptor is above one without it, in the direction of r; NaN without both kinds."""


def correlate(
    activations: Float[np.ndarray, "text neuron"], presence: Float[np.ndarray, "_text descriptor"]
) -> Float32[np.ndarray, "neuron descriptor"]:
    """Returns Pearson's r of all pairs.

    Raises:
        DataError: Fewer than four texts, other numbers of texts, or a value that is not finite.
    """
    _check(activations, presence)
    return np.asarray(_correlate(jnp.asarray(activations, jnp.float32), jnp.asarray(presence, jnp.float32)))


def match(
    activations: Float[np.ndarray, "text neuron"],
    presence: Float[np.ndarray, "_text descriptor"],
    present: Bool[np.ndarray, "_text descriptor"],
) -> Match:
    """Returns r and AUC of all pairs.

    Args:
        activations: One column for each neuron.
        presence: How far each descriptor is present.
        present: Where it counts as present.

    Raises:
        DataError: As `correlate`.
    """
    _check(activations, presence)
    A, P = jnp.asarray(activations, jnp.float32), jnp.asarray(presence, jnp.float32)
    r = _correlate(A, P)
    return Match(np.asarray(r), np.asarray(_auc(A, jnp.asarray(present, jnp.float32), r)))


def average_precision(
    activations: Float[np.ndarray, "text neuron"],
    present: Bool[np.ndarray, "_text descriptor"],
    chosen: Int[np.ndarray, "neuron place"],
    signs: Int[np.ndarray, "neuron place"],
) -> Float32[np.ndarray, "neuron place"]:
    """Returns the average precision of chosen pairs: of the texts ordered by the neuron, highest or lowest first.

    Args:
        activations: One column for each neuron.
        present: Where each descriptor is present.
        chosen: Numbers of the descriptors of each neuron.
        signs: 1 where the highest activation is first, -1 where the lowest is.

    Raises:
        DataError: As `correlate`.
    """
    _check(activations, present)
    tables = jnp.asarray(activations, jnp.float32), jnp.asarray(present, jnp.float32)
    return np.asarray(_precisions(*tables, jnp.asarray(chosen, jnp.int32), jnp.asarray(signs, jnp.float32)))


def permutation_bound(
    activations: Float[np.ndarray, "text neuron"],
    presence: Float[np.ndarray, "_text descriptor"],
    *,
    documents: Int[np.ndarray, " text"] | None = None,
    permutations: int = 200,
    level: float = 0.05,
    seed: int = 0,
) -> float:
    """Returns the |r| that any pair exceeds by chance alone with probability `level` at most.

    Args:
        activations: One column for each neuron.
        presence: How far each descriptor is present.
        documents: Document of each text; each text by itself if None.
        permutations: Number of permutations.
        level: Family-wise level of the test.
        seed: Seed of the permutations.

    Raises:
        DataError: As `correlate`.
    """
    largest = largest_by_chance(activations, presence, documents=documents, permutations=permutations, seed=seed)
    # The observed order counts as one of the permutations, which makes the test exact.
    place = int(np.ceil((1 - level) * (permutations + 1))) - 1
    return float(np.sort(largest)[place]) if place < permutations else float("inf")


def largest_by_chance(
    activations: Float[np.ndarray, "text neuron"],
    presence: Float[np.ndarray, "_text descriptor"],
    *,
    documents: Int[np.ndarray, " text"] | None = None,
    permutations: int = 200,
    seed: int = 0,
) -> Float32[np.ndarray, " permutation"]:
    """Returns the largest |r| of all pairs in each permutation of the texts."""
    _check(activations, presence)
    orders = permute_texts(len(presence), documents=documents, permutations=permutations, seed=seed)
    A, P = jnp.asarray(activations, jnp.float32), jnp.asarray(presence, jnp.float32)
    return np.asarray(_largest(A, P, jnp.asarray(orders)))


def permute_texts(
    texts: int, *, documents: Int[np.ndarray, " text"] | None, permutations: int, seed: int
) -> Int[np.ndarray, "permutation text"]:
    """Returns orders of the texts in which the texts of a document stay together, in their order."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(texts) if documents is None else np.unique(documents, return_inverse=True)[1]
    by_document = np.argsort(numbers, kind="stable")
    orders = np.empty((permutations, texts), np.int32)
    for row in orders:
        keys = rng.permutation(numbers.max() + 1)
        row[by_document] = by_document[np.argsort(keys[numbers[by_document]], kind="stable")]
    return orders


def _check(activations: Float[np.ndarray, "..."], presence: Shaped[np.ndarray, "..."]) -> None:
    if len(activations) != len(presence) or len(presence) < 4:
        raise DataError(
            f"Matching needs at least four texts, with a row in both matrices; got {len(activations)} rows of "
            f"activations and {len(presence)} of presence."
        )
    for what, values in (("activations", activations), ("presence", presence)):
        if not np.isfinite(values).all():
            text = int(np.argwhere(~np.isfinite(values))[0][0])
            raise DataError(f"A value of {what} is not a finite number, at text {text}.")


def _standardise(values: Float[Array, "text column"]) -> Float[Array, "text column"]:
    """Returns columns of mean 0 and sum of squares 1; one that never changes becomes zeros."""
    moved = values - values.mean(axis=0, keepdims=True)
    length = jnp.sqrt((moved * moved).sum(axis=0, keepdims=True))
    changes = length > 1e-6 * jnp.abs(values).max(axis=0, keepdims=True, initial=1e-30) * values.shape[0] ** 0.5
    return jnp.where(changes, moved / jnp.where(changes, length, 1.0), 0.0)


@jax.jit
def _correlate(
    activations: Float[Array, "text neuron"], presence: Float[Array, "text descriptor"]
) -> Float[Array, "neuron descriptor"]:
    return jnp.matmul(_standardise(activations).T, _standardise(presence), precision=FLOAT32)


@jax.jit
def _largest(
    activations: Float[Array, "text neuron"],
    presence: Float[Array, "text descriptor"],
    orders: Int[Array, "permutation text"],
) -> Float[Array, " permutation"]:
    A, P = _standardise(activations).T, _standardise(presence)

    def largest(order: Int[Array, " text"]) -> Float[Array, ""]:
        return jnp.abs(jnp.matmul(A, P[order], precision=FLOAT32)).max()

    return jax.lax.map(largest, orders)


@jax.jit
def _auc(
    activations: Float[Array, "text neuron"],
    present: Float[Array, "text descriptor"],
    r: Float[Array, "neuron descriptor"],
) -> Float[Array, "neuron descriptor"]:
    """Returns the AUC of all pairs from sums of ranks, ties counted half: one sort a neuron and one product."""
    texts = activations.shape[0]
    count = present.sum(axis=0)

    def rank(values: Float[Array, " text"]) -> Float[Array, " text"]:
        ordered = jnp.sort(values)
        sides = [jnp.searchsorted(ordered, values, side=side).astype(jnp.float32) for side in ("left", "right")]
        return (sides[0] + sides[1] + 1) / 2

    ranks = jax.lax.map(rank, activations.T, batch_size=_BLOCK)
    above = jnp.matmul(ranks, present, precision=FLOAT32) - (count * (count + 1) / 2)[None, :]
    auc = above / jnp.maximum(count * (texts - count), 1.0)[None, :]
    both = (count > 0) & (count < texts)
    return jnp.where(both[None, :], jnp.where(r >= 0, auc, 1 - auc), jnp.nan)


@jax.jit
def _precisions(
    activations: Float[Array, "text neuron"],
    present: Float[Array, "text descriptor"],
    chosen: Int[Array, "neuron place"],
    signs: Float[Array, "neuron place"],
) -> Float[Array, "neuron place"]:
    """Returns average precision, ties counted as scikit-learn counts them."""
    places = jnp.arange(1, activations.shape[0] + 1, dtype=jnp.float32)

    def of_pair(values: Float[Array, " text"], hits: Float[Array, " text"]) -> Float[Array, ""]:
        order = jnp.argsort(-values)
        ordered = -values[order]
        last = jnp.searchsorted(ordered, ordered, side="right") - 1  # the last text of equal activation
        reached = jnp.cumsum(hits[order])
        return (hits[order] * reached[last] / places[last]).sum() / jnp.maximum(hits.sum(), 1.0)

    def of_neuron(one: tuple[Array, Array, Array]) -> Float[Array, " place"]:
        values, numbers, directions = one
        return jax.vmap(of_pair)(directions[:, None] * values[None, :], present[:, numbers].T)

    return jax.lax.map(of_neuron, (activations.T, chosen, signs), batch_size=_BLOCK)

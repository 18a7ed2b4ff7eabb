"""Convex problems that share one design, and what a solver returns for them.

A problem is one convex fit: labels on some of the words, how much each word counts, one (l1, l2), some of the features.
Problems are batched with the class axis padded to the widest; a class that a problem has not gets share 0 and bias -∞
and costs its column only. All that a problem owns is (problem, word) or smaller; X belongs to the design.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lca_jax.devices import data_mesh, shard_rows


class Problems(NamedTuple):
    """Convex problems that share one design; class axis padded to the widest."""

    labels: Int[Array, "problem word"]
    """Class number of each word, -1 where the word is not of the problem."""
    weights: Float[Array, "problem word"] | None
    """How much each word counts, in any unit; None where every word of every problem counts the same."""
    shares: Float[Array, "problem class"]
    """Share of each class in the weight of the problem's words; 0 for classes the problem has not."""
    l1: Float[Array, " problem"]
    l2: Float[Array, " problem"]
    keep: Bool[Array, "problem feature"]
    """Features the problem may use; the weights of the others stay zero."""


class Solution(NamedTuple):
    """What the solver returns, on the host, problems in the order given."""

    weights: Float[np.ndarray, "problem class feature"]
    bias: Float[np.ndarray, "problem class"]
    objective: Float[np.ndarray, " problem"]
    duality_gap: Float[np.ndarray, " problem"]
    null_objective: Float[np.ndarray, " problem"]
    """F at zero weights and the best bias: the entropy of the class shares."""
    iterations: Int[np.ndarray, " problem"]
    converged: Bool[np.ndarray, " problem"]


def make_problems(
    labels: Int[np.ndarray, "problem word"],
    *,
    classes: int,
    l1: Float[np.ndarray, " problem"],
    l2: Float[np.ndarray, " problem"],
    keep: Bool[np.ndarray, "problem feature"],
    weights: Float[np.ndarray, "problem word"] | None = None,
) -> Problems:
    """Puts problems on the devices, their words split and padded (with -1) like the rows of the design.

    Args:
        labels: Class number of each word; negative where the word is not of the problem.
        classes: Length of the class axis.
        l1: Weight of ‖W‖₁.
        l2: Weight of the second term.
        keep: Features that each problem may use.
        weights: How much each word counts, finite and ≥ 0, more than 0 for some word of each problem; a word of weight
            0 is not of the problem. None: all the same, which takes no memory.
    """
    if weights is None:
        sharded = None
        counts = np.stack([np.bincount(row[row >= 0], minlength=classes) for row in labels])
    else:
        # A word that counts nothing must not ask for the logarithm of a probability that may be 0.
        labels = np.where(weights > 0, labels, -1)
        counted = np.where(labels >= 0, weights, 0).astype(np.float64)
        counted /= counted.sum(axis=1, keepdims=True)
        sharded = shard_rows(data_mesh(), counted.astype(np.float32), axis=1)
        rows = zip(labels, counted, strict=True)
        counts = np.stack([np.bincount(row[row >= 0], share[row >= 0], minlength=classes) for row, share in rows])
    return Problems(
        labels=shard_rows(data_mesh(), labels.astype(np.int32), axis=1, fill=-1),
        weights=sharded,
        shares=jnp.asarray((counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)),
        l1=jnp.asarray(l1.astype(np.float32)),
        l2=jnp.asarray(l2.astype(np.float32)),
        keep=jnp.asarray(keep),
    )


def one_hot_targets(problems: Problems) -> Float[Array, "problem word class"]:
    """1 at the label of each word, all 0 for words that are not of the problem."""
    numbers = jnp.arange(problems.shares.shape[1], dtype=problems.labels.dtype)
    return (problems.labels[:, :, None] == numbers[None, None, :]).astype(problems.shares.dtype)


def word_weights(problems: Problems) -> Float[Array, "problem word"]:
    """The share of each word in the weight of its problem, 1/n where all count the same; 0 for words not of it."""
    counted = (problems.labels >= 0).astype(problems.shares.dtype)
    if problems.weights is not None:
        counted = counted * problems.weights
    total = counted.sum(axis=1, keepdims=True)
    return counted / jnp.where(total > 0, total, 1.0)


def starting_bias(problems: Problems) -> Float[Array, "problem class"]:
    """The best bias at zero weights: log shares, -∞ for classes that a problem has not."""
    return jnp.where(problems.shares > 0, jnp.log(jnp.maximum(problems.shares, 1e-37)), -jnp.inf)


def null_objective(problems: Problems) -> Float[Array, " problem"]:
    """The objective at zero weights and the best bias: the entropy of the class shares."""
    return entropy(problems.shares)


def entropy(probabilities: Float[Array, "... class"]) -> Float[Array, "..."]:
    """Entropy along the class axis, in nats."""
    logs = jnp.log(jnp.maximum(probabilities, 1e-37))
    return -jnp.where(probabilities > 0, probabilities * logs, 0.0).sum(axis=-1)

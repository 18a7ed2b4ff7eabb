"""Convex problems that share one design: how they are asked, how they lie on the devices, and what a solver answers.

A problem is one convex fit: labels on some of the words, how much each word counts, one (l1, l2), some of the features.
Labels are class numbers (multinomial logistic loss) or numbers (squared error); a batch holds one kind. Problems are
batched with the class axis padded to the widest; a class that a problem has not gets share 0 and bias -∞ and costs its
column only. All that a problem owns is (problem, word) or smaller; X belongs to the design.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Num

from lca_jax.machine.devices import replicate, shard_rows


class Question(NamedTuple):
    """One problem on the host."""

    labels: Num[np.ndarray, " word"]
    """Class number of each word, negative where the word is not of the problem; or, of a regression, the number to
    predict (floating point), NaN where the word is not of the problem."""
    weights: Float[np.ndarray, " word"] | None
    """How much each word counts, in any unit: finite, ≥ 0, more than 0 for some word. None where all count the same."""
    classes: int
    """Number of classes; 1 of a regression."""
    l1: float
    l2: float
    keep: Bool[np.ndarray, " feature"]
    """Features it may use; the weights of the others stay zero."""
    parents: tuple[int, ...] = ()
    """Places of the questions near whose solutions this one's lies: it waits for them and starts from the best."""


class Problems(NamedTuple):
    """Problems of one kind on the devices; class axis padded to the widest."""

    labels: Num[Array, "problem word"]
    """As in `Question`; -1 or NaN for padding."""
    weights: Float[Array, "problem word"] | None
    """How much each word counts, in any unit; None where every word of every problem counts the same."""
    shares: Float[Array, "problem class"]
    """Share of each class in the weight of the problem's words, 0 for classes the problem has not; of a regression the
    mean of the numbers."""
    l1: Float[Array, " problem"]
    l2: Float[Array, " problem"]
    keep: Bool[Array, "problem feature"]
    """Features the problem may use; the weights of the others stay zero."""
    total: Float[Array, " problem"] | None
    """Sum of the weights over all words of each problem, of which these may be a part; None where a part, like a
    mini-batch, is to count as if it were all."""

    @property
    def regression(self) -> bool:
        """Whether numbers are predicted, by squared error; else classes."""
        return jnp.issubdtype(self.labels.dtype, jnp.floating)


class Answer(NamedTuple):
    """What a solver returns for one question, on the host; in every layer, where the design is a matrix a layer."""

    weights: Float[np.ndarray, "layer class feature"]
    bias: Float[np.ndarray, "layer class"]
    objective: Float[np.ndarray, " layer"]
    duality_gap: Float[np.ndarray, " layer"]
    null_objective: float
    """F at zero weights and the best bias: the entropy of the class shares, or half the variance of the numbers."""
    iterations: Int[np.ndarray, " layer"]
    converged: Bool[np.ndarray, " layer"]
    curvature: Float[np.ndarray, " layer"] | None = None
    """What the loss was found to curve by in the Gram metric: where a neighbour begins to look for its own."""


def make_problems(questions: Sequence[Question], *, classes: int, mesh: Mesh, rows: int) -> Problems:
    """Puts problems of one kind on the devices, their words split and padded like the rows of the design.

    Args:
        questions: All with class numbers, or all with numbers.
        classes: Length of the class axis: at least that of the widest.
        mesh: Where the design lies.
        rows: Words of the design, padding included.
    """
    labels = np.stack([question.labels for question in questions])
    regression = np.issubdtype(labels.dtype, np.floating)
    of_problem = ~np.isnan(labels) if regression else labels >= 0
    sharded = None
    counted = of_problem.astype(np.float64)
    if any(question.weights is not None for question in questions):
        of_words = [1.0 if question.weights is None else question.weights for question in questions]
        counted *= np.stack([np.broadcast_to(weights, labels.shape[1:]) for weights in of_words])
        # A word that counts nothing must not ask for the logarithm of a probability that may be 0.
        labels = np.where(counted > 0, labels, np.nan if regression else -1)
        counted /= counted.sum(axis=1, keepdims=True)
        sharded = shard_rows(mesh, counted.astype(np.float32), axis=1, rows=rows)
    if regression:
        sums = [np.array([row[share > 0] @ share[share > 0]]) for row, share in zip(labels, counted, strict=True)]
    else:
        both = zip(labels, counted, strict=True)
        sums = [np.bincount(row[share > 0], share[share > 0], minlength=classes) for row, share in both]
    shares = np.stack(sums) / counted.sum(axis=1, keepdims=True)
    typed = labels.astype(np.float32 if regression else np.int32)
    return Problems(
        labels=shard_rows(mesh, typed, axis=1, fill=np.nan if regression else -1, rows=rows),
        weights=sharded,
        shares=replicate(mesh, shares.astype(np.float32)),
        l1=replicate(mesh, np.array([question.l1 for question in questions], np.float32)),
        l2=replicate(mesh, np.array([question.l2 for question in questions], np.float32)),
        keep=replicate(mesh, np.stack([question.keep for question in questions])),
        total=replicate(mesh, counted.sum(axis=1).astype(np.float32)),
    )


def targets(problems: Problems) -> Float[Array, "problem word class"]:
    """What predictions are compared with: 1 at each word's label, or its number; 0 for words not of the problem."""
    if problems.regression:
        return jnp.nan_to_num(problems.labels)[:, :, None]
    numbers = jnp.arange(problems.shares.shape[1], dtype=problems.labels.dtype)
    return (problems.labels[:, :, None] == numbers[None, None, :]).astype(problems.shares.dtype)


def word_weights(problems: Problems) -> Float[Array, "problem word"]:
    """The share of each word in its problem's total, 1/n where all count the same; 0 for words not of it."""
    of_problem = ~jnp.isnan(problems.labels) if problems.regression else problems.labels >= 0
    counted = of_problem.astype(problems.shares.dtype)
    if problems.weights is not None:
        counted = counted * problems.weights
    total = counted.sum(axis=1) if problems.total is None else problems.total
    return counted / jnp.where(total > 0, total, 1.0)[:, None]


def starting_bias(problems: Problems) -> Float[Array, "problem class"]:
    """The best bias at zero weights: log shares, -∞ for classes that a problem has not; of a regression the mean."""
    if problems.regression:
        return problems.shares
    return jnp.where(problems.shares > 0, jnp.log(jnp.maximum(problems.shares, 1e-37)), -jnp.inf)


def null_objective(problems: Problems) -> Float[Array, " problem"]:
    """The objective at zero weights and the best bias: the entropy of the class shares, or half the variance."""
    if not problems.regression:
        return entropy(problems.shares)
    away = targets(problems)[:, :, 0] - problems.shares
    return 0.5 * (away**2 * word_weights(problems)).sum(axis=1)


def entropy(probabilities: Float[Array, "... class"]) -> Float[Array, "..."]:
    """Entropy along the class axis, in nats."""
    logs = jnp.log(jnp.maximum(probabilities, 1e-37))
    return -jnp.where(probabilities > 0, probabilities * logs, 0.0).sum(axis=-1)

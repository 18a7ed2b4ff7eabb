"""Puts questions on the devices as a batch of problems, their words split and padded like those of the matrix."""

from collections.abc import Sequence

import numpy as np
from jax.sharding import Mesh

from lca_jax.machine.devices import replicate, shard_rows
from lca_jax.probing.losses.loss import Loss
from lca_jax.probing.problems import Problems, Question


def place_problems(
    questions: Sequence[Question], loss: Loss, *, classes: int, mesh: Mesh, padded_words: int, weighted: bool
) -> Problems:
    """Returns the problems of some questions, on the devices of their matrix.

    Args:
        questions: Questions with labels of this loss.
        loss: Tells which words have a label, and what targets they are.
        classes: Length of the class axis: at least that of the widest question.
        mesh: Devices of the matrix.
        padded_words: Words of the matrix, padding included.
        weighted: Whether words have weights, those of a question without weights all the same.
    """
    labels = np.stack([question.labels for question in questions])
    counted = np.asarray(loss.labelled(labels)).astype(np.float64)
    weights = None
    if weighted:
        of_words = [1.0 if question.weights is None else question.weights for question in questions]
        counted *= np.stack([np.broadcast_to(own, labels.shape[1:]) for own in of_words])
        # A word that counts nothing must not ask for the logarithm of a probability that may be 0.
        labels = np.where(counted > 0, labels, loss.mask_label)
        counted /= counted.sum(axis=1, keepdims=True)
        weights = shard_rows(mesh, counted.astype(np.float32), axis=1, rows=padded_words)
    both = zip(labels, counted, strict=True)
    sums = [loss.sum_targets(row[count > 0], count[count > 0], classes=classes) for row, count in both]
    shares = np.stack(sums) / counted.sum(axis=1, keepdims=True)
    typed = labels.astype(loss.mask_label.dtype)
    return Problems(
        labels=shard_rows(mesh, typed, axis=1, fill=loss.mask_label.item(), rows=padded_words),
        weights=weights,
        shares=replicate(mesh, shares.astype(np.float32)),
        l1=replicate(mesh, np.array([question.l1 for question in questions], np.float32)),
        l2=replicate(mesh, np.array([question.l2 for question in questions], np.float32)),
        keep=replicate(mesh, np.stack([question.keep for question in questions])),
        total=replicate(mesh, counted.sum(axis=1).astype(np.float32)),
    )

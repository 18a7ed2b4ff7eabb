"""Losses: the prediction at the best bias is that of its two parts, and both are those of float64."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from lca_jax.machine.devices import joint_mesh
from lca_jax.probing.losses.cross_entropy import LOSS as CROSS_ENTROPY
from lca_jax.probing.losses.loss import Loss, word_weights
from lca_jax.probing.losses.squared_error import LOSS as SQUARED_ERROR
from lca_jax.probing.placement import place_problems
from lca_jax.probing.problems import Problems, Question

WORDS, CLASSES = 48, 5
KEEP = np.ones(3, bool)


def classes_problems() -> Problems:
    """Two problems: one lacks the last class and some words, in the other words count differently."""
    labels = np.random.default_rng(0).integers(0, CLASSES, WORDS).astype(np.int32)
    few = np.where(labels == CLASSES - 1, -1, labels)
    questions = [
        Question(few, None, CLASSES, 0.0, 0.0, KEEP),
        Question(labels, 1.0 + np.arange(WORDS) % 3, CLASSES, 0.0, 0.0, KEEP),
    ]
    return placed(questions, CROSS_ENTROPY, classes=CLASSES)


def number_problems() -> Problems:
    numbers = np.random.default_rng(1).normal(size=WORDS).astype(np.float32)
    return placed([Question(numbers, None, 1, 0.0, 0.0, KEEP)], SQUARED_ERROR, classes=1)


def placed(questions: list[Question], loss: Loss, *, classes: int) -> Problems:
    return place_problems(questions, loss, classes=classes, mesh=joint_mesh(1), padded_words=WORDS, weighted=True)


@pytest.mark.parametrize(
    ("loss", "problems"),
    [(CROSS_ENTROPY, classes_problems), (SQUARED_ERROR, number_problems)],
    ids=["classes", "numbers"],
)
@pytest.mark.parametrize("spread", [0.1, 30.0], ids=["flat", "steep"])
def test_a_prediction_at_the_best_bias_is_that_of_its_two_parts(
    loss: Loss, problems: Callable[[], Problems], spread: float
) -> None:
    batch = problems()
    shape = (*batch.shares.shape, WORDS)
    X_W = jnp.asarray(spread * np.random.default_rng(2).normal(size=shape), jnp.float32)
    bias = loss.starting_bias(batch)
    best, found = loss.predict_at_best_bias(X_W, bias, batch)
    np.testing.assert_allclose(best, loss.fit_bias(X_W, bias, batch), rtol=1e-6)
    expected = loss.predict(X_W, best, batch)
    for one, other in zip(found, expected, strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)
    there = np.isfinite(bias)
    assert np.abs(np.asarray(best)[there] - np.asarray(bias)[there]).max() > 1e-3


def test_the_cross_entropy_and_its_dual_value_are_those_of_scipy() -> None:
    batch = classes_problems()
    X_W = np.random.default_rng(3).normal(size=(2, CLASSES, WORDS)).astype(np.float32)
    bias = np.asarray(CROSS_ENTROPY.starting_bias(batch))
    found = CROSS_ENTROPY.predict(jnp.asarray(X_W), jnp.asarray(bias), batch)
    log_q = log_softmax(X_W.astype(np.float64) + bias[:, :, None], axis=1)
    weight = np.asarray(word_weights(batch, CROSS_ENTROPY), np.float64)
    targets = np.asarray(CROSS_ENTROPY.targets(batch)) > 0
    loss = -(np.where(targets, log_q, 0.0).sum(axis=1) * weight).sum(axis=1)
    q = np.exp(log_q)
    entropy = -(np.where(q > 0, q * np.where(q > 0, log_q, 0.0), 0.0).sum(axis=1) * weight).sum(axis=1)
    np.testing.assert_allclose(found.Q, q, atol=1e-6)
    np.testing.assert_allclose(found.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(found.dual, entropy, rtol=1e-5)
    assert np.asarray(found.Q)[0, -1].max() == 0  # the class that the problem lacks


def test_a_single_class_has_no_loss_and_no_gap_at_all() -> None:
    question = Question(np.zeros(WORDS, np.int32), 1.0 + np.arange(WORDS) % 3, 2, 0.0, 0.0, KEEP)
    batch = placed([question], CROSS_ENTROPY, classes=2)
    X_W = jnp.asarray(np.random.default_rng(4).normal(size=(1, 2, WORDS)), jnp.float32)
    bias = CROSS_ENTROPY.starting_bias(batch)
    for _ in range(3):
        bias, found = CROSS_ENTROPY.predict_at_best_bias(X_W, bias + 1e-3, batch)
        assert float(found.loss[0]) == float(found.dual[0]) == 0

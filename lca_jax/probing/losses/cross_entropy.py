r"""Cross-entropy with the labels: multinomial logistic regression.

A label is a class number, −1 for words that do not belong to a problem. With q_i the softmax of the scores of word i,

    loss = 1/n Σ_i −log q_i[y_i]            dual value of the residuals q − y = 1/n Σ_i H(q_i), H the entropy.

`make_feasible`: with r = mean(q) − p and p the class shares, mixing a share t = max_c |r_c| / (p_c + |r_c|) of the
constant distribution u = p − r (1 − t)/t into every q_i makes the residuals sum to zero. With M the class means X'y/n
and m = Σ_c M_c the mean of the problem's words (zero where they are those on which X was centred), the gradient g
becomes (1 − t) (g − r m) − t (M − p m), and H(mixture) ≥ (1 − t) H(q).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num

from lca_jax.machine.precision import FLOAT32
from lca_jax.probing.losses.loss import Prediction, word_weights
from lca_jax.probing.problems import Problems

_SMALLEST_PROBABILITY = 1e-37
"""Under logarithms."""
_SMALL_CHANGE = 0.05
"""Largest change of a score for which `exp(x) - 1 - x` is summed as a series; above it rounding is no concern."""
_LARGEST_CHANGE = 80.0
"""exp of it is still finite in float32. The growth of a step that raises a score by more counts as infinite, so that it
is refused: with few words a first step can be that long."""
_NEWTON_CLASSES = 512
"""Largest number of classes for which the bias takes Newton's steps: they cost word·class² operations, for 5,000
classes two hundred times the products with X."""
_LONGEST_BIAS_STEP = 2.0
"""In nats: Newton's steps overshoot where the softmax is flat."""


@dataclass(frozen=True)
class CrossEntropy:
    """Mean −log of the probability that the softmax gives to the label; implements `Loss`."""

    @property
    def mask_label(self) -> np.generic:
        """−1."""
        return np.int32(-1)

    def labelled(self, labels: Num[Array | np.ndarray, "..."]) -> Bool[Array | np.ndarray, "..."]:
        """Tells which words have a class."""
        return labels >= 0

    def sum_targets(
        self, labels: Num[np.ndarray, " word"], counts: Float[np.ndarray, " word"], *, classes: int
    ) -> Float[np.ndarray, " class"]:
        """Sums the counts of the words of each class."""
        return np.bincount(labels, counts, minlength=classes)

    def targets(self, problems: Problems) -> Float[Array, "problem class word"]:
        """Returns 1 at the label of each word, else 0."""
        numbers = jnp.arange(problems.shares.shape[1], dtype=problems.labels.dtype)
        return (problems.labels[:, None, :] == numbers[None, :, None]).astype(problems.shares.dtype)

    def starting_bias(self, problems: Problems) -> Float[Array, "problem class"]:
        """Returns the logarithms of the class shares; −∞ for classes that a problem does not have."""
        logs = jnp.log(jnp.maximum(problems.shares, _SMALLEST_PROBABILITY))
        return jnp.where(problems.shares > 0, logs, -jnp.inf)

    def null_objective(self, problems: Problems) -> Float[Array, " problem"]:
        """Returns the entropy of the class shares, in nats."""
        logs = jnp.log(jnp.maximum(problems.shares, _SMALLEST_PROBABILITY))
        return -jnp.where(problems.shares > 0, problems.shares * logs, 0.0).sum(axis=-1)

    def predict(
        self, X_W: Float[Array, "problem class word"], bias: Float[Array, "problem class"], problems: Problems
    ) -> Prediction:
        """Returns predicted distributions, cross-entropy and mean entropy."""
        return self._predict(*_exponentials(X_W, bias), problems)

    def predict_at_best_bias(
        self, X_W: Float[Array, "problem class word"], bias: Float[Array, "problem class"], problems: Problems
    ) -> tuple[Float[Array, "problem class"], Prediction]:
        """Returns the bias of `fit_bias` and the prediction there; a softmax costs its exponentials once."""
        shifted, E = _exponentials(X_W, bias)
        best = self._move_bias(E, bias, problems)
        step = jnp.where(jnp.isfinite(bias), best - bias, 0.0)
        # Moving all biases together changes nothing: on average the step is 0, so a single class has exactly no loss.
        step = (step - (problems.shares * step).sum(axis=1, keepdims=True))[:, :, None]
        return best, self._predict(shifted + step, E * jnp.exp(step), problems)

    def growth(
        self, Q: Float[Array, "problem class word"], change: Float[Array, "problem class word"], problems: Problems
    ) -> Float[Array, " problem"]:
        """Returns 1/n Σ log(1 + Σ_c q_c (exp(x_c) − 1 − x_c)), with x the centred change of the scores of a word.

        A difference of two losses would be rounding noise near the optimum. Here every term is positive, and small
        when x is. Infinite where an x exceeds `_LARGEST_CHANGE`.
        """
        centred = change - _expect(Q, change)[:, None, :]
        series = centred**2 / 2 * (1 + centred / 3 + centred**2 / 12)
        terms = jnp.where(jnp.abs(centred) < _SMALL_CHANGE, series, jnp.exp(centred) - 1 - centred)
        too_long = centred > _LARGEST_CHANGE  # counts whatever the probability of its class was
        of_word = jnp.where(too_long, jnp.inf, jnp.where(Q > 0, Q * terms, 0.0)).sum(axis=1)
        weight = word_weights(problems, self)
        return jnp.where(weight > 0, jnp.log1p(of_word) * weight, 0.0).sum(axis=1)

    def fit_bias(
        self, X_W: Float[Array, "problem class word"], bias: Float[Array, "problem class"], problems: Problems
    ) -> Float[Array, "problem class"]:
        """Takes one step on the bias of each problem, its length bounded; absent classes keep −∞.

        It is Newton's step or, for very many classes, one of iterative scaling (Darroch and Ratcliff 1972), which never
        raises the loss and needs no matrix of classes.
        """
        return self._move_bias(_exponentials(X_W, bias)[1], bias, problems)

    def _predict(
        self, shifted: Float[Array, "problem class word"], E: Float[Array, "problem class word"], problems: Problems
    ) -> Prediction:
        """Predicts by the logarithms of unnormalised probabilities, and these themselves."""
        weight = word_weights(problems, self)
        total = E.sum(axis=1)
        Q, log_total = E / total[:, None, :], jnp.log(total)
        of_label = jnp.where(self.targets(problems) > 0, shifted, 0.0).sum(axis=1) - log_total
        entropy = log_total - _expect(Q, shifted)
        return Prediction(Q, -(of_label * weight).sum(axis=1), (entropy * weight).sum(axis=1))

    def _move_bias(
        self, E: Float[Array, "problem class word"], bias: Float[Array, "problem class"], problems: Problems
    ) -> Float[Array, "problem class"]:
        """Takes the step of `fit_bias`, by unnormalised probabilities."""
        shares, weight = problems.shares, word_weights(problems, self)
        classes = shares.shape[1]
        absent = shares <= 0
        Q = E / E.sum(axis=1, keepdims=True)
        of_words = Q * weight[:, None, :]
        mean = of_words.sum(axis=2)
        if classes > _NEWTON_CLASSES:
            ratio = jnp.where(absent, 1.0, shares) / jnp.maximum(jnp.where(absent, 1.0, mean), _SMALLEST_PROBABILITY)
            return jnp.where(absent, bias, bias + jnp.clip(jnp.log(ratio), -_LONGEST_BIAS_STEP, _LONGEST_BIAS_STEP))
        cross = jnp.einsum("pcn,pkn->pck", of_words, Q, precision=FLOAT32)
        identity = jnp.eye(classes, dtype=E.dtype)[None]
        # Adding 1/classes fills the direction in which all biases move together, which changes nothing.
        hessian = identity * jnp.where(absent, 1.0, mean)[:, None, :] - cross + 1 / classes
        step = jnp.linalg.solve(hessian, (shares - mean)[:, :, None])[:, :, 0]
        return jnp.where(absent, bias, bias + jnp.clip(step, -_LONGEST_BIAS_STEP, _LONGEST_BIAS_STEP))

    def mean_weights(self, problems: Problems) -> Float[Array, "problem class word"]:
        """Returns word weights whose product with X is M, by class the sum over its words by their weights."""
        return self.targets(problems) * word_weights(problems, self)[:, None, :]

    def make_feasible(
        self,
        dual: Float[Array, " problem"],
        gradient: Float[Array, "problem class feature"],
        means: Float[Array, "problem class feature"],
        bias_residual: Float[Array, "problem class"],
        shares: Float[Array, "problem class"],
    ) -> tuple[Float[Array, " problem"], Float[Array, "problem class feature"]]:
        """Mixes the constant distribution u into the predictions; formulas in the module's docstring."""
        excess = jnp.abs(bias_residual)
        mix = jnp.max(jnp.where(shares > 0, excess / jnp.maximum(shares + excess, 1e-30), 0.0), axis=1)
        t = mix[:, None, None]
        mean = means.sum(axis=1, keepdims=True)
        moved = gradient - bias_residual[:, :, None] * mean
        return (1 - mix) * dual, (1 - t) * moved - t * (means - shares[:, :, None] * mean)


def _exponentials(
    X_W: Float[Array, "problem class word"], bias: Float[Array, "problem class"]
) -> tuple[Float[Array, "problem class word"], Float[Array, "problem class word"]]:
    """Returns the logits of every word less their largest, and their exponentials; −∞ and 0 for absent classes."""
    logits = X_W + bias[:, :, None]
    shifted = logits - jax.lax.stop_gradient(logits.max(axis=1, keepdims=True))
    return shifted, jnp.exp(shifted)


def _expect(
    Q: Float[Array, "problem class word"], values: Float[Array, "problem class word"]
) -> Float[Array, "problem word"]:
    """Returns the mean of the values of each word by its predictions; classes without probability do not count.

    Without the choice, XLA makes small products of the sum on a CPU, ten times as slow where there is one problem.
    """
    return jnp.where(Q > 0, Q * values, 0.0).sum(axis=1)


LOSS = CrossEntropy()

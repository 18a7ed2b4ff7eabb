r"""Measures the objective of any weights, and a lower bound of it, in float64 with NumPy.

This module shares no code with the package's solvers. Letters are those of `lca_jax.probing.objective`: for words x
with labels y,

    F(W, b) = 1/n Σ_i −log softmax(x_i W + b)[y_i] + l1 ‖W‖₁ + l2 ‖W‖_F          or + (l2/2) ‖W‖²_F if `squared`

and, for any distributions q over the classes (one a word) with Σ_i (q_i − y_i) = 0, by weak duality,

    F ≥ 1/n Σ_i H(q_i) − penalty*(g)        g = X'(q − y)/n

where penalty*(g) = Σ (|g| − l1)₊² / (2 l2) if `squared` and l2 > 0; otherwise it is 0 where ‖(|g| − l1)₊‖_F ≤ l2 and
infinite elsewhere.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int

_BLOCK = 4096
_NEWTON_STEPS = 50


def null_objective(y: Int[np.ndarray, " word"]) -> float:
    """Returns F at zero weights and the best bias: the entropy of the class shares, in nats."""
    shares = np.bincount(y) / len(y)
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())


def measure_objective(
    X: Float32[np.ndarray, "word feature"],
    y: Int[np.ndarray, " word"],
    W: Float32[np.ndarray, "feature class"],
    b: Float32[np.ndarray, " class"],
    *,
    l1: float,
    l2: float,
    squared: bool,
) -> float:
    """Returns F(W, b)."""
    (parts,) = measure_parts(X, [(y, W, b)])
    return parts.objective(l1=l1, l2=l2, squared=squared)


class Parts(NamedTuple):
    """The parts of F, from which it follows for every pair of penalties."""

    loss: float
    """Mean cross-entropy, in nats."""
    magnitude: float
    """‖W‖₁."""
    squares: float
    """‖W‖²_F."""

    def objective(self, *, l1: float, l2: float, squared: bool) -> float:
        """Returns F at these weights."""
        return self.loss + l1 * self.magnitude + l2 * (self.squares / 2 if squared else self.squares**0.5)


def measure_parts(
    X: Float32[np.ndarray, "word feature"],
    probes: Sequence[
        tuple[Int[np.ndarray, " word"], Float32[np.ndarray, "feature class"], Float32[np.ndarray, " class"]]
    ],
) -> list[Parts]:
    """Returns loss and norms of many probes (y, W, b) on the same words; X is converted to float64 once for all."""
    wide = np.concatenate([W for _, W, _ in probes], axis=1).astype(np.float64)
    edges = np.cumsum([0, *(W.shape[1] for _, W, _ in probes)])
    losses = np.zeros(len(probes))
    for start in range(0, len(X), _BLOCK):
        scores = X[start : start + _BLOCK].astype(np.float64) @ wide
        for place, (y, _, b) in enumerate(probes):
            labels = y[start : start + _BLOCK]
            log_q = _log_softmax(scores[:, edges[place] : edges[place + 1]] + b.astype(np.float64))
            losses[place] -= log_q[np.arange(len(labels)), labels].sum()
    return [
        Parts(float(loss) / len(X), float(np.abs(W, dtype=np.float64).sum()), float((W.astype(np.float64) ** 2).sum()))
        for loss, (_, W, _) in zip(losses, probes, strict=True)
    ]


def lower_bound(
    X: Float32[np.ndarray, "word feature"],
    y: Int[np.ndarray, " word"],
    W: Float32[np.ndarray, "feature class"],
    b: Float32[np.ndarray, " class"],
    *,
    l1: float,
    l2: float,
    squared: bool,
) -> float:
    """Returns a lower bound of F: the dual objective at the predictions of W with their best bias.

    It is close to the minimum if W is.
    """
    targets = np.eye(W.shape[1])[y]
    q = _balanced_predictions(_scores(X, W), b.astype(np.float64), targets)
    gradient = np.abs(_transposed_product(X, q - targets)) / len(y)
    if squared and l2 > 0:
        return float(_entropy(q)) - float((np.maximum(gradient - l1, 0) ** 2).sum()) / (2 * l2)
    # y + s (q − y) satisfies the constraint and has the gradient s g; this finds the largest s with conjugate zero.
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        inside = np.linalg.norm(np.maximum(middle * gradient - l1, 0)) <= l2
        low, high = (middle, high) if inside else (low, middle)
    return float(_entropy(targets + low * (q - targets)))


def _balanced_predictions(
    scores: Float[np.ndarray, "word class"], bias: Float[np.ndarray, " class"], targets: Float[np.ndarray, "word class"]
) -> Float[np.ndarray, "word class"]:
    """Returns the softmax of the scores, with the bias that makes mean prediction and mean target equal (Newton)."""
    shares = targets.mean(axis=0)
    for _ in range(_NEWTON_STEPS):
        q = np.exp(_log_softmax(scores + bias))
        residual = q.mean(axis=0) - shares
        if np.abs(residual).max() < 1e-15:
            break
        hessian = np.diag(q.mean(axis=0)) - q.T @ q / len(q)
        bias = bias - np.linalg.lstsq(hessian, residual)[0]
    return np.exp(_log_softmax(scores + bias))


def _scores(X: Float32[np.ndarray, "word feature"], W: Float32[np.ndarray, "feature class"]) -> np.ndarray:
    wide = W.astype(np.float64)
    return np.concatenate([X[i : i + _BLOCK].astype(np.float64) @ wide for i in range(0, len(X), _BLOCK)])


def _transposed_product(X: Float32[np.ndarray, "word feature"], R: Float[np.ndarray, "word class"]) -> np.ndarray:
    blocks = (X[i : i + _BLOCK].astype(np.float64).T @ R[i : i + _BLOCK] for i in range(0, len(X), _BLOCK))
    return np.sum(list(blocks), axis=0)


def _log_softmax(scores: Float[np.ndarray, "word class"]) -> Float[np.ndarray, "word class"]:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _entropy(q: Float[np.ndarray, "word class"]) -> float:
    """Returns the mean entropy of the predictions, in nats."""
    return -float(np.where(q > 0, q * np.log(np.maximum(q, 1e-300)), 0).sum(axis=1).mean())

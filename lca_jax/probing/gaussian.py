"""Class-conditional Gaussians on some neurons, and the posterior of the classes on every leading part of them.

    p(h, c) = p(c) · N(h | μ_c, Σ_c)

The covariance is the maximum a posteriori one under an inverse-Wishart prior,

    Σ_c = (Λ + N_c S_c) / (N_c + 2k + 4),        Λ = diag(variances),

with N_c words and covariance S_c of class c on k neurons. It is the estimate of intrinsic probing (ν₀ = k + 2, the mean
of the prior that of the class). Λ there has the variances of the class itself (prior `class`), which are zero for a
class of one word; then, and with the prior `within`, it has those of all classes together. The shared covariance is
Σ = (Λ + N S) / (N + 2k + 4) with the within-class covariance S of all N words, and both priors are one.

The Gaussian of the first j neurons has the leading block of the same matrix, whose Cholesky factor is the leading block
of the factor of all k. So one factorisation serves all nested sets: their squared distances and log-determinants are
cumulative sums.

Reference: Torroba Hennigen, Williams and Cotterell 2020, "Intrinsic Probing through Dimension Selection", section 3.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import scipy.linalg
from jaxtyping import Float, Float64, Int

from lca_jax.errors import DataError, SettingsError

Prior = Literal["class", "within"]
"""Whose variances the prior of a class's covariance has: its own, as published, or those within all classes."""


@dataclass(frozen=True, kw_only=True)
class Gaussians:
    """The moments of every class on some neurons."""

    counts: Int[np.ndarray, " class"]
    """Number of training words of each class; a class without words is never predicted."""
    means: Float64[np.ndarray, "class neuron"] = field(repr=False)
    covariances: Float64[np.ndarray, "part neuron neuron"] = field(repr=False)
    """Covariance of the words of each class, over N; or one for all, that within classes."""
    prior: Float64[np.ndarray, "part neuron"] = field(repr=False)
    """Λ of each covariance; 1 for a neuron that never varies within a class."""

    @property
    def shared(self) -> bool:
        """Whether all classes have one covariance."""
        return len(self.covariances) == 1 != len(self.counts)


def gather_gaussians(
    X: Float[np.ndarray, "word neuron"],
    gold: Int[np.ndarray, " word"],
    *,
    classes: int,
    shared: bool,
    prior: Prior = "within",
) -> Gaussians:
    """Gathers the moments of the classes of some words, in float64; words with a negative number are left out.

    Raises:
        DataError: No word has a class.
        SettingsError: The prior is unknown.
    """
    counts = np.bincount(gold[gold >= 0], minlength=classes)
    if not counts.any():
        raise DataError("Gaussians need words with a class, and none of these has one.")
    means = np.zeros((classes, X.shape[1]))
    scatter = np.zeros((1 if shared else classes, X.shape[1], X.shape[1]))
    for number in np.flatnonzero(counts).tolist():
        of_class = X[gold == number].astype(np.float64)
        means[number] = of_class.mean(axis=0)
        centred = of_class - means[number]
        scatter[0 if shared else number] += centred.T @ centred
    words = np.array([counts.sum()]) if shared else counts
    covariances = scatter / np.maximum(words, 1)[:, None, None]
    variances = np.einsum("pii->pi", covariances)
    return Gaussians(
        counts=counts, means=means, covariances=covariances, prior=prior_variances(variances, words, prior=prior)
    )


def prior_variances(
    variances: Float64[np.ndarray, "part neuron"], words: Int[np.ndarray, " part"], *, prior: Prior
) -> Float64[np.ndarray, "part neuron"]:
    """Returns Λ of each covariance.

    Args:
        variances: Variances of the words of each covariance.
        words: Number of these words.
        prior: Whose variances Λ has; 0 in the class's own gives way to the variance within all classes.

    Raises:
        SettingsError: The prior is unknown.
    """
    if prior not in get_args(Prior):
        raise SettingsError(f"`prior` must be 'class' or 'within', got {prior!r}.")
    within = words @ variances / words.sum()
    within = np.broadcast_to(np.where(within > 0, within, 1.0), variances.shape)
    return np.where(variances > 0, variances, within) if prior == "class" else within


def log_posteriors(
    gaussians: Gaussians, X: Float[np.ndarray, "word neuron"], sizes: Sequence[int]
) -> Float64[np.ndarray, "size word class"]:
    """Returns log p(c | h) of words on the leading neurons, for every number of neurons.

    Args:
        gaussians: Moments of the classes on the same neurons, in the same order.
        X: Activations of the words.
        sizes: Numbers of leading neurons, each at least 1.

    Cost: one factorisation of the largest set for each covariance, and one triangular solve for each class.
    """
    places = np.asarray(sizes) - 1
    joint = np.full((len(sizes), len(X), len(gaussians.counts)), -np.inf)
    factor = None
    for number in np.flatnonzero(gaussians.counts).tolist():
        words = int(gaussians.counts.sum() if gaussians.shared else gaussians.counts[number])
        covariance = gaussians.covariances[0 if gaussians.shared else number]
        if factor is None or not gaussians.shared:
            prior = gaussians.prior[0 if gaussians.shared else number]
            factor = np.linalg.cholesky(words * covariance + np.diag(prior))
        white = scipy.linalg.solve_triangular(factor, (X - gaussians.means[number]).T, lower=True)
        distance = np.cumsum(white**2, axis=0)[places]
        log_det = np.cumsum(2 * np.log(np.diagonal(factor)))[places]
        scale = 1 / (words + 2.0 * np.asarray(sizes) + 4)
        log_det = log_det + np.asarray(sizes) * np.log(scale)
        share = np.log(gaussians.counts[number] / gaussians.counts.sum())
        joint[:, :, number] = share - 0.5 * (log_det[:, None] + distance / scale[:, None])
    highest = joint.max(axis=2, keepdims=True)
    return joint - highest - np.log(np.exp(joint - highest).sum(axis=2, keepdims=True))

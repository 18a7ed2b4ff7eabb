"""Words whose neurons correlate, and the mean log posterior of published Gaussians, written plainly in float64."""

import numpy as np
from scipy.stats import multivariate_normal

from lca_jax.probing.gaussian import Prior

CLASSES = 3


def correlated_words(words: int, *, seed: int, features: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Neurons of different size that correlate, within classes of different covariance."""
    rng = np.random.default_rng(seed)
    fixed = np.random.default_rng(99)
    means, mix = fixed.normal(size=(CLASSES, features)) * 0.8, np.eye(features) + fixed.normal(size=(features,) * 2) / 3
    gold = rng.choice(CLASSES, words, p=[0.6, 0.3, 0.1])
    values = (rng.normal(size=(words, features)) * (1 + gold[:, None] / 2) + means[gold]) @ mix
    return (values * np.geomspace(0.1, 30, features) + 3).astype(np.float32), gold


def mean_bits(X: np.ndarray, gold: np.ndarray, H: np.ndarray, held: np.ndarray, prior: Prior) -> float:
    """Mean log₂ posterior of the held-out classes under the published Gaussians, written plainly."""
    X, H, k = X.astype(np.float64), H.astype(np.float64), X.shape[1]
    within = sum((gold == c).mean() * X[gold == c].var(axis=0) for c in range(CLASSES))
    joint = []
    for c in range(CLASSES):
        own = X[gold == c]
        scatter = (own - own.mean(axis=0)).T @ (own - own.mean(axis=0))
        variances = own.var(axis=0) if prior == "class" else within
        covariance = (np.diag(variances) + scatter) / (len(own) + (k + 2) + k + 2)
        joint.append(multivariate_normal(own.mean(axis=0), covariance).logpdf(H) + np.log(len(own) / len(X)))
    log_p = np.array(joint)
    return float((log_p[held, np.arange(len(held))] - np.logaddexp.reduce(log_p, axis=0)).mean() / np.log(2))

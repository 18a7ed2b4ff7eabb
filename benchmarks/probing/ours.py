"""The package's own solvers as competitors, and the work that a fit demands.

The work, for n words, d features and k classes. A product with X costs 2·n·d·k operations and reads 4·n·d bytes. The
exact solver makes two an iteration, and the Gram matrix of up to 3·d words once: 2·d²·min(n, 3d). At 20,000 × 2,688 ×
17 that is 3.7 GFLOP and 430 MB an iteration, and 117 GFLOP once. The steps inside an iteration
(`probing.solvers.iteration`) are no work in this count, nor is anything else: `floor_s` and `peak_share` say how far
the whole is from what X alone demands.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int

from lca_jax.errors import NotConverged
from lca_jax.probing.fit import fit_problems
from lca_jax.probing.labelling import Labelling
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe import Probe


def fit(
    X: Float32[np.ndarray, "word feature"],
    labels: Sequence[Int[np.ndarray, " word"]],
    net: ElasticNet,
    *,
    classes: tuple[str, ...],
) -> list[Probe]:
    """One probe for every labelling and pair of penalties, labelling outermost, all in one call of the package."""
    labellings = [
        # A control task may come out without some class, and says so by being one.
        Labelling(task="task", control=place > 0, classes=classes, numbers=numbers)
        for place, numbers in enumerate(labels)
    ]
    return fit_labellings(X, labellings, net)


def fit_labellings(
    X: Float32[np.ndarray, "word feature"], labellings: Sequence[Labelling], net: ElasticNet
) -> list[Probe]:
    """`fit_problems`; what did not converge is told by the result, not by a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConverged)
        return fit_problems(X, labellings, net)


def count_work(
    X: Float32[np.ndarray, "word feature"], *, classes: int, problem_iterations: int, passes: int
) -> dict[str, float]:
    """Operations with X and the bytes of X read, as the module's docstring counts them.

    Args:
        X: The features.
        classes: Columns of one problem.
        problem_iterations: Iterations of all problems together.
        passes: Iterations in which X was read, however many problems took part.
    """
    words, features = X.shape
    metric = 2.0 * features**2 * min(words, 3 * features)
    return {
        "flop": 4.0 * words * features * classes * problem_iterations + metric,
        "read_bytes": 2.0 * X.nbytes * passes,
    }

"""The package's own solvers as competitors, and the work of a fit.

The work, for n words, d features and k classes: a product with X costs 2·n·d·k operations and reads 4·n·d bytes. The
exact solver makes two products in an iteration. At 20,000 × 2,688 × 17 this is 3.7 GFLOP and 430 MB. Nothing else
counts as work, not even the steps inside an iteration: `floor_s` and `peak_share` compare the whole with the least that
X requires.
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
    """Fits one probe for every labelling and pair of penalties, labelling outermost, in one call of the package."""
    labellings = [
        # Marked as a control task, a labelling may lack some class.
        Labelling(task="task", control=place > 0, classes=classes, numbers=numbers)
        for place, numbers in enumerate(labels)
    ]
    return fit_labellings(X, labellings, net)


def fit_labellings(
    X: Float32[np.ndarray, "word feature"], labellings: Sequence[Labelling], net: ElasticNet
) -> list[Probe]:
    """Calls `fit_problems` without its warnings: the result says which problems did not converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConverged)
        return fit_problems(X, labellings, net)


def count_work(
    X: Float32[np.ndarray, "word feature"], *, classes: int, problem_iterations: int, passes: int
) -> dict[str, float]:
    """Counts the operations with X and the bytes of X that are read, as the module's docstring says.

    Args:
        X: Features.
        classes: Number of columns of one problem.
        problem_iterations: Number of iterations of all problems together.
        passes: Number of iterations in which X was read, for any number of problems.
    """
    words, features = X.shape
    return {
        "flop": 4.0 * words * features * classes * problem_iterations,
        "read_bytes": 2.0 * X.nbytes * passes,
    }

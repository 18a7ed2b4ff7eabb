r"""Other solvers of the same objective: scikit-learn's SAGA, skglm, celer and adelie.

SAGA solves the softmax problem itself. The others are binary, so they are compared on a task of two classes, where a
softmax and a logistic probe are the same:

    The loss of a two-class softmax depends on w = w₁ − w₀ only: −log softmax = log(1 + exp(∓(x w + b))), b = b₁ − b₀.
    For all pairs with that difference, l1 (|w₀| + |w₁|) ≥ l1 |w| with equality where the two have opposite signs (or
    one is 0), and (l2/2)(w₀² + w₁²) ≥ (l2/4) w² with equality only at w₁ = −w₀ = w/2, where the first is met as well.
    So the minimum of a softmax probe with (l1, l2) is that of

        mean log(1 + exp(−t (x w + b))) + l1 ‖w‖₁ + (l2/4) ‖w‖²          t = ±1

    a logistic elastic net with l1 and l2/2 in the form l1 ‖w‖₁ + (l2/2) ‖w‖²; its weights are (−w/2, w/2).

The objective of each, and what (l1, l2) are in it, with l2' = l2/2:

    saga      as `lca_jax.probing.objective.sklearn_parameters` says; for two classes with l2'
    skglm     mean loss + alpha (l1_ratio ‖w‖₁ + (1 − l1_ratio)/2 ‖w‖²): alpha = l1 + l2', l1_ratio = l1/alpha
    adelie    the same with lambda and alpha; its multinomial model groups a feature's weights over the classes, which
              is another objective, and is not compared
    celer     sum of the loss + alpha ‖w‖₁, no l2 and no bias: alpha = n·l1, on problems with l2 = 0 only. It gets a
              column of 100s, whose weight is a bias with a penalty of l1/100. So it ends at most (l1/100)(|b*| − |b|)
              above the optimum with the free bias b*: second order, since only that penalty moves b away from b*.

skglm and celer compute in float64 only; these two and adelie need X in column-major order. Every competitor gets X in
its preferred form, outside the measured time. adelie pins a NumPy that JAX cannot work with, so it has an environment
of its own, where `adelie_child.py` runs as a child process. Libraries that are not installed are listed as not run.
"""

import importlib
import importlib.util
import os
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int

from benchmarks import harness
from benchmarks.probing.curves import OutOfTime, Step
from benchmarks.probing.reached import Solution

BIAS_COLUMN = 100.0

Features = Float32[np.ndarray, "word feature"]
Labels = Int[np.ndarray, " word"]


def is_installed(package: str) -> bool:
    """Returns whether a package can be imported."""
    return importlib.util.find_spec(package) is not None


def as_two_classes(w: Float[np.ndarray, " feature"], b: float) -> Solution:
    """Returns the softmax probe of two classes that equals a logistic probe, in the letters of the module."""
    half = np.asarray(w, np.float32) / 2
    return Solution(np.stack([-half, half], axis=1), np.array([-b / 2, b / 2], np.float32))


def saga_steps(X: Features, y: Labels, *, l1: float, l2: float, epochs: Sequence[int]) -> Iterator[Step]:
    """Yields SAGA after each budget of epochs; each step goes on from the one before with its whole memory.

    scikit-learn's estimator starts every fit with an empty table of gradients, even with `warm_start`. So this calls
    the function below it, which returns the table. The objective is scikit-learn's divided by C·n.

    Args:
        X: Features.
        y: Class numbers from 0; two classes are solved as a logistic probe.
        l1: Weight of the first term for the softmax probe.
        l2: Weight of the second term for the softmax probe.
        epochs: Numbers of passes over the words, increasing.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model._sag import sag_solver

    classes = int(y.max()) + 1
    binary = classes == 2
    memory: dict[str, object] = {"coef": np.zeros((X.shape[1] + 1, 1 if binary else classes), X.dtype)}
    draws = np.random.RandomState(0)
    done = 0
    for budget in epochs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            coefficients, _, memory = sag_solver(
                X,
                y.astype(X.dtype),
                loss="log" if binary else "multinomial",
                alpha=len(y) * (l2 / 2 if binary else l2),
                beta=len(y) * l1,
                max_iter=budget - done,
                tol=0.0,
                random_state=draws,
                warm_start_mem=memory,
                is_saga=True,
            )
        done = budget
        reached = np.array(coefficients)
        yield Step(
            f"{budget} epochs",
            as_two_classes(reached[:-1], float(reached[-1])) if binary else Solution(reached[:, :-1].T, reached[:, -1]),
        )


def skglm_steps(X: Features, y: Labels, *, l1: float, l2: float, tolerances: Sequence[float]) -> Iterator[Step]:
    """Solves two classes by skglm's proximal Newton method with working sets, once for each tolerance."""
    skglm = {part: importlib.import_module(f"skglm.{part}") for part in ("datafits", "penalties", "solvers")}
    columns, signs = np.asfortranarray(X, np.float64), 2.0 * y - 1
    alpha = l1 + l2 / 2
    for tolerance in tolerances:
        solver = skglm["solvers"].ProxNewton(tol=tolerance, fit_intercept=True, max_iter=200)
        loss, penalty = skglm["datafits"].Logistic(), skglm["penalties"].L1_plus_L2(alpha, l1 / alpha)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about convergence: the objective that was reached is measured
            (weights, *_), lap = harness.clock(partial(solver.solve, columns, signs, loss, penalty))
        yield Step(f"tolerance {tolerance:g}", as_two_classes(weights[:-1], float(weights[-1])), lap)


def celer_steps(X: Features, y: Labels, *, l1: float, tolerances: Sequence[float]) -> Iterator[Step]:
    """Solves two classes without l2 by celer's proximal Newton method, once for each tolerance.

    Args:
        X: Features.
        y: 0 and 1.
        l1: Weight of ‖W‖₁ for the softmax probe, equal to that of the logistic one.
        tolerances: Limits of its duality gap, as shares of the loss at zero weights and no bias.
    """
    celer_path = importlib.import_module("celer").celer_path
    columns = np.asfortranarray(np.pad(X.astype(np.float64), ((0, 0), (0, 1)), constant_values=BIAS_COLUMN))
    signs = 2.0 * y - 1
    penalty = np.array([l1 * len(y)])
    for tolerance in tolerances:
        solve = partial(celer_path, columns, signs, "logreg", alphas=penalty, use_PN=True, tol=tolerance, max_iter=200)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about convergence: the objective that was reached is measured
            (_, weights, *_), lap = harness.clock(solve)
        fitted = as_two_classes(weights[:-1, 0], float(weights[-1, 0]) * BIAS_COLUMN)
        yield Step(f"tolerance {tolerance:g}", fitted, lap)


def adelie_steps(
    python: Path, X: Features, y: Labels, *, l1: float, l2: float, tolerances: Sequence[float], limit_s: float
) -> Iterator[Step]:
    """Solves two classes by adelie in another Python, once for each tolerance of its coordinate descent.

    Args:
        python: Python interpreter of an environment with adelie.
        X: Features.
        y: 0 and 1.
        l1: Weight of the first term for the softmax probe.
        l2: Weight of the second term for the softmax probe.
        tolerances: Limits of the change in its quadratic objective, at every penalty of its path.
        limit_s: Seconds after which the child process is ended.

    Raises:
        OutOfTime: The child process was ended; raised after the tolerances that it had finished.
        RuntimeError: The child failed; its last lines are shown.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        np.save(folder / "X.npy", np.asfortranarray(X))
        np.save(folder / "y.npy", y.astype(np.float32))
        child = Path(__file__).with_name("adelie_child.py")
        command = [str(python), str(child), scratch, str(l1), str(l2 / 2), str(os.cpu_count() or 1)]
        try:
            subprocess.run(
                [*command, *map(str, tolerances)], capture_output=True, text=True, check=True, timeout=limit_s
            )
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"adelie failed in {python}:\n{error.stderr[-2000:]}") from error
        except subprocess.TimeoutExpired:
            ended = True
        else:
            ended = False
        for place, tolerance in enumerate(tolerances):
            if ended and not (folder / f"{place}.npz").exists():
                raise OutOfTime
            with np.load(folder / f"{place}.npz") as solution:
                lap = harness.Lap(float(solution["wall_s"]), float(solution["cpu_s"]), 0.0)
                fitted = as_two_classes(solution["weights"], float(solution["bias"]))
                yield Step(f"tolerance {tolerance:g}", fitted, lap)

r"""The objective of a probe, its penalties, and the names that other programs give to the same numbers.

For n labelled words with features x, labels y and weights W of shape (feature, class), a probe minimises

    F(W, b) = 1/n Σ_i −log softmax(x_i W + b)[y_i] + penalty(W)                                                (1)
    penalty(W) = l1 ‖W‖₁ + (l2/2) ‖W‖²_F          `elastic_net`, the default
    penalty(W) = l1 ‖W‖₁ + l2 ‖W‖_F               `neurox`, the objective that NeuroX's code really trains
    penalty(W) = l1 Σ_j ‖W_j‖₂ + (l2/2) ‖W‖²_F    `group_lasso`, W_j the weights of neuron j: in or out for all classes
                                                  (or of a group j of n_j neurons, with l1 √n_j: `fit_probes(groups=)`)

The bias b is free of penalty. Where words have weights a_i, the mean is Σ_i a_i loss_i / Σ_i a_i. Where a task's labels
are numbers y_i, the loss is (x_i W + b − y_i)²/2. The same l1 and l2 elsewhere:

- scikit-learn's `LogisticRegression(solver="saga")` minimises C Σ_i loss_i + l1_ratio ‖W‖₁ + (1 − l1_ratio)/2 ‖W‖²_F:
  `sklearn_parameters` converts.
- The papers print a sum over words and λ2 ‖θ‖²_F without the half (Dalvi et al. 2019, "Linguistic Correlation
  Analysis"): λ1 = n·l1, λ2 = n·l2/2.
- NeuroX's code takes the mean over a mini-batch, as (1) does, but the norm is not squared: its lambdas are those of
  `penalty="neurox"`, unchanged.

This file needs no JAX: the command line makes its options from it. `choices` finds the code behind the names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import product
from typing import Annotated, Any, Literal, get_args

import tyro

from lca_jax.errors import SettingsError
from lca_jax.machine.fields import check_fields

MatrixDtype = Literal["float32", "bfloat16"]
"""The dtypes in which the activations of a fit can be stored."""
LossName = Literal["cross_entropy", "squared_error"]
"""The losses; `choices` says how to add one."""
PenaltyName = Literal["elastic_net", "neurox", "group_lasso"]
"""The penalties; `choices` says how to add one."""
SolverName = Literal["proximal", "adam"]
"""The solvers; `choices` says how to add one."""

_LARGEST_PENALTY = 1e12
"""Squares of penalties, and their products with weights, must stay within float32."""


@dataclass(frozen=True, kw_only=True)
class ElasticNet:
    """The settings of a fit: a grid of l1 and l2 in objective (1) of this module, and the solver of its problems."""

    l1: tuple[float, ...] | float = (1e-4, 3e-4, 1e-3)
    """Weights of the first term of the penalty, each ≥ 0. Measured on part of speech (20,000 and 200,000 words,
    standardised): 1e-4 keeps nearly every neuron, 1e-3 two thirds of them or fewer for up to a point and a half of
    accuracy. The published grids span 1e-7 to 1e-1 (Durrani et al. 2020, A.2), on raw activations and another
    objective."""
    l2: tuple[float, ...] | float = (1e-3, 1e-2, 3e-2, 1e-1, 1.0)
    """Weights of the second term, each ≥ 0. More of it shares weight among near copies of a neuron, so that rankings
    reproduce better; the fewer the words, the more is best for accuracy too. Where both are 0, separable classes have
    no finite optimum: the certificate is then the whole objective, and the probe is converged only when that is as good
    as 0."""
    penalty: PenaltyName = "elastic_net"
    """`elastic_net` chooses neurons for each class, `group_lasso` for all classes at once; `neurox` takes the penalties
    of published work unchanged."""
    solver: SolverName = "proximal"
    """`proximal` is exact and certified; `adam` is the papers' schedule, which ends above the optimum."""
    standardize: bool = True
    """Scales features to mean 0 and deviation 1 over the training words, inside the products: X is never copied."""
    tolerance: float = 1e-4
    """`proximal` stops a problem when its duality gap is at most this share of the objective at zero weights."""
    max_iterations: int = 1000
    """Limit of the `proximal` solver; a problem that reaches it is returned as not converged, with its gap."""
    epochs: int = 10
    """Passes of `adam` over the training words (Durrani et al. 2020, A.1)."""
    batch_size: int = 512
    """Words in a step of `adam`."""
    learning_rate: float = 1e-3
    """Step size of `adam`."""
    proximal_step: bool = True
    """`adam` only: applies the first term as a proximal step, which makes exact zeros; False is the published
    sub-gradient."""
    seed: Annotated[int, tyro.conf.Suppress] = 0  # a run and a study have an option of their own for it
    """Orders the mini-batches of `adam` and draws the labels of the control task."""

    def __post_init__(self) -> None:
        for name in ("l1", "l2"):
            object.__setattr__(self, name, _penalties(name, getattr(self, name)))
        for name, allowed in (("penalty", get_args(PenaltyName)), ("solver", get_args(SolverName))):
            if getattr(self, name) not in allowed:
                raise SettingsError(f"`{name}` must be {_alternatives(allowed)}, got {getattr(self, name)!r}.")
        check_fields(self)
        for name in ("tolerance", "max_iterations", "epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"`{name}` must be greater than 0, got {getattr(self, name)}.")
        if self.seed < 0:
            raise SettingsError(f"`seed` must be 0 or more, got {self.seed}.")

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "ElasticNet":
        """Makes settings from the output of `dataclasses.asdict`, also after JSON has made lists of tuples.

        Raises:
            SettingsError: A name is unknown, or a value is out of its range.
        """
        names = [item.name for item in fields(cls)]
        if unknown := sorted(set(content) - set(names)):
            raise SettingsError(f"Unknown settings of `probe`: {', '.join(unknown)}. Known: {', '.join(names)}.")
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
        return cls(**values)

    @property
    def pairs(self) -> tuple[tuple[float, float], ...]:
        """Every (l1, l2) of the grid, l1 outermost."""
        return tuple(product(_as_tuple(self.l1), _as_tuple(self.l2)))


def sklearn_parameters(l1: float, l2: float, *, words: int | float) -> dict[str, float]:
    """Returns `C` and `l1_ratio` that make scikit-learn's elastic net the objective (1) of this module times C·n.

    Args:
        l1: Weight of ‖W‖₁.
        l2: Weight of ‖W‖²_F / 2.
        words: Number of training words, n; where they have weights, the sum of the weights.
    """
    return {"C": 1 / (words * (l1 + l2)), "l1_ratio": l1 / (l1 + l2)}


def _penalties(name: str, values: tuple[float, ...] | float) -> tuple[float, ...]:
    """Returns weights of a penalty as a tuple of numbers."""
    try:
        numbers = _as_tuple(values)
        if not numbers or not all(0 <= number < float("inf") for number in numbers):
            raise ValueError  # noqa: TRY301 - one message for all causes
    except (ValueError, TypeError, OverflowError):
        raise SettingsError(f"`{name}` must be one or more finite numbers ≥ 0, got {str(values)[:100]}.") from None
    if any(number > _LARGEST_PENALTY for number in numbers):
        raise SettingsError(
            f"`{name}` must be at most {_LARGEST_PENALTY:g}, since the solver computes in float32; got {numbers}. "
            "Already much smaller penalties keep all weights at zero."
        )
    return numbers


def _as_tuple(values: tuple[float, ...] | float) -> tuple[float, ...]:
    if isinstance(values, str):
        raise TypeError
    return (float(values),) if isinstance(values, int | float) else tuple(float(value) for value in values)


def _alternatives(names: tuple[str, ...]) -> str:
    *first, last = map(repr, names)
    return f"{', '.join(first)} or {last}"

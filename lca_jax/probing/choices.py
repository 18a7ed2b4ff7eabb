"""The losses, penalties and solvers that one can choose by name, and the records behind the names.

The names are listed in `objective` (`LossName`, `PenaltyName`, `SolverName`): those lists are the tables. Behind a name
stands the file of the same name in `losses`, `penalties` or `solvers`, and in it the constant `LOSS`, `PENALTY` or
`SOLVER`. Files are imported when their name is first asked for, so that the settings, and the command line that is made
of them, need no JAX.

*How to add a penalty.* Write `penalties/NAME.py`: a frozen dataclass with `terms` (A and B of l1·A + l2·B), `proximal`
and `dual_bound`, as `penalties.penalty.Penalty` describes them, and `PENALTY`, an instance. Add the name to
`PenaltyName`. `ElasticNet(penalty=NAME)`, the command line, both solvers, starts along a grid and the certificate
follow. `adam` also asks for `coordinate_proximal`, or says that it is missing. Test that the proximal operator beats a
grid of points, and that the certificate is never smaller than the distance to an independent solution.

*How to add a loss.* The same with `losses/NAME.py`, `losses.loss.Loss`, `LOSS` and `LossName`. The dual value of
residuals and `make_feasible` come from the conjugate of the loss. `Labelling.loss` names the loss of a task.

*How to add a solver.* Write `solvers/NAME.py`: a frozen dataclass whose fields are settings of `ElasticNet`, by the
same names, with `check` and `solve`, as `solvers.solver.Solver` describes them, and `SOLVER`, the class. Add the name
to `SolverName`, and settings that are new to `ElasticNet`. A solver returns answers with objective, certificate and
iterations; `solvers.certificate.bound_gap` gives the certificate of any weights.
"""

from dataclasses import fields
from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import Int

from lca_jax.errors import SettingsError
from lca_jax.probing.losses.loss import Loss
from lca_jax.probing.objective import ElasticNet, LossName, PenaltyName
from lca_jax.probing.penalties.neuron_groups import NeuronGroupLasso
from lca_jax.probing.penalties.penalty import Penalty
from lca_jax.probing.solvers.solver import Solver


def loss_named(name: LossName) -> Loss:
    """Returns the loss of that name."""
    return _module("losses", name).LOSS


def penalty_named(name: PenaltyName, group_of_column: Int[np.ndarray, " feature"] | None = None) -> Penalty:
    """Returns the penalty of that name.

    Args:
        name: Name of the penalty.
        group_of_column: Number of every feature's group, for the group lasso over groups of neurons; None for neurons
            by themselves.

    Raises:
        SettingsError: There are groups, and the penalty is not the group lasso.
    """
    if group_of_column is None:
        return _module("penalties", name).PENALTY
    if name != "group_lasso":
        raise SettingsError(
            f"Groups of neurons are for the penalty `group_lasso`, got `{name}`. Give "
            "ElasticNet(penalty='group_lasso')."
        )
    # Problems on a part of the neurons may lack some groups; those left are numbered without gaps.
    numbers = np.unique(group_of_column, return_inverse=True)[1]
    return NeuronGroupLasso(tuple(numbers.tolist()))


def solver_of(settings: ElasticNet) -> Solver:
    """Returns the chosen solver with its own settings."""
    record = _module("solvers", settings.solver).SOLVER
    return record(**{field.name: getattr(settings, field.name) for field in fields(record)})


def _module(kind: str, name: str) -> Any:
    return import_module(f"lca_jax.probing.{kind}.{name}")

"""Refuses options that have no effect in what is asked for, by name: whoever gives one expects something of it.

Records of settings refuse what contradicts itself. What merely has no effect is refused here, on the command line, so
that a run folder whose settings have such a value is still read.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass

from lca_jax.errors import SettingsError
from lca_jax.experiment.config import Experiment
from lca_jax.experiment.request import Request
from lca_jax.probing.objective import ElasticNet

OF_SOLVER = {
    "proximal": ("max_iterations",),
    "adam": ("epochs", "batch_size", "learning_rate", "proximal_step"),
}
"""The settings that one solver alone has, by its name."""


def refuse_idle(options: Mapping[str, object], of: Callable[..., object], why: str, *, prefix: str = "") -> None:
    """Refuses options that were given though they have no effect.

    Args:
        options: The values of options without effect, by the names of their arguments or fields. The fields of a record
            are options by themselves.
        of: The command or the record of settings that has these arguments or fields, with their defaults.
        why: What follows the names of the options, e.g. "only where a dev text is given".
        prefix: What the options have before their names, e.g. `probe.`.

    Raises:
        SettingsError: An option has another value than by default; the message names all of them.
    """
    if idle := list(_given(options, of, prefix)):
        raise SettingsError(f"{', '.join(idle)}: {why}. Leave {'it' if len(idle) == 1 else 'them'} out.")


def refuse_idle_settings(settings: Request) -> None:
    """Refuses options of a run or a study that its solver, its ranking or its tasks leave without effect.

    Raises:
        SettingsError: There are such options; the message names those of one kind.
    """
    solver = settings.probe.solver
    others = [name for other, names in OF_SOLVER.items() if other != solver for name in names]
    of_others = {name: getattr(settings.probe, name) for name in others}
    refuse_idle(of_others, ElasticNet, f"the solver `{solver}` has no such settings", prefix="probe.")
    if not any(task.startswith("feats:") for task in settings.tasks):
        options = {"unlabelled_as": settings.unlabelled_as}
        refuse_idle(options, Request, "only words of a task `feats:KEY` can lack a feature")
    # A command that a page prints may say 0, with which a ranking has no l2 of its own.
    if isinstance(settings, Experiment) and settings.ranking_l2 and not settings.halves_l2:
        why = "only the ranking `bagged` has it, with another penalty than `neurox`"
        refuse_idle({"ranking_l2": settings.ranking_l2}, Experiment, why)


def _given(options: Mapping[str, object], of: Callable[..., object], prefix: str) -> Iterator[str]:
    defaults = inspect.signature(of).parameters
    for name, value in options.items():
        if is_dataclass(value) and not isinstance(value, type):
            yield from _given({item.name: getattr(value, item.name) for item in fields(value)}, type(value), prefix)
        elif _plain(value) != _plain(defaults[name].default):
            yield f"--{prefix}{name.replace('_', '-')}"


def _plain(value: object) -> object:
    """Returns a value in which lists and tuples are alike, as they are for options."""
    return tuple(value) if isinstance(value, list) else value

"""What a user chooses of an ablation curve or of control by name: sets of neurons, sweeps, slots. It loads nothing."""

from typing import Literal, get_args

from lca_jax.errors import SettingsError

SetName = Literal["top", "random", "matched", "bottom"]
"""`top` and `bottom` of a ranking; `random` neurons, the same for all rankings; `matched` ones are random too, as many
of each layer as the top set has: low layers do more harm than high ones, whichever neurons are taken."""
SETS: tuple[SetName, ...] = get_args(SetName)
Sweep = Literal["cumulative", "interval", "each"]
"""The first k neurons for each count k; those between one count and the next; or each neuron alone."""
SWEEPS: tuple[Sweep, ...] = get_args(Sweep)
Where = Literal["all", "words", "after first"]
"""Which slots are edited: `all` of them, those of `words` (no special piece), or all but the first of each window,
where causal models park attention."""
WHERE: tuple[Where, ...] = get_args(Where)


def check_where(where: str) -> None:
    """Raises a `SettingsError` if a text is none of `WHERE`."""
    if where not in WHERE:
        raise SettingsError(f"`where` must be one of {', '.join(WHERE)}, got {where!r}.")


Edited = Literal["all", "words", "class"]
"""Where a property is controlled: in `all` slots, in those of `words`, or in the words of the class that is left."""
EDITED: tuple[Edited, ...] = get_args(Edited)

"""Every probe that reads a set of neurons, by its name: what a ranking's sets are worth depends on who reads them.

A readout is one function in a file of this folder, and one row of `READOUTS`. It predicts the classes of words from the
leading neurons of an order, for several sizes at once, trained on these neurons alone. A readout that trains on all
neurons together also has a function with some of them masked; for the others both are the same.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from lca_jax.analysis.readouts.gaussian import gaussian_on_sets, shared_gaussian_on_sets
from lca_jax.analysis.readouts.linear import (
    linear_masked,
    linear_on_sets,
    one_vs_rest_masked,
    one_vs_rest_on_sets,
)
from lca_jax.analysis.readouts.majority import majority_on_sets
from lca_jax.errors import SettingsError


class Readout(NamedTuple):
    """One kind of probe."""

    on_sets: Callable[..., Int[np.ndarray, "size word"]]
    """(training, X, order, sizes): class numbers by probes of the leading neurons alone."""
    masked: Callable[..., Int[np.ndarray, "mask word"]] | None
    """(training, X, keep): class numbers by one probe of all neurons, with some masked; None where that is the same."""
    what: str
    """What the probe is, in a few words."""


READOUTS: dict[str, Readout] = {
    "linear": Readout(linear_on_sets, linear_masked, "certified multinomial probe"),
    "one_vs_rest": Readout(one_vs_rest_on_sets, one_vs_rest_masked, "certified binary probe for each class"),
    "gaussian": Readout(gaussian_on_sets, None, "Gaussian of each class, its own MAP covariance"),
    "shared_gaussian": Readout(shared_gaussian_on_sets, None, "Gaussian of each class, one MAP covariance"),
    "majority": Readout(majority_on_sets, None, "majority vote of single neurons"),
}
"""The readouts by name."""


def readout_named(name: str) -> Readout:
    """Returns a readout.

    Raises:
        SettingsError: There is none of this name; the message lists them all.
    """
    if name not in READOUTS:
        raise SettingsError(f"There is no probe {name!r} for sets of neurons. Probes: {', '.join(READOUTS)}.")
    return READOUTS[name]

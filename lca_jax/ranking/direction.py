"""Which way a neuron may speak for a class: by high values, by low ones, or by either.

The directions of a residual stream have no sign of their own, so by default the better of both counts. Published
methods differ: Fan et al. 2023 print Probeless, MeanSelect and IoU for high values alone, and so compute NeuroX's code
and the expertise of Suau et al. 2020; Antverg and Belinkov 2022 take magnitudes.
"""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64

from lca_jax.errors import SettingsError

Direction = Literal["both", "high", "low"]
"""`high`: values above those of other words speak for a class; `low`: values below; `both`: the better of the two."""


def in_direction(
    direction: Direction, high: Float64[np.ndarray, "*shape"], low: Float64[np.ndarray, "*shape"]
) -> Float64[np.ndarray, "*shape"]:
    """Returns the scores that count, of those for high values and those for low ones.

    Raises:
        SettingsError: The direction is unknown.
    """
    if direction not in get_args(Direction):
        raise SettingsError(f"`direction` must be {' or '.join(map(repr, get_args(Direction)))}, got {direction!r}.")
    return {"high": high, "low": low, "both": np.maximum(high, low)}[direction]

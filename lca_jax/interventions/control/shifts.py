"""Shifts of neurons from one class of a task towards another, by the means of the classes in a store's statistics.

With the mean q(from) of the words of the class that is left and q(to) of the one that is aimed at:

- `clamp` sets a neuron to q(to) + strength · (q(to) - q(from)): to the mean of the target at strength 0, and as far
  beyond it as the strength says. Bau et al. 2019 print μ1 + β (μ1 - μ2) with μ1 the mean of the property that is moved
  *from*, which leads away from the target; here the target takes the first place. The printed formula is strength
  -1 - β.
- `translate` adds α · (q(to) - q(from)), with an α that falls in equal steps of its logarithm from the strength at the
  first neuron of the ranking to 0.001 at the last one. Strength 0 leaves every neuron alone.
- `zero` sets a neuron to 0: the ablation that both papers compare with. It leads nowhere, so its strength is 0.

Residual layers add up what is added to them: a translation of neurons of several layers is stronger with each layer.
The published strengths (8, tried from 1 to 12) are for neurons of one layer; give `layers` one layer to compare.

References:
    Bau et al. 2019, section 6 (control of tense, number and gender in translations).
    Antverg and Belinkov 2022, section 4 (translation of neurons; α by rank).
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Float32, Int

from lca_jax.axes import NeuronAxis
from lca_jax.errors import DataError, SettingsError
from lca_jax.interventions.edits import columns_by_site
from lca_jax.models.model import Model
from lca_jax.models.stack.taps import Edit
from lca_jax.store.statistics import Statistics

Shift = Literal["clamp", "translate", "zero"]
"""`clamp` sets neurons to a number, the same in all words; `translate` adds one; `zero` sets them to 0."""
SHIFTS: tuple[Shift, ...] = get_args(Shift)
LAST_STRENGTH = 0.001
"""What the strength of a translation falls to at the last neuron of a ranking."""


class ClassPair(NamedTuple):
    """Means of every neuron in the class that is left and in the one that is aimed at."""

    axis: NeuronAxis
    """The neuron of each column."""
    source: Float[np.ndarray, " feature"]
    target: Float[np.ndarray, " feature"]


def class_pair(statistics: Statistics, task: str, *, source: str, target: str) -> ClassPair:
    """Returns the means of two classes of a task.

    Args:
        statistics: From `store.statistics()`.
        task: The task.
        source: The class that is left.
        target: The class that is aimed at.

    Raises:
        SettingsError: The classes of this task were not gathered, or both names are one.
        DataError: A class is unknown or has no word.
    """
    of_task = statistics.of_task(task)
    if source == target:
        raise SettingsError(f"`source` and `target` must be two classes, got {source!r} for both.")
    present = [name for name, count in zip(of_task.classes, of_task.counts, strict=True) if count]
    if missing := [name for name in (source, target) if name not in present]:
        raise DataError(
            f"In {statistics.place} no word of `{task}` is {missing[0]!r}. Classes with words: {', '.join(present)}."
        )
    means = [of_task.mean[of_task.classes.index(name)] for name in (source, target)]
    return ClassPair(statistics.axis, *means)


def shift_neurons(
    model: Model,
    columns: Sequence[int] | Int[np.ndarray, " neuron"],
    pair: ClassPair,
    *,
    shift: Shift = "clamp",
    strength: float = 0.0,
    ranked: int | None = None,
) -> dict[str, Edit]:
    """Makes the edits that shift neurons from one class towards another, for `model.write`, `forward` or `extract`.

    Args:
        model: The model that will run with the edits.
        columns: Columns of the neurons, best first, such as `ranking.top(10)`.
        pair: From `class_pair`.
        shift: `clamp`, `translate` or `zero`.
        strength: How far: see above.
        ranked: Number of neurons in the whole ranking, over which the strength of a translation falls; all of the axis
            if None.

    Returns:
        Site to edit, for all sites of the axis.

    Raises:
        SettingsError: The shift is unknown, the strength has no meaning for it, or a neuron is not in the model.
    """
    columns = np.asarray(columns, np.int64)
    if shift not in SHIFTS:
        raise SettingsError(f"`shift` must be one of {', '.join(SHIFTS)}, got {shift!r}.")
    apart = (pair.target - pair.source)[columns]
    scale, added = np.ones(pair.axis.size, np.float32), np.zeros(pair.axis.size, np.float32)
    if shift == "zero":
        if strength != 0:
            raise SettingsError(f"Neurons that are set to zero go nowhere: their strength must be 0, got {strength}.")
        scale[columns] = 0
    elif shift == "clamp":
        _check_strength(strength, least=0.0)
        scale[columns] = 0
        added[columns] = pair.target[columns] + strength * apart
    else:
        falling = falling_strengths(strength, ranked or pair.axis.size)
        added[columns] = falling[: len(columns)] * apart
    return _by_site(model, pair.axis, scale, added)


def falling_strengths(strength: float, count: int) -> Float[np.ndarray, " rank"]:
    """Returns the strength of a translation at every place of a ranking: from `strength` to 0.001 in equal ratios.

    Raises:
        SettingsError: The strength is not finite, or not 0 and below 0.001, where it would rise.
    """
    _check_strength(strength, least=LAST_STRENGTH)
    if strength == 0:
        return np.zeros(count)
    return np.sign(strength) * np.geomspace(abs(strength), LAST_STRENGTH, count)


def _check_strength(strength: float, *, least: float) -> None:
    if not np.isfinite(strength) or 0 < abs(strength) < least:
        bound = f"0, or at least {least} in size" if least else "finite"
        raise SettingsError(f"A strength must be {bound}, got {strength}.")


def _by_site(
    model: Model, axis: NeuronAxis, scale: Float32[np.ndarray, " feature"], added: Float32[np.ndarray, " feature"]
) -> dict[str, Edit]:
    """Puts numbers by column in their places; neurons that the axis does not have are left alone."""
    # Column -1 stands for them: the last place of the longer vectors.
    scales, shifts = np.append(scale, np.float32(1)), np.append(added, np.float32(0))
    return {site: Edit(scales[at], shifts[at]) for site, at in columns_by_site(model.config, axis).items()}

"""Where the neurons of single classes sit: how many each class has, how deep they lie, and how classes share them.

Depth is relative: 0 is the first layer that was read, 1 the last. The **lower half** are layers of a depth below 0.5; a
layer in the very middle counts by half. Every number has its interval over the sentences from half-samples, which each
divide their own first neurons among the classes by their own probe. A class without a neuron in a half has no depth
there, and then no interval.

A **contrast** is between two kinds of classes, such as open and closed ones: the mean depth of the places of the one
less that of the other, where a neuron counts once for each class that reads it. Random neurons have no contrast.

Reference: Durrani et al. 2023, sections 5.2 (open classes need more neurons than closed ones) and 5.3 (layers).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from lca_jax.analysis.depth import lower_part, relative_depths
from lca_jax.analysis.half_intervals import Interval, interval_of_halves
from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.probing.halves import check_pairs

OPEN_CLASSES = ("ADJ", "ADV", "INTJ", "NOUN", "PROPN", "VERB")
"""Classes of Universal Dependencies to which a language adds words; universaldependencies.org/u/pos."""
CLOSED_CLASSES = ("ADP", "AUX", "CCONJ", "DET", "NUM", "PART", "PRON", "SCONJ")
"""Those to which it does not. PUNCT, SYM and X are neither."""
Divided = Mapping[str, Int[np.ndarray, " _"]]
"""The columns of each class."""


@dataclass(frozen=True, kw_only=True)
class ClassPlace:
    """The neurons of one class, or of one kind of classes."""

    neurons: Interval
    """Their number; of a kind, the mean number of its classes."""
    depth: Interval | None
    """Their mean relative depth; None for a class that has no neuron."""
    lower_half: Interval | None
    """Share of them in the lower half of the layers."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Two kinds of classes beside each other."""

    places: tuple[ClassPlace, ClassPlace]
    more_neurons: Interval
    """Mean number of neurons of a class of the one kind less that of the other."""
    deeper: Interval | None
    """Mean depth of the one less that of the other."""


@dataclass(frozen=True, kw_only=True)
class Localisation:
    """Where the classes of a task have their neurons; from `localise`."""

    classes: Mapping[str, ClassPlace]
    classes_a_neuron: tuple[int, ...]
    """Number of neurons that one class reads, two classes, and so on."""
    expected_depth: float
    """Mean relative depth of all neurons."""
    expected_lower_half: float
    """Share of all neurons in the lower half."""
    contrast: Contrast | None
    """None where the kinds of classes were not given, or a kind has no class here."""


def localise(
    by_class: Divided,
    of_halves: Sequence[Divided],
    axis: NeuronAxis,
    *,
    kinds: tuple[Sequence[str], Sequence[str]] | None = None,
) -> Localisation:
    """Says where the classes of a task have their neurons.

    Args:
        by_class: The columns of each class.
        of_halves: The same of complementary half-samples, the first two of one division, and so on.
        axis: The neuron of each column.
        kinds: The names of two kinds of classes to contrast; names that are no class are left out.

    Raises:
        SettingsError: There are no halves or an odd number of them, or one has other classes.
    """
    if not of_halves:
        raise SettingsError("Intervals of places are those of half-samples: give two divisions into classes or more.")
    check_pairs(len(of_halves))
    if any(set(half) != set(by_class) for half in of_halves):
        raise SettingsError(f"Every half must have the classes of the whole: {', '.join(by_class)}.")
    depths, lower = relative_depths(axis)[axis.block_of_column], lower_part(axis)[axis.block_of_column]
    samples = [by_class, *of_halves]
    places = {name: _place([[of[name]] for of in samples], depths, lower) for name in by_class}
    every = np.concatenate([*by_class.values(), np.zeros(0, np.int64)]).astype(np.int64)
    readers = np.unique(every, return_counts=True)[1]
    return Localisation(
        classes=places,
        classes_a_neuron=tuple(np.bincount(readers, minlength=2)[1:].tolist()) if len(readers) else (),
        expected_depth=float(depths.mean()),
        expected_lower_half=float(lower.mean()),
        contrast=None if kinds is None else _contrast(samples, kinds, depths, lower),
    )


def _contrast(
    samples: Sequence[Divided],
    kinds: tuple[Sequence[str], Sequence[str]],
    depths: Float64[np.ndarray, " feature"],
    lower: Float64[np.ndarray, " feature"],
) -> Contrast | None:
    names = [[name for name in kind if name in samples[0]] for kind in kinds]
    if not all(names):
        return None
    sets = [[[of[name] for name in kind] for of in samples] for kind in names]
    one, other = (_place(of_kind, depths, lower) for of_kind in sets)
    counts, means = (
        np.array([[figure(of) for of in of_kind] for of_kind in sets]) for figure in (_count, _mean(depths))
    )
    more, deeper = (values[0] - values[1] for values in (counts, means))
    return Contrast(
        places=(one, other), more_neurons=interval_of_halves(float(more[0]), more[1:]), deeper=_interval(deeper)
    )


def _place(
    sets: Sequence[Sequence[Int[np.ndarray, " _"]]],
    depths: Float64[np.ndarray, " feature"],
    lower: Float64[np.ndarray, " feature"],
) -> ClassPlace:
    """Returns the place of some classes, whose columns are given for the whole and for every half."""
    counts, *means = (np.array([figure(of) for of in sets]) for figure in (_count, _mean(depths), _mean(lower)))
    depth, low = map(_interval, means)
    return ClassPlace(
        neurons=interval_of_halves(float(counts[0]), counts[1:]).within(0.0, float("inf")),
        depth=depth,
        lower_half=None if low is None else low.within(0.0, 1.0),
    )


def _interval(values: Float64[np.ndarray, " sample"]) -> Interval | None:
    """Returns the interval of a number; None where a sample has none."""
    return interval_of_halves(float(values[0]), values[1:]) if np.isfinite(values).all() else None


def _count(classes: Sequence[Int[np.ndarray, " _"]]) -> float:
    return float(np.mean([len(columns) for columns in classes]))


def _mean(of_column: Float64[np.ndarray, " feature"]) -> Callable[[Sequence[Int[np.ndarray, " _"]]], float]:
    def mean(classes: Sequence[Int[np.ndarray, " _"]]) -> float:
        every = np.concatenate(list(classes)).astype(np.int64)
        return float(of_column[every].mean()) if len(every) else float("nan")

    return mean

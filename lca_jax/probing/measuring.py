"""Reads the words of a store on which the probes of a task are measured, once for all that is measured on them.

A record of measured words holds X, so it takes as much memory as these words do. Whatever is measured on a store (the
probe, its control, keep curves, minimal sets) takes the record in place of the store, and nothing is read again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int

from lca_jax.axes import NeuronAxis
from lca_jax.errors import DataError, SettingsError
from lca_jax.probing.arrays import Arrays, check_arrays
from lca_jax.probing.labelling import number_labels, read_numbers, usable_labels
from lca_jax.store.finite import place_in_store, refuse_not_finite
from lca_jax.store.store import ActivationStore
from lca_jax.text.control import ControlTask

_X: TypeAlias = Float[np.ndarray, "_word _feature"]
_Gold: TypeAlias = Int[np.ndarray, " _word"] | Float[np.ndarray, " _word"]
_Units: TypeAlias = Int[np.ndarray, " _word"]


@dataclass(frozen=True, kw_only=True)
class MeasuredWords:
    """The labelled words of a store that have a vector, in the features that the probes read."""

    store: ActivationStore | None
    """The store that the words were read from; None for plain arrays."""
    axis: NeuronAxis
    """The neuron of each feature."""
    task: str
    """The task whose labels the words have."""
    classes: tuple[str, ...]
    """Classes of the probes; none for a regression."""
    control: bool
    """Whether `gold` has the labels of the task's control task."""
    X: Float[np.ndarray, "word feature"] = field(repr=False)
    """Raw activations."""
    gold: Int[np.ndarray, " word"] | Float[np.ndarray, " word"] = field(repr=False)
    """Class numbers, -2 for a label that training never saw; for a regression the numbers themselves."""
    units: Int[np.ndarray, " word"] = field(repr=False)
    """Position of each word among the units of the store."""

    @property
    def sentences(self) -> Int[np.ndarray, " word"]:
        """Number of the sentence that each word stands in; words of plain arrays are sentences of their own."""
        return self.units if self.store is None else self.store.words["sentence"].to_numpy()[self.units]

    def labelled_by(self, control: ControlTask) -> "MeasuredWords":
        """Returns the same words with the labels of a control task; X is shared, not read again."""
        if self.store is None:
            raise SettingsError("Plain arrays have no word types, so they have no control task.")
        labels = control.label_like(self.store.forms(), usable_labels(self.store, self.task))
        _, gold = _gold(self.task, labels, self.classes)
        return replace(self, control=True, gold=gold[self.units])


def measured_words(
    words: ActivationStore | MeasuredWords | Arrays,
    axis: NeuronAxis,
    task: str,
    classes: Sequence[str],
    *,
    control: ControlTask | None = None,
) -> MeasuredWords:
    """Reads the labelled words of a store that have a vector; of words that were read before, checks that they fit.

    Args:
        words: The train, dev or test store, or what this function returned for it; or features and labels (X, y).
        axis: Neurons that the probes read.
        task: The task whose labelled words are read.
        classes: Classes of the probes; none for a regression.
        control: Control task whose labels the words get instead.

    Raises:
        SettingsError: The store has other neurons than the probes were trained on, or the words were read for another
            task.
        DataError: No word of the store is labelled, or an activation is not finite.
    """
    if isinstance(words, MeasuredWords):
        _check_purpose(words, axis, task, classes)
    elif isinstance(words, tuple):
        words = _measured(None, axis, task, classes, *_of_arrays(words, axis, task, classes))
    else:
        words = _measured(words, axis, task, classes, *_read(words, axis, task, classes))
    return words if control is None else words.labelled_by(control)


def words_of_tasks(
    store: ActivationStore, axis: NeuronAxis, classes_of: Mapping[str, Sequence[str]]
) -> Iterator[MeasuredWords]:
    """Yields the labelled words of several tasks, one task after the other, from one reading of the store.

    Memory: the words that any of the tasks labels, and once more those of one task that labels fewer.

    Args:
        store: The store, which may compute its vectors when they are read.
        axis: Neurons that the probes read.
        classes_of: Classes of the probes of every task; none for a regression.

    Raises:
        SettingsError, DataError: As `measured_words`.
    """
    labelled = {task: _labelled(store, axis, task, classes) for task, classes in classes_of.items()}
    read = np.unique(np.concatenate([units for _, units in labelled.values()]))
    X = _vectors(store, axis, read)
    for task, (gold, units) in labelled.items():
        of_task = X if len(units) == len(read) else X[np.searchsorted(read, units)]
        yield _measured(store, axis, task, classes_of[task], of_task, gold, units)


def _read(store: ActivationStore, axis: NeuronAxis, task: str, classes: Sequence[str]) -> tuple[_X, _Gold, _Units]:
    """Returns X, what predictions are compared with, and the positions of the labelled words of a store."""
    gold, units = _labelled(store, axis, task, classes)
    return _vectors(store, axis, units), gold, units


def _labelled(store: ActivationStore, axis: NeuronAxis, task: str, classes: Sequence[str]) -> tuple[_Gold, _Units]:
    """Returns what predictions are compared with, and the positions of the labelled words of a store."""
    if store.axis() != axis:
        raise SettingsError(
            f"The probes read {_describe(axis)}; {store.place} has {_describe(store.axis())}. Extract the same sites "
            "and layers for training, dev and test."
        )
    numbers, gold = _gold(task, usable_labels(store, task), classes)
    units = np.flatnonzero(numbers != -1)
    if not len(units):
        raise DataError(f"No {store.unit} of {store.place} has both a label for `{task}` and a vector.")
    return gold[units], units


def _vectors(store: ActivationStore, axis: NeuronAxis, units: _Units) -> _X:
    """Reads the vectors of some words and checks that they are finite."""
    X = store.matrix(units) if len(units) < store.word_count else store.matrix()
    refuse_not_finite(lambda first, last: X[first:last], len(X), place_in_store(store, units, axis))
    return X


def _of_arrays(arrays: Arrays, axis: NeuronAxis, task: str, classes: Sequence[str]) -> tuple[_X, _Gold, _Units]:
    """Returns the same of plain arrays."""
    X, labels = check_arrays(arrays)
    if X.shape[1] != axis.size:
        raise SettingsError(f"The probes read {_describe(axis)}; the matrix has {X.shape[1]} columns.")
    _, gold = _gold(task, labels, classes)
    return X, gold, np.arange(len(X))


def _measured(
    store: ActivationStore | None,
    axis: NeuronAxis,
    task: str,
    classes: Sequence[str],
    X: _X,
    gold: _Gold,
    units: _Units,
) -> MeasuredWords:
    named = tuple(classes)
    return MeasuredWords(store=store, axis=axis, task=task, classes=named, control=False, X=X, gold=gold, units=units)


def _check_purpose(words: MeasuredWords, axis: NeuronAxis, task: str, classes: Sequence[str]) -> None:
    """Refuses words that were read for another task, for other classes or neurons, or with a control task's labels."""
    if words.control:
        raise SettingsError(f"These words have the labels of the control task of `{words.task}`. Give its own labels.")
    if (words.task, words.classes) != (task, tuple(classes)):
        raise SettingsError(
            f"These words were read for `{words.task}` with classes {list(words.classes)}, not for `{task}` with "
            f"{list(classes)}. Read them again: measured_words(store, probes.axis, {task!r}, probe.classes)."
        )
    if words.axis != axis:
        raise SettingsError(f"The probes read {_describe(axis)}; these words have {_describe(words.axis)}.")


def _gold(task: str, labels: Sequence[str | None], classes: Sequence[str]) -> tuple[_Units, _Gold]:
    """Returns the class numbers, -1 where there is no label, and what predictions are compared with."""
    labelling = number_labels(task, labels, classes=classes) if classes else read_numbers(task, labels)
    return labelling.numbers, labelling.numbers if labelling.values is None else labelling.values


def _describe(axis: NeuronAxis) -> str:
    return f"{axis.size} neurons of {', '.join(axis.layer_names)}"

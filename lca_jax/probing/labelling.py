"""Labels as numbers, and the words on which a task is trained or measured.

-1 masks a word: it has no label or no vector. -2 marks a label that training never saw: the word is measured, no
prediction equals it, so it counts as an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from lca_jax.activations.store import ActivationStore
from lca_jax.axes import NeuronAxis
from lca_jax.errors import DataError, SettingsError
from lca_jax.text.control import ControlTask, draw_control_task


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """The labels of one task on the words of a design, as numbers."""

    task: str
    control: bool
    classes: tuple[str, ...]
    numbers: Int[np.ndarray, " word"]
    """Position in `classes`; -1 masks the word."""


def number_labels(task: str, labels: Sequence[str | None], *, classes: Sequence[str] | None = None) -> Labelling:
    """Numbers the labels of a task by their place among the classes, which are the sorted labels unless given."""
    names = tuple(classes) if classes is not None else tuple(sorted({label for label in labels if label is not None}))
    number = {name: position for position, name in enumerate(names)}
    numbers = np.array([-1 if label is None else number.get(label, -2) for label in labels], np.int32)
    return Labelling(task=task, control=False, classes=names, numbers=numbers)


def take_rows(labelling: Labelling, rows: Int[np.ndarray, " row"]) -> Labelling:
    """The same labelling on some of the words."""
    return replace(labelling, numbers=labelling.numbers[rows])


def check_classes(labelling: Labelling) -> None:
    """Refuses a task on which there is nothing to learn.

    Raises:
        DataError: No labelled word with a vector, or one class only.
    """
    present = np.unique(labelling.numbers[labelling.numbers >= 0])
    name = f"control task of `{labelling.task}`" if labelling.control else f"task `{labelling.task}`"
    if not len(present):
        raise DataError(
            f"The {name} has no labelled word with a vector. Check the label column and the excluded words."
        )
    if len(present) == 1 and not labelling.control:
        only = labelling.classes[present[0]]
        raise DataError(f"The {name} has one class only ({only!r}), so there is nothing to tell apart.")


class MeasuredWords(NamedTuple):
    """The words of a store on which probes of a task are measured."""

    X: Float[np.ndarray, "word feature"]
    gold: Int[np.ndarray, " word"]
    """Class numbers; -2 for a label that training never saw."""
    rows: Int[np.ndarray, " word"]
    """Their rows in the store."""


def usable_labels(store: ActivationStore, task: str) -> list[str | None]:
    """The labels of a task, None where the word has no label or no vector."""
    return [label if has else None for label, has in zip(store.labels(task), store.usable.tolist(), strict=True)]


def control_task_of(train: ActivationStore, task: str, *, seed: int) -> ControlTask:
    """The control task of a task, drawn from the labels of the words it is trained on."""
    return draw_control_task(train.forms(), usable_labels(train, task), seed=seed)


def measured_words(
    store: ActivationStore, axis: NeuronAxis, task: str, classes: Sequence[str], *, control: ControlTask | None = None
) -> MeasuredWords:
    """The labelled words of a store that have a vector, in the features that the probes read.

    Args:
        store: Train, dev or test.
        axis: Of the probes.
        task: The task whose labelled words are wanted.
        classes: Of the probes.
        control: Gives these words the labels of a control task instead.

    Raises:
        SettingsError: The store holds other neurons than the probes were trained on.
        DataError: No word of the store is labelled.
    """
    if store.axis() != axis:
        raise SettingsError(
            f"The probes read {axis.size} neurons of {_places(axis)}; {store.place} holds {store.axis().size} of "
            f"{_places(store.axis())}. Extract the same sites and layers for training, dev and test."
        )
    labels = usable_labels(store, task)
    if control is not None:
        labels = control.label_like(store.forms(), labels)
    numbers = number_labels(task, labels, classes=classes).numbers
    rows = np.flatnonzero(numbers != -1)
    if not len(rows):
        raise DataError(f"No word of {store.place} has a label for `{task}` and a vector.")
    X = store.matrix(rows) if len(rows) < store.word_count else store.matrix()
    return MeasuredWords(X, numbers[rows], rows)


def _places(axis: NeuronAxis) -> str:
    return ", ".join(f"{block.site} {block.layer}" for block in axis.blocks)

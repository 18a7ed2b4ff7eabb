"""Labels as numbers, and the words on which a task is trained or measured.

-1 masks a word: it has no label or no vector. -2 marks a label that training never saw: the word is measured, no
prediction equals it, so it counts as an error.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from lca_jax.errors import DataError, list_problems
from lca_jax.store.store import ActivationStore
from lca_jax.text.control import ControlTask, draw_control_task


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """The labels of one task on the words of a design, as numbers."""

    task: str
    control: bool
    classes: tuple[str, ...]
    numbers: Int[np.ndarray, " word"]
    """Position in `classes`; -1 masks the word."""
    weights: Float[np.ndarray, " word"] | None = None
    """How much each word counts; None where all count the same."""
    replicate: int = 0
    """0 for the words as they are, otherwise the number of the bootstrap sample that `weights` are of."""
    target: str | None = None
    """Where this class is told from all others: its name."""
    values: Float[np.ndarray, " word"] | None = None
    """Of a regression the number of each word, NaN where `numbers` masks it; then there are no classes."""

    @property
    def columns(self) -> int:
        """Columns of a probe's weights: one a class, one of a regression."""
        return len(self.classes) if self.values is None else 1

    @property
    def counted(self) -> Bool[np.ndarray, " word"]:
        """The words that are trained on: those with a label, and a weight that is not 0."""
        labelled = self.numbers >= 0
        return labelled if self.weights is None else labelled & (self.weights > 0)


def number_labels(task: str, labels: Sequence[str | None], *, classes: Sequence[str] | None = None) -> Labelling:
    """Numbers the labels of a task by their place among the classes, which are the sorted labels unless given."""
    names = tuple(classes) if classes is not None else tuple(sorted({label for label in labels if label is not None}))
    number = {name: position for position, name in enumerate(names)}
    numbers = np.array([-1 if label is None else number.get(label, -2) for label in labels], np.int32)
    return Labelling(task=task, control=False, classes=names, numbers=numbers)


def read_numbers(task: str, labels: Sequence[str | None]) -> Labelling:
    """The labels of a task as numbers to predict.

    Raises:
        DataError: Labels are no finite numbers; the message counts them and names the first ones.
    """
    values = np.full(len(labels), np.nan)
    wrong: list[str] = []
    for place, label in enumerate(labels):
        if label is None:
            continue
        with suppress(ValueError):
            values[place] = float(label)
        if not np.isfinite(values[place]):
            wrong.append(f"word {place + 1}: {label!r}")
            values[place] = np.nan
    if wrong:
        raise DataError(
            f"The labels of task `{task}` must be finite numbers to be predicted by a regression:\n"
            f"{list_problems(wrong)}\nLeave the task out of `regression` to tell its labels apart as classes."
        )
    numbers = np.where(np.isnan(values), -1, 0).astype(np.int32)
    return Labelling(task=task, control=False, classes=(), numbers=numbers, values=values.astype(np.float32))


def tell_from_rest(labelling: Labelling, target: str) -> Labelling:
    """One class of a task against all its others, as a task of two classes: `not TARGET` and `TARGET`.

    A label that training never saw (-2) is one of the others.
    """
    numbers = labelling.numbers
    number = labelling.classes.index(target)
    return replace(
        labelling,
        classes=(f"not {target}", target),
        target=target,
        numbers=np.where(numbers == -1, -1, numbers == number).astype(np.int32),
    )


def take_words(labelling: Labelling, places: Int[np.ndarray, " word"]) -> Labelling:
    """Returns the labelling of some of the words, given their places, in the order given."""
    weights = None if labelling.weights is None else labelling.weights[places]
    values = None if labelling.values is None else labelling.values[places]
    return replace(labelling, numbers=labelling.numbers[places], weights=weights, values=values)


def check_classes(labelling: Labelling) -> None:
    """Refuses a task on which there is nothing to learn.

    A control task or a bootstrap sample may come out with one class: its probe says that class, with no weights.

    Raises:
        DataError: No labelled word with a vector (and a weight), one class only, or weights that are none.
    """
    name = f"control task of `{labelling.task}`" if labelling.control else f"task `{labelling.task}`"
    if labelling.weights is not None:
        _check_weights(labelling.weights, name)
    present = np.unique(labelling.numbers[labelling.counted])
    if labelling.replicate and not len(present):
        raise DataError(
            f"Bootstrap sample {labelling.replicate} of the {name} drew no labelled word: too few sentences have one. "
            "Give more text, or leave this task out where you ask for `replicates`."
        )
    if labelling.weights is not None and (labelling.numbers >= 0).any() and not len(present):
        raise DataError(f"All labelled words of the {name} have weight 0. Give a weight above 0 to those that count.")
    if not len(present):
        raise DataError(
            f"The {name} has no labelled word with a vector. Check the label column and the excluded words."
        )
    if labelling.control or labelling.replicate:
        return
    if labelling.values is not None:
        known = labelling.values[labelling.counted]
        if known.min() == known.max():
            raise DataError(f"All words of the {name} have the same number, {known[0]:g}: there is nothing to predict.")
    elif len(present) == 1:
        only = labelling.classes[present[0]]
        raise DataError(f"The {name} has one class only ({only!r}), so there is nothing to tell apart.")


def _check_weights(weights: Float[np.ndarray, " word"], name: str) -> None:
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise DataError(
            f"Word weights must be finite and 0 or more; that of word {wrong[0]} of the {name} is {weights[wrong[0]]} "
            f"({len(wrong)} such words). Give 0 to words that are not to count."
        )


def usable_labels(store: ActivationStore, task: str) -> list[str | None]:
    """The labels of a task, None where the word has no label or no vector."""
    return [label if has else None for label, has in zip(store.labels(task), store.usable.tolist(), strict=True)]


def control_task_of(train: ActivationStore, task: str, *, seed: int) -> ControlTask | None:
    """The control task of a task, drawn from the labels of the words it is trained on; None for tasks of sentences.

    Its random labels are by word type, so that a probe can learn them from the types that training and test share.
    Sentences share none: what such a probe reached would say nothing.

    Reference: Hewitt and Liang 2019.
    """
    if train.unit == "sentence":
        return None
    return draw_control_task(train.forms(), usable_labels(train, task), seed=seed)

"""Labels of a task as numbers, for all words of a store or for some of them.

-1 masks a word that has no label or no vector. -2 is a label that training never saw: the word is measured, and since
no prediction equals it, it counts as an error.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int, Num

from lca_jax.errors import DataError, SettingsError, list_problems
from lca_jax.probing.objective import LossName
from lca_jax.store.store import ActivationStore
from lca_jax.text.control import ControlTask, draw_control_task

LARGEST_NUMBER = 1e12
"""Largest magnitude of a number to predict: its square, summed over the words, must stay within float32."""
_LEAST_SHARE = 1e-6
"""Smallest weight of a word that counts, as a share of the largest."""
SampleKind = Literal["bootstrap", "halves"]
SAMPLE_KINDS: dict[SampleKind, str] = {"bootstrap": "Bootstrap sample", "halves": "Half-sample"}
"""What a sample of each kind is called; how they are drawn is written in `bootstrap` and `halves`."""


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """The labels of one task on the words of a matrix, as numbers."""

    task: str
    control: bool
    """Whether the labels are those of the task's control task."""
    classes: tuple[str, ...]
    """Class names, sorted; empty for a regression."""
    numbers: Int[np.ndarray, " word"] = field(repr=False)
    """Position of each word's label in `classes`; -1 masks the word."""
    weights: Float[np.ndarray, " word"] | None = field(default=None, repr=False)
    """How much each word counts; None if all count the same."""
    replicate: int = 0
    """Number of the sample that `weights` belong to; 0 for the words as they are."""
    kind: SampleKind = "bootstrap"
    """How that sample was drawn."""
    target: str | None = None
    """Name of the class that is told from all others; None for all classes."""
    values: Float[np.ndarray, " word"] | None = field(default=None, repr=False)
    """For a regression the number of each word, NaN for masked words; None otherwise."""

    @property
    def loss(self) -> LossName:
        """Name of the loss that compares predictions with the labels."""
        return "cross_entropy" if self.values is None else "squared_error"

    @property
    def targets(self) -> Num[np.ndarray, " word"]:
        """The labels in the form that the loss takes: class numbers, or the numbers to predict."""
        return self.numbers if self.values is None else self.values

    @property
    def columns(self) -> int:
        """Number of columns of a probe's weights: one for each class, or one for a regression."""
        return len(self.classes) if self.values is None else 1

    @property
    def counted(self) -> Bool[np.ndarray, " word"]:
        """Mask of the words that are trained on: they have a label and a weight above 0."""
        labelled = self.numbers >= 0
        return labelled if self.weights is None else labelled & (self.weights > 0)


def label_tasks(
    store: ActivationStore,
    tasks: Sequence[str],
    *,
    seed: int,
    one_vs_rest: bool,
    control: bool,
    regression: Sequence[str],
) -> list[Labelling]:
    """Returns each task and its control task, if it has one, on all words of the store; or the same for each class.

    Raises:
        DataError, SettingsError: As `probing.fit.fit_probes`.
    """
    forms = store.words["form"].combine_chunks().dictionary_encode() if control and has_control_task(store) else None
    labellings: list[Labelling] = []
    for task in tasks:
        real = _label_task(store, task, regression=task in regression)
        check_classes(real)
        kinds = [real] if forms is None else [real, _label_control(store, real, forms, seed=seed)]
        if one_vs_rest and real.classes:
            labellings += [tell_from_rest(kind, target) for target in real.classes for kind in kinds]
        else:
            labellings += kinds
    if not labellings:
        raise SettingsError(
            "There must be at least one task, and the store has no label column. Give `tasks` when reading the corpus."
        )
    return labellings


def _label_task(store: ActivationStore, task: str, *, regression: bool) -> Labelling:
    if regression:
        return narrowed(read_numbers(task, usable_labels(store, task)))
    names, numbers = store.numbered_labels(task)
    numbers[~store.usable] = -1
    present = np.unique(numbers[numbers >= 0])
    place = np.full(len(names) + 1, -1, numbers.dtype)  # one more, which -1 finds
    place[present] = np.arange(len(present))
    classes = tuple(names[number] for number in present.tolist())
    return narrowed(Labelling(task=task, control=False, classes=classes, numbers=place[numbers]))


def _label_control(store: ActivationStore, real: Labelling, forms: pa.DictionaryArray, *, seed: int) -> Labelling:
    """Labels the words that a task labels by its control task; each word type gets its label once."""
    if real.values is not None:
        words, labels = store.forms(), usable_labels(store, real.task)
        drawn = draw_control_task(words, labels, seed=seed).label_like(words, labels)
        return replace(narrowed(read_numbers(real.task, drawn)), control=True)
    counts = np.bincount(real.numbers[real.numbers >= 0], minlength=len(real.classes))
    own = ControlTask(classes=real.classes, counts=tuple(counts.tolist()), seed=seed)
    number = {name: place for place, name in enumerate(real.classes)}
    of_type = np.array([number[own.label(form)] for form in forms.dictionary.to_pylist()], real.numbers.dtype)
    numbers = np.where(real.numbers < 0, real.numbers, of_type[forms.indices.to_numpy()])
    return replace(real, numbers=numbers, control=True)


def number_labels(task: str, labels: Sequence[str | None], *, classes: Sequence[str] | None = None) -> Labelling:
    """Numbers the labels of a task by their position among the classes, which are the sorted labels unless given."""
    names = tuple(classes) if classes is not None else tuple(sorted({label for label in labels if label is not None}))
    number = {name: position for position, name in enumerate(names)}
    numbers = np.array([-1 if label is None else number.get(label, -2) for label in labels], np.int32)
    return Labelling(task=task, control=False, classes=names, numbers=numbers)


def read_numbers(task: str, labels: Sequence[str | None]) -> Labelling:
    """Reads the labels of a task as numbers to predict.

    Raises:
        DataError: Some labels are not finite numbers, or too large; the message names the first ones and counts the
            rest.
    """
    values = np.full(len(labels), np.nan)
    wrong: list[str] = []
    for place, label in enumerate(labels):
        if label is None:
            continue
        with suppress(ValueError):
            values[place] = float(label)
        if not abs(values[place]) <= LARGEST_NUMBER:
            wrong.append(f"word {place + 1}: {label!r}")
            values[place] = np.nan
    if wrong:
        raise DataError(
            f"The labels of task `{task}` must be finite numbers for a regression, at most {LARGEST_NUMBER:g}, got:\n"
            f"{list_problems(wrong)}\nGive them in another unit, or leave the task out of `regression` to predict its "
            "labels as classes."
        )
    numbers = np.where(np.isnan(values), -1, 0).astype(np.int32)
    return Labelling(task=task, control=False, classes=(), numbers=numbers, values=values.astype(np.float32))


def tell_from_rest(labelling: Labelling, target: str) -> Labelling:
    """Makes one class of a task against all its others a task of two classes: `not TARGET` and `TARGET`.

    A label that training never saw (-2) counts among the others.
    """
    numbers = labelling.numbers
    number = labelling.classes.index(target)
    return replace(
        labelling,
        classes=(f"not {target}", target),
        target=target,
        numbers=np.where(numbers == -1, -1, numbers == number).astype(np.int32),
    )


def take_words(labellings: Sequence[Labelling], places: Int[np.ndarray, " word"]) -> list[Labelling]:
    """Returns the labellings of some of the words; those that share their numbers or weights go on sharing them."""
    if len(labellings[0].numbers) == len(places):
        return list(labellings)  # the places are all words, in their order
    taken: dict[int, np.ndarray] = {}

    def take(array: np.ndarray) -> np.ndarray:
        if id(array) not in taken:
            taken[id(array)] = array[places]
        return taken[id(array)]

    return [
        replace(
            one,
            numbers=take(one.numbers),
            weights=None if one.weights is None else take(one.weights),
            values=None if one.values is None else take(one.values),
        )
        for one in labellings
    ]


def narrowed(labelling: Labelling) -> Labelling:
    """Returns a labelling whose numbers have the smallest signed type that holds them, as in `store.label_column`."""
    return replace(labelling, numbers=labelling.numbers.astype(np.min_scalar_type(-max(2, len(labelling.classes)))))


def group_by_words(labellings: Sequence[Labelling]) -> list[tuple[Int[np.ndarray, " word"], list[int]]]:
    """Groups labellings that label the same words: these words, and the places of the labellings.

    A group is a matrix. So mean and deviation of the features are those of the task's own words, and no task changes
    the objective of another; nor does a product spend time on words that a task does not have.
    """
    places_of: dict[bytes, list[int]] = {}
    for place, labelling in enumerate(labellings):
        places_of.setdefault(np.packbits(labelling.numbers >= 0).tobytes(), []).append(place)
    return [(np.flatnonzero(labellings[places[0]].numbers >= 0), places) for places in places_of.values()]


def check_classes(labelling: Labelling) -> None:
    """Refuses a task from which nothing can be learnt.

    A control task or a sample may have one class only: its probe predicts that class, with zero weights.

    Raises:
        DataError: There is no labelled word with a vector and a weight above 0, there is one class only, or a weight is
            negative or not finite.
    """
    name = f"control task of `{labelling.task}`" if labelling.control else f"task `{labelling.task}`"
    if labelling.weights is not None:
        _check_weights(labelling.weights, name)
    present = np.unique(labelling.numbers[labelling.counted])
    if labelling.replicate and not len(present):
        raise DataError(
            f"{SAMPLE_KINDS[labelling.kind]} {labelling.replicate} of the {name} drew no labelled word, because few "
            "sentences have one. Give more text, or leave this task out of fits with `replicates`."
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
        numbers = labelling.values[labelling.counted]
        if numbers.min() == numbers.max():
            raise DataError(f"The {name} must have at least two different numbers; all words have {numbers[0]:g}.")
    elif len(present) == 1:
        only = labelling.classes[present[0]]
        raise DataError(f"The {name} must have at least two classes, and it has one class only ({only!r}).")


def _check_weights(weights: Float[np.ndarray, " word"], name: str) -> None:
    """Refuses weights that are negative or not finite, or that differ too much for sums in float32."""
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise DataError(
            f"Weights of words must be finite and 0 or more; word {wrong[0]} of the {name} has {weights[wrong[0]]} "
            f"({len(wrong)} such words). Give weight 0 to words that must not count."
        )
    counted = weights[weights > 0]
    if len(counted) and counted.min() < _LEAST_SHARE * counted.max():
        raise DataError(
            f"Weights of words that count must lie within a factor of {1 / _LEAST_SHARE:g} of each other, since sums "
            f"are in float32; those of the {name} run from {counted.min():g} to {counted.max():g}. Give weight 0 to "
            "words that hardly count."
        )


def usable_labels(store: ActivationStore, task: str) -> list[str | None]:
    """Returns the labels of a task, None for a word without a label or without a vector."""
    return [label if has else None for label, has in zip(store.labels(task), store.usable.tolist(), strict=True)]


def has_control_task(train: ActivationStore) -> bool:
    """Returns whether tasks of a store have control tasks: those of sentences have none.

    Random labels are by word type, so that a probe can learn them from the types that training and test share.
    Sentences share no types, so the accuracy of such a probe would mean nothing.
    """
    return train.unit != "sentence"


def control_task_of(train: ActivationStore, task: str, *, seed: int) -> ControlTask | None:
    """Draws the control task of a task from the labels of its training words; None where `has_control_task` says so.

    Reference: Hewitt and Liang 2019.
    """
    if not has_control_task(train):
        return None
    return draw_control_task(train.forms(), usable_labels(train, task), seed=seed)

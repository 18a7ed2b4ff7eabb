"""Measures a probe on words: accuracy with its interval beside both baselines and the control task, by class and all.

The interval is over sentences, whose words are not independent of each other. A label that training never had counts as
an error and is counted apart.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from lca_jax.errors import SettingsError
from lca_jax.probing.arrays import Arrays
from lca_jax.probing.baselines import word_type_majority
from lca_jax.probing.labelling import control_task_of, usable_labels
from lca_jax.probing.measuring import MeasuredWords, measured_words
from lca_jax.probing.metrics import accuracy_interval
from lca_jax.probing.probe import Probe
from lca_jax.probing.probe_set import ProbeSet, as_probe_set
from lca_jax.store.store import ActivationStore
from lca_jax.tables import html_table, text_table


@dataclass(frozen=True, kw_only=True, repr=False)
class Score:
    """How well a probe does on some words. Shares are fractions; None stands for what the words cannot tell."""

    task: str
    words: int
    """Number of words measured."""
    unseen: int
    """Number of them whose label training never had; each is an error."""
    accuracy: float
    interval: tuple[float, float]
    """95 % interval of the accuracy, over sentences."""
    most_frequent: float | None
    """Accuracy of the most frequent class of the training words; None without training words."""
    word_type_majority: float | None
    """Accuracy of each word type's most frequent training label; None for arrays and without training words."""
    control: float | None
    """Accuracy of the probe of the control task on its labels; None where there is none."""
    selectivity: float | None
    """Accuracy minus that of the control task."""
    macro_f1: float
    """Mean F1 of the classes that are among the words."""
    classes: tuple[str, ...]
    """Classes of the probe, in the order of the rows and columns of `confusion`."""
    confusion: Int[np.ndarray, "gold class"] = field(repr=False)
    """Number of words of each class (row) that were given each class (column); the last row has the unseen labels."""

    def __repr__(self) -> str:
        """Describes the score in two lines, and the classes in a table."""
        return text_table(self.table(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption())

    def table(self) -> dict[str, list[object]]:
        """Returns one row a class: `class`, `words`, `precision`, `recall`, `f1`, and what it is `taken for` most."""
        given, words = self.confusion.sum(axis=0), self.confusion[:-1].sum(axis=1)
        right = np.diag(self.confusion)
        wrong = self.confusion[:-1] - np.diag(right)
        taken = [self.classes[row.argmax()] if row.any() else None for row in wrong]
        return {
            "class": list(self.classes),
            "words": words.tolist(),
            "precision": _shares(right, given),
            "recall": _shares(right, words),
            "f1": _shares(2 * right, given + words),
            "taken for": taken,
        }

    def _caption(self) -> str:
        low, high = self.interval
        unseen = f", {self.unseen} with labels that training lacks" if self.unseen else ""
        beside = {
            "most frequent class": self.most_frequent,
            "word-type majority": self.word_type_majority,
            "control": self.control,
            "selectivity": self.selectivity,
        }
        told = ", ".join(f"{name} {value:.4f}" for name, value in beside.items() if value is not None)
        return (
            f"{self.task}: accuracy {self.accuracy:.4f} (95 % interval {low:.4f} to {high:.4f}) on {self.words} words"
            f"{unseen}\n{told + ', ' if told else ''}macro F1 {self.macro_f1:.4f}"
        )


def evaluate(
    probes: ProbeSet | Probe, test: ActivationStore | MeasuredWords | Arrays, task: str | None = None, *, seed: int = 0
) -> Score:
    """Measures the probe of a task.

    Args:
        probes: A selected set, or a probe of `fit_elastic_net`.
        test: The words: a store, what `measured_words` returned for it, or features and labels (X, y).
        task: The task; None for the only one.
        seed: Seed of the interval's resampling.

    Raises:
        SettingsError: There is no such probe, there are several penalties, several tasks and none is named, or the
            probe predicts numbers.
        DataError: No word has a label of the task.
    """
    probes = as_probe_set(probes)
    if task is None and len(probes.tasks) > 1:
        raise SettingsError(f"Name one of the tasks: {', '.join(probes.tasks)}.")
    probe = probes.one(task or probes.tasks[0])
    if probe.regression:
        raise SettingsError(f"The probe of `{probe.task}` predicts numbers, not classes: use predict_numbers.")
    words = measured_words(test, probes.axis, probe.task, probe.classes)
    predicted = probe.predict(words.X)
    right = predicted == words.gold
    classes = len(probe.classes)
    confusion = np.zeros((classes + 1, classes), np.int64)
    np.add.at(confusion, (np.where(words.gold < 0, classes, words.gold), predicted), 1)
    present = confusion[:-1].sum(axis=1) > 0
    f1 = np.array(_shares(2 * np.diag(confusion), confusion.sum(axis=0) + confusion[:-1].sum(axis=1)), float)
    accuracy = float(right.mean())
    control = _control_accuracy(probes, probe.task, words)
    return Score(
        task=probe.task,
        words=len(words.gold),
        unseen=int((words.gold == -2).sum()),
        accuracy=accuracy,
        interval=accuracy_interval(right, words.sentences, seed=seed),
        **_baselines(probes, probe, words),
        control=control,
        selectivity=None if control is None else accuracy - control,
        macro_f1=float(f1[present].mean()),
        classes=probe.classes,
        confusion=confusion,
    )


def _baselines(probes: ProbeSet, probe: Probe, words: MeasuredWords) -> dict[str, float | None]:
    """Returns the accuracies of the two baselines, which need the training words."""
    if probes.store is None or words.store is None:
        return {"most_frequent": None, "word_type_majority": None}
    labels = usable_labels(probes.store, probe.task)
    counts = Counter(label for label in labels if label is not None)
    best = min(counts, key=lambda label: (-counts[label], label))
    majority = word_type_majority(
        probes.store.forms(), labels, words.store.forms(), usable_labels(words.store, probe.task)
    )
    return {
        "most_frequent": float((words.gold == probe.classes.index(best)).mean()),
        "word_type_majority": majority,
    }


def _control_accuracy(probes: ProbeSet, task: str, words: MeasuredWords) -> float | None:
    if probes.store is None or words.store is None or not any(probe.control for probe in probes if probe.task == task):
        return None
    control = control_task_of(probes.store, task, seed=probes.settings.seed)
    if control is None:
        return None
    labelled = words.labelled_by(control)
    return float((probes.one(task, control=True).predict(words.X) == labelled.gold).mean())


def _shares(part: Sequence[int] | np.ndarray, whole: Sequence[int] | np.ndarray) -> list[float | None]:
    return [float(some / every) if every else None for some, every in zip(part, whole, strict=True)]

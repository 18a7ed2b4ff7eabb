"""How good a probe is on words that it was not trained on, beside what it must beat.

Every accuracy has a 95 % interval over sentences. So has every lead over a baseline, from the same resamples: a paired
comparison, since baseline and probe answer for the same words. A probe beats a baseline where that interval is above
zero. The baselines are the most frequent class, the word-type majority, and the probe's own control task; tasks of
sentences have only the first, because no sentence comes twice.

Reference: Hewitt and Liang 2019 (selectivity: the lead over the control task).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int

from lca_jax.errors import SettingsError
from lca_jax.probing.arrays import Arrays, check_arrays
from lca_jax.probing.baselines import learn_baselines, most_frequent
from lca_jax.probing.class_scores import Score, class_scores
from lca_jax.probing.labelling import control_task_of, usable_labels
from lca_jax.probing.measuring import MeasuredWords, measured_words
from lca_jax.probing.metrics import (
    accuracy_interval,
    class_accuracy,
    confusion_counts,
    mean_intervals,
    recall_intervals,
)
from lca_jax.probing.probe import Probe
from lca_jax.probing.probe_set import ProbeSet, as_probe_set, only_task
from lca_jax.probing.spans import EntityScore, entity_score, marks_spans
from lca_jax.store.store import ActivationStore
from lca_jax.tables import html_table, text_table

Interval = tuple[float, float]
"""The lower and the upper end of a 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A baseline, or the control task: what it reaches on the same words, and the probe's lead over it."""

    accuracy: float
    """Its accuracy."""
    lead: float
    """The probe's accuracy less its accuracy."""
    interval: Interval
    """95 % interval of the lead."""

    @property
    def beaten(self) -> bool:
        """Whether the whole interval of the lead is above zero."""
        return self.interval[0] > 0


@dataclass(frozen=True, kw_only=True)
class Part:
    """The accuracy on some of the words; it and its interval are None where there is no such word."""

    words: int
    accuracy: float | None
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One class on the measured words; recall and its interval are None where it has no word."""

    words: int
    recall: float | None
    interval: Interval | None


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison:
    """A probe on the words of a store; from `compare_probe`."""

    task: str
    unit: str
    """What was classified: `word`, `piece` or `sentence`."""
    words: int
    accuracy: float
    interval: Interval
    """95 % interval of the accuracy."""
    most_frequent_class: str | None
    """The answer of the first baseline; None for arrays without their training words."""
    rivals: Mapping[str, Rival]
    """`most_frequent_class`, and where they exist `word_type_majority` and `control`."""
    macro_f1: Score
    """Mean F1 over the classes, with its interval."""
    balanced_accuracy: Score
    """Mean recall over the classes that have words, with its interval."""
    entities: EntityScore | None
    """The score of whole entities where the classes mark spans (BIO, IOB2, BIOES); None elsewhere."""
    by_class: Mapping[str, ClassScore]
    confusion: Int[np.ndarray, "class class"]
    """Number of words of each class (row) that were predicted as each class (column), in the order of `by_class`."""
    unseen_labels: Mapping[str, int]
    """Words with a label that training lacks, by label, most frequent first. They count as errors."""
    seen_words: Part | None
    """The words whose type a training word of the task has; None for sentences."""
    unseen_words: Part | None
    """The words whose type none has; None for sentences."""
    predicted: Int[np.ndarray, " word"] = field(repr=False)
    """Class number that was predicted for each word."""

    def __repr__(self) -> str:
        """Says the accuracy beside what it must beat, and lists the classes in a table."""
        return text_table(self.table(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption())

    def table(self) -> dict[str, list[object]]:
        """Returns one row a class, as columns of equal length, ready for `pandas.DataFrame(...)`."""
        scores = self.by_class.values()
        return {
            "class": list(self.by_class),
            "words": [score.words for score in scores],
            "recall": [score.recall for score in scores],
            "low": [None if score.interval is None else score.interval[0] for score in scores],
            "high": [None if score.interval is None else score.interval[1] for score in scores],
        }

    @property
    def selectivity(self) -> float | None:
        """Accuracy less the accuracy on the control task; None if there is none."""
        control = self.rivals.get("control")
        return None if control is None else control.lead

    @property
    def beats_baselines(self) -> bool:
        """Whether the probe beats every baseline and its control task by the interval of its lead; not without any."""
        return bool(self.rivals) and all(rival.beaten for rival in self.rivals.values())

    def _caption(self) -> str:
        low, high = self.interval
        rivals = ", ".join(f"{name.replace('_', ' ')} {rival.accuracy:.4g}" for name, rival in self.rivals.items())
        unseen = sum(self.unseen_labels.values())
        return (
            f"{self.task} on {self.words} {self.unit}s: accuracy {self.accuracy:.4g} ({low:.4g} to {high:.4g}), macro "
            f"F1 {self.macro_f1.value:.4g}; {rivals or 'no baseline'}"
            + (f"; {'beats' if self.beats_baselines else 'does not beat'} its baselines" if rivals else "")
            + ("" if self.selectivity is None else f"; selectivity {self.selectivity:.4g}")
            + (f"; {unseen} with labels that training lacks" if unseen else "")
        )


def evaluate(
    probes: ProbeSet | Probe,
    words: ActivationStore | MeasuredWords | Arrays,
    task: str | None = None,
    *,
    train: Arrays | None = None,
    seed: int = 0,
) -> Comparison:
    """Measures the probe of a task: `compare_probe`, also for a probe of `fit_elastic_net` and plain arrays.

    Args:
        probes: A selected set that has the task, with its training store; or a probe of `fit_elastic_net`.
        words: Activations to measure on, or features and labels (X, y).
        task: The task; None for the only one.
        train: For plain arrays, the training words (X, y), whose most frequent class is the one baseline that they
            have; without them there is none.
        seed: Seed of the resampling behind the intervals.

    Raises:
        SettingsError: The probes were loaded without their training store, have several penalties, or predict numbers;
            there are several tasks and none is named; or words were read before (`measured_words`) from plain arrays.
        DataError: No word is labelled, or an activation is not finite.
    """
    probes = as_probe_set(probes)
    task = only_task(probes) if task is None else task
    if isinstance(words, tuple):
        return _compare_arrays(probes, task, words, train, seed=seed)
    return compare_probe(probes, task, words, seed=seed)


def compare_probe(probes: ProbeSet, task: str, words: ActivationStore | MeasuredWords, *, seed: int = 0) -> Comparison:
    """Measures the probe of a task on other words, beside its baselines and its control task.

    Args:
        probes: A selected set that has the task, with its training store.
        task: The task.
        words: Activations to measure on, or these words where they were read before (`measured_words`).
        seed: Seed of the resampling behind the intervals.

    Raises:
        SettingsError: The probes were loaded without their training store, have several penalties, or predict numbers;
            or the words were read from plain arrays.
        DataError: No word is labelled, or an activation is not finite.
    """
    probe, train = probes.one(task), probes.store
    store = words.store if isinstance(words, MeasuredWords) else words
    if store is None:
        raise SettingsError(
            "These words were read from plain arrays, which have no word types for the baselines. Give the arrays "
            "themselves, which are compared without them: probes.evaluate((X, y), task)."
        )
    if train is None:
        raise SettingsError("Baselines need the training words: load_probes(folder, store=train_store).")
    measured = measured_words(words, probes.axis, task, probe.classes)
    train_labels, train_forms = usable_labels(train, task), train.forms()
    baselines = learn_baselines(train_forms, train_labels)
    forms = np.array(store.forms(), object)[measured.units].tolist()
    labels = np.array(store.labels(task), object)[measured.units]
    predicted = probe.predict(measured.X)
    right = predicted == measured.gold
    rivals = {"most_frequent_class": labels == baselines.most_frequent}
    control = control_task_of(train, task, seed=probes.settings.seed)
    is_typed = control is not None
    if is_typed:
        rivals["word_type_majority"] = labels == np.array(baselines.of_types(forms), object)
    if control is not None:
        control_words = measured.labelled_by(control)
        rivals["control"] = probes.one(task, control=True).predict(measured.X) == control_words.gold
    known = {form for form, label in zip(train_forms, train_labels, strict=True) if label is not None}
    seen = np.array([form in known for form in forms])
    return _comparison(
        probe,
        measured,
        predicted,
        rivals,
        labels,
        unit=store.unit,
        most_frequent_class=baselines.most_frequent,
        parts=(_part(right, seen, measured, seed), _part(right, ~seen, measured, seed)) if is_typed else (None, None),
        entities=_entities(probe, measured, predicted, seed=seed) if store.unit == "word" else None,
        seed=seed,
    )


def _compare_arrays(probes: ProbeSet, task: str, words: Arrays, train: Arrays | None, *, seed: int) -> Comparison:
    probe = probes.one(task)
    measured = measured_words(words, probes.axis, task, probe.classes)
    labels = np.array(check_arrays(words)[1], object)
    rivals, answer = {}, None
    if train is not None:
        answer = most_frequent(Counter(check_arrays(train)[1]))
        rivals["most_frequent_class"] = labels == answer
    return _comparison(
        probe,
        measured,
        probe.predict(measured.X),
        rivals,
        labels,
        unit="word",
        most_frequent_class=answer,
        parts=(None, None),
        entities=None,
        seed=seed,
    )


def _comparison(
    probe: Probe,
    measured: MeasuredWords,
    predicted: Int[np.ndarray, " word"],
    rivals: Mapping[str, np.ndarray],
    labels: np.ndarray,
    *,
    unit: str,
    most_frequent_class: str | None,
    parts: tuple[Part | None, Part | None],
    entities: EntityScore | None,
    seed: int,
) -> Comparison:
    """Returns the record of predictions, given for each rival which words it has right."""
    right = predicted == measured.gold
    leads = []
    if rivals:
        leads = _intervals([right.astype(np.float64) - other for other in rivals.values()], measured, seed, least=-1)
    count = len(probe.classes)
    recalls = class_accuracy(predicted, measured.gold, classes=count)
    recall_ends = recall_intervals(predicted, measured.gold, measured.sentences, classes=count)
    sizes = np.bincount(measured.gold[measured.gold >= 0], minlength=count)
    by_classes = class_scores(predicted, measured.gold, measured.sentences, classes=count, seed=seed)
    unseen = Counter(labels[measured.gold == -2].tolist())
    return Comparison(
        task=probe.task,
        unit=unit,
        words=len(measured.gold),
        accuracy=float(right.mean()),
        interval=_intervals([right], measured, seed)[0],
        most_frequent_class=most_frequent_class,
        rivals={
            name: Rival(accuracy=float(other.mean()), lead=float(right.mean() - other.mean()), interval=ends)
            for (name, other), ends in zip(rivals.items(), leads, strict=True)
        },
        macro_f1=by_classes.macro_f1,
        balanced_accuracy=by_classes.balanced_accuracy,
        entities=entities,
        by_class={
            name: ClassScore(words=int(size), recall=recall, interval=ends)
            for name, size, recall, ends in zip(probe.classes, sizes, recalls, recall_ends, strict=True)
        },
        confusion=confusion_counts(predicted, measured.gold, classes=count),
        unseen_labels=dict(sorted(unseen.items(), key=lambda item: (-item[1], item[0]))),
        seen_words=parts[0],
        unseen_words=parts[1],
        predicted=predicted,
    )


def _entities(
    probe: Probe, measured: MeasuredWords, predicted: Int[np.ndarray, " word"], *, seed: int
) -> EntityScore | None:
    """Scores entities in whole sentences: a word without a vector has no prediction, so its entity is missed."""
    store = measured.store
    if store is None or not marks_spans(probe.classes):
        return None
    said: list[str | None] = [None] * store.word_count
    for unit, number in zip(measured.units.tolist(), predicted.tolist(), strict=True):
        said[unit] = probe.classes[number]
    sentences = store.words["sentence"].to_numpy()
    return entity_score(said, store.labels(probe.task), sentences, seed=seed)


def _intervals(rows: list[np.ndarray], measured: MeasuredWords, seed: int, *, least: int = 0) -> list[Interval]:
    ends = mean_intervals(np.stack(rows).astype(np.float64), measured.sentences, least=least, seed=seed)
    return [(float(low), float(high)) for low, high in ends]


def _part(
    right: Bool[np.ndarray, " word"], chosen: Bool[np.ndarray, " word"], measured: MeasuredWords, seed: int
) -> Part:
    if not chosen.any():
        return Part(words=0, accuracy=None, interval=None)
    ends = accuracy_interval(right[chosen], measured.sentences[chosen], seed=seed)
    return Part(words=int(chosen.sum()), accuracy=float(right[chosen].mean()), interval=ends)

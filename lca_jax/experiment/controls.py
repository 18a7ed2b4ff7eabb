"""Control tasks of a run: fitted once the penalty is chosen, and drawn five times for selectivity.

A search fits no control task, for its choice does not depend on any. Each seed draws other random labels for the word
types, so the accuracy on one control task is one draw. Selectivity is the accuracy less the mean over the seeds. Its
standard error has two parts, of the sentences that were measured on and of the seeds; their squares are added, and the
interval has the quantile of Student's t with the degrees of freedom of Satterthwaite's formula. It reaches as far as
words of a kind that was not seen could move it, also where all words agree.

Reference: Hewitt and Liang 2019 (control tasks); Satterthwaite 1946, "An approximate distribution of estimates of
variance components".
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from lca_jax.analysis.retraining import TrainingWords
from lca_jax.probing.fit import fit_problems
from lca_jax.probing.labelling import control_task_of, number_labels, usable_labels
from lca_jax.probing.measuring import MeasuredWords
from lca_jax.probing.metrics import mean_error, with_unseen
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.store.store import ActivationStore
from lca_jax.text.control import ControlTask

SEEDS = 5
"""Number of control tasks behind selectivity."""


@dataclass(frozen=True, kw_only=True)
class Selectivity:
    """The accuracy of a probe less that on its control tasks."""

    accuracies: tuple[float, ...]
    """The accuracy on the control task of each seed."""
    value: float
    """The accuracy on the task less their mean."""
    interval: tuple[float, float]
    """95 % interval of that, over sentences and seeds."""


def fit_controls(probes: ProbeSet) -> ProbeSet:
    """Returns the chosen probes, each followed by that of its control task; tasks of sentences have none."""
    fitted = []
    for task in probes.tasks:
        fitted.append(probes.one(task))
        training = TrainingWords.of(probes, task)
        if training.control is not None:
            fitted += fit_problems(training.X, [training.control], training.settings, given=training.scale)
    return replace(probes, probes=tuple(fitted))


def measure_selectivity(
    probes: ProbeSet, task: str, training: TrainingWords, test: MeasuredWords
) -> Selectivity | None:
    """Measures the probes of several control tasks beside the task; None for tasks of sentences.

    Args:
        probes: The chosen probes, with that of the control task of the run's seed and the training store.
        task: The task.
        training: Its training words.
        test: The words to measure on.
    """
    store = probes.store
    if training.control is None or store is None:
        return None
    first = probes.settings.seed
    drawn = {seed: control_task_of(store, task, seed=seed) for seed in range(first, first + SEEDS)}
    controls = {seed: control for seed, control in drawn.items() if control is not None}
    labellings = [
        replace(training.control, numbers=_numbers(store, task, control, training.control.classes))
        for seed, control in controls.items()
        if seed != first
    ]
    others = fit_problems(training.X, labellings, training.settings, given=training.scale)
    right = np.stack(
        [
            probe.predict(test.X) == test.labelled_by(control).gold
            for probe, control in zip([probes.one(task, control=True), *others], controls.values(), strict=True)
        ]
    )
    return selectivity_of(probes.one(task).predict(test.X) == test.gold, right, test.sentences)


def selectivity_of(
    right: Bool[np.ndarray, " word"], controls: Bool[np.ndarray, "seed word"], sentences: Int[np.ndarray, " word"]
) -> Selectivity:
    """Returns the selectivity of a probe.

    Args:
        right: Whether the probe of the task is right on each word.
        controls: Whether the probe of each seed's control task is right on its own label of each word.
        sentences: Number of the sentence that each word stands in.
    """
    accuracies = controls.mean(axis=1, dtype=np.float64)
    lead: Float[np.ndarray, " word"] = right - controls.mean(axis=0, dtype=np.float64)
    of_words = mean_error(lead, sentences) ** 2
    of_seeds = float(accuracies.var(ddof=1)) / len(accuracies)
    freedom = [max(len(np.unique(sentences)) - 1, 1), len(accuracies) - 1]
    total, value = of_words + of_seeds, float(lead.mean())
    half = 0.0
    if total > 0:
        half = np.sqrt(total) * stats.t.ppf(0.975, total**2 / (of_words**2 / freedom[0] + of_seeds**2 / freedom[1]))
    low, high = with_unseen(np.array([[value - half, value + half]]), lead[None], sentences, least=-1)[0].tolist()
    return Selectivity(accuracies=tuple(accuracies.tolist()), value=value, interval=(low, high))


def _numbers(
    store: ActivationStore, task: str, control: ControlTask, classes: Sequence[str]
) -> Int[np.ndarray, " word"]:
    """Returns the class numbers of a control task on the training words."""
    drawn = control.label_like(store.forms(), usable_labels(store, task))
    return number_labels(task, [label for label in drawn if label is not None], classes=classes).numbers

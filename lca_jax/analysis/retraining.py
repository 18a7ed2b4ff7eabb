"""Training again on some of the neurons: nested sets of one order share a matrix and a solve.

The largest set's columns are taken out of the training matrix once; the smaller sets are feature masks on it. One shape
for all sets of a curve, so a curve compiles once. Penalties stay those of the probe that is compared with (Durrani et
al. 2023, Algorithm 4).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from lca_jax.errors import SettingsError
from lca_jax.probing.fit import fit_problems
from lca_jax.probing.labelling import Labelling, MeasuredWords, control_task_of, measured_words, number_labels
from lca_jax.probing.metrics import accuracy
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe import Probe, predict_masked
from lca_jax.probing.probe_set import ProbeSet


@dataclass(frozen=True, kw_only=True)
class TrainingWords:
    """A task's training words, its control labels, and the objective of the probe that is compared with."""

    X: Float[np.ndarray, "word feature"]
    real: Labelling
    control: Labelling | None
    """None where the task has no control task."""
    settings: ElasticNet
    """With the one penalty pair of the probe."""

    @staticmethod
    def of(probes: ProbeSet, task: str) -> "TrainingWords":
        """Reads the words that a probe was trained on.

        Raises:
            SettingsError: The probes were loaded without their training store, or have several penalties of the task.
        """
        probe = probes.one(task)
        if probes.store is None:
            raise SettingsError("Training again needs the training words: load_probes(folder, store=train_store).")
        words = measured_words(probes.store, probes.axis, task, probe.classes)
        control = None
        if (drawn := control_task_of(probes.store, task, seed=probes.settings.seed)) is not None:
            forms = probes.store.forms()
            imitation = [drawn.label(forms[row]) for row in words.rows]
            control = replace(number_labels(task, imitation, classes=probe.classes), control=True)
        real = Labelling(task=task, control=False, classes=probe.classes, numbers=words.gold)
        return TrainingWords(
            X=words.X,
            real=real,
            control=control,
            settings=replace(probes.settings, l1=probe.l1, l2=probe.l2),
        )


def train_nested_sets(
    training: TrainingWords,
    order: Int[np.ndarray, " neuron"],
    sizes: Sequence[int],
    *,
    labellings: Sequence[Labelling],
) -> list[Probe]:
    """Probes on the leading parts of an order of columns; their features are the first max(sizes) columns of the order.

    Returns:
        Probes, labelling outermost, then size.
    """
    columns = order[: max(sizes)]
    keep = np.arange(len(columns))[None, :] < np.asarray(sizes)[:, None]
    return fit_problems(training.X[:, columns], labellings, training.settings, keep=keep)


def accuracies_of_nested_sets(
    training: TrainingWords, words: MeasuredWords, order: Int[np.ndarray, " neuron"], sizes: Sequence[int]
) -> Float[np.ndarray, " size"]:
    """Accuracy on the measured words of probes trained on the leading parts of an order of columns."""
    probes = train_nested_sets(training, order, sizes, labellings=[training.real])
    return accuracies(probes, words, order[: max(sizes)])


def accuracies(
    probes: Sequence[Probe], words: MeasuredWords, columns: Int[np.ndarray, " neuron"]
) -> Float[np.ndarray, " probe"]:
    """Accuracy of probes that read some columns of the measured words, and no others."""
    keep = np.ones((len(probes), 1, len(columns)), bool)
    return accuracy(predict_masked(probes, words.X[:, columns], keep=keep)[:, 0], words.gold)

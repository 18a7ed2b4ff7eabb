"""Trains again on some of the neurons: nested sets of one order share a matrix and a solve.

The columns of the largest set are taken out of the training matrix once; the smaller sets are feature masks on it. All
sets of a curve have one shape, so a curve compiles once. Penalties stay those of the probe that the sets are compared
with (Durrani et al. 2023, Algorithm 4).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from lca_jax.errors import SettingsError
from lca_jax.probing.arrays import Arrays
from lca_jax.probing.fit import fit_problems
from lca_jax.probing.labelling import Labelling, control_task_of
from lca_jax.probing.matrix.scale import Scale
from lca_jax.probing.matrix.sizes import coarse_size
from lca_jax.probing.measuring import MeasuredWords, measured_words
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe import Probe, predict_masked
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.store.store import ActivationStore


@dataclass(frozen=True, kw_only=True)
class TrainingWords:
    """The training words of a task, its control labels, and the objective of the probe that sets are compared with."""

    X: Float[np.ndarray, "word feature"] = field(repr=False)
    """Raw activations."""
    real: Labelling
    """The task itself on these words."""
    control: Labelling | None
    """Its control task on these words; None if the task has none."""
    settings: ElasticNet
    """Settings of the probe's fit, with the one penalty pair of the probe."""
    scale: Scale | None = field(default=None, repr=False)
    """Mean and scale of the probe, so that what is trained again has its objective; None where these words decide, as
    on raw features, whose mean the bias takes up."""
    sentences: Int[np.ndarray, " word"] | None = field(default=None, repr=False)
    """Number of the sentence that each word stands in; None where each word stands alone."""

    @staticmethod
    def of(probes: ProbeSet, task: str) -> "TrainingWords":
        """Reads the words that a probe was trained on.

        Raises:
            SettingsError: The probes were loaded without their training store, or have several penalties for the task.
        """
        probe = probes.one(task)
        if probes.store is None:
            raise SettingsError("Training again needs the training words: load_probes(folder, store=train_store).")
        words = measured_words(probes.store, probes.axis, task, probe.classes)
        real = Labelling(task=task, control=False, classes=probe.classes, numbers=words.gold)
        control = None
        if (drawn := control_task_of(probes.store, task, seed=probes.settings.seed)) is not None:
            control = replace(real, control=True, numbers=words.labelled_by(drawn).gold)
        settings = replace(probes.settings, l1=probe.l1, l2=probe.l2)
        scale = Scale(probe.mean, probe.scale) if probes.settings.standardize else None
        return TrainingWords(
            X=words.X, real=real, control=control, settings=settings, scale=scale, sentences=words.sentences
        )


def training_words(
    given: TrainingWords | ActivationStore | Arrays | ProbeSet, probes: ProbeSet, task: str
) -> TrainingWords:
    """Returns training words in whatever form they are given: read before, a store, (X, y), or with the probes."""
    if isinstance(given, TrainingWords):
        return given
    if isinstance(given, tuple):
        probe = probes.one(task)
        words = measured_words(given, probes.axis, task, probe.classes)
        real = Labelling(task=task, control=False, classes=probe.classes, numbers=words.gold)
        settings = replace(probes.settings, l1=probe.l1, l2=probe.l2)
        scale = Scale(probe.mean, probe.scale) if probes.settings.standardize else None
        return TrainingWords(X=words.X, real=real, control=None, settings=settings, scale=scale)
    return TrainingWords.of(given if isinstance(given, ProbeSet) else replace(probes, store=given), task)


def train_nested_sets(
    training: TrainingWords,
    order: Int[np.ndarray, " neuron"],
    sizes: Sequence[int],
    *,
    labellings: Sequence[Labelling],
) -> list[Probe]:
    """Fits probes on the leading parts of an order of columns.

    Args:
        training: The words to train on.
        order: Columns of the training matrix, best first.
        sizes: Number of leading columns of each set.
        labellings: The task, its control task, or both.

    The matrix is padded with zero columns to one of few widths, so that sets share compiled programs.

    Returns:
        Probes, labelling outermost, then size. Their features are the first max(sizes) columns of the order.
    """
    columns = order[: max(sizes)]
    width = coarse_size(len(columns))
    keep = np.arange(width)[None, :] < np.asarray(sizes)[:, None]
    X = np.zeros((len(training.X), width), np.float32)
    X[:, : len(columns)] = training.X[:, columns]
    given = None if training.scale is None else _widened(training.scale, columns, width)
    probes = fit_problems(X, labellings, training.settings, keep=keep, given=given)
    return [_without_padding(probe, len(columns)) for probe in probes]


def _widened(scale: Scale, columns: Int[np.ndarray, " neuron"], width: int) -> Scale:
    """Returns mean and scale of some columns, and of columns of padding that no product reads."""
    padding = (0, width - len(columns))
    return Scale(np.pad(scale.mean[columns], padding), np.pad(scale.scale[columns], padding, constant_values=np.inf))


def _without_padding(probe: Probe, columns: int) -> Probe:
    return replace(probe, weights=probe.weights[:columns], mean=probe.mean[:columns], scale=probe.scale[:columns])


def hits_of_nested_sets(
    training: TrainingWords, words: MeasuredWords, order: Int[np.ndarray, " neuron"], sizes: Sequence[int]
) -> Bool[np.ndarray, "size word"]:
    """Tells for which words probes are right that are trained on the leading parts of an order of columns."""
    probes = train_nested_sets(training, order, sizes, labellings=[training.real])
    return hits(probes, words, order[: max(sizes)])


def hits(
    probes: Sequence[Probe], words: MeasuredWords, columns: Int[np.ndarray, " neuron"]
) -> Bool[np.ndarray, "probe word"]:
    """Tells for which words probes are right whose features are some columns of the measured words."""
    keep = np.ones((len(probes), 1, len(columns)), bool)
    return predict_masked(probes, words.X[:, columns], keep=keep)[:, 0] == words.gold

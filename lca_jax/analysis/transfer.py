"""Does a probe of one language read another? Every probe on the test words of every corpus, in one model.

Classes are matched by their names: what a probe of A says of a word of B is right where both have the same name for it.
Words of B whose class A has no training word of count as errors, and stand beside the accuracy. A probe is tried twice:

- as it is, on B's activations: mean and deviation of the features are those of A;
- with the mean and deviation of B's own training words (`own_scale`), which need no label of B. What it gains over the
  first is due to where the languages lie, not to the directions that the probe reads.

The baselines are those of the same words: the most frequent class of A, which is all that A's labels tell without a
look at the activations, and that of B. `lost` is the accuracy of B's own probe less the transferred one on the same
words, with a paired interval over sentences.

In parallel corpora no sentence of B's test part may be a translation of one of A's training part
(`text.division.divide_corpus`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from lca_jax.errors import SettingsError
from lca_jax.probing.metrics import mean_intervals
from lca_jax.probing.probe import Probe
from lca_jax.store.store import ActivationStore

Ends = tuple[float, float]
"""The ends of a 95 % interval over sentences."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """A probe of one corpus on the test words of another, or of its own."""

    source: str
    """Whose probe it is."""
    target: str
    """Whose test words they are."""
    words: int
    """Number of these words."""
    accuracy: float
    interval: Ends
    own_scale: float
    """Accuracy with mean and deviation of the target's training words."""
    own_scale_interval: Ends
    unknown: int
    """Words whose class the source lacks; they are errors."""
    source_constant: float
    """Accuracy of the most frequent class of the source."""
    target_constant: float
    """Accuracy of the most frequent training class of the target."""
    lead: float
    """Accuracy less that of the better one of both."""
    lead_interval: Ends
    lost: float
    """Accuracy of the target's own probe less `accuracy`."""
    lost_interval: Ends


def measure_transfer(
    probes: Mapping[str, Probe], tests: Mapping[str, ActivationStore], *, seed: int = 0
) -> tuple[Transfer, ...]:
    """Measures every probe on every test store, each of which is read once.

    Args:
        probes: The chosen probe of one task of each corpus, on the same neurons.
        tests: The test store of each, by the same names.
        seed: Seed of the resampling behind the intervals.

    Returns:
        One record for each source and target, sources of one target together.

    Raises:
        SettingsError: The names of probes and stores differ, or a probe is of a part of the neurons or of others.
    """
    _check(probes, tests)
    found = []
    for target, store in tests.items():
        task = probes[target].task
        labels = np.array(store.labels(task), object)
        units = np.flatnonzero(store.usable & np.array([label is not None for label in labels]))
        X, gold = store.matrix(units), labels[units]
        sentences = store.words["sentence"].to_numpy()[units]
        own = _hits(probes[target], X, gold)
        for source, probe in probes.items():
            scaled = replace(probe, mean=probes[target].mean, scale=probes[target].scale)
            right = [_hits(probe, X, gold), _hits(scaled, X, gold)]
            constants = [gold == _most_frequent(one) for one in (probe, probes[target])]
            best = max(constants, key=lambda hits: float(hits.mean()))
            rows = [*right, right[0] - best.astype(np.float64), own.astype(np.float64) - right[0]]
            means = [float(row.mean()) for row in rows]
            ends = mean_intervals(np.stack(rows).astype(np.float64), sentences, seed=seed).tolist()
            intervals: list[Ends] = [(low, high) for low, high in ends]
            found.append(
                Transfer(
                    source=source,
                    target=target,
                    words=len(gold),
                    accuracy=means[0],
                    interval=intervals[0],
                    own_scale=means[1],
                    own_scale_interval=intervals[1],
                    unknown=int((~np.isin(gold.astype(str), probe.classes)).sum()),
                    source_constant=float(constants[0].mean()),
                    target_constant=float(constants[1].mean()),
                    lead=means[2],
                    lead_interval=intervals[2],
                    lost=means[3],
                    lost_interval=intervals[3],
                )
            )
    return tuple(found)


def _hits(probe: Probe, X: Float[np.ndarray, "word neuron"], gold: np.ndarray) -> Bool[np.ndarray, " word"]:
    names: Sequence[str] = probe.classes
    return np.array(names, object)[probe.predict(X)] == gold


def _most_frequent(probe: Probe) -> str:
    if probe.class_words is None:
        raise SettingsError(f"The probe of `{probe.task}` has no counts of its classes: it is of an older format.")
    return probe.classes[int(np.argmax(probe.class_words))]


def _check(probes: Mapping[str, Probe], tests: Mapping[str, ActivationStore]) -> None:
    if set(probes) != set(tests):
        raise SettingsError(
            f"Probes are of {', '.join(probes)}, test words of {', '.join(tests)}. Give the same names."
        )
    for name, probe in probes.items():
        if probe.columns is not None or probe.regression:
            raise SettingsError(f"The probe of {name} must tell classes from all neurons.")
    sizes = {name: len(probe.weights) for name, probe in probes.items()}
    if len(set(sizes.values())) > 1 or {tests[name].axis().size for name in tests} != set(sizes.values()):
        raise SettingsError(f"All probes and stores must have the same neurons, got {sizes}.")

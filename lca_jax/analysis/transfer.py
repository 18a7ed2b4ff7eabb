"""Does a probe of one language read another? Every probe on the test words of every corpus, in one model.

Classes are matched by their names: what a probe of A says of a word of B is right where both have the same name for it.
Words of B whose class A has no training word of count as errors, and stand beside the accuracy. A probe is tried twice:

- as it is, on B's activations: mean and deviation of the features are those of A;
- with the mean and deviation of B's own training words (`own_scale`), which need no label of B. What it gains over the
  first is due to where the languages lie, not to the directions that the probe reads.

It must beat what needs no look at an activation: the most frequent class of A or of B, and the word-type majority of A,
which answers for the forms that both languages have, such as punctuation, numbers and names. `new_forms` are the words
of B whose form A has no training word of. `lost` is the accuracy of B's own probe less the transferred one on the same
words. All intervals are over sentences, those of differences paired.

In parallel corpora no sentence of B's test part may be a translation of one of A's training part
(`text.division.divide_corpus`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from lca_jax.errors import SettingsError
from lca_jax.probing.baselines import Baselines, learn_baselines
from lca_jax.probing.labelling import has_control_task, usable_labels
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
    new_forms: int
    """Words whose form no training word of the source has; 0 for sentences."""
    new_forms_accuracy: float | None
    """Accuracy on them; None if there are none."""
    new_forms_interval: Ends | None
    unknown: int
    """Words whose class the source lacks; they are errors."""
    rivals: Mapping[str, float]
    """Accuracies of the most frequent class of the source (`source_class`) and of the target (`target_class`), and of
    the word-type majority of the source (`source_types`; not for sentences)."""
    lead: float
    """Accuracy less that of the best of them."""
    lead_interval: Ends
    lost: float
    """Accuracy of the target's own probe less `accuracy`."""
    lost_interval: Ends


@dataclass(frozen=True)
class _Words:
    """The labelled test words of one corpus."""

    X: Float[np.ndarray, "word neuron"]
    gold: Shaped[np.ndarray, " word"]
    forms: Shaped[np.ndarray, " word"]
    sentences: Int[np.ndarray, " word"]


def measure_transfer(
    probes: Mapping[str, Probe],
    trains: Mapping[str, ActivationStore],
    tests: Mapping[str, ActivationStore],
    *,
    seed: int = 0,
) -> tuple[Transfer, ...]:
    """Measures every probe on every test store, each of which is read once.

    Args:
        probes: The chosen probe of one task of each corpus, on the same neurons.
        trains: The training store of each, by the same names; their words make the baselines.
        tests: The test store of each.
        seed: Seed of the resampling behind the intervals.

    Returns:
        One record for each source and target, sources of one target together.

    Raises:
        SettingsError: The names of probes and stores differ, or a probe is of a part of the neurons or of others.
    """
    _check(probes, trains, tests)
    baselines = {
        name: learn_baselines(store.forms(), usable_labels(store, probes[name].task)) for name, store in trains.items()
    }
    typed = all(has_control_task(store) for store in trains.values())
    found = []
    for target, store in tests.items():
        words = _read(store, probes[target].task)
        own = _hits(probes[target], words)
        for source, probe in probes.items():
            scaled = replace(probe, mean=probes[target].mean, scale=probes[target].scale)
            right = [_hits(probe, words), _hits(scaled, words)]
            rivals = _rivals(words, baselines[source], baselines[target], typed=typed)
            best = max(rivals.values(), key=lambda hits: float(hits.mean())).astype(np.float64)
            rows = [*(row.astype(np.float64) for row in right), right[0] - best, own.astype(np.float64) - right[0]]
            ends = _ends(np.stack(rows), words.sentences, seed, least=(0, 0, -1, -1))
            new = ~np.isin(words.forms.astype(str), list(baselines[source].by_type)) & typed
            found.append(
                Transfer(
                    source=source,
                    target=target,
                    words=len(words.gold),
                    accuracy=float(rows[0].mean()),
                    interval=ends[0],
                    own_scale=float(rows[1].mean()),
                    own_scale_interval=ends[1],
                    new_forms=int(new.sum()),
                    new_forms_accuracy=float(rows[0][new].mean()) if new.any() else None,
                    new_forms_interval=_ends(rows[0][None, new], words.sentences[new], seed)[0] if new.any() else None,
                    unknown=int((~np.isin(words.gold.astype(str), probe.classes)).sum()),
                    rivals={name: float(hits.mean()) for name, hits in rivals.items()},
                    lead=float(rows[2].mean()),
                    lead_interval=ends[2],
                    lost=float(rows[3].mean()),
                    # A probe loses nothing to itself, whatever words come.
                    lost_interval=(0.0, 0.0) if source == target else ends[3],
                )
            )
    return tuple(found)


def _read(store: ActivationStore, task: str) -> _Words:
    labels = np.array(store.labels(task), object)
    units = np.flatnonzero(store.usable & np.array([label is not None for label in labels]))
    return _Words(
        X=store.matrix(units),
        gold=labels[units],
        forms=np.array(store.forms(), object)[units],
        sentences=store.words["sentence"].to_numpy()[units],
    )


def _hits(probe: Probe, words: _Words) -> Bool[np.ndarray, " word"]:
    return np.array(probe.classes, object)[probe.predict(words.X)] == words.gold


def _rivals(
    words: _Words, source: Baselines, target: Baselines, *, typed: bool
) -> dict[str, Bool[np.ndarray, " word"]]:
    """Returns which words every baseline has right."""
    rivals = {"source_class": words.gold == source.most_frequent, "target_class": words.gold == target.most_frequent}
    if typed:
        rivals["source_types"] = words.gold == np.array(source.of_types(words.forms.tolist()), object)
    return rivals


def _ends(
    rows: Float[np.ndarray, "row word"],
    sentences: Int[np.ndarray, " word"],
    seed: int,
    *,
    least: int | Sequence[int] = 0,
) -> list[Ends]:
    return [(low, high) for low, high in mean_intervals(rows, sentences, least=least, seed=seed).tolist()]


def _check(
    probes: Mapping[str, Probe], trains: Mapping[str, ActivationStore], tests: Mapping[str, ActivationStore]
) -> None:
    for stores in (trains, tests):
        if set(probes) != set(stores):
            raise SettingsError(f"Probes are of {', '.join(probes)}, words of {', '.join(stores)}. Give the same.")
    for name, probe in probes.items():
        if probe.columns is not None or probe.regression:
            raise SettingsError(f"The probe of {name} must tell classes from all neurons.")
    sizes = {name: len(probe.weights) for name, probe in probes.items()}
    if len({*sizes.values(), *(store.axis().size for store in tests.values())}) > 1:
        raise SettingsError(f"All probes and stores must have the same neurons, got {sizes}.")

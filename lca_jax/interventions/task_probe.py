"""What a probe says while neurons are edited: is a neuron exclusive to its property, or do other tasks use it?

The probe reads the running model, so neurons that are set in a low layer reach it through all layers above. For a probe
of the very layers that are edited this measures the probe and not the model; give one of later layers.

Reference: Bau et al. 2019, section 4; Lakretz et al. 2019, section 3 (units that one task alone needs).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lca_jax.axes import NeuronAxis
from lca_jax.errors import DataError
from lca_jax.interventions.control.answers import Answers
from lca_jax.interventions.measures import SLOTS, Lost, Setting, classes_of_units, count_right
from lca_jax.interventions.rows import Rows, WordPlaces, read_rows
from lca_jax.machine.precision import FLOAT32
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Params, forward
from lca_jax.models.stack.taps import Edit
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.text.corpus import Corpus

Reads = tuple[tuple[str, tuple[int, ...]], ...]
"""Site and its layers, in the order of the features."""


def _score(
    setting: Setting,
    params: Params,
    rows: Rows,
    edits: Mapping[str, Edit],
    further: Mapping[str, Array],
    *,
    reads: Reads,
) -> Int[Array, "row slot"]:
    """Returns the class that the probe predicts at each slot."""
    states = forward(setting.graph, params, rows.batch, edits, reads=dict(reads), targets=None)
    features = jnp.concatenate([layer for site, _ in reads for layer in states[site]], axis=-1).astype(jnp.float32)
    scores = jnp.einsum("rsf,fc->rsc", features, further["weights"], precision=FLOAT32)
    return jnp.argmax(scores + further["bias"][None, None, :], axis=-1).astype(jnp.int32)


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeAccuracy:
    """Accuracy of one probe on the words of a corpus, and its answers."""

    name: str
    corpus: Corpus
    batches: Sequence[Rows]
    places: WordPlaces
    classes: tuple[str, ...]
    gold: Int[np.ndarray, " word"]
    """Class number of every word of the corpus; -1 for words that do not count."""
    sentences: Int[np.ndarray, " word"]
    further: Mapping[str, np.ndarray]
    score: Callable[..., Array]
    lost: Lost = "drop"
    counts_units: Literal[True] = True
    groups: None = None

    @classmethod
    def of(
        cls,
        model: Model,
        probes: ProbeSet,
        task: str,
        corpus: Corpus,
        *,
        subset: str | None = None,
        pool: str = "last",
        slots: int = SLOTS,
    ) -> "ProbeAccuracy":
        """Measures the probe of a task.

        Args:
            model: The model that the probes' activations came from.
            probes: Fitted probes, one for the task; of whole layers. Layers without a weight are not read.
            task: The task.
            corpus: Labelled words.
            subset: Name of the neurons that the probe was fitted on, such as those of one layer; None for all.
            pool: The piece that words were read at: `last` or `first`.
            slots: Number of slots in a batch.

        Raises:
            SettingsError: The probe set has no such task, or the words were read in another way.
            DataError: The probe reads a part of its layers' neurons or of several sites between each other, or no word
                has a label that it knows.
        """
        probe = probes.one(task, subset=subset)
        weights = np.zeros((probes.axis.size, len(probe.classes)), np.float32)
        weights[slice(None) if probe.columns is None else probe.columns] = probe.raw_weights
        reads, weights = _read_layers(probes.axis, weights, task)
        batches, words = read_rows(model, corpus, slots=slots, pool=pool)
        number = {name: place for place, name in enumerate(probe.classes)}
        labels = [number.get(label, -1) if label is not None else -1 for label in corpus.flat_labels(task)]
        read = np.zeros(corpus.word_count, bool)
        read[words.numbers] = True
        gold = np.where(read, labels, -1)
        if not (gold >= 0).any():
            raise DataError(f"No word of {corpus.name} has a label of `{task}` that the probe knows.")
        # A class that no training word had has a bias of -inf, which no product can outweigh.
        bias = np.asarray(probe.raw_bias, np.float32)
        return cls(
            name=f"accuracy on {task}" + (f" in {subset}" if subset else ""),
            corpus=corpus,
            batches=batches,
            places=words,
            classes=tuple(probe.classes),
            gold=gold,
            sentences=np.repeat(np.arange(corpus.sentence_count), [len(one) for one in corpus.sentences]),
            further={"weights": weights, "bias": bias},
            score=_scores_of(reads),
        )

    def parts(self, scored: Sequence[np.ndarray]) -> Float[np.ndarray, "point part sentence"]:
        """Returns right words and words."""
        counts = self.gold >= 0
        return count_right(self._predicted(scored), self.gold[counts], self.sentences[counts])

    def value(self, sums: Float[np.ndarray, "... part"]) -> Float[np.ndarray, "..."]:
        """Returns the share of right words."""
        return sums[..., 0] / sums[..., 1]

    def answers(self, scored: Sequence[np.ndarray]) -> Answers:
        """Returns the probe's class of every word that counts; a unit is a word."""
        predicted = self._predicted(scored)
        words = np.flatnonzero(self.gold >= 0)
        return Answers(
            said=[[self.classes[one] for one in point] for point in predicted.tolist()],
            changed=predicted != predicted[:1],
            otherwise_same=None,
            sentences=self.sentences[words],
            words=words,
            texts=None,
        )

    def _predicted(self, scored: Sequence[np.ndarray]) -> Int[np.ndarray, "point _word"]:
        """Returns the predicted class of every word that counts."""
        return classes_of_units(scored, self.batches, units=len(self.gold))[:, self.gold >= 0]


def _read_layers(
    axis: NeuronAxis, weights: Float[np.ndarray, "feature class"], task: str
) -> tuple[Reads, Float[np.ndarray, "_feature class"]]:
    """Returns the layers that have a weight, and their weights; of a probe without any all layers.

    Raises:
        DataError: The axis has parts of layers, or does not go site by site.
    """
    sites = [block.site for block in axis.blocks]
    if sites != sorted(sites, key=sites.index) or any(block.indices is not None for block in axis.blocks):
        raise DataError(f"The probe of `{task}` must read whole layers, site by site. Fit one of such a store.")
    weighted = np.bincount(axis.block_of_column, weights=np.abs(weights).sum(axis=1), minlength=len(sites)) > 0
    kept = weighted | ~weighted.any()
    reads: dict[str, tuple[int, ...]] = {}
    for place in np.flatnonzero(kept):
        block = axis.blocks[place]
        reads[block.site] = (*reads.get(block.site, ()), block.layer)
    return tuple(reads.items()), weights[kept[axis.block_of_column]]


@cache
def _scores_of(reads: Reads) -> Callable[..., Array]:
    """Returns the same function for the same sites and layers, so that its program is compiled once."""
    return partial(_score, reads=reads)

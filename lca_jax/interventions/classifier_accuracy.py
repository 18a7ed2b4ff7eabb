"""What the classifier of a tuned model says while neurons are edited: are they used for the task it was tuned for?

The model is tuned with its classifier, so nothing but the model's own answer is measured. Sentences, pairs and words
are read as `lca_jax.classify` reads them, several windows a row.

Reference: Dalvi et al. 2019, section 5 (neurons removed, and what the model's own task loses).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from lca_jax.errors import DataError, ModelError
from lca_jax.interventions.measures import SLOTS, Lost, Setting, classes_of_units, count_right
from lca_jax.interventions.rows import LONGEST_ROW, Rows, cut_batches
from lca_jax.machine.devices import fetch
from lca_jax.models.classifier import Classifier, class_logits, unit_vectors
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Batch, Params
from lca_jax.models.stack.taps import Edit, Taps
from lca_jax.text.corpus import Corpus
from lca_jax.training.batches import pack_texts, units_of_slots
from lca_jax.training.texts import Texts, read_texts


def _score(
    setting: Setting, params: Params, rows: Rows, edits: Mapping[str, Edit], further: Mapping[str, Array]
) -> Int[Array, "row slot"]:
    """Returns at each slot the class that is given to the unit which the slot belongs to."""
    stack = nnx.merge(setting.graph, params)
    states = stack(jax.tree.map(jnp.asarray, rows.batch), layers=stack.config.layers, taps=Taps(edits, {}))
    numbers = jnp.asarray(rows.sentences)
    # Units are numbered over all batches; here they get numbers below the number of slots.
    _, units = jnp.unique(numbers, return_inverse=True, size=numbers.size)
    units = units.reshape(numbers.shape)
    classes = jnp.argmax(class_logits(further, unit_vectors(states, units, numbers.size)), axis=1)
    return classes[units].astype(jnp.int32)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassifierAccuracy:
    """Share of the sentences, pairs or words that the classifier of a tuned model gives their label."""

    name: str
    batches: Sequence[Rows]
    """Rows whose `sentences` hold the number of the unit that is read from a slot."""
    gold: Int[np.ndarray, " unit"]
    """Class number of every unit; -1 for units that do not count."""
    sentences: Int[np.ndarray, " unit"]
    """Sentence of every unit."""
    further: Mapping[str, np.ndarray]
    """The parameters of the classifier."""
    score: Callable[..., Array] = _score
    lost: Lost = "drop"
    counts_units: Literal[True] = True
    groups: None = None

    @classmethod
    def of(cls, model: Model, corpus: Corpus, *, slots: int = SLOTS) -> "ClassifierAccuracy":
        """Measures the classifier of a tuned model.

        Args:
            model: A model from `tune`, or one that `load_model` opened from its folder.
            corpus: Texts with labels of the classifier's task. Units without one, and of classes that the classifier
                does not have, do not count.
            slots: Number of slots in a batch; a row has at least those of the longest window.

        Raises:
            ModelError: The model has no classifier.
            DataError: The corpus has no labels of the task, or none that the classifier knows.
        """
        head = model.classifier
        if head is None:
            raise ModelError(f"{model.name} has no classifier. Tune it first: tune(model, corpus, task=…).")
        texts = _labelled_texts(model, head, corpus)
        sizes = [len(window.piece_ids) for window in texts.windows]
        length = max(max(sizes), min(LONGEST_ROW, sum(sizes)))
        packed = pack_texts(texts, np.arange(len(texts.windows)), row_length=length)
        special = np.isin(packed.piece_ids, model.tokenizer.all_special_ids)
        everything = Rows(
            Batch(packed.piece_ids, packed.positions, packed.segments, packed.token_types),
            units_of_slots(packed, nothing=-1),
            (packed.segments > 0) & ~special,
        )
        return cls(
            name=f"accuracy of the classifier on {head.task}",
            batches=cut_batches(everything, rows=max(1, slots // length)),
            gold=np.concatenate(texts.classes),
            sentences=np.repeat(
                [window.sentence for window in texts.windows], [len(window.words) for window in texts.windows]
            ),
            # Arrays of no particular device, so that they join parameters that are split over several.
            further={name: np.asarray(fetch(array)) for name, array in head.params.items()},
        )

    def parts(self, scored: Sequence[np.ndarray]) -> Float[np.ndarray, "point part sentence"]:
        """Returns right units and units."""
        predicted = classes_of_units(scored, self.batches, units=len(self.gold))
        counts = self.gold >= 0
        return count_right(predicted[:, counts], self.gold[counts], self.sentences[counts])

    def value(self, sums: Float[np.ndarray, "... part"]) -> Float[np.ndarray, "..."]:
        """Returns the share of right units."""
        return sums[..., 0] / sums[..., 1]


def _labelled_texts(model: Model, head: Classifier, corpus: Corpus) -> Texts:
    """Returns the windows of a corpus that has labels of the classifier's task.

    Raises:
        DataError: It has none, or none that the classifier knows.
    """
    kind, known = ("sentences", corpus.sentence_tasks) if head.of_sentences else ("words", corpus.tasks)
    if head.task not in known:
        raise DataError(
            f"The classifier of {model.name} needs labels `{head.task}` of {kind}, and {corpus.name} has "
            f"{', '.join(known) or 'none'}. Give texts with labels of the task that the model was tuned for."
        )
    return read_texts(model, corpus, head.task, classes=head.classes, pool=head.pool)

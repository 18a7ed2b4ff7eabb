"""Uses a tuned model: the labels that its classifier gives to sentences, pairs or words."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from lca_jax.errors import ModelError
from lca_jax.machine.devices import fetch
from lca_jax.models.classifier import Classifier
from lca_jax.models.model import Model
from lca_jax.text.corpus import Corpus
from lca_jax.training.batches import Shapes
from lca_jax.training.measuring import measure
from lca_jax.training.settings import Tuning
from lca_jax.training.step import Plan
from lca_jax.training.texts import Texts, read_texts

_WINDOWS = 32
_MEASURING = Tuning(dropout=0.0)


@dataclass(frozen=True, kw_only=True)
class Classified:
    """The labels that a classifier gives."""

    task: str
    """Its task."""
    labels: tuple[str | None, ...] | tuple[tuple[str | None, ...], ...]
    """For a task of sentences one label a sentence, for one of words a tuple of labels a sentence; None for what is
    read from no window."""
    loss: float
    """Mean loss of the units that the corpus labels, in nats; 0 where it labels none."""
    accuracy: float | None
    """Share of those units whose label is given; None where there are none. A unit of a class that the classifier does
    not have is not counted."""


def classify(model: Model, corpus: Corpus) -> Classified:
    """Labels sentences, pairs or words with the classifier of a tuned model.

    Args:
        model: A model from `tune`, or one that `load_model` opened from its folder.
        corpus: The texts. Their labels are compared where they have the classifier's task.

    Raises:
        ModelError: The model has no classifier.
        DataError: Nothing can be read.
    """
    if model.classifier is None:
        raise ModelError(f"{model.name} has no classifier. Tune it first: tune(model, corpus, task=…).")
    head: Classifier = model.classifier
    texts = read_texts(model, corpus, head.task, classes=head.classes, pool=head.pool, unlabelled=True)
    shapes = Shapes.plan([texts], windows=_WINDOWS, seed=0)
    plan = Plan.of(model.config, _MEASURING)
    # Arrays of no particular device, so that they join parameters that are split over several.
    classifier = {name: jnp.asarray(fetch(array)) for name, array in head.params.items()}
    measured = measure(plan, model.params, {"stack": {}, "classifier": classifier}, texts, shapes)
    return Classified(
        task=head.task,
        labels=_by_sentence(head, corpus, texts, measured.predicted),
        loss=measured.loss,
        accuracy=measured.accuracy if texts.counted else None,
    )


def _by_sentence(
    head: Classifier, corpus: Corpus, texts: Texts, predicted: np.ndarray
) -> tuple[str | None, ...] | tuple[tuple[str | None, ...], ...]:
    """Returns the labels in the shape of the corpus."""
    sizes = [1 if head.of_sentences else len(sentence) for sentence in corpus.sentences]
    labels: list[list[str | None]] = [[None] * size for size in sizes]
    numbers = iter(predicted.tolist())
    for window in texts.windows:
        for unit in window.words.tolist():
            labels[window.sentence][unit] = head.classes[next(numbers)]
    if head.of_sentences:
        return tuple(label for (label,) in labels)
    return tuple(map(tuple, labels))

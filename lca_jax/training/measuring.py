"""Measures a tuned model: the classes that it gives to texts, its loss and its accuracy."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from lca_jax.models.stack.stack import Params
from lca_jax.training.batches import Shapes, make_batch
from lca_jax.training.step import Plan, Trained, measure_step
from lca_jax.training.texts import Texts


class Measurement(NamedTuple):
    """A model on some texts."""

    loss: float
    """Mean loss of the counted units, in nats."""
    accuracy: float
    """Share of them that are classified as they are labelled; NaN where none is counted."""
    predicted: Int[np.ndarray, " unit"]
    """Class number of every unit, in the order of the windows."""


def measure(plan: Plan, kept: Params, trained: Trained, texts: Texts, shapes: Shapes) -> Measurement:
    """Runs the model over all texts, in their order, without dropout.

    Args:
        plan: What the programs are compiled for.
        kept: Parameters that were not trained.
        trained: The others, and the classifier.
        texts: The texts.
        shapes: The shapes of the batches.
    """
    running, units = [], []
    for first in range(0, len(texts.windows), shapes.windows):
        chosen = np.arange(first, min(first + shapes.windows, len(texts.windows)))
        running.append(measure_step(plan, kept, trained, make_batch(texts, chosen, shapes)))
        units.append(sum(len(texts.classes[number]) for number in chosen))
    measured = jax.device_get(running)  # once all are under way: the device never waits for the host
    predicted = [logits[:count].argmax(axis=1) for (_, logits), count in zip(measured, units, strict=True)]
    numbers, gold = np.concatenate(predicted), np.concatenate(texts.classes)
    counted = gold >= 0
    accuracy = float((numbers[counted] == gold[counted]).mean()) if counted.any() else float("nan")
    loss = sum(float(of_batch) for of_batch, _ in measured)
    return Measurement(loss / max(1, int(counted.sum())), accuracy, numbers)

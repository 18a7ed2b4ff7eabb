"""The head of a tuned model: one matrix from the last hidden states to the classes of a task.

`training` fits it together with the model's parameters; the saved model keeps it. A sentence's vector is the mean of
its words' pieces or the state of its first piece; a word's is that of one of its pieces, or their mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lca_jax.machine.precision import FLOAT32
from lca_jax.models.choices import OF_SENTENCES, Reading


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """A trained head."""

    task: str
    """The task."""
    classes: tuple[str, ...]
    """Its classes, in the order of the columns."""
    pool: Reading
    """The pieces that make the vector of a sentence or a word; it says which of the two are classified."""
    params: Mapping[str, Float[Array, "..."]]
    """`kernel` (neuron, class) and `bias` (class), in float32."""

    @staticmethod
    def shapes(width: int, classes: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns the shapes of the parameters.

        Args:
            width: Number of neurons of a hidden state.
            classes: Number of classes.
        """
        return {
            "kernel": jax.ShapeDtypeStruct((width, classes), jnp.float32),
            "bias": jax.ShapeDtypeStruct((classes,), jnp.float32),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], params: Mapping[str, Array]) -> "Classifier":
        """Inverts `as_json`."""
        return cls(task=content["task"], classes=tuple(content["classes"]), pool=content["pool"], params=params)

    def as_json(self) -> dict[str, Any]:
        """Returns everything but the parameters."""
        return {"task": self.task, "classes": list(self.classes), "pool": self.pool}

    @property
    def of_sentences(self) -> bool:
        """Whether sentences are classified, and not words."""
        return self.pool in OF_SENTENCES

    def describe(self) -> str:
        """Returns a line for people."""
        what = "sentences" if self.of_sentences else "words"
        return f"{self.task} of {what}, {len(self.classes)} classes, read from the pieces `{self.pool}`"


def unit_vectors(
    states: Float[Array, "row slot neuron"], units: Int[Array | np.ndarray, "row slot"], count: int
) -> Float[Array, "unit neuron"]:
    """Returns the mean state of each unit's slots, in float32; zeros for a unit without any.

    Args:
        states: The last hidden states.
        units: Number of the unit that a slot belongs to; `count` where there is none.
        count: Number of units.
    """
    flat = states.astype(jnp.float32).reshape(-1, states.shape[-1])
    numbers = units.reshape(-1)
    total = jax.ops.segment_sum(flat, numbers, num_segments=count + 1)[:count]
    slots = jax.ops.segment_sum(jnp.ones(numbers.shape, jnp.float32), numbers, num_segments=count + 1)[:count]
    return total / jnp.maximum(slots, 1.0)[:, None]


def class_logits(
    params: Mapping[str, Float[Array, "..."]], vectors: Float[Array, "unit neuron"]
) -> Float[Array, "unit class"]:
    """Computes the logits of the classes, in float32."""
    product = jnp.matmul(vectors, params["kernel"], precision=FLOAT32)
    return product + params["bias"][None, :]

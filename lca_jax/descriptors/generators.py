"""What writes phrases: a model of ours, or anything with the one method of `Generator`, such as a hosted model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from lca_jax.models.model import Model
from lca_jax.models.writing.samples import continuation_log_probabilities, write_samples
from lca_jax.models.writing.sampling import Sampling

LINES = Sampling(temperature=0.7, top_p=0.9, longest=14, stops=("\n",))
"""One line of an answer."""


@runtime_checkable
class Generator(Protocol):
    """Anything that writes. An attribute `fingerprint` names it in inventories; without one its type does."""

    def write(self, prompts: Sequence[str], *, samples: int, seed: int) -> list[list[str]]:
        """Returns `samples` answers to every prompt, each up to its first line break."""
        ...


@dataclass(frozen=True, kw_only=True)
class ModelGenerator:
    """A causal model of ours that writes."""

    model: Model
    sampling: Sampling = LINES
    """How lines are drawn."""
    rows: int = 32
    """Number of answers that are computed together."""

    @property
    def fingerprint(self) -> str:
        """That of the model."""
        return self.model.fingerprint

    def write(self, prompts: Sequence[str], *, samples: int, seed: int) -> list[list[str]]:
        """Returns `samples` answers to every prompt."""
        drawn = write_samples(self.model, prompts, sampling=self.sampling, samples=samples, seed=seed, rows=self.rows)
        return [[continuation.text for continuation in of_prompt] for of_prompt in drawn]

    def log_probabilities(self, prompts: Sequence[str], answers: Sequence[str]) -> Float32[np.ndarray, "prompt answer"]:
        """Returns how likely each answer is after each prompt."""
        return continuation_log_probabilities(self.model, prompts, answers, rows=self.rows)


def as_generator(given: "Generator | Model") -> Generator:
    """Returns a generator; a model becomes one that draws lines."""
    return ModelGenerator(model=given) if isinstance(given, Model) else given


def identity_of(generator: Generator) -> str:
    """Returns the name of a generator in inventories."""
    return str(
        getattr(generator, "fingerprint", None) or f"{type(generator).__module__}.{type(generator).__qualname__}"
    )

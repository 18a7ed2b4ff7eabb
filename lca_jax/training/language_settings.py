"""The settings of the training of language models."""

from dataclasses import dataclass

from lca_jax.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How language models are trained."""

    models: int = 3
    """Number of models."""
    divide: bool = True
    """Whether each reads a part of the sentences of its own; if not, all read everything, from other first weights."""
    vocabulary: int = 2500
    """Number of words, the two marks included."""
    width: int = 128
    layers: int = 2
    tied: bool = True
    epochs: int = 5
    rows: int = 32
    """Number of rows of a step."""
    row_length: int = 36
    """Number of slots of a row."""
    learning_rate: float = 5e-3
    seed: int = 0

    def __post_init__(self) -> None:
        numbers = {name: getattr(self, name) for name in ("models", "epochs", "rows")}
        if min(numbers.values()) < 1 or self.row_length < 2 or self.learning_rate <= 0:
            raise SettingsError(
                f"`models`, `epochs` and `rows` must be 1 or more, `row_length` 2 or more and `learning_rate` above 0, "
                f"got {numbers}, {self.row_length} and {self.learning_rate}."
            )

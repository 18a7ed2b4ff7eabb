"""The settings of the training of language models and of translation models."""

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
    """Size of the states of a layer, and of the vectors of words or pieces."""
    layers: int = 2
    """Number of layers of every stack, 1 to 4."""
    tied: bool = True
    """Whether the vectors of words that are read are also those by which words are told."""
    epochs: int = 5
    """Number of times that every sentence is seen."""
    rows: int = 32
    """Number of rows of a step."""
    row_length: int = 36
    """Number of slots of a row."""
    learning_rate: float = 5e-3
    """Rate of Adam at the beginning, above 0; it falls to 0 along a cosine."""
    dropout: float = 0.0
    """Share of the word vectors and of every layer's outputs that a step sets to zero, in [0, 1)."""
    seed: int = 0
    """Seed of the parts, the first weights, the order of the rows and the dropout."""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True)
class TranslationSettings:
    """How translation models are trained."""

    models: int = 3
    """Number of models."""
    divide: bool = True
    """Whether each reads a part of the pairs of its own; if not, all read everything, from other first weights."""
    vocabulary: int = 3000
    """Number of pieces of both languages, the marks and single characters included."""
    width: int = 128
    """Size of the states of a layer, and of the vectors of words or pieces."""
    layers: int = 2
    """Number of layers of every stack, 1 to 4."""
    epochs: int = 12
    """Number of times that every pair is seen."""
    rows: int = 32
    """Number of rows of a step."""
    row_length: int = 40
    """Number of slots of a row, of sources and of translations; longer pairs are left out and counted."""
    learning_rate: float = 3e-3
    """Rate of Adam at the beginning, above 0; it falls to 0 along a cosine."""
    dropout: float = 0.2
    """Share of the piece vectors, of every layer's outputs and of the weights of attention that a step sets to zero, in
    [0, 1)."""
    seed: int = 0
    """Seed of the parts, the first weights, the order of the rows and the dropout."""

    def __post_init__(self) -> None:
        _check(self)


def _check(settings: TrainingSettings | TranslationSettings) -> None:
    if not 0 <= settings.dropout < 1:
        raise SettingsError(f"`dropout` must be in [0, 1), got {settings.dropout}.")
    numbers = {name: getattr(settings, name) for name in ("models", "epochs", "rows")}
    if min(numbers.values()) < 1 or settings.row_length < 2 or settings.learning_rate <= 0:
        raise SettingsError(
            f"`models`, `epochs` and `rows` must be 1 or more, `row_length` 2 or more and `learning_rate` above 0, "
            f"got {numbers}, {settings.row_length} and {settings.learning_rate}."
        )

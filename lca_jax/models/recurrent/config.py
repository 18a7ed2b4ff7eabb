"""The shapes of recurrent models, and the stacks that they are."""

from dataclasses import dataclass
from functools import partial

from lca_jax.errors import ModelError
from lca_jax.models.stack.attention_config import AttentionConfig
from lca_jax.models.stack.config import EmbeddingConfig, HeadConfig, MlpConfig, NormConfig, StackConfig

MOST_LAYERS = 4
FAMILY = "lstm"
LONGEST_WINDOW = 1024
"""Maximum number of words in a text; an LSTM itself has no limit."""


@dataclass(frozen=True, kw_only=True)
class LstmConfig:
    """A stack of LSTM layers between a table of word vectors and a head."""

    vocabulary: int
    """Number of words."""
    width: int
    """Number of neurons of the word vectors and of every layer's states, of both directions together."""
    layers: int = 2
    """Number of layers, 1 to 4."""
    cells: int | None = None
    """Number of memory cells of each direction, whose output a matrix projects to the width; None for as many as the
    direction has neurons, without a projection."""
    bidirectional: bool = False
    """Whether half of the neurons of every layer read the text from its end. Such a stack sees what a language model
    would have to predict, so it is for encoders and has no head."""
    tied: bool = True
    """Whether the head uses the word vectors."""

    def __post_init__(self) -> None:
        problems = _problems(vocabulary=self.vocabulary, width=self.width, layers=self.layers)
        if self.cells is not None and self.cells < 1:
            problems.append(f"`cells` must be at least 1, got {self.cells}")
        if self.width % 2 and self.bidirectional:
            problems.append(f"`width` must be even in a bidirectional stack, got {self.width}")
        _refuse(problems)

    def stack(self) -> StackConfig:
        """Returns the stack of this shape."""
        head = None if self.bidirectional else HeadConfig(width=self.width, tied=self.tied, bias=True)
        return _stack(
            vocabulary=self.vocabulary,
            width=self.width,
            layers=self.layers,
            cells=self.cells,
            directions=2 if self.bidirectional else 1,
            head=head,
        )


@dataclass(frozen=True, kw_only=True)
class TranslatorConfig:
    """An encoder of LSTMs in both directions, and a decoder of LSTMs that attends to it (Bahdanau et al. 2015).

    Both have one vocabulary and one table of vectors, which is also the head's. The decoder begins with nothing and
    reads the source by attention, with one head in each layer (Luong et al. 2015, section 3.1).
    """

    vocabulary: int
    """Number of pieces of both languages."""
    width: int
    """Number of neurons of a layer in either stack; half of the encoder's read the text from its end."""
    layers: int = 2
    """Number of layers of either stack, 1 to 4."""

    def __post_init__(self) -> None:
        problems = _problems(vocabulary=self.vocabulary, width=self.width, layers=self.layers)
        if self.width % 2:
            problems.append(f"`width` must be even, got {self.width}")
        _refuse(problems)

    def stack(self) -> StackConfig:
        """Returns the stack of this shape: the encoder, which holds the decoder."""
        make = partial(_stack, vocabulary=self.vocabulary, width=self.width, layers=self.layers, cells=None)
        head = HeadConfig(width=self.width, tied=True, bias=True)
        decoder = make(directions=1, head=head, cross=True, shared=True)
        return make(directions=2, head=None, decoder=decoder)


def _problems(*, vocabulary: int, width: int, layers: int) -> list[str]:
    sizes = {"vocabulary": vocabulary, "width": width}
    problems = [f"`{name}` must be at least 1, got {value}" for name, value in sizes.items() if value < 1]
    if not 1 <= layers <= MOST_LAYERS:
        problems.append(f"`layers` must be 1 to {MOST_LAYERS}, got {layers}")
    return problems


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ModelError(f"This LSTM cannot be built: {'; '.join(problems)}.")


def _stack(
    *,
    vocabulary: int,
    width: int,
    layers: int,
    cells: int | None,
    directions: int,
    head: HeadConfig | None,
    decoder: StackConfig | None = None,
    cross: bool = False,
    shared: bool = False,
) -> StackConfig:
    of_direction = width // directions if cells is None else cells
    return StackConfig(
        family=FAMILY,
        layers=layers,
        residual_width=width,
        longest_window=LONGEST_WINDOW,
        embedding=EmbeddingConfig(vocabulary=vocabulary, width=width, norm=False, shared=shared),
        attention=AttentionConfig(
            heads=directions,
            head_width=of_direction,
            key_heads=directions,
            scale=1.0,
            causal=directions == 1,
        ),
        mlp=MlpConfig(width=4 * directions * of_direction, activation="tanh"),
        norm=NormConfig(epsilon=1e-5),
        arrangement="post_norm",
        mixing="lstm",
        cross=cross,
        head=head,
        decoder=decoder,
        initializer_range=of_direction**-0.5 / 3**0.5,
    )

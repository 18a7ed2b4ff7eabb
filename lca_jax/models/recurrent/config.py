"""The shape of an LSTM language model."""

from dataclasses import dataclass

from lca_jax.errors import ModelError

MOST_LAYERS = 4


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
    would have to predict, so it is for encoders."""
    tied: bool = True
    """Whether the head uses the word vectors."""

    def __post_init__(self) -> None:
        problems = [
            f"`{name}` must be at least 1, got {value}"
            for name, value in (("vocabulary", self.vocabulary), ("width", self.width), ("cells", self.cell_count))
            if value < 1
        ]
        if not 1 <= self.layers <= MOST_LAYERS:
            problems.append(f"`layers` must be 1 to {MOST_LAYERS}, got {self.layers}")
        if self.width % self.directions:
            problems.append(f"`width` must be even in a bidirectional stack, got {self.width}")
        if problems:
            raise ModelError(f"This LSTM cannot be built: {'; '.join(problems)}.")

    @property
    def directions(self) -> int:
        """Number of directions in which the text is read."""
        return 2 if self.bidirectional else 1

    @property
    def direction_width(self) -> int:
        """Number of neurons of one direction."""
        return self.width // self.directions

    @property
    def cell_count(self) -> int:
        """Number of memory cells of one direction."""
        return self.direction_width if self.cells is None else self.cells

    @property
    def projected(self) -> bool:
        """Whether a matrix leads from the cells to the neurons."""
        return self.cells is not None

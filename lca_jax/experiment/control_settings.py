"""The settings of `lca control`, which are the options of the command. Importing them loads no framework."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lca_jax.errors import SettingsError
from lca_jax.interventions.choices import Edited


@dataclass(frozen=True, kw_only=True)
class Control:
    """Which property is changed into what, and by how many neurons."""

    task: str
    """The task of the run whose first neurons are shifted, such as `feats:Number`."""
    source: str
    """The class that is left, such as `Sing`."""
    target: str
    """The class that is aimed at, such as `Plur`."""
    text: Path | None = None
    """Labelled words that the model reads (any format of `lca run`); by default the run's test words. What an
    encoder-decoder translates needs no labels unless `--where class` asks for them: plain lines will do."""
    lexicon: Path | None = None
    """Labelled words of the language that the model writes: a form that they label with one class speaks for it. By
    default the run's train words; a model that translates needs words of the other language."""
    sizes: Sequence[int] = (10, 50)
    """Numbers of neurons that are shifted."""
    strengths: Sequence[float] = (0.0, 1.0, 2.0)
    """How far they are shifted, in distances of the two means: clamped, beyond the target's mean; translated, from
    where they are."""
    shift: Literal["clamp", "translate", "zero"] = "clamp"
    """`clamp` sets neurons (Bau et al. 2019); `translate` adds the difference of the means (Antverg and Belinkov
    2022); `zero` sets them to 0, to compare with (give it the strength 0)."""
    where: Edited = "class"
    """Which words are edited: those of the source `class`, all `words`, or `all` slots."""
    layers: Sequence[int] | None = None
    """Layers whose neurons are shifted; all of the ranking by default."""
    random: int = 5
    """Number of random sets of the same layers."""
    masked: bool = False
    """A masked model reads its mask in place of each word, instead of the word itself."""
    max_words: int = 2000
    """At most this many words of the text, whole sentences, drawn with the run's seed."""

    def __post_init__(self) -> None:
        if self.source == self.target:
            raise SettingsError(f"`source` and `target` must be two classes, got {self.source!r} twice.")
        if self.max_words < 1:
            raise SettingsError(f"`max_words` must be 1 or more, got {self.max_words}.")
        if self.shift == "zero" and any(self.strengths):
            raise SettingsError(
                f"Neurons that are set to zero go nowhere: `strengths` must be 0, got {self.strengths}."
            )

"""The settings of `lca ablate-model`, which are the options of the command. Importing them loads no framework."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lca_jax.errors import SettingsError
from lca_jax.interventions.choices import SetName, Where

Metric = Literal["bleu", "chrf", "perplexity"]


@dataclass(frozen=True, kw_only=True)
class ModelAblation:
    """What is removed, and what is measured."""

    task: str
    """The task of the run whose ranking is removed."""
    text: Path | None = None
    """A text, one sentence a line (or any format of `lca run`): its perplexity a word is measured."""
    pairs: Path | None = None
    """Minimal pairs as JSON lines (BLiMP): accuracy is measured, by paradigm."""
    translations: Path | None = None
    """Pairs of a source and a reference, with a tab between them, a pair a line: `metric` is measured."""
    metric: Metric = "bleu"
    """What of `translations` is measured: `bleu`, `chrf`, or `perplexity` of the references given the sources."""
    counts: Sequence[int] = (10, 50, 100, 200)
    """Numbers of neurons that are removed."""
    fill: Sequence[Literal["zero", "mean"]] = ("zero", "mean")
    """What removed neurons are set to."""
    sets: Sequence[SetName] = ("top", "random", "bottom")
    """Which sets are removed. `matched` are random neurons of the layers that the top set has."""
    random: int = 5
    """Number of random sets."""
    layers: Sequence[int] | None = None
    """Layers whose neurons are removed; all of the ranking by default."""
    where: Where = "all"
    """Which slots are edited: `all`, those of `words`, or `after first`."""
    max_words: int | None = 5000
    """At most this many words of the text, whole sentences, drawn with the run's seed; or pairs, the first ones."""

    def __post_init__(self) -> None:
        given = [name for name in ("text", "pairs", "translations") if getattr(self, name) is not None]
        if len(given) != 1:
            raise SettingsError(f"Give one of `text`, `pairs` and `translations`, got {' and '.join(given) or 'none'}.")
        if self.max_words is not None and self.max_words < 1:
            raise SettingsError(f"`max_words` must be 1 or more, got {self.max_words}.")

"""The settings of `lca ablate-model`, which are the options of the command. Importing them loads no framework."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lca_jax.errors import SettingsError
from lca_jax.interventions.choices import SetName, Where
from lca_jax.text.options import TextOptions

Metric = Literal["bleu", "chrf", "perplexity"]
_AS_WRITTEN = TextOptions()
_MEASURED = ("text", "pairs", "translations", "classified", "probe")


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
    classified: Path | None = None
    """Texts with labels of the task that the run's model was tuned for (any format of `lca run`): the accuracy of its
    classifier is measured."""
    probe: str | None = None
    """A task of the run: what a probe of the last layer still tells of the run's test words, with neurons of the layers
    below removed. With another task than `task`: are the neurons exclusive to their property?"""
    label_column: str | None = None
    """The column of the labels in `classified`, by number or name; by default it has the name of that task."""
    texts: TextOptions = _AS_WRITTEN
    """What the file of `text` or `classified` does not say of itself."""
    counts: Sequence[int] = (10, 50, 100, 200)
    """Numbers of neurons that are removed."""
    fill: Sequence[Literal["zero", "mean"]] = ("zero", "mean")
    """What removed neurons are set to."""
    sets: Sequence[SetName] = ("top", "random", "bottom")
    """Which sets are removed. `matched` are random neurons of the layers that the top set has."""
    random: int = 5
    """Number of random sets."""
    layers: Sequence[int] | None = None
    """Layers whose neurons are removed; by default all of the ranking, or with `probe` all below the last."""
    where: Where = "all"
    """Which slots are edited: `all`, those of `words`, or `after first`."""
    max_words: int | None = 5000
    """At most this many words of the texts, whole sentences, drawn with the run's seed; or pairs, the first ones."""

    def __post_init__(self) -> None:
        given = [name for name in _MEASURED if getattr(self, name) is not None]
        if len(given) != 1:
            known = ", ".join(f"`{name}`" for name in _MEASURED)
            raise SettingsError(f"Give one of {known}, got {' and '.join(given) or 'none'}.")
        if self.max_words is not None and self.max_words < 1:
            raise SettingsError(f"`max_words` must be 1 or more, got {self.max_words}.")

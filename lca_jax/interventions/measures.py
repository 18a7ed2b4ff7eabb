"""What is measured while neurons are edited: a function of the model's pieces, and a score that is a function of sums.

A measure has batches of one shape, a pure `score` of one batch, and turns what `score` returned into numbers that are
summed over sentences. The score of any sample of the sentences is a function of the sums, so that intervals need no
further run. `lca_jax.ablation_curve` knows these by name; probes, classifiers and translations have files of their own.

References:
    Perplexity a word: Dalvi et al. 2019, section 5 (language models).
    Minimal pairs: Warstadt et al. 2020, BLiMP, section 3.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree

from lca_jax.errors import CorpusError, DataError
from lca_jax.hugging_face import special_piece
from lca_jax.interventions.rows import Rows, TextRows, paired_rows, scored_rows
from lca_jax.machine.json_text import parse_json
from lca_jax.models.model import Model
from lca_jax.models.stack.log_probabilities import log_probabilities
from lca_jax.models.stack.stack import Params, Stack
from lca_jax.models.stack.taps import Edit
from lca_jax.text.corpus import Corpus
from lca_jax.text.lines import Source

SLOTS = 1024
"""Slots in a batch."""
_MOST_NATS = 700.0
"""Perplexities stay finite."""


Lost = Literal["log", "drop"]
"""How damage is compared: `log` by differences of logarithms of a score that rises with it (a perplexity twice as high
is ln 2 worse, wherever it stands), `drop` by differences of a score that falls."""


class Setting(NamedTuple):
    """The model as a score sees it: hashable parts that a program is compiled for."""

    graph: nnx.GraphDef[Stack]
    mask_piece: int | None


@runtime_checkable
class Score(Protocol):
    """A score that is a function of sums over sentences."""

    @property
    def name(self) -> str:
        """What it is."""
        ...

    @property
    def lost(self) -> Lost:
        """How damage is compared."""
        ...

    @property
    def groups(self) -> Sequence[str] | None:
        """The group of every sentence, such as its paradigm; None without."""
        ...

    def value(self, sums: Float[np.ndarray, "... part"]) -> Float[np.ndarray, "..."]:
        """Returns the score of summed parts."""
        ...


@runtime_checkable
class CountsUnits(Protocol):
    """A score that is a share: its first part is how many units are right, its second how many there are."""

    @property
    def counts_units(self) -> Literal[True]:
        """Marks the score."""
        ...


@runtime_checkable
class Measure(Score, Protocol):
    """A score of a model that runs with edits."""

    @property
    def batches(self) -> Sequence[Rows]:
        """What the model runs over."""
        ...

    @property
    def further(self) -> PyTree[Array | np.ndarray]:
        """Arrays that the program needs besides."""
        ...

    @property
    def score(self) -> Callable[..., Array]:
        """A pure function (setting, params, rows, edits, further) of one batch; equal ones share their program."""
        ...

    def parts(self, scored: Sequence[np.ndarray]) -> Float[np.ndarray, "point part sentence"]:
        """Turns what `score` returned for each batch, points first, into numbers that add up over sentences."""
        ...


def score_log_probabilities(
    setting: Setting, params: Params, rows: Rows, edits: Mapping[str, Edit], further: PyTree[Array]
) -> Float[Array, "row _slot"]:
    """Returns the log-probability of every piece that may count."""
    del further
    return log_probabilities(
        setting.graph, params, rows.batch, edits, targets=rows.targets, mask_piece=setting.mask_piece
    )


def sum_by_sentence(
    scored: Sequence[np.ndarray], batches: Sequence[Rows], *, sentences: int
) -> Float[np.ndarray, "point sentence"]:
    """Adds up the numbers of all slots that count, by sentence."""
    sums = np.zeros((len(scored[0]), sentences))
    for values, rows in zip(scored, batches, strict=True):
        numbers = np.asarray(rows.sentences)
        counts = numbers >= 0
        # All points at once: the sentences of a point follow those of the point before.
        place = (np.arange(len(values))[:, None] * sentences + numbers[counts][None]).ravel()
        flat = np.bincount(place, weights=values[:, counts].ravel().astype(np.float64), minlength=sums.size)
        sums += flat.reshape(sums.shape)
    return sums


def classes_of_units(
    scored: Sequence[np.ndarray], batches: Sequence[Rows], *, units: int
) -> Int[np.ndarray, "point unit"]:
    """Returns the class number that each unit was given, of the units whose numbers are the rows' `sentences`.

    -1 stands for units that no slot is of.
    """
    classes = np.full((len(scored[0]), units), -1)
    for values, rows in zip(scored, batches, strict=True):
        numbers = np.asarray(rows.sentences)
        classes[:, numbers[numbers >= 0]] = values[:, numbers >= 0]
    return classes


def count_right(
    predicted: Int[np.ndarray, "point unit"], gold: Int[np.ndarray, " unit"], sentences: Int[np.ndarray, " unit"]
) -> Float[np.ndarray, "point part sentence"]:
    """Returns right units and units of every sentence that has one."""
    place, number = np.unique(sentences, return_inverse=True)
    hits = np.stack([np.bincount(number, weights=row, minlength=len(place)) for row in predicted == gold])
    units = np.broadcast_to(np.bincount(number, minlength=len(place)), hits.shape)
    return np.stack([hits, units], axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Perplexity:
    """exp of the negative log-probability of all pieces over the number of words; a masked model's is a pseudo one."""

    text: TextRows
    name: str = "perplexity a word"
    further: PyTree = ()
    score: Callable[..., Array] = score_log_probabilities
    lost: Lost = "log"
    groups: None = None

    @classmethod
    def of(cls, model: Model, texts: Corpus | Sequence[Any], *, slots: int = SLOTS) -> "Perplexity":
        """Measures a text, or pairs (source, target) of texts.

        Args:
            model: The model.
            texts: A corpus or lines; for an encoder-decoder pairs of lines.
            slots: Number of slots in a batch.

        Raises:
            ModelError, DataError: As `scored_rows` and `paired_rows`.
        """
        if not isinstance(texts, Corpus) and len(texts) and not isinstance(texts[0], str):
            return cls(text=paired_rows(model, texts, slots=slots))
        return cls(text=scored_rows(model, texts, slots=slots))

    @property
    def batches(self) -> Sequence[Rows]:
        """What the model runs over."""
        return self.text.batches

    def parts(self, scored: Sequence[np.ndarray]) -> Float[np.ndarray, "point part sentence"]:
        """Returns nats and words."""
        nats = -sum_by_sentence(scored, self.batches, sentences=len(self.text.words))
        return np.stack([nats, np.broadcast_to(self.text.words, nats.shape)], axis=1)

    def value(self, sums: Float[np.ndarray, "... part"]) -> Float[np.ndarray, "..."]:
        """Returns exp(nats / words)."""
        return np.exp(np.minimum(sums[..., 0] / sums[..., 1], _MOST_NATS))


@dataclass(frozen=True, kw_only=True)
class MinimalPair:
    """Two sentences of which the first is acceptable, and the paradigm they belong to."""

    good: str
    bad: str
    paradigm: str = "pairs"


@dataclass(frozen=True, kw_only=True, eq=False)
class MinimalPairs:
    """Share of pairs whose acceptable sentence has the higher probability."""

    pairs: tuple[MinimalPair, ...]
    text: TextRows
    name: str = "accuracy on minimal pairs"
    further: PyTree = ()
    score: Callable[..., Array] = score_log_probabilities
    lost: Lost = "drop"
    counts_units: Literal[True] = True

    @classmethod
    def of(cls, model: Model, pairs: Sequence[MinimalPair], *, slots: int = SLOTS) -> "MinimalPairs":
        """Measures pairs; arguments and errors are those of `Perplexity.of`."""
        if not pairs:
            raise DataError("There must be at least one minimal pair.")
        sentences = [text.split() for pair in pairs for text in (pair.good, pair.bad)]
        corpus = Corpus.from_words(sentences, name="minimal pairs")
        return cls(pairs=tuple(pairs), text=scored_rows(model, corpus, slots=slots))

    @property
    def batches(self) -> Sequence[Rows]:
        """What the model runs over."""
        return self.text.batches

    @property
    def groups(self) -> Sequence[str]:
        """The paradigm of each pair."""
        return [pair.paradigm for pair in self.pairs]

    def parts(self, scored: Sequence[np.ndarray]) -> Float[np.ndarray, "point part sentence"]:
        """Returns for every pair whether it is right (1/2 where both are equally likely), and 1."""
        sums = sum_by_sentence(scored, self.batches, sentences=2 * len(self.pairs))
        ahead = sums[:, 0::2] - sums[:, 1::2]
        right = np.where(ahead == 0, 0.5, ahead > 0)
        return np.stack([right, np.ones_like(right)], axis=1)

    def value(self, sums: Float[np.ndarray, "... part"]) -> Float[np.ndarray, "..."]:
        """Returns the share of right pairs."""
        return sums[..., 0] / sums[..., 1]


def read_minimal_pairs(path: str | Path, *, paradigms: Sequence[str] | None = None) -> list[MinimalPair]:
    """Reads minimal pairs as BLiMP has them: JSON lines with `sentence_good`, `sentence_bad` and `UID`.

    Args:
        path: The file, plain or gzipped, a path or a URL.
        paradigms: Names of the paradigms that are kept; all if None.

    Raises:
        CorpusError: The file cannot be read, a line is no such object, or a paradigm is not in the file.
    """
    source = Source.read(path)
    source.refuse_problems()
    pairs = []
    for number, line in enumerate(source.lines, 1):
        try:
            entry = parse_json(line)
            pair = MinimalPair(
                good=entry["sentence_good"], bad=entry["sentence_bad"], paradigm=entry.get("UID", "pairs")
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorpusError(
                f"{source.place}, line {number}: a minimal pair must be a JSON object with `sentence_good` and "
                f"`sentence_bad`, got {line[:60]!r}."
            ) from error
        pairs.append(pair)
    known = {pair.paradigm for pair in pairs}
    if missing := sorted(set(paradigms or ()) - known):
        raise CorpusError(f"{path} has no paradigm {missing[0]!r}. It has: {', '.join(sorted(known))}.")
    return [pair for pair in pairs if paradigms is None or pair.paradigm in paradigms]


def setting_of(model: Model) -> Setting:
    """Returns what a score's program is compiled for."""
    return Setting(model.graph, special_piece(model.tokenizer, "mask"))

"""BLEU and chrF of translations while neurons are edited, as sacrebleu computes them (extra `translation`).

All points of a batch of sources are one program. sacrebleu's own statistics of each sentence are kept, and its own
score of their sums: of all sentences, and of every sample of them, which makes the intervals paired (Koehn 2004).

References:
    Post 2018, A Call for Clarity in Reporting BLEU Scores. Popović 2015, chrF.
    Koehn 2004, Statistical Significance Tests for Machine Translation Evaluation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Array, Float

from lca_jax.errors import DataError, MissingExtraError, ModelError
from lca_jax.interventions.measures import SLOTS, Lost
from lca_jax.interventions.rows import Rows, cut_batches, source_rows
from lca_jax.interventions.writing import writing_score
from lca_jax.models.model import Model
from lca_jax.models.writing.generation import Search

Metric = Literal["bleu", "chrf"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Translations:
    """BLEU or chrF of greedy translations, 0 to 100."""

    name: str
    metric: Any
    """The metric of sacrebleu."""
    references: tuple[str, ...]
    batches: Sequence[Rows]
    decode: Callable[[Sequence[int]], str]
    score: Callable[..., Array]
    further: tuple[()] = ()
    lost: Lost = "drop"
    groups: None = None

    @classmethod
    def of(
        cls,
        model: Model,
        pairs: Sequence[tuple[str, str]],
        *,
        metric: Metric = "bleu",
        search: Search | None = None,
        slots: int = SLOTS,
    ) -> "Translations":
        """Measures translations of the first texts of pairs against the second ones.

        Args:
            model: An encoder-decoder.
            pairs: Source and reference.
            metric: `bleu` or `chrf`, both with sacrebleu's own settings.
            search: How translations are found; greedily by default, with twice as many pieces as the longest source.
            slots: Number of slots in a batch of sources.

        Raises:
            ModelError: The model is not an encoder-decoder, or a source does not fit.
            DataError: There is no pair.
            MissingExtraError: sacrebleu is not installed.
        """
        if model.config.decoder is None:
            raise ModelError(f"{model.name} is no encoder-decoder, so it translates nothing.")
        if not pairs:
            raise DataError("There must be at least one pair of source and reference.")
        batch, is_word = source_rows(model, [source for source, _ in pairs])
        rows, length = np.asarray(batch.segments).shape
        numbers = np.broadcast_to(np.arange(rows, dtype=np.int32)[:, None], (rows, length))
        search = search or Search(longest=min(2 * length, model.config.decoder.longest_window - len(model.rules.start)))
        everything = Rows(batch, numbers.copy(), is_word)
        return cls(
            name={"bleu": "BLEU", "chrf": "chrF"}[metric],
            metric=sacrebleu_metric(metric),
            references=tuple(reference for _, reference in pairs),
            batches=cut_batches(everything, rows=max(1, slots // length)),
            decode=lambda pieces: str(model.tokenizer.decode([*pieces], skip_special_tokens=True)),
            score=writing_score(model.rules, search),
        )

    def texts(self, scored: Sequence[np.ndarray]) -> list[list[str]]:
        """Returns the translations of each point, in the order of the pairs."""
        pieces = np.concatenate(list(scored), axis=1)[:, : len(self.references)]
        return [[self.decode([int(one) for one in row if one >= 0]) for row in point] for point in pieces]

    def parts(self, scored: Sequence[np.ndarray]) -> Float[np.ndarray, "point part sentence"]:
        """Returns sacrebleu's statistics of each sentence."""
        return np.stack([sentence_statistics(self.metric, texts, self.references) for texts in self.texts(scored)])

    def value(self, sums: Float[np.ndarray, "... part"]) -> Float[np.ndarray, "..."]:
        """Returns sacrebleu's score of summed statistics."""
        return scores_of_sums(self.metric, sums)


def sacrebleu_metric(name: Metric) -> Any:
    """Returns the metric of sacrebleu, with its own settings.

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ModuleNotFoundError:
        raise MissingExtraError("sacrebleu", "translation", "Scoring translations") from None
    return BLEU() if name == "bleu" else CHRF()


def sentence_statistics(
    metric: Any, texts: Sequence[str], references: Sequence[str]
) -> Float[np.ndarray, "part sentence"]:
    """Returns sacrebleu's statistics of each sentence, which add up over sentences."""
    # sacrebleu has no public name for these; its corpus score of the same texts is what a test compares.
    return np.asarray(metric._extract_corpus_statistics(list(texts), [list(references)]), np.float64).T


def scores_of_sums(metric: Any, sums: Float[np.ndarray, "... part"]) -> Float[np.ndarray, "..."]:
    """Returns sacrebleu's score of summed statistics, 0 to 100."""
    flat = np.rint(sums).astype(int).reshape(-1, sums.shape[-1]).tolist()
    scores = [metric._compute_score_from_stats(one).score for one in flat]
    return np.array(scores).reshape(sums.shape[:-1])

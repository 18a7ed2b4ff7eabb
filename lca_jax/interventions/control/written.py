"""Texts that a model writes while neurons are edited: translations of sources, or continuations of prompts.

The class of a text is said by a function that the caller gives, such as one that looks for verb forms of a tense.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Array, Bool

from lca_jax.interventions.control.answers import Answers, Classify, Lemmas, classify_all, differing, same_lemmas
from lca_jax.interventions.control.word_rows import sentence_rows
from lca_jax.interventions.measures import SLOTS
from lca_jax.interventions.rows import Rows, WordPlaces, as_corpus, cut_batches
from lca_jax.interventions.translation import Metric, sacrebleu_metric
from lca_jax.interventions.writing import writing_score
from lca_jax.models.model import Model
from lca_jax.models.writing.generation import Search, check_writer
from lca_jax.text.corpus import Corpus


@dataclass(frozen=True, kw_only=True, eq=False)
class WrittenTexts:
    """The texts that a model writes, one for each sentence of a corpus."""

    name: str
    corpus: Corpus
    batches: Sequence[Rows]
    places: WordPlaces
    classify: Classify
    lemmas: Lemmas | None
    metrics: Mapping[str, Any]
    """sacrebleu's metrics by their names."""
    decode: Callable[[Sequence[int]], str]
    score: Callable[..., Array]
    further: tuple[()] = ()

    @classmethod
    def of(
        cls,
        model: Model,
        texts: Corpus | Sequence[str],
        *,
        classify: Classify,
        lemmas: Lemmas | None = None,
        metrics: Sequence[Metric] = ("bleu", "chrf"),
        search: Search | None = None,
        slots: int = SLOTS,
    ) -> "WrittenTexts":
        """Asks a model for translations (an encoder-decoder) or continuations (a causal model).

        Args:
            model: The model, with its head.
            texts: Sources or prompts: a corpus, whose labels may say which words are edited, or lines. The model reads
                their words joined with single spaces.
            classify: Says which class a written text shows; None if it shows none.
            lemmas: What remains of a text when its inflection is taken away; two texts with equal remains differ in
                the property alone. Without it a text is otherwise the same if one word of it at most is another one.
            metrics: Scores of texts against those without edits, `bleu` and `chrf` (extra `translation`).
            search: How texts are found: greedily by default, with twice as many pieces as the longest source, or 32 of
                a continuation.
            slots: Number of slots in a batch.

        Raises:
            ModelError: The model has no head or cannot write, or a sentence does not fit.
            CorpusError: There is no sentence.
            MissingExtraError: sacrebleu is not installed, and texts are to be scored.
        """
        model.check_head()
        corpus = as_corpus(texts)
        prompted, limit = model.config.decoder is None, model.max_pieces
        writer = model.config.decoder or model.config
        check_writer(writer, slots=1, search=search or Search(longest=1))
        if prompted:
            search = search or Search(longest=32)
            limit = min(limit, writer.longest_window - search.longest + 1)
        batch, places = sentence_rows(model, corpus, limit=limit, ended=not prompted)
        rows, length = batch.segments.shape
        search = search or Search(longest=min(2 * length, writer.longest_window - len(model.rules.start)))
        numbers = np.broadcast_to(np.arange(rows, dtype=np.int32)[:, None], (rows, length))
        everything = Rows(batch, numbers.copy(), np.zeros((rows, length), bool))
        return cls(
            name="continuations" if prompted else "translations",
            corpus=corpus,
            batches=cut_batches(everything, rows=max(1, slots // length)),
            places=places,
            classify=classify,
            lemmas=lemmas,
            metrics={name: sacrebleu_metric(name) for name in metrics},
            decode=lambda pieces: str(model.tokenizer.decode([*pieces], skip_special_tokens=True)),
            score=writing_score(model.rules, search, prompted=prompted),
        )

    def answers(self, scored: Sequence[np.ndarray]) -> Answers:
        """Returns the texts of all points with their classes; a unit is a sentence."""
        count = self.corpus.sentence_count
        pieces = np.concatenate(list(scored), axis=1)[:, :count]
        texts = [[self.decode([int(one) for one in row if one >= 0]).strip() for row in point] for point in pieces]
        same = one_word_differs(texts) if self.lemmas is None else same_lemmas(texts, self.lemmas)
        return Answers(
            said=classify_all(texts, self.classify),
            changed=differing(texts),
            otherwise_same=same,
            sentences=np.arange(count),
            words=None,
            texts=texts,
            metrics=self.metrics,
        )


def one_word_differs(texts: Sequence[Sequence[str]]) -> Bool[np.ndarray, "point unit"]:
    """Returns for every text whether it has as many words as the first point's, and at most one other word."""
    plain = [text.split() for text in texts[0]]

    def same(words: list[str], before: list[str]) -> bool:
        return len(words) == len(before) and sum(a != b for a, b in zip(words, before, strict=True)) <= 1

    return np.array(
        [[same(text.split(), before) for text, before in zip(point, plain, strict=True)] for point in texts], bool
    ).reshape(len(texts), -1)

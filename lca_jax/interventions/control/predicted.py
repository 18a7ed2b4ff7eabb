"""The piece that a model predicts at a word while neurons are edited: the word itself, or what follows it.

A masked model answers at the word's own place, with the word there (as Antverg and Belinkov 2022 decode it) or masked.
A causal model answers with the next piece: after a noun, the verb that agrees with it. One row is one word, so that a
text of n labelled words costs n runs.

Reference: Antverg and Belinkov 2022, section 4 (the predicted word's lemma and value).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Int

from lca_jax.errors import DataError, ModelError, SettingsError
from lca_jax.hugging_face import special_piece
from lca_jax.interventions.control.answers import Answers, Classify, Lemmas, classify_all, differing, same_lemmas
from lca_jax.interventions.control.word_rows import sentence_rows
from lca_jax.interventions.measures import SLOTS, Setting
from lca_jax.interventions.rows import Rows, WordPlaces, cut_batches
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Params
from lca_jax.models.stack.taps import Edit, Taps
from lca_jax.text.corpus import Corpus


def _score(
    setting: Setting, params: Params, rows: Rows, edits: Mapping[str, Edit], further: tuple[()]
) -> Int[Array, " row"]:
    """Returns the most likely piece at the one slot of each row whose word is asked for."""
    del further
    stack = nnx.merge(setting.graph, params)
    states = stack(jax.tree.map(jnp.asarray, rows.batch), layers=stack.config.layers, taps=Taps(edits, {}))
    place = jnp.argmax(jnp.asarray(rows.sentences) >= 0, axis=1)
    logits = stack.logits(jnp.take_along_axis(states, place[:, None, None], axis=1))
    return jnp.argmax(logits[:, 0], axis=-1).astype(jnp.int32)


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedWords:
    """The most likely piece at every labelled word of a corpus."""

    name: str
    corpus: Corpus
    batches: Sequence[Rows]
    places: WordPlaces
    asked: WordPlaces
    """The words that are asked for, one a row."""
    left_out: int
    """Number of labelled words that are not asked for: without a piece, or of several pieces in a masked model."""
    classify: Classify
    lemmas: Lemmas | None
    decode: Callable[[Sequence[int]], str]
    score: Callable[..., Array] = _score
    further: tuple[()] = ()

    @classmethod
    def of(
        cls,
        model: Model,
        corpus: Corpus,
        task: str,
        *,
        classify: Classify,
        lemmas: Lemmas | None = None,
        masked: bool = False,
        slots: int = SLOTS,
    ) -> "PredictedWords":
        """Asks a masked model for words, or a causal one for what follows them.

        Args:
            model: A masked or a causal model, with its head.
            corpus: Labelled words.
            task: The words that have a label of this task are asked for.
            classify: Says which class a predicted piece shows; None if it shows none.
            lemmas: The lemma of a predicted piece; without it nothing is said about lemmas.
            masked: Whether a masked model reads its mask piece in place of the word.
            slots: Number of slots in a batch.

        Raises:
            ModelError: The model has no head or is an encoder-decoder, or a sentence does not fit.
            SettingsError: A causal model shall mask words, or the tokenizer has no mask piece.
            DataError: No word is asked for.
        """
        model.check_head()
        if model.config.decoder is not None:
            raise ModelError(f"{model.name} writes translations: ask for them with `WrittenTexts`.")
        causal, mask = model.config.attention.causal, special_piece(model.tokenizer, "mask")
        if masked and (causal or mask is None):
            raise SettingsError(f"{model.name} cannot read masked words. Leave `masked` away.")
        batch, places = sentence_rows(model, corpus, limit=model.max_pieces)
        labelled = np.array([label is not None for label in corpus.flat_labels(task)], bool)
        kept = labelled[places.numbers] & (causal | (places.ends - places.starts == 1))
        asked = WordPlaces(*(part[kept] for part in places))
        if not kept.any():
            raise DataError(f"{corpus.name} has no word with a label of `{task}` that {model.name} can be asked for.")
        ids, positions, segments = (np.asarray(part)[asked.rows] for part in batch[:3])
        numbers = np.full(ids.shape, -1, np.int32)
        row = np.arange(len(ids))
        numbers[row, asked.ends - 1] = asked.numbers
        if masked:
            ids[row, asked.starts] = mask
        rows = batch._replace(piece_ids=ids, positions=positions, segments=segments)
        everything = Rows(rows, numbers, np.zeros(ids.shape, bool))
        return cls(
            name="next pieces" if causal else "masked words" if masked else "words in place",
            corpus=corpus,
            batches=cut_batches(everything, rows=max(1, slots // ids.shape[1])),
            places=_by_row(places, asked),
            asked=asked,
            left_out=int(labelled.sum() - kept.sum()),
            classify=classify,
            lemmas=lemmas,
            decode=lambda pieces: str(model.tokenizer.decode([*pieces])),
        )

    def answers(self, scored: Sequence[np.ndarray]) -> Answers:
        """Returns the predicted pieces of all points with their classes; a unit is a word."""
        pieces = np.concatenate(list(scored), axis=1)[:, : len(self.asked.rows)]
        text_of = {int(piece): self.decode([int(piece)]).strip() for piece in np.unique(pieces)}
        texts = [[text_of[int(piece)] for piece in point] for point in pieces]
        return Answers(
            said=classify_all(texts, self.classify),
            changed=differing(texts),
            otherwise_same=None if self.lemmas is None else same_lemmas(texts, self.lemmas),
            sentences=self.asked.sentences,
            words=self.asked.numbers,
            texts=texts,
        )


def _by_row(places: WordPlaces, asked: WordPlaces) -> WordPlaces:
    """Returns where all words stand, where each row repeats the sentence of the word that it asks for."""
    of_sentence = {
        int(sentence): np.flatnonzero(places.sentences == sentence) for sentence in np.unique(asked.sentences)
    }
    chosen = [of_sentence[int(sentence)] for sentence in asked.sentences]
    rows = np.repeat(np.arange(len(chosen)), [len(one) for one in chosen])
    return WordPlaces(*(part[np.concatenate(chosen)] for part in places))._replace(rows=rows)

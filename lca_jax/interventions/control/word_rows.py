"""Words of a corpus in the rows that a model runs, one text a row, and masks of chosen words."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from lca_jax.interventions.rows import Rows, WordPlaces, in_rows, slots_of_words
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Batch
from lca_jax.text.alignment import align_sentences, special_pieces
from lca_jax.text.corpus import Corpus

_MULTIPLE = 8
"""Rows have a multiple of so many slots: other texts, of about the same length, do not compile the program anew."""


def sentence_rows(model: Model, corpus: Corpus, *, limit: int, ended: bool = True) -> tuple[Batch, WordPlaces]:
    """Puts every sentence in a row of its own, from its first slot on, with the tokenizer's special pieces.

    Args:
        model: The model.
        corpus: The sentences; their words are joined with single spaces.
        limit: Maximum number of pieces in a row.
        ended: Whether the special pieces after a text are there; a text that is to be continued has none.

    Returns:
        The rows, and where each word that has a piece stands.

    Raises:
        ModelError: A sentence has no piece, or more than fit.
    """
    prefix, suffix = special_pieces(model.tokenizer)
    texts, places, first = [], [], 0
    for number, aligned in enumerate(align_sentences(model.tokenizer, corpus.sentences)):
        texts.append([*prefix, *aligned.piece_ids.tolist(), *(suffix if ended else ())])
        for word, (start, end) in enumerate(zip(aligned.starts.tolist(), aligned.ends.tolist(), strict=True)):
            if end > start:
                places.append((number, first + word, number, start + len(prefix), end + len(prefix)))
        first += len(aligned.starts)
    return in_rows(texts, limit=limit, multiple=_MULTIPLE), WordPlaces(*np.array(places, np.int64).reshape(-1, 5).T)


def edit_words(batches: Sequence[Rows], places: WordPlaces, chosen: Bool[np.ndarray, " word"]) -> list[Rows]:
    """Returns the batches with the slots of the chosen words as their `words`; all others are left alone.

    Args:
        batches: All batches, of one shape.
        places: Where the words stand, in rows counted over all batches.
        chosen: Which words of the corpus are chosen.
    """
    rows, slots = np.shape(batches[0].sentences)
    edited = WordPlaces(*(part[chosen[places.numbers]] for part in places))
    mask = slots_of_words(edited, (len(batches) * rows, slots))
    return [batch._replace(words=mask[number * rows : (number + 1) * rows]) for number, batch in enumerate(batches)]

"""The pieces of a few reference words: they tell a tokenizer from one of the same files that cuts texts otherwise.

The files of a model stay as they are, but other versions of the packages `tokenizers` and `transformers` may cut the
same words otherwise (for `vocab.txt` alone, transformers 5.0.0 did so without a word). Activations of one store must
have the same pieces, so a store and a run folder keep those of the reference words, and a difference is told.
"""

from lca_jax.hugging_face import PreTrainedTokenizerBase
from lca_jax.text.alignment import align_sentences, special_pieces
from lca_jax.text.other_pieces import SPECIAL

REFERENCE_WORDS = (
    "The", "naïve", "CAFÉS", "cafe\u0301", "don't", "unbelievably", "e-mail", "2,048", "½", "\ufb01ne", "Ölfässer",
    "İstanbul", "昨天我们", "ΣΊΣΥΦΟΣ", "x_y", "https://a.b/c?d=1", "\U0001f9ff", "a\u00a0b", "...", "!",
)  # fmt: skip
"""One sentence of words that tokenizers treat in their own ways: capitals, accents, digits, ligatures, scripts without
spaces, unknown characters, punctuation. More may be added: only words that both records have are compared."""


def reference_pieces(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """Returns the pieces of every reference word, and those around a text, separated by spaces.

    Raises:
        ModelError: For the reasons of `alignment.special_pieces`.
    """
    (aligned,) = align_sentences(tokenizer, [REFERENCE_WORDS])
    pieces = tokenizer.convert_ids_to_tokens(aligned.piece_ids.tolist())
    before, after = (tokenizer.convert_ids_to_tokens(list(ids)) for ids in special_pieces(tokenizer))
    spans = zip(REFERENCE_WORDS, aligned.starts.tolist(), aligned.ends.tolist(), strict=True)
    return {SPECIAL: " ".join([*before, "…", *after])} | {
        word: " ".join(map(str, pieces[start:end])) for word, start, end in spans
    }

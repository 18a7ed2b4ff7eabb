"""The pieces of a few reference words: they tell a tokenizer from one of the same files that cuts texts otherwise.

The files of a model stay as they are, but other versions of the packages `tokenizers` and `transformers` may cut the
same words otherwise (for `vocab.txt` alone, transformers 5.0.0 did so without a word). Activations of one store must
have the same pieces, so a store and a run folder keep those of the reference words, and a difference is told.
"""

from collections.abc import Mapping

from lca_jax.hugging_face import PreTrainedTokenizerBase
from lca_jax.machine.versions import package_versions
from lca_jax.text.alignment import align_sentences, special_pieces

REFERENCE_WORDS = (
    "The", "naïve", "CAFÉS", "cafe\u0301", "don't", "unbelievably", "e-mail", "2,048", "½", "\ufb01ne", "Ölfässer",
    "İstanbul", "昨天我们", "ΣΊΣΥΦΟΣ", "x_y", "https://a.b/c?d=1", "\U0001f9ff", "a\u00a0b", "...", "!",
)  # fmt: skip
"""One sentence of words that tokenizers treat in their own ways: capitals, accents, digits, ligatures, scripts without
spaces, unknown characters, punctuation. More may be added: only words that both records have are compared."""
SPECIAL = "special pieces"
"""The key of the pieces that are put around a text."""
_CUTTING = ("tokenizers", "transformers")
"""The packages that decide how a model's files cut a text."""


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


def tell_other_pieces(before: Mapping[str, str] | None, now: Mapping[str, str] | None) -> str | None:
    """Returns the first difference of two records of `reference_pieces`, in words; None where there is none.

    Args:
        before: The record that was kept; None where there is none, as another program made the vectors.
        now: The record of the present tokenizer; None as above.
    """
    if before is None or now is None:
        return None
    others = [word for word in before if word in now and before[word] != now[word]]
    if not others:
        return None
    word, more = others[0], len(others) - 1
    told = f"{word} were `{before[word]}`" if word == SPECIAL else f"`{word}` was cut into `{before[word]}`"
    rest = f" ({more} more reference words differ)" if more > 1 else " (another reference word differs)" if more else ""
    return f"{told}, now `{now[word]}`{rest}"


def tell_cutting_versions(made_with: Mapping[str, str]) -> str | None:
    """Returns which versions of the tokenizers' packages made something and which are here; None for the same ones.

    Args:
        made_with: Versions by package, as a manifest has them; packages may be missing.
    """
    here = package_versions(_CUTTING)
    others = [name for name in _CUTTING if name in made_with and made_with[name] != here[name]]
    return ", ".join(f"{name} {made_with[name]}, here {here[name]}" for name in others) or None

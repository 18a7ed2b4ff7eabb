"""Tells where two records of the pieces of reference words differ, and which versions made them; needs no tokenizer."""

from collections.abc import Mapping

from lca_jax.machine.versions import package_versions

SPECIAL = "special pieces"
"""The key of the pieces that are put around a text."""
_CUTTING = ("tokenizers", "transformers")
"""The packages that decide how a model's files cut a text."""


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
    return ", ".join(f"{name} {made_with[name]} ({here[name]} here)" for name in others) or None

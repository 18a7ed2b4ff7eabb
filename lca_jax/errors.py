"""The errors of the package.

Each is an `LcaError`. Its text says what must hold, what was found, where (file, line, word), and the way out. An
`LcaError` is also a `ValueError`, so that library code which expects one keeps working.
"""

import re
from collections.abc import Sequence

_SHOWN_PROBLEMS = 20
_NOT_SHOWN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class LcaError(ValueError):
    """Anything that the caller can mend: input, settings, files."""


class CorpusError(LcaError):
    """A corpus file or a list of words and labels breaks its format."""


class ModelError(LcaError):
    """A checkpoint cannot be read, or a model is asked for something it does not support."""


class StoreError(LcaError):
    """An activation store is missing, altered, incomplete or made from something else."""


class HeldError(StoreError):
    """Another process holds a folder; the message says which, on which machine, and since when."""


class DataError(LcaError):
    """Activations or labels cannot answer the question (NaN, one class only, nothing labelled)."""


class NoGainError(DataError):
    """A probe is no better than a constant answer, so a share of its gain is not defined."""


class SettingsError(LcaError):
    """A setting is out of its range, or two settings exclude each other."""


class MissingExtraError(LcaError):
    """An optional dependency is missing; the message holds the command that installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package `{package}`, which is not installed. Run: pip install 'lca-jax[{extra}]'"
        )


class NotConverged(UserWarning):
    """A solver reached its iteration limit; the result holds the remaining gap."""


def list_problems(problems: Sequence[str]) -> str:
    """Joins the problems of one input into the lines of one message, the first twenty in full and the rest counted."""
    shown = [f"  {problem}" for problem in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        shown.append(f"  … and {len(problems) - _SHOWN_PROBLEMS} more")
    return "\n".join(shown)


def escape_controls(text: str) -> str:
    r"""Returns a text that a terminal shows and does not obey.

    Control characters, escape sequences, marks that turn the direction of writing, and halves of surrogate pairs are
    shown as `\x1b` or `\u202e`; line breaks and tabs stay.
    """
    return _NOT_SHOWN.sub(lambda found: ascii(found[0])[1:-1], text)

"""What a file does not say of itself, and its user does: the options of every reader, in one record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any

import tyro

from lca_jax.errors import SettingsError
from lca_jax.machine.fields import check_fields
from lca_jax.text.lines import check_encoding

_LONGEST_NUMBER = 10
"""Digits from which a column is not a number; Python refuses to read numbers of thousands of them."""


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """How files of words are read, where their content does not tell."""

    word_column: str | None = None
    """In files with one word a row: the column of the words, by number (counted from 1) or name."""
    text_column: str | None = None
    """In files with one text a row or line: the column or key of the text."""
    second_column: str | None = None
    """The column or key of the second text of pairs."""
    unlabelled: str | None = None
    """The mark of a word or text without a label; `_` in files with one word a row."""
    where: Annotated[Sequence[str], tyro.conf.UseAppendAction] = ()
    """COLUMN=TEXT: reads only the rows that have this text in this column. May be repeated."""
    encoding: str = "utf-8"
    """The encoding of the files, e.g. latin-1."""
    skip_ragged: bool = False
    """Skip and count rows with another number of columns than most, instead of refusing the file."""

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "where", tuple(self.where))
        check_encoding(self.encoding)
        if wrong := [each for each in self.where if "=" not in each]:
            raise SettingsError(f"`where` must be COLUMN=TEXT, e.g. 1=tr, got {wrong[0]!r}.")

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "TextOptions":
        """Makes options from a table of them.

        Raises:
            SettingsError: A name is unknown, or a value is out of its range.
        """
        known = {item.name for item in fields(cls)}
        if strange := sorted(map(str, set(content) - known)):
            raise SettingsError(f"`texts` has no {', '.join(strange)}. Known: {', '.join(sorted(known))}.")
        return cls(**content)

    def refuse_others(self, place: str, kind: str, *taken: str) -> None:
        """Refuses options that a file of some kind does not take, since the rows would be read as if they were not.

        The encoding is that of all files, and refused for none.

        Args:
            place: The file.
            kind: What it is read as.
            taken: Names of the options that such files take.

        Raises:
            SettingsError: Another option is given; the message names all of them.
        """
        usual = TextOptions()
        others = [item.name for item in fields(self) if item.name not in (*taken, "encoding")]
        if idle := [f"`{name}`" for name in others if getattr(self, name) != getattr(usual, name)]:
            one = len(idle) == 1
            raise SettingsError(
                f"{place} is read as {kind}, where {', '.join(idle)} {'has' if one else 'have'} no effect. Leave "
                f"{'it' if one else 'them'} out."
            )

    @property
    def filters(self) -> dict[int | str, str]:
        """The text that a column must have, by column."""
        pairs = (each.partition("=") for each in self.where)
        return {column_of(column): text for column, _, text in pairs}


def column_of(column: str) -> int | str:
    """Returns a column as a number, where it is one, else as a name."""
    return int(column) if column.isdecimal() and len(column) < _LONGEST_NUMBER else column

"""The manifest of a whole store: recipe, names, counts, versions, and the checksum of every file.

A folder without `manifest.json` is not a store. The manifest has a checksum of its own.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from lca_jax.errors import StoreError
from lca_jax.machine.checksums import checksum_of
from lca_jax.machine.json_text import parse_json
from lca_jax.store.recipe import Recipe

FORMAT = 2
"""Number of the folder format; a reader refuses any other. 2: the manifest has a checksum of its own."""

_CHECKSUM = re.compile(r'(?<=\n "checksum": ")([0-9a-f]{64})(?=")')
"""Finds the checksum: a key of the outermost level begins a line and is indented by one, and no string has a line
break."""

_NO_CHECKSUM = 64 * "0"


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """Size and checksum of one file of a store."""

    size_bytes: int
    """Size of the file."""
    sha256: str
    """SHA-256 of its content, as hexadecimal digits."""

    @classmethod
    def of(cls, content: bytes) -> "FileRecord":
        """Returns the record of a file of this content."""
        return cls(size_bytes=len(content), sha256=checksum_of(content))


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The facts that a whole store keeps about itself."""

    recipe: Recipe
    """Everything that determined the arrays."""
    names: Mapping[str, str]
    """Names of `model`, `tokenizer` and `corpus`."""
    counts: Mapping[str, int]
    """Numbers of `sentences` of the corpus, of `words` (the units), and of `vectors` (the units with a vector)."""
    excluded: Mapping[str, int]
    """Number of words (or pieces or sentences) of the corpus without a vector, by reason; those that were not chosen
    are counted here and are not units."""
    skipped: Mapping[str, int]
    """Number of lines that the corpus reader passed over since they are not words, by reason."""
    machine: Mapping[str, str | int]
    """The machine on which the run was finished."""
    versions: Mapping[str, str]
    """Versions of the packages with which the run was finished."""
    files: Mapping[str, FileRecord]
    """Sizes and checksums of every other file of the store; empty in memory."""
    format: int = FORMAT
    """Number of the folder format."""

    def to_text(self) -> str:
        """Returns JSON with one key a line, so that two manifests can be compared by eye.

        `checksum` is the SHA-256 of the text with 64 zeros in its place.
        """
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        content |= {
            "checksum": _NO_CHECKSUM,
            "recipe": self.recipe.as_json(),
            "files": {name: asdict(record) for name, record in sorted(self.files.items())},
        }
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        return _CHECKSUM.sub(_text_checksum(text), text, count=1)

    @classmethod
    def from_text(cls, text: str | bytes, *, place: str) -> "Manifest":
        """Reads a manifest.

        Raises:
            StoreError: The manifest has another format number, breaks its format, or was altered since.
        """
        try:
            content = parse_json(text)
            found = content["format"]
            checksum = content.pop("checksum", None)
            unaltered = checksum == _text_checksum(text if isinstance(text, str) else text.decode())
            if found == FORMAT and unaltered:
                content["recipe"] = Recipe.from_json(content["recipe"])
                content["files"] = {name: FileRecord(**record) for name, record in content["files"].items()}
                return cls(**content)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(f"{place}/manifest.json breaks its format ({error!r}). Make the store anew.") from None
        if not unaltered and (found == FORMAT or checksum is not None):
            raise StoreError(
                f"{place}/manifest.json was altered since it was written: its checksum does not fit its text. "
                "Restore it from a copy, or delete the folder and extract again."
            )
        raise StoreError(
            f"{place} has format {found}, this version of lca_jax reads format {FORMAT}. "
            "Read it with the version named in its manifest, or make it anew."
        )


def _text_checksum(text: str) -> str:
    """Returns the checksum that a manifest must have, whatever checksum stands in it."""
    return checksum_of(_CHECKSUM.sub(_NO_CHECKSUM, text, count=1).encode())

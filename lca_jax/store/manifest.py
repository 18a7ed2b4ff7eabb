"""What a whole store says about itself: `manifest.json`."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib import metadata

from lca_jax.errors import StoreError
from lca_jax.store.recipe import Recipe

FORMAT = 2
"""Number of the folder format; a reader refuses any other. 2: the manifest has a checksum of its own."""

_CHECKSUM = re.compile(r'(?<=\n "checksum": ")([0-9a-f]{64})(?=")')
"""A key of the outermost level begins a line and is indented by one; no string holds a line break."""

_NO_CHECKSUM = 64 * "0"

_PACKAGES = ("lca-jax", "jax", "flax", "numpy", "pyarrow", "tensorstore", "tokenizers", "transformers")


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """Size and checksum of one file of a store."""

    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> "FileRecord":
        """The record of these bytes."""
        return cls(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a whole store says about itself."""

    recipe: Recipe
    """What determined the arrays."""
    names: Mapping[str, str]
    """Names of `model`, `tokenizer` and `corpus`."""
    counts: Mapping[str, int]
    """`sentences` of the corpus, `words` (the rows), and `vectors`: the rows that have one."""
    excluded: Mapping[str, int]
    """Words (or pieces or sentences) without a vector, by reason; those that were not chosen have no row either."""
    skipped: Mapping[str, int]
    """What the corpus reader passed over as no word, by reason."""
    machine: Mapping[str, str | int]
    """Where the run was finished."""
    versions: Mapping[str, str]
    """Packages the run was finished with."""
    files: Mapping[str, FileRecord]
    """Every other file of the store; empty in memory."""
    format: int = FORMAT
    """Number of the folder format."""

    def to_text(self) -> str:
        """JSON with one key a line, so that two manifests can be compared by eye.

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
            StoreError: It has another format number, breaks its format, or was altered since it was written.
        """
        try:
            content = json.loads(text)
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
    """Of a manifest, whatever checksum stands in it."""
    return hashlib.sha256(_CHECKSUM.sub(_NO_CHECKSUM, text, count=1).encode()).hexdigest()


def package_versions() -> dict[str, str]:
    """Versions of the packages that a stored number may depend on."""
    installed = {distribution.metadata["Name"].lower(): distribution.version for distribution in _installed()}
    return {name: installed.get(name, "not installed") for name in _PACKAGES}


def _installed() -> list[metadata.Distribution]:
    found = []
    for name in _PACKAGES:
        try:
            found.append(metadata.distribution(name))
        except metadata.PackageNotFoundError:
            continue
    return found

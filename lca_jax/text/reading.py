"""What a reader is given: a file, or one that was read already, so that its format could be told by its rows."""

from pathlib import Path

from lca_jax.text.lines import Source

Readable = str | Path | Source
"""A path, a URL, or a file that was read."""


def source_of(file: Readable, *, encoding: str) -> Source:
    """Returns a file as it was read, or reads it.

    Args:
        file: The file.
        encoding: Its encoding, if it was not read yet.

    Raises:
        CorpusError: For the reasons of `Source.read`.
        SettingsError: There is no such encoding.
    """
    return file if isinstance(file, Source) else Source.read(file, encoding=encoding)

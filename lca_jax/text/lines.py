"""A text file while it is read: its lines, and the problems found in them.

A file may be gzipped, which its content shows, not its name. It is read whole. Readers report bad rows as they meet
them, and all are raised as one `CorpusError` with `file:line: what`.
"""

import gzip
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lca_jax.errors import CorpusError, list_problems
from lca_jax.text.corpus import Corpus


def is_blank(line: str) -> bool:
    """Returns whether a line separates sentences: it is empty, or holds spaces alone."""
    return not line.strip(" ")


def usual_width(rows: Iterable[Sequence[str]]) -> int:
    """Returns the number of columns that most rows have, so that one broken row does not accuse the others."""
    widths = Counter(map(len, rows))
    return max(widths, key=lambda width: (widths[width], width), default=0)


@dataclass(kw_only=True)
class Source:
    """One file while it is read."""

    path: Path
    """Path of the file, for messages."""
    lines: list[str]
    """Lines without their ends; bytes that are not UTF-8 are reported and replaced."""
    problems: list[tuple[int, str]] = field(default_factory=list)
    """Line number and description of every problem."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Number of items that were skipped because they are not words, by reason."""

    @classmethod
    def read(cls, path: str | Path) -> "Source":
        """Reads and decodes a file.

        Raises:
            CorpusError: The file cannot be read, or is empty.
        """
        path = Path(path)
        try:
            content = path.read_bytes()
            if content.startswith(b"\x1f\x8b"):
                content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise CorpusError(f"{path}: cannot be read: {error}. Give a text file, plain or gzipped.") from error
        if not content.strip():
            raise CorpusError(f"{path}: the file is empty. Give a file with at least one word.")
        source = cls(path=path, lines=[])
        # Only \n ends a line: word forms may hold U+2028 and other characters at which str.splitlines cuts.
        for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n").split(b"\n"), 1):
            try:
                source.lines.append(line.removesuffix(b"\r").decode())
            except UnicodeDecodeError as error:
                source.report(number, f"byte {error.start + 1} of the line (0x{line[error.start]:02x}) is not UTF-8")
                source.lines.append(line.removesuffix(b"\r").decode(errors="replace"))
        return source

    def report(self, line: int, what: str) -> None:
        """Adds a problem of a line, counted from 1."""
        self.problems.append((line, what))

    def refuse_problems(self) -> None:
        """Raises an error if problems were reported.

        Raises:
            CorpusError: Problems were reported; the message lists them in the order of their lines.
        """
        if self.problems:
            places = [
                f"{self.path}:{line}: {what}" for line, what in sorted(self.problems, key=lambda problem: problem[0])
            ]
            raise CorpusError(f"{self.path}: {len(places)} problems. Mend these rows:\n{list_problems(places)}")

    def finish(
        self,
        sentences: list[tuple[str, ...]],
        labels: Mapping[str, list[tuple[str | None, ...]]],
        *,
        sentence_labels: Mapping[str, list[str | None]] | None = None,
        second_starts: list[int] | None = None,
    ) -> Corpus:
        """Returns the corpus of the file, after all of its lines were checked.

        Args:
            sentences: The words.
            labels: For every task of words, one label per word.
            sentence_labels: For every task of sentences, one label per sentence.
            second_starts: For pairs, the number of words in the first text of each.

        Raises:
            CorpusError: Problems were reported, or there is no word.
        """
        self.refuse_problems()
        if not any(sentences):
            raise CorpusError(f"{self.path}: the file holds no word. Give a file with at least one word.")
        return Corpus(
            sentences=tuple(sentences),
            labels={task: tuple(of_sentences) for task, of_sentences in labels.items()},
            sentence_labels={task: tuple(of_task) for task, of_task in (sentence_labels or {}).items()},
            second_starts=None if second_starts is None else tuple(second_starts),
            name=self.path.name,
            skipped=dict(self.skipped),
        )

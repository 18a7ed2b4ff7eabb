"""A text file while it is read: its lines, and what is found wrong with them.

Every file may be gzipped; it is recognised by its content, not by its name. The file is read whole. Readers report bad
rows as they meet them, and all are raised as one `CorpusError` with `file:line: what`.
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
    """The number of columns that most rows have, so that one broken row does not accuse all others; 0 without rows."""
    widths = Counter(map(len, rows))
    return max(widths, key=lambda width: (widths[width], width), default=0)


@dataclass(kw_only=True)
class Source:
    """One file while it is read."""

    path: Path
    """Where it is, for messages."""
    lines: list[str]
    """Its lines without their ends; bytes that are no UTF-8 are reported and replaced."""
    problems: list[tuple[int, str]] = field(default_factory=list)
    """Line number and what is wrong there."""
    skipped: Counter[str] = field(default_factory=Counter)
    """What was passed over because it is no word, by reason."""

    @classmethod
    def read(cls, path: str | Path) -> "Source":
        """Reads and decodes a file.

        Raises:
            CorpusError: It cannot be read, or is empty.
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
        # Only \n ends a line: word forms may hold U+2028 and other characters at which str.splitlines would cut.
        for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n").split(b"\n"), 1):
            try:
                source.lines.append(line.removesuffix(b"\r").decode())
            except UnicodeDecodeError as error:
                source.report(number, f"byte {error.start + 1} of the line (0x{line[error.start]:02x}) is no UTF-8")
                source.lines.append(line.removesuffix(b"\r").decode(errors="replace"))
        return source

    def report(self, line: int, what: str) -> None:
        """Notes what is wrong with a line, counted from 1."""
        self.problems.append((line, what))

    def refuse_problems(self) -> None:
        """Raises what was reported, if anything was.

        Raises:
            CorpusError: Lists all problems in the order of their lines.
        """
        if self.problems:
            places = [f"{self.path}:{line}: {what}" for line, what in sorted(self.problems, key=lambda found: found[0])]
            raise CorpusError(f"{self.path}: {len(places)} problems. Mend these rows:\n{list_problems(places)}")

    def finish(
        self,
        sentences: list[tuple[str, ...]],
        labels: Mapping[str, list[tuple[str | None, ...]]],
        *,
        sentence_labels: Mapping[str, list[str | None]] | None = None,
        second_starts: list[int] | None = None,
    ) -> Corpus:
        """The corpus of the file, once all its lines were looked at.

        Args:
            sentences: The words.
            labels: For every task of words one label a word.
            sentence_labels: For every task of sentences one label a sentence.
            second_starts: For pairs, where the second text of each begins.

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

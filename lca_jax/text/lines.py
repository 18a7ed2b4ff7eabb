"""A text file while it is read: its lines, and the problems found in them.

A file may be gzipped, which its content shows, not its name. It is read line by line, so that its bytes do not lie
beside its lines; those of the object at a URL do. Readers report bad rows as they meet them, and all are raised as one
`CorpusError` with `file:line: what`.
"""

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lca_jax.errors import CorpusError, SettingsError, StoreError, list_problems
from lca_jax.machine.urls import name_place, opened
from lca_jax.text.corpus import Corpus

IGNORED = "-100"
"""The whole number that marks words and texts without a label in data sets of Hugging Face."""
_WHOLE = re.compile(r"-?[0-9]+")


def is_blank(line: str) -> bool:
    """Returns whether a line separates sentences: it is empty, or holds white space alone."""
    return not line or line.isspace()


def usual_width(rows: Iterable[Sequence[str]]) -> int:
    """Returns the number of columns that most rows have, so that one broken row does not accuse the others."""
    widths = Counter(map(len, rows))
    return max(widths, key=lambda width: (widths[width], width), default=0)


def _lines_of(path: str | Path) -> Iterator[bytes]:
    """Yields the lines of a file, a path or a URL, plain or gzipped, without their ends.

    Only a line feed ends a line: word forms may hold U+2028 and other characters at which `str.splitlines` cuts.

    Raises:
        CorpusError: It cannot be read.
    """
    try:
        with opened(path) as file:
            for line in gzip.GzipFile(fileobj=file) if file.peek(2).startswith(b"\x1f\x8b") else file:
                yield line.removesuffix(b"\n").removesuffix(b"\r")
    except (OSError, StoreError, EOFError, zlib.error) as error:
        place = name_place(path)
        raise CorpusError(f"{place}: cannot be read: {error}. Give a text file, plain or gzipped.") from error


def check_encoding(encoding: str) -> None:
    """Checks that lines which end with the byte of a line feed can be decoded one by one.

    Raises:
        SettingsError: There is no such encoding, it is none of texts (as `hex`), or its line feeds are other bytes.
    """
    usual = "Usual ones: utf-8, latin-1, cp1252."
    try:
        ends_alike = b"a\n".decode(encoding) == "a\n"
    except UnicodeError:
        ends_alike = False
    except (LookupError, ValueError):  # a name may also hold what none can
        raise SettingsError(f"There is no encoding {encoding!r} of texts. {usual}") from None
    if not ends_alike:
        raise SettingsError(
            f"Texts cannot be read line by line in the encoding {encoding!r}. {usual} Convert the file, e.g. by "
            f"`iconv -f {encoding} -t UTF-8 FILE > NEW`."
        )


@dataclass(kw_only=True)
class Source:
    """One file while it is read."""

    place: str
    """Path or URL of the file, for messages."""
    lines: list[str]
    """Lines without their ends; bytes that are not of the encoding are reported and replaced."""
    problems: list[tuple[int, str]] = field(default_factory=list)
    """Line number and description of every problem."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Number of items that were skipped because they are not words, by reason."""
    _known: dict[str, str] = field(default_factory=dict, init=False)

    @classmethod
    def read(cls, path: str | Path, *, encoding: str = "utf-8") -> "Source":
        """Reads and decodes a file.

        Args:
            path: The file, a path or a URL.
            encoding: Its encoding, one in which only a line feed has the byte of a line feed.

        Raises:
            CorpusError: The file cannot be read, is empty, or no line with other letters than ASCII is in this
                encoding. Single lines that are not are reported like other bad rows.
            SettingsError: There is no such encoding, or lines end otherwise in it.
        """
        check_encoding(encoding)
        place = name_place(path)
        source = cls(place=place, lines=[])
        undecoded: list[str] = []
        other_letters = 0
        for number, line in enumerate(_lines_of(path), 1):
            read = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            other_letters += not read.isascii()
            try:
                source.lines.append(read.decode(encoding))
            except UnicodeDecodeError as error:
                undecoded.append(f"byte {error.start + 1} of the line (0x{read[error.start]:02x})")
                source.report(number, f"{undecoded[-1]} is not {encoding.upper()}")
                source.lines.append(read.decode(encoding, errors="replace"))
        if all(map(is_blank, source.lines)):
            raise CorpusError(f"{place}: the file is empty. Give a file with at least one word.")
        if undecoded and len(undecoded) == other_letters:
            raise CorpusError(
                f"{place}: none of the {len(undecoded)} lines with other letters than ASCII is {encoding.upper()}; the "
                f"first is line {source.problems[0][0]}, {undecoded[0]}. Name the encoding of the file (`encoding`, "
                "`--encoding`), e.g. latin-1 or cp1252."
            )
        return source

    @classmethod
    def of(cls, file: "Readable", *, encoding: str) -> "Source":
        """Returns a file that was read already, so that its format could be told by its rows, or reads it as `read`."""
        return file if isinstance(file, Source) else cls.read(file, encoding=encoding)

    def share(self, text: str) -> str:
        """Returns the first text that was equal to this one.

        Labels repeat: held once each, those of a hundred columns of a million words take 1 GB, and 6 GB otherwise.
        """
        return self._known.setdefault(text, text)

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
                f"{self.place}:{line}: {what}" for line, what in sorted(self.problems, key=lambda problem: problem[0])
            ]
            what = "1 problem. Mend this row" if len(places) == 1 else f"{len(places)} problems. Mend these rows"
            raise CorpusError(f"{self.place}: {what}:\n{list_problems(places)}")

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
        labels = {task: self._without_ignored(task, of_task) for task, of_task in labels.items()}
        of_sentences = {
            task: list(self._without_ignored(task, [tuple(of_task)])[0])
            for task, of_task in (sentence_labels or {}).items()
        }
        if not any(sentences):
            raise CorpusError(f"{self.place}: the file holds no word. Give a file with at least one word.")
        return Corpus(
            sentences=tuple(sentences),
            labels={task: tuple(of_task) for task, of_task in labels.items()},
            sentence_labels={task: tuple(of_task) for task, of_task in of_sentences.items()},
            second_starts=None if second_starts is None else tuple(second_starts),
            name=Path(self.place).name,
            skipped=dict(self.skipped),
        )

    def _without_ignored(self, task: str, labels: list[tuple[str | None, ...]]) -> list[tuple[str | None, ...]]:
        """Masks and counts the label -100 of a task of whole numbers: Hugging Face's mark for no label."""
        distinct = {label for of_sentence in labels for label in of_sentence if label is not None}
        if IGNORED not in distinct or not all(_WHOLE.fullmatch(label) for label in distinct):
            return labels
        count = sum(label == IGNORED for of_sentence in labels for label in of_sentence)
        self.skipped[f"label {IGNORED} of {task}, which marks what has none"] += count
        return [tuple(None if label == IGNORED else label for label in of_sentence) for of_sentence in labels]


Readable = str | Path | Source
"""What a reader is given: a path, a URL, or a file that was read."""

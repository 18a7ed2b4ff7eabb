"""Finds out from a column file itself where its words are, and which of its rows are no words.

Nothing is guessed from a file's name. `# global.columns` names the columns of CoNLL-U Plus. A first row of usual names
(`word pos ner`) is a header. A column of 1, 2, 3, … (or 0, 1, 2, …) that begins anew with each sentence numbers the
words, and the words are in the column after it: CoNLL-X, CoNLL-U Plus, STREUSLE, CoNLL-2012. A first column of nothing
but BIO labels is not the words. Ranges (`2-3`), empty nodes (`3.1`), document marks (`-DOCSTART-`) and comments are no
words and are counted.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from lca_jax.text.lines import Source, is_blank, usual_width

Row = tuple[int, list[str]]
"""Number of a line, from 1, and its cells."""
DOCUMENT_MARK = "document mark"
COMMENT = "comment"
HEADER = "header"
MULTIWORD = "multiword token"
EMPTY_NODE = "empty node"

_GLOBAL_COLUMNS = re.compile(r"#\s*global\.columns\s*=\s*(.+)")
_KEY_COMMENT = re.compile(r"#\s*[\w.:-]+\s*=")
_RANGE = re.compile(r"[0-9]+-[0-9]+")
_EMPTY = re.compile(r"[0-9]+\.[0-9]+")
_BIO = re.compile(r"O|[BIESLU]-\S+")
_RUNS = re.compile(r"[ \t]+")
_WORD_NAMES = ("form", "word", "words", "token", "tokens")
_USUAL_NAMES = frozenset(
    (*_WORD_NAMES, "id", "pos", "upos", "xpos", "pos_tag", "pos_tags", "tag", "tags", "label", "labels", "lemma", "ner")
) | {"ner_tag", "ner_tags", "chunk", "chunk_tag", "chunk_tags", "feats", "head", "deprel", "deps", "misc"}
_WIDEST_FIXED = 5
"""Rows with more columns than this may have a number of columns that changes from sentence to sentence: CoNLL-2005 and
CoNLL-2012 have one for each predicate."""


class Layout(NamedTuple):
    """Where the words of a column file are, and its sentences."""

    blocks: list[list[Row]]
    """The rows of words, sentence by sentence."""
    words: int
    """Column of the words, from 0."""
    names: tuple[str, ...]
    """Names of the columns, where the file has them."""
    width: int
    """Number of columns that every row has."""


def read_layout(
    source: Source,
    *,
    separator: str | None,
    comments: tuple[str, ...],
    word_column: int | str | None,
    tasks: Iterable[object],
) -> Layout:
    """Reads the rows of a column file and finds its words; bad rows are reported.

    Args:
        source: The file.
        separator: Text between two columns; None for a tab where all rows have one, else for runs of spaces and tabs.
        comments: Beginnings of rows that are comments, besides those that are known.
        word_column: Column of the words, from 1, or its name; None for that which the rows show.
        tasks: The columns of the tasks; a first row that has such a name is a header.
    """
    marked = next((found for line in source.lines if (found := _GLOBAL_COLUMNS.match(line))), None)
    names = tuple(marked[1].split()) if marked else ()
    blocks = _split_blocks(source, _splitter(source, separator, comments), comments)
    blocks = _without_odd_comments(source, blocks)
    if not names and blocks and _is_header(blocks[0][0][1], [word_column, *tasks]):
        names = tuple(blocks[0].pop(0)[1])
        source.skipped[HEADER] += 1
        blocks = [block for block in blocks if block]
    width = _check_widths(source, blocks)
    numbering = _numbering(blocks, names)
    if numbering is not None:
        blocks = [_without_ranges(source, block, numbering) for block in blocks]
    words = _word_column(blocks, names, numbering) if word_column is None else place_of(word_column, names, width)
    return Layout([block for block in blocks if block], words, names, width)


def place_of(column: int | str, names: Sequence[str], width: int) -> int:
    """Returns the place of a column in a row, from 0; -1 where there is none of this number or name."""
    if isinstance(column, str):
        lowered = [name.lower() for name in names]
        return lowered.index(column.lower()) if column.lower() in lowered else -1
    return column - 1 if 1 <= column <= max(width, 1) else -1


def _splitter(source: Source, separator: str | None, comments: tuple[str, ...]) -> Callable[[str], list[str]]:
    if separator is not None:
        return lambda line: line.split(separator)
    rows = [line for line in source.lines if not is_blank(line) and not _is_comment(line, comments)]
    if rows and all("\t" in line for line in rows):
        return lambda line: line.split("\t")
    return lambda line: _RUNS.split(line.strip(" \t"))


def _is_comment(line: str, comments: tuple[str, ...]) -> bool:
    return bool(comments and line.startswith(comments)) or bool(_KEY_COMMENT.match(line))


def _split_blocks(source: Source, split: Callable[[str], list[str]], comments: tuple[str, ...]) -> list[list[Row]]:
    """Returns the rows between blank lines, without comments and document marks."""
    blocks: list[list[Row]] = [[]]
    for number, line in enumerate(source.lines, 1):
        if is_blank(line):
            blocks.append([])
        elif _is_comment(line, comments):
            source.skipped[COMMENT] += 1
        elif (cells := list(map(source.share, split(line))))[0] == "-DOCSTART-":
            source.skipped[DOCUMENT_MARK] += 1
            blocks.append([])
        else:
            blocks[-1].append((number, cells))
    return [block for block in blocks if block]


def _without_odd_comments(source: Source, blocks: list[list[Row]]) -> list[list[Row]]:
    """Leaves out rows that begin with `#` and do not have the columns of the others: `#begin document`."""
    width = usual_width(row for block in blocks for _, row in block)
    kept = []
    for block in blocks:
        rows = [(line, row) for line, row in block if not row[0].startswith("#") or len(row) == width]
        if len(rows) < len(block) and _agree(rows):
            source.skipped[COMMENT] += len(block) - len(rows)
            block = rows
        if block:
            kept.append(block)
    return kept


def _agree(rows: Sequence[Row]) -> bool:
    return len({len(row) for _, row in rows}) <= 1


def _is_header(row: Sequence[str], columns: Iterable[object]) -> bool:
    """Returns whether the first row holds names: a column is asked for by one of them, or all are usual names."""
    named = [column.lower() for column in columns if isinstance(column, str)]
    lowered = [cell.lower() for cell in row]
    return any(name in lowered for name in named) or (len(row) > 1 and set(lowered) <= _USUAL_NAMES)


def _check_widths(source: Source, blocks: Sequence[Sequence[Row]]) -> int:
    """Reports rows that differ from the others in their columns; returns how many columns every row has."""
    widths = Counter(len(row) for block in blocks for _, row in block)
    if len(widths) > 1 and min(widths) > _WIDEST_FIXED and all(_agree(block) for block in blocks):
        return min(widths)
    usual = usual_width(row for block in blocks for _, row in block)
    for block in blocks:
        for line, row in block:
            if len(row) != usual:
                source.report(line, f"{len(row)} columns, but most rows of this file have {usual}")
            elif "" in row:
                source.report(line, f"column {row.index('') + 1} is empty")
    return usual


def _numbering(blocks: Sequence[Sequence[Row]], names: Sequence[str]) -> int | None:
    """Returns the column that numbers the words of each sentence, from 0; None where none does."""
    lowered = [name.lower() for name in names]
    if "id" in lowered:
        return lowered.index("id")
    if not blocks or max(map(len, blocks)) < 2:
        return None
    for column in range(3):
        if all(len(row) > column + 1 for block in blocks for _, row in block) and all(
            _counts_up([row[column] for _, row in block]) for block in blocks
        ):
            return column
    return None


def _counts_up(cells: Sequence[str]) -> bool:
    numbers = [cell for cell in cells if not _RANGE.fullmatch(cell) and not _EMPTY.fullmatch(cell)]
    if not numbers or numbers[0] not in ("0", "1"):
        return False
    first = int(numbers[0])
    return numbers == [str(number) for number in range(first, first + len(numbers))]


def _without_ranges(source: Source, block: Sequence[Row], numbering: int) -> list[Row]:
    kept = []
    for line, row in block:
        identity = row[numbering] if numbering < len(row) else ""
        if _RANGE.fullmatch(identity):
            source.skipped[MULTIWORD] += 1
        elif _EMPTY.fullmatch(identity):
            source.skipped[EMPTY_NODE] += 1
        else:
            kept.append((line, row))
    return kept


def _word_column(blocks: Sequence[Sequence[Row]], names: Sequence[str], numbering: int | None) -> int:
    lowered = [name.lower() for name in names]
    for name in _WORD_NAMES:
        if name in lowered:
            return lowered.index(name)
    if numbering is not None:
        return numbering + 1
    rows = [row for block in blocks for _, row in block]
    if rows and all(len(row) > 1 and _BIO.fullmatch(row[0]) for row in rows):
        for place in range(1, min(map(len, rows))):
            if not all(_BIO.fullmatch(row[place]) for row in rows):
                return place
    return 0

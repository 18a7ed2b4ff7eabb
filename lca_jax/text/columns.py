"""Files with one word a row, its labels in other columns, and plain text.

CoNLL-2000 and the Parallel Meaning Bank are such files. A file may be gzipped. It is read whole and every row is
checked; all bad rows are collected and raised as one `CorpusError` with `file:line: what`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lca_jax.errors import CorpusError, SettingsError
from lca_jax.text.corpus import Corpus
from lca_jax.text.lines import Source, is_blank, usual_width


def read_columns(
    path: str | Path,
    *,
    columns: Mapping[str, int],
    word_column: int = 1,
    separator: str | None = None,
    comments: Sequence[str] = (),
    space_mark: str | None = None,
    unlabelled: str | None = "_",
) -> Corpus:
    r"""Reads a file with one word a row and a blank line between sentences, plain or gzipped.

    Columns are numbered from 1, as `cut -f` does. CoNLL-2000: `columns={"pos": 2, "chunk": 3}, separator=" "`. Parallel
    Meaning Bank: `columns={"sem": 4}, separator="\t", comments=("# ", "###"), space_mark="~"`.

    Args:
        path: The file.
        columns: Column of every task.
        word_column: Column of the word form.
        separator: Text between two columns; None for any run of white space.
        comments: Beginnings of the rows to skip.
        space_mark: Mark that is written for a space inside a word form.
        unlabelled: Mark of a word without a label, in a task's column; None if there is no such mark.

    Raises:
        CorpusError: The file cannot be read, or rows differ from the others in their number of columns, or hold an
            empty one (all are listed), or no word has a label of a task.
        SettingsError: The rows do not have one of the columns.
    """
    source = Source.read(path)
    blocks = _column_blocks(source, separator, tuple(comments))
    width = usual_width(row for block in blocks for _, row in block)
    for name, column in {"the words": word_column, **columns}.items():
        if not 1 <= column <= max(width, 1):
            raise SettingsError(
                f"{source.path}: column {column} is named for `{name}`, but columns run from 1 to {width}, counted as "
                "`cut -f` does."
            )
    sentences: list[tuple[str, ...]] = []
    labels: dict[str, list[tuple[str | None, ...]]] = {task: [] for task in columns}
    for block in blocks:
        rows = [row for line, row in block if _row_is_good(source, line, row, width)]
        forms = (row[word_column - 1] for row in rows)
        sentences.append(tuple(form.replace(space_mark, " ") if space_mark else form for form in forms))
        for task, column in columns.items():
            found = (row[column - 1] for row in rows)
            labels[task].append(tuple(None if label == unlabelled else label for label in found))
    corpus = source.finish(sentences, labels)
    for task in columns:
        if not corpus.classes(task):
            raise CorpusError(
                f"{source.path}: no word has a label for the task `{task}`: column {columns[task]} is `{unlabelled}` "
                "in every row. Name another column, or another mark for unlabelled words."
            )
    return corpus


def read_text(path: str | Path) -> Corpus:
    """Reads plain text, one sentence a line, words split at (Unicode) white space; no labels.

    Sentence n is line n: an empty line is an empty sentence, so that parallel files stay parallel. Nothing is skipped.

    Raises:
        CorpusError: The file cannot be read or holds no word.
    """
    source = Source.read(path)
    return source.finish([tuple(line.split()) for line in source.lines], {})


def _column_blocks(
    source: Source, separator: str | None, comments: tuple[str, ...]
) -> list[list[tuple[int, list[str]]]]:
    """Returns the rows between blank lines, each with its line number."""
    blocks: list[list[tuple[int, list[str]]]] = [[]]
    for number, line in enumerate(source.lines, 1):
        if is_blank(line):
            blocks.append([])
        elif not line.startswith(comments):
            blocks[-1].append((number, line.split(separator)))
    return [block for block in blocks if block]


def _row_is_good(source: Source, line: int, row: list[str], width: int) -> bool:
    """Reports what is wrong with a row; returns whether it has all columns."""
    if len(row) != width:
        source.report(line, f"{len(row)} columns, but most rows of this file have {width}")
    elif "" in row:
        source.report(line, f"column {row.index('') + 1} is empty")
    return len(row) == width

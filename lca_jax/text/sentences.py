"""Files with labels of sentences: one sentence per row, its text in one column and its labels in others.

The GLUE tasks, SentEval's probing tasks and most sentiment data have this form, with or without a row of column names.
Pairs (entailment, paraphrase) have their second text in another column; a pair becomes one sentence, with the number
of words in its first text. Quotation marks are characters like any other, except in CSV. JSON lines are read in
`json_lines`, labels of words in `columns` and `conllu`.
"""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence

from lca_jax.errors import CorpusError, SettingsError
from lca_jax.text.corpus import Corpus
from lca_jax.text.lines import Readable, Source, usual_width

BLANK = "blank line"
NO_TEXT = "row without text"
RAGGED = "row with another number of columns"
TEXT_NAMES = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence"),
    ("#1 String", "#2 String"), ("source", "target"), ("context", "question"), ("question", "passage"),
    ("question", "context"), ("text1", "text2"), ("text_a", "text_b"), ("sent1", "sent2"), ("sentence_A", "sentence_B"),
    ("query", "passage"), ("tokens", "second_tokens"),
    ("tokens",), ("words",), ("sentence",), ("text",), ("question",),
)  # fmt: skip
"""Usual names of columns and keys that hold texts, pairs first."""
_NAMES_OF_WORDS = {"tokens", "second_tokens", "words"}
"""The names among those that are also usual for a column with one word a row."""
_ROWS_TO_GUESS_FROM = 200
Column = int | str
"""A number, counted from 1 as `cut -f` does, or a name in the first row."""


def read_sentences(
    path: Readable,
    *,
    columns: Mapping[str, Column],
    text_column: Column,
    second_column: Column | None = None,
    header: bool | None = None,
    where: Mapping[Column, str] | None = None,
    separator: str = "\t",
    unlabelled: str | None = None,
    quoted: bool = False,
    skip_ragged: bool = False,
    encoding: str = "utf-8",
) -> Corpus:
    r"""Reads a file with a sentence and its labels in each row, plain or gzipped; texts are split at white space.

    SST-2 as GLUE has it: `columns={"sentiment": "label"}, text_column="sentence"`. SentEval's training part:
    `columns={"tense": 2}, text_column=3, where={1: "tr"}`. RTE: `columns={"entailment": "label"},
    text_column="sentence1", second_column="sentence2"`.

    Args:
        path: The file: a path, a URL, or one that was read already (`text.lines.Source`).
        columns: Column of every task.
        text_column: Column of the text.
        second_column: Column of the second text of pairs.
        header: Whether the first row holds names of columns; None means that it does if a column is given by name.
        where: Text that a column must have in the rows that are read; the other rows are counted in `Corpus.skipped`,
            as are blank lines and rows whose text is empty.
        separator: Text between two columns.
        unlabelled: Mark of a sentence without a label.
        quoted: Whether cells may stand in quotation marks, as CSV has them; a cell may then hold separators and lines.
        skip_ragged: Whether rows with another number of columns than most are skipped and counted, not refused.
        encoding: Encoding of the file, e.g. `latin-1`.

    Returns:
        A corpus with `sentence_labels`, and for pairs `second_starts`.

    Raises:
        CorpusError: The file cannot be read, or rows differ from the others in their number of columns, or have an
            empty label (all are listed), or no sentence has a label of a task.
        SettingsError: The rows do not have one of the columns; the message lists the names.
    """
    source = Source.of(path, encoding=encoding)
    used = [text_column, *([] if second_column is None else [second_column]), *columns.values(), *(where or {})]
    has_names = any(isinstance(column, str) for column in used) if header is None else header
    rows = split_rows(source.lines, separator, quoted=quoted)
    names = rows.pop(0)[1] if has_names else []
    width = len(names) or usual_width(row for _, row in rows if not _is_empty(row))
    place = {column: _place(source, column, names, width) for column in used}
    texts = [place[column] for column in (text_column, second_column) if column is not None]
    parts: list[list[list[str]]] = []
    labels: dict[str, list[str | None]] = {task: [] for task in columns}
    for number, row in rows:
        if _is_empty(row):
            source.skipped[BLANK] += 1
        elif len(row) != width and skip_ragged:
            source.skipped[RAGGED] += 1
        elif len(row) != width:
            source.report(
                number, f"{len(row)} columns, but {'the first row names' if names else 'most rows have'} {width}"
            )
        elif unlike := [column for column, text in (where or {}).items() if row[place[column]] != text]:
            source.skipped[f"row of another kind (column {unlike[0]})"] += 1
        elif not all(row[text].split() for text in texts):
            source.skipped[NO_TEXT] += 1
        else:
            parts.append([row[text].split() for text in texts])
            for task, column in columns.items():
                label = row[place[column]]
                if not label.strip() and label != unlabelled:
                    source.report(number, f"the label of `{task}` (column {column}) is empty")
                labels[task].append(None if label == unlabelled else label)
    return finish_sentences(source, parts, {}, labels)


def finish_sentences(
    source: Source,
    parts: Sequence[Sequence[Sequence[str]]],
    labels: Mapping[str, list[tuple[str | None, ...]]],
    sentence_labels: Mapping[str, list[str | None]],
) -> Corpus:
    """Returns the corpus of rows that each hold one text, or each hold two.

    Args:
        source: The file.
        parts: Texts of every row as lists of words; all rows have the same number of texts.
        labels: Labels of words for every task of words.
        sentence_labels: Labels of sentences for every task of sentences.

    Raises:
        CorpusError: Problems were reported, there is no word, or no sentence or word has a label of a task.
    """
    are_pairs = bool(parts) and len(parts[0]) == 2
    corpus = source.finish(
        [tuple(word for text in texts for word in text) for texts in parts],
        labels,
        sentence_labels=sentence_labels,
        second_starts=[len(texts[0]) for texts in parts] if are_pairs else None,
    )
    for task in (*corpus.tasks, *corpus.sentence_tasks):
        if not corpus.classes(task):
            raise CorpusError(f"{source.place}: nothing has a label for the task `{task}`. Name another column or key.")
    return corpus


def split_rows(lines: Sequence[str], separator: str, *, quoted: bool) -> list[tuple[int, list[str]]]:
    """Returns the cells of every row, with the number of its first line.

    Args:
        lines: The lines of a file.
        separator: Text between two cells; one character where cells are quoted.
        quoted: Whether quotation marks around a cell are not part of it.
    """
    if not quoted:
        return [(number, line.split(separator)) for number, line in enumerate(lines, 1)]
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader((line + "\n" for line in lines), delimiter=separator)
    rows, first = [], 1
    for row in reader:
        rows.append((first, row))
        first = reader.line_num + 1
    return rows


def guess_text_columns(lines: Sequence[str], separator: str = "\t", *, quoted: bool = False) -> list[int]:
    """Returns the columns that hold texts, counted from 1; none if the rows seem to hold words.

    Rows hold texts if no line is blank, most rows have at least two columns, and a column has several words in most
    rows, or the first row has the usual name of a text.
    """
    rows = [row for _, row in split_rows(lines[:_ROWS_TO_GUESS_FROM], separator, quoted=quoted)]
    if quoted and len(lines) > _ROWS_TO_GUESS_FROM:
        rows = rows[:-1]  # the last one may be cut
    if not rows or any(map(_is_empty, rows[:-1])) or usual_width(rows) < 2:
        return []
    first = rows[0]
    named = next((names for names in TEXT_NAMES if set(names) <= set(first) and not set(names) & _NAMES_OF_WORDS), ())
    usual = usual_width(rows)
    rows = [row for row in rows if len(row) == usual]
    spaces = Counter(column for row in rows for column, cell in enumerate(row, 1) if len(cell.split()) > 1)
    guessed = {column for column, count in spaces.items() if 2 * count > len(rows)}
    return sorted(guessed | {first.index(name) + 1 for name in named})


def _is_empty(row: Sequence[str]) -> bool:
    return not row or (len(row) == 1 and not row[0].strip())


def _place(source: Source, column: Column, names: Sequence[str], width: int) -> int:
    """Returns the place of a column in a row, from 0."""
    if isinstance(column, str):
        if names.count(column) == 1:
            return names.index(column)
        found = f"several columns are called `{column}`" if column in names else f"there is no column `{column}`"
        raise SettingsError(f"{source.place}: {found}. Columns named in its first row: {', '.join(names) or 'none'}.")
    if not 1 <= column <= width:
        raise SettingsError(f"{source.place}: columns run from 1 to {width}, counted as `cut -f` does, got {column}.")
    return column - 1

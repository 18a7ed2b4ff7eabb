"""Files with one word a row, its labels in other columns, and plain text.

CoNLL-2000, CoNLL-2003, CoNLL-U Plus and the Parallel Meaning Bank are such files. A file may be gzipped. It is read
whole and every row is checked; all bad rows are collected and raised as one `CorpusError` with `file:line: what`. Where
the words are is found out by the rows themselves (`layout`), and can be said.
"""

from collections.abc import Mapping, Sequence

from lca_jax.errors import CorpusError, SettingsError
from lca_jax.text.corpus import Corpus
from lca_jax.text.layout import Layout, place_of, read_layout
from lca_jax.text.lines import Readable, Source


def read_columns(
    path: Readable,
    *,
    columns: Mapping[str, int | str],
    word_column: int | str | None = None,
    separator: str | None = None,
    comments: Sequence[str] = (),
    space_mark: str | None = None,
    unlabelled: str | None = "_",
    encoding: str = "utf-8",
) -> Corpus:
    r"""Reads a file with one word a row and a blank line between sentences, plain or gzipped.

    Columns are numbered from 1, as `cut -f` does, or named, where `# global.columns` or a first row names them.
    CoNLL-2000: `columns={"pos": 2, "chunk": 3}`. CoNLL-2003: `columns={"ner": 4}`. Parallel Meaning Bank:
    `columns={"sem": 4}, separator="\t", comments=("# ", "###"), space_mark="~"`.

    Args:
        path: The file: a path, a URL, or one that was read already (`text.lines.Source`).
        columns: Column of every task, by number or name.
        word_column: Column of the word form, by number or name. By default the rows tell: a column named `FORM`, `word`
            or `token`; else the column after one that numbers the words of each sentence; else the second of two, where
            the first holds nothing but BIO labels; else the first.
        separator: Text between two columns; None for a tab where all rows have one, else for any run of white space.
        comments: Beginnings of the rows to skip. Rows such as `# text = …` and `#begin document`, `-DOCSTART-`, ranges
            of words and empty nodes are skipped in any case; all are counted in `Corpus.skipped`.
        space_mark: Mark that is written for a space inside a word form.
        unlabelled: Mark of a word without a label, in a task's column; None if there is no such mark.
        encoding: Encoding of the file, e.g. `latin-1`.

    Raises:
        CorpusError: The file cannot be read, or rows differ from the others in their number of columns, or hold an
            empty one (all are listed), or no word has a label of a task.
        SettingsError: The rows do not have one of the columns, or a task is the column of the words.
    """
    source = Source.of(path, encoding=encoding)
    layout = read_layout(
        source, separator=separator, comments=tuple(comments), word_column=word_column, tasks=columns.values()
    )
    places = _places(source, layout, columns, word_column)
    source.refuse_problems()
    sentences: list[tuple[str, ...]] = []
    labels: dict[str, list[tuple[str | None, ...]]] = {task: [] for task in columns}
    for block in layout.blocks:
        forms = (row[layout.words] for _, row in block)
        sentences.append(tuple(form.replace(space_mark, " ") if space_mark else form for form in forms))
        for task, place in places.items():
            found = (row[place] for _, row in block)
            labels[task].append(tuple(None if label == unlabelled else label for label in found))
    corpus = source.finish(sentences, labels)
    for task in columns:
        if not corpus.classes(task):
            raise CorpusError(
                f"{source.place}: no word has a label for the task `{task}`: column {columns[task]} is `{unlabelled}` "
                "in every row. Name another column, or another mark for unlabelled words."
            )
    return corpus


def read_text(path: Readable, *, encoding: str = "utf-8") -> Corpus:
    """Reads plain text, one sentence a line, words split at (Unicode) white space; no labels.

    Sentence n is line n: an empty line is an empty sentence, so that parallel files stay parallel. Nothing is skipped.

    Raises:
        CorpusError: The file cannot be read or holds no word.
    """
    source = Source.of(path, encoding=encoding)
    return source.finish([tuple(line.split()) for line in source.lines], {})


def _places(
    source: Source, layout: Layout, columns: Mapping[str, int | str], word_column: int | str | None
) -> dict[str, int]:
    """Returns the place of every task's column in a row, from 0."""
    places = {task: place_of(column, layout.names, layout.width) for task, column in columns.items()}
    asked = {"the words": (word_column or layout.words + 1, layout.words)}
    for name, (column, place) in (asked | {task: (columns[task], place) for task, place in places.items()}).items():
        if place < 0 and isinstance(column, str):
            known = ", ".join(layout.names) or "none; give its number"
            raise SettingsError(f"{source.place}: there is no column `{column}`. Columns named in the file: {known}.")
        if place < 0:
            raise SettingsError(
                f"{source.place}: column {column} is named for `{name}`, but columns run from 1 to {layout.width}, "
                "counted as `cut -f` does."
            )
    for task, place in places.items():
        if place == layout.words:
            raise SettingsError(
                f"{source.place}: column {place + 1} holds the words, so it cannot be the task `{task}`. Name another "
                "column, or give the column of the words (`word_column`, `--word-column`)."
            )
    return places

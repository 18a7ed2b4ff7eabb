"""Corpora out of files: CoNLL-U, files of columns (CoNLL-2000, Parallel Meaning Bank), plain text.

Every file may be gzipped; it is recognised by its content, not by its name. A file is read whole and every row is
checked; all bad rows are collected and raised as one `CorpusError` with `file:line: what`. 200,000 words take about a
second.

CoNLL-U is read here because the package `conllu` lets short rows, gaps in the numbering and broken features pass, and
stops at an ID it cannot read without saying where. On sound files the two agree (a test).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from lca_jax.errors import CorpusError, SettingsError
from lca_jax.text.corpus import Corpus
from lca_jax.text.json_lines import guess_text_keys, read_json_lines
from lca_jax.text.lines import Source, usual_width
from lca_jax.text.sentences import TEXT_NAMES, guess_text_column, read_sentences

_CONLLU_COLUMNS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
_CONLLU_TASKS = {"lemma": 2, "upos": 3, "xpos": 4, "head": 6, "deprel": 7}
_WORD_ID = re.compile(r"[1-9][0-9]*")
_HEAD = re.compile(r"0|[1-9][0-9]*")
_MULTIWORD_ID = re.compile(r"([1-9][0-9]*)-([1-9][0-9]*)")
_EMPTY_NODE_ID = re.compile(r"(0|[1-9][0-9]*)\.[1-9][0-9]*")

_CONLL2000_NAMES = {"pos": 2, "chunk": 3}
_PMB_NAMES = {"symbol": 3, "sem": 4, "ccg": 5, "sense": 6, "roles": 7}
_PMB_COMMENTS = ("# ", "###")
_PMB_HEADERS = ("###", "# newdoc id = ", "# layer:")


def read_conllu(path: str | Path, *, tasks: Sequence[str] = ("upos",), unlabelled_as: str | None = None) -> Corpus:
    """Reads a CoNLL-U file, plain or gzipped.

    Multiword tokens (`3-4`) and empty nodes (`8.1`) are no words; they are counted in `Corpus.skipped`. Subtypes stay
    in the label (`nmod:poss`), and so do several values of one feature (`Fem,Masc`).

    Args:
        path: The file.
        tasks: Label columns: `upos`, `xpos`, `deprel`, `lemma` (where `_` leaves the word unlabelled), `feats:KEY`, the
            value of one morphological feature, e.g. `feats:Number`; or `head`, the number of the head's place in the
            sentence, `0` for the root, which `pair_words` makes pairs by.
        unlabelled_as: The class of words that lack the feature of a `feats:` task. None leaves them unlabelled, so that
            they are neither trained nor scored on.

    Raises:
        CorpusError: The file cannot be read, rows break the format (all are listed), or no word has a label of a task.
        SettingsError: A task is spelled in no known way.
    """
    tasks = (tasks,) if isinstance(tasks, str) else tasks
    read_label = {task: _conllu_label(task, unlabelled_as) for task in tasks}
    source = Source.read(path)
    sentences: list[tuple[str, ...]] = []
    labels: dict[str, list[tuple[str | None, ...]]] = {task: [] for task in tasks}
    for rows in _conllu_sentences(source, heads="head" in tasks):
        sentences.append(tuple(row[1] for row in rows))
        for task, read in read_label.items():
            labels[task].append(tuple(read(row) for row in rows))
    corpus = source.finish(sentences, labels)
    if set(corpus.words()) == {"_"}:
        raise CorpusError(
            f"{source.path}: every form is `_`: the treebank is published without its text. Add the text."
        )
    for task, of_sentences in corpus.labels.items():
        # Words marked with `unlabelled_as` are no evidence that the file knows the feature.
        if not any(label not in (None, unlabelled_as) for label in _flat(of_sentences)):
            known = ", ".join(_conllu_tasks_with_labels(source))
            raise CorpusError(
                f"{source.path}: no word has a label for the task `{task}`. Tasks with labels here: {known}."
            )
    return corpus


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
        columns: The column of every task.
        word_column: The column of the word form.
        separator: What stands between columns; None for any run of white space.
        comments: Rows that begin so are passed over.
        space_mark: What stands for a space inside a word form.
        unlabelled: A word with this in a task's column has no label; None if there is no such mark.

    Raises:
        CorpusError: The file cannot be read, or rows differ from the others in their number of columns, or hold an
            empty one (all are listed), or no word has a label of a task.
        SettingsError: A column is asked for that the rows do not have.
    """
    source = Source.read(path)
    blocks = _column_blocks(source, separator, tuple(comments))
    width = usual_width(row for block in blocks for _, row in block)
    for what, column in {"the words": word_column, **columns}.items():
        if not 1 <= column <= max(width, 1):
            raise SettingsError(
                f"{source.path}: column {column} was asked for `{what}`, but columns run from 1 to {width}, "
                "counted as `cut -f` does."
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
    for task, of_sentences in corpus.labels.items():
        if not any(label is not None for label in _flat(of_sentences)):
            raise CorpusError(
                f"{source.path}: no word has a label for the task `{task}`: column {columns[task]} is `{unlabelled}` "
                "throughout. Name another column, or another mark for unlabelled words."
            )
    return corpus


def read_text(path: str | Path) -> Corpus:
    """Reads plain text, one sentence a line, words split at (Unicode) white space; no labels.

    Sentence n is line n: an empty line is an empty sentence, so that parallel files stay parallel. Nothing is passed
    over.

    Raises:
        CorpusError: The file cannot be read or holds no word.
    """
    source = Source.read(path)
    return source.finish([tuple(line.split()) for line in source.lines], {})


def read_corpus(path: str | Path, *, tasks: Sequence[str] = (), unlabelled_as: str | None = None) -> Corpus:
    """Reads a file in the format that its name and its first rows show; what the command line uses.

    | file | format | tasks |
    | --- | --- | --- |
    | `*.conllu`, `*.conllu.gz` | CoNLL-U | `upos`, `xpos`, `deprel`, `head`, `lemma`, `feats:KEY` |
    | any other, no task asked | plain text, a sentence a line | |
    | `*.jsonl`, `*.jsonl.gz` | JSON lines, text under a usual key (`tokens`, `text`, …) | keys |
    | headed as the Parallel Meaning Bank | tab-separated, `~` = space | `symbol sem ccg sense roles`, or a column |
    | tab-separated, no blank line, texts of several words | a sentence a row | a column or its name in the first row |
    | with a tab in its first row | tab-separated columns, `# ` begins a comment | a column |
    | with three columns in its first row | space-separated as CoNLL-2000 | `pos`, `chunk`, or a column |
    | any other | space-separated columns | a column |

    A column is a number, counted from 1 as in `cut -f` (the words are column 1), or `NAME=NUMBER`, which names the
    task; so are keys and names of columns. Labels of files with a sentence a row or line are of sentences, or, where
    JSON has a list, of words. `unlabelled_as` is for `feats:` tasks alone, as in `read_conllu`.

    Raises:
        CorpusError: As `read_conllu`, `read_columns`, `read_text`, `read_json_lines` and `read_sentences`.
        SettingsError: A task is spelled in no way known for the format.
    """
    name = Path(path).name.removesuffix(".gz")
    if name.endswith(".conllu"):
        return read_conllu(path, tasks=tasks, unlabelled_as=unlabelled_as)
    if name.endswith(".jsonl"):
        text_key, *second = guess_text_keys(path)
        return read_json_lines(path, keys=_spelled(tasks), text_key=text_key, second_key=next(iter(second), None))
    if not tasks:
        return read_text(path)
    lines = Source.read(path).lines
    first_row = next((line for line in lines if line.strip() and not line.startswith(_PMB_COMMENTS)), "")
    if lines[0].startswith(_PMB_HEADERS):
        columns = _named_columns(path, tasks, _PMB_NAMES)
        return read_columns(path, columns=columns, separator="\t", comments=_PMB_COMMENTS, space_mark="~")
    if (text_column := guess_text_column(lines)) is not None:
        return _read_sentences_as_asked(path, _spelled(tasks), lines[0].split("\t"), text_column)
    if "\t" in first_row:
        return read_columns(path, columns=_named_columns(path, tasks, {}), separator="\t", comments=("# ",))
    names = _CONLL2000_NAMES if len(first_row.split(" ")) == 3 else {}
    return read_columns(path, columns=_named_columns(path, tasks, names), separator=" ")


def _flat(of_sentences: Sequence[Sequence[str | None]]) -> Iterator[str | None]:
    return (label for of_words in of_sentences for label in of_words)


def _is_blank(line: str) -> bool:
    return not line.strip(" ")


def _conllu_sentences(source: Source, *, heads: bool = False) -> Iterator[list[list[str]]]:
    """The ten columns of every word, sentence by sentence; bad rows are reported and left out.

    With `heads`, heads that are no place in the sentence are bad too.
    """
    rows: list[list[str]] = []
    lines: list[int] = []
    previous: int | None = 0
    """The ID of the last word; None after a row whose ID could not be read, when no order can be asked for."""
    for number, line in enumerate(source.lines, 1):
        if _is_blank(line):
            if rows:
                _report_bad_heads(source, rows, lines if heads else [])
                yield rows
            rows, lines, previous = [], [], 0
            continue
        if line.startswith("#"):
            continue
        row = line.split("\t")
        identity = row[0]
        problems = list(_row_problems(row))
        if _WORD_ID.fullmatch(identity):
            if previous is not None and int(identity) != previous + 1:
                problems.append(f"ID is {identity}, but word {previous + 1} of the sentence should stand here")
            previous = int(identity)
            if not problems:
                rows.append(row)
                lines.append(number)
        elif multiword := _MULTIWORD_ID.fullmatch(identity):
            source.skipped["multiword token"] += 1
            if previous is not None and not previous + 1 == int(multiword[1]) < int(multiword[2]):
                problems.append(
                    f"ID is {identity}, but a multiword token here must begin with {previous + 1} and end later"
                )
        elif _EMPTY_NODE_ID.fullmatch(identity):
            source.skipped["empty node"] += 1
        else:
            previous = None
            if len(row) == len(_CONLLU_COLUMNS):
                problems.append(f"ID is {identity!r}; it must be a number (7), a range (3-4) or an empty node (8.1)")
        for what in problems:
            source.report(number, what)
    if rows:
        _report_bad_heads(source, rows, lines if heads else [])
        yield rows


def _report_bad_heads(source: Source, rows: Sequence[Sequence[str]], lines: Sequence[int]) -> None:
    """Reports, for the words whose lines are given, heads that are no place in the sentence."""
    for row, line in zip(rows, lines, strict=False):
        head = row[6]
        if head != "_" and not (_HEAD.fullmatch(head) and int(head) <= len(rows) and head != row[0]):
            source.report(
                line,
                f"HEAD is {head!r}; it must be another word's number (1 to {len(rows)}), 0 for the root, or `_`",
            )


def _row_problems(row: list[str]) -> Iterator[str]:
    if len(row) != len(_CONLLU_COLUMNS):
        yield f"{len(row)} columns, but a row of CoNLL-U has {len(_CONLLU_COLUMNS)}, with one tab between two"
        return
    if "" in row:
        empty = ", ".join(name for name, cell in zip(_CONLLU_COLUMNS, row, strict=True) if not cell)
        yield f"{empty} is empty; what is not given is written `_`"
    if row[5] and _features(row[5]) is None:
        yield f"FEATS is {row[5]!r}; it must be `_` or different Key=Value joined by `|`"


@lru_cache(maxsize=1 << 14)
def _features(cell: str) -> Mapping[str, str] | None:
    """The features of one FEATS cell by key; None if the cell breaks the format."""
    if cell == "_":
        return {}
    pairs = [pair.split("=") for pair in cell.split("|")]
    if not all(len(pair) == 2 and all(pair) for pair in pairs):
        return None
    features = dict(pairs)
    return features if len(features) == len(pairs) else None


def _conllu_label(task: str, unlabelled_as: str | None) -> Callable[[list[str]], str | None]:
    """How the label of one task is read from the ten columns of a word."""
    if task in _CONLLU_TASKS:
        column = _CONLLU_TASKS[task]
        return lambda row: None if row[column] == "_" else row[column]
    kind, _, key = task.partition(":")
    if kind == "feats" and key:
        return lambda row: (_features(row[5]) or {}).get(key, unlabelled_as)
    known = ", ".join(f"`{name}`" for name in sorted(_CONLLU_TASKS))
    raise SettingsError(
        f"A task of a CoNLL-U file is one of {known} or `feats:KEY` (e.g. `feats:Number`), got `{task}`."
    )


def _conllu_tasks_with_labels(source: Source) -> list[str]:
    rows = [row for rows in _conllu_sentences(source) for row in rows]
    named = [task for task, column in _CONLLU_TASKS.items() if any(row[column] != "_" for row in rows)]
    keys = {key for row in rows for key in _features(row[5]) or {}}
    return sorted(named) + [f"feats:{key}" for key in sorted(keys)]


def _column_blocks(
    source: Source, separator: str | None, comments: tuple[str, ...]
) -> list[list[tuple[int, list[str]]]]:
    """The rows between blank lines, each with its line number."""
    blocks: list[list[tuple[int, list[str]]]] = [[]]
    for number, line in enumerate(source.lines, 1):
        if _is_blank(line):
            blocks.append([])
        elif not line.startswith(comments):
            blocks[-1].append((number, line.split(separator)))
    return [block for block in blocks if block]


def _row_is_good(source: Source, line: int, row: list[str], width: int) -> bool:
    if len(row) != width:
        source.report(line, f"{len(row)} columns, but most rows of this file have {width}")
    elif "" in row:
        source.report(line, f"column {row.index('') + 1} is empty")
    return len(row) == width


def _spelled(tasks: Sequence[str]) -> dict[str, str]:
    """The column or key of every task, from `NAME=COLUMN`, or from the column alone."""
    return {name or column: column for name, _, column in (task.rpartition("=") for task in tasks)}


def _read_sentences_as_asked(
    path: str | Path, asked: Mapping[str, str], first_row: Sequence[str], text_column: int
) -> Corpus:
    """Reads a file with a sentence a row, its texts in the columns of usual names, or else where most words are."""
    columns: dict[str, int | str] = {
        task: int(column) if column.isdecimal() else column for task, column in asked.items()
    }
    named = next((names for names in TEXT_NAMES if set(names) <= set(first_row)), (text_column,))
    second = named[1] if len(named) == 2 else None
    return read_sentences(path, columns=columns, text_column=named[0], second_column=second)


def _named_columns(path: str | Path, tasks: Sequence[str], names: Mapping[str, int]) -> dict[str, int]:
    """The column of every task, by a name known for the format, by `NAME=NUMBER`, or by the number alone."""
    columns = {}
    for task in tasks:
        name, _, number = task.rpartition("=")
        if task in names:
            columns[task] = names[task]
        elif number.isdecimal():
            columns[name or number] = int(number)
        else:
            known = "".join(f"`{known}`, " for known in names)
            raise SettingsError(
                f"{path}: a task of this file is {known}a column number (the words are column 1) or NAME=NUMBER, "
                f"got `{task}`."
            )
    return columns

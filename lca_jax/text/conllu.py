"""CoNLL-U files, the format of Universal Dependencies.

A file may be gzipped. It is read whole and every row is checked; all bad rows are collected and raised as one
`CorpusError` with `file:line: what`. 200,000 words take about a second.

The format is read here and not by the package `conllu`, which accepts short rows, gaps in the numbering and broken
features, and stops at an ID it cannot read without saying where. On sound files the two agree (a test).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

from lca_jax.errors import CorpusError, SettingsError
from lca_jax.text.corpus import Corpus
from lca_jax.text.lines import Readable, Source, is_blank, usual_width

_COLUMNS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
_TASKS = {"lemma": 2, "upos": 3, "xpos": 4, "head": 6, "deprel": 7}
# Nine digits: no sentence is longer, and Python refuses to read numbers of thousands of them.
_WORD_ID = re.compile(r"[1-9][0-9]{0,8}")
_HEAD = re.compile(r"0|[1-9][0-9]{0,8}")
_MULTIWORD_ID = re.compile(r"([1-9][0-9]{0,8})-([1-9][0-9]{0,8})")
_EMPTY_NODE_ID = re.compile(r"(0|[1-9][0-9]*)\.[1-9][0-9]*")


def read_conllu(
    path: Readable,
    *,
    tasks: Sequence[str] = ("upos",),
    unlabelled_as: str | None = None,
    unlabelled: str | None = None,
    encoding: str = "utf-8",
) -> Corpus:
    """Reads a CoNLL-U file, plain or gzipped.

    Multiword tokens (`3-4`) and empty nodes (`8.1`) are not words; they are counted in `Corpus.skipped`. Subtypes stay
    in the label (`nmod:poss`), and so do several values of one feature (`Fem,Masc`).

    Args:
        path: The file: a path, a URL, or one that was read already (`text.lines.Source`).
        tasks: Label columns: `upos`, `xpos`, `deprel` or `lemma` (where `_` leaves the word unlabelled); `feats:KEY`,
            the value of one morphological feature, e.g. `feats:Number`; or `head`, the place of the word's head in the
            sentence, counted from 1, with `0` for the root (`pair_words` makes pairs by it).
        unlabelled_as: Class of the words that lack the feature of a `feats:` task. None leaves them unlabelled, so that
            they are neither trained nor scored on.
        unlabelled: Label of words that shall have none, besides `_`.
        encoding: Encoding of the file; that of the format is UTF-8.

    Only what is asked for is checked: broken features of a file are no hindrance to its parts of speech. Columns after
    the tenth, as in CoNLL-U Plus, are not read.

    Raises:
        CorpusError: The file cannot be read, rows break the format (all are listed), or no word has a label of a task.
        SettingsError: A task is not one of those above.
    """
    tasks = (tasks,) if isinstance(tasks, str) else tasks
    read_label = {task: _label_reader(task, unlabelled_as) for task in tasks}
    source = Source.of(path, encoding=encoding)
    sentences: list[tuple[str, ...]] = []
    labels: dict[str, list[tuple[str | None, ...]]] = {task: [] for task in tasks}
    features = any(task.startswith("feats:") for task in tasks)
    for rows in _word_rows(source, heads="head" in tasks, features=features):
        sentences.append(tuple(row[1] for row in rows))
        for task, read in read_label.items():
            found = (read(row) for row in rows)
            labels[task].append(tuple(None if label in (None, unlabelled) else source.share(label) for label in found))
    corpus = source.finish(sentences, labels)
    if set(corpus.words()) == {"_"}:
        raise CorpusError(
            f"{source.place}: every form is `_`: the treebank is published without its text. Add the text."
        )
    for task in tasks:
        # Words marked with `unlabelled_as` are no evidence that the file knows the feature.
        if not any(label not in (None, unlabelled_as) for label in corpus.flat_labels(task)):
            known = ", ".join(_tasks_with_labels(source))
            raise CorpusError(
                f"{source.place}: no word has a label for the task `{task}`. Tasks with labels here: {known}."
            )
    return corpus


def _word_rows(source: Source, *, heads: bool = False, features: bool = False) -> Iterator[list[list[str]]]:
    """Yields the ten columns of every word, sentence by sentence; bad rows are reported and left out.

    Args:
        source: The file.
        heads: Whether a HEAD that is no place in the sentence makes a row bad.
        features: Whether FEATS that break the format make a row bad.
    """
    width = usual_width(line.split("\t") for line in source.lines if not (is_blank(line) or line.startswith("#")))
    width = max(width, len(_COLUMNS))
    rows: list[list[str]] = []
    lines: list[int] = []
    previous: int | None = 0
    """ID of the last word; None after a row whose ID cannot be read, since the order cannot be checked there."""
    for number, line in enumerate(source.lines, 1):
        if is_blank(line):
            if rows:
                _report_bad_heads(source, rows, lines if heads else [])
                yield rows
            rows, lines, previous = [], [], 0
            continue
        if line.startswith("#"):
            continue
        row = line.split("\t")
        identity = row[0]
        problems = list(_row_problems(row, width, features=features))
        if _WORD_ID.fullmatch(identity):
            if previous is not None and int(identity) != previous + 1:
                problems.append(f"ID is {identity}, but word {previous + 1} of the sentence must come here")
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
            if len(row) == width:
                problems.append(f"ID is {identity!r}; it must be a number (7), a range (3-4) or an empty node (8.1)")
        for what in problems:
            source.report(number, what)
    if rows:
        _report_bad_heads(source, rows, lines if heads else [])
        yield rows


def _report_bad_heads(source: Source, rows: Sequence[Sequence[str]], lines: Sequence[int]) -> None:
    """Reports the heads that are no place in the sentence, of the words whose lines are given."""
    for row, line in zip(rows, lines, strict=False):
        head = row[6]
        if head != "_" and not (_HEAD.fullmatch(head) and int(head) <= len(rows) and head != row[0]):
            source.report(
                line,
                f"HEAD is {head!r}; it must be another word's number (1 to {len(rows)}), 0 for the root, or `_`",
            )


def _row_problems(row: list[str], width: int, *, features: bool) -> Iterator[str]:
    """Yields what is wrong with the columns of one row."""
    if len(row) != width:
        whose = "a row of CoNLL-U has" if width == len(_COLUMNS) else "most rows of this file have"
        yield f"{len(row)} columns, but {whose} {width}, with one tab between two"
        return
    if "" in row[: len(_COLUMNS)]:
        empty = ", ".join(name for name, cell in zip(_COLUMNS, row, strict=False) if not cell)
        yield f"{empty} is empty; write `_` for a value that is not given"
    if features and row[5] and _features(row[5]) is None:
        yield f"FEATS is {row[5]!r}; it must be `_` or different Key=Value joined by `|`"


@lru_cache(maxsize=1 << 14)
def _features(cell: str) -> Mapping[str, str] | None:
    """Returns the features of one FEATS cell by key; None if the cell breaks the format."""
    if cell == "_":
        return {}
    pairs = [pair.split("=") for pair in cell.split("|")]
    if not all(len(pair) == 2 and all(pair) for pair in pairs):
        return None
    features = dict(pairs)
    return features if len(features) == len(pairs) else None


def _label_reader(task: str, unlabelled_as: str | None) -> Callable[[list[str]], str | None]:
    """Returns the function that reads the label of one task from the ten columns of a word."""
    if task in _TASKS:
        column = _TASKS[task]
        return lambda row: None if row[column] == "_" else row[column]
    kind, _, key = task.partition(":")
    if kind == "feats" and key:
        return lambda row: (_features(row[5]) or {}).get(key, unlabelled_as)
    known = ", ".join(f"`{name}`" for name in sorted(_TASKS))
    raise SettingsError(
        f"A task of a CoNLL-U file is one of {known} or `feats:KEY` (e.g. `feats:Number`), got `{task}`."
    )


def _tasks_with_labels(source: Source) -> list[str]:
    """Lists the tasks for which some word of the file has a label."""
    rows = [row for rows in _word_rows(source) for row in rows]
    named = [task for task, column in _TASKS.items() if any(row[column] != "_" for row in rows)]
    keys = {key for row in rows for key in _features(row[5]) or {}}
    return sorted(named) + [f"feats:{key}" for key in sorted(keys)]

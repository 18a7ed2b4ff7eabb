"""Reads a file in the format that its name and its first rows show. The command line reads corpora in this way.

What was recognised is logged, so that a file which was taken for another format is seen to be.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from lca_jax.errors import SettingsError
from lca_jax.machine.urls import url_of
from lca_jax.text.columns import read_columns, read_text
from lca_jax.text.conllu import read_conllu
from lca_jax.text.corpus import Corpus
from lca_jax.text.datasets import HUB, read_dataset
from lca_jax.text.json_lines import guess_text_keys, read_json_lines
from lca_jax.text.lines import Source
from lca_jax.text.options import TextOptions, column_of
from lca_jax.text.parallel import TEXT_SUFFIX, find_labels, read_parallel
from lca_jax.text.sentences import TEXT_NAMES, guess_text_columns, read_sentences, split_rows
from lca_jax.text.task_names import refuse_like_names
from lca_jax.text.trec import is_trec, read_trec

_log = logging.getLogger(__name__)

_CONLL2000_NAMES = {"pos": 2, "chunk": 3}
_PMB_NAMES = {"symbol": 3, "sem": 4, "ccg": 5, "sense": 6, "roles": 7}
_PMB_COMMENTS = ("# ", "###")
_PMB_HEADERS = ("###", "# newdoc id = ", "# layer:")
_PARTS = {"tr": "train", "va": "dev", "te": "test"}
"""Marks of the three parts in the first column of SentEval's files."""
_OF_TEXTS = ("text_column", "second_column", "unlabelled", "where")
"""Options of files with a text a row or line, whatever their format."""
_OF_WORDS = ("word_column", "unlabelled")
"""Options of files with a word a row."""
_CONLLU_ROW = re.compile(r"1(-[0-9]+)?\t([^\t]+\t){8,}[^\t]+")
_CONLLU_TASKS = ("upos", "xpos", "deprel", "head", "lemma")


def read_corpus(
    path: str | Path,
    *,
    tasks: Sequence[str] = (),
    unlabelled_as: str | None = None,
    options: TextOptions | None = None,
    part: str | None = None,
) -> Corpus:
    """Reads a file in the format that its name and its first rows show.

    | file | format | tasks |
    | --- | --- | --- |
    | `hf:NAME` or `hf:NAME@SPLIT` | a data set of Hugging Face, from the cache or the hub | columns |
    | `*.conllu`, `*.conllu.gz`, or rows of ten columns with IDs | CoNLL-U | `upos`, `xpos`, …, `feats:KEY` |
    | any other, without tasks or `word_column`, `text_column` | plain text, a sentence a line | |
    | `NAME.in` with `NAME.label` beside it | NeuroX's pair, a sentence a line | any name for its one task |
    | `*.jsonl`, `*.jsonl.gz` | JSON lines, text under a usual key (`tokens`, `text`, …) | keys |
    | `*.csv` | a text a row, cells in quotation marks | a column or its name in the first row |
    | headed as the Parallel Meaning Bank | tab-separated, `~` = space | `symbol sem ccg sense roles`, or a column |
    | `LABEL:fine text` in every line | TREC's questions | `coarse`, `fine` |
    | tab-separated, no blank line, texts of several words | a text a row | a column or its name in the first row |
    | any other | a word a row, as `read_columns` finds it | a column, its name, or `pos`, `chunk` of CoNLL-2000 |

    A column is given as a number, counted from 1 as in `cut -f`, or by its name, or as `NAME=COLUMN`, which names the
    task. In files with a text a row or line the labels are labels of sentences, or of words where JSON has a list.

    Args:
        path: The file: a path, or a URL such as `gs://bucket/train.conllu.gz`.
        tasks: Label columns or keys, as in the table.
        unlabelled_as: As in `read_conllu`, for `feats:` tasks alone.
        options: What the file does not say of itself.
        part: `train`, `dev` or `test`: which rows are read of a file in SentEval's form, whose first column says `tr`,
            `va` or `te`, and which split of a data set is read if none is named.

    Raises:
        CorpusError: For the reasons of `read_conllu`, `read_columns`, `read_text`, `read_json_lines` and
            `read_sentences`.
        SettingsError: A task is not one that the format can have, or the rows hold several texts and nothing says
            which of them are read.
    """
    options = options or TextOptions()
    if str(path).startswith(HUB):
        options.refuse_others(str(path), "a data set of Hugging Face", *_OF_TEXTS)
        return read_dataset(str(path), labels=_columns_by_task(tasks), options=options, part=part)
    path = url_of(path) or path
    name = Path(path).name.removesuffix(".gz").lower()
    is_plain = not tasks and options.text_column is None and options.word_column is None
    may_have_labels = name.endswith(TEXT_SUFFIX) and not is_plain
    if may_have_labels and (files := find_labels(Path(path), _columns_by_task(tasks))) is not None:
        options.refuse_others(str(path), "a text with its labels beside it", "unlabelled")
        return read_parallel(path, labels=files, unlabelled=options.unlabelled, encoding=options.encoding)
    # Read once, and then given to the reader, which holds the lines in any case: a bucket is asked once for them.
    source = Source.read(path, encoding=options.encoding)
    if name.endswith(".conllu"):
        return _read_conllu(source, tasks, unlabelled_as, options)
    if name.endswith(".jsonl"):
        return _read_json(source, tasks, options)
    if is_plain and not name.endswith(".csv"):
        return _read_plain(source, options)
    corpus = _read_rows(source, name, tasks, unlabelled_as=unlabelled_as, options=options, part=part)
    _log.info("%s: read as %s", source.place, _described(corpus))
    return corpus


def _read_rows(
    source: Source,
    name: str,
    tasks: Sequence[str],
    *,
    unlabelled_as: str | None,
    options: TextOptions,
    part: str | None,
) -> Corpus:
    """Reads a file of rows, by what the rows show."""
    lines = source.lines
    is_named = options.text_column is not None or options.word_column is not None
    of_words: dict[str, Any] = {
        "word_column": None if options.word_column is None else column_of(options.word_column),
        "unlabelled": "_" if options.unlabelled is None else options.unlabelled,
    }
    if lines[0].startswith(_PMB_HEADERS):
        options.refuse_others(source.place, "a file of the Parallel Meaning Bank", *_OF_WORDS)
        columns = _named_columns(source, tasks, _PMB_NAMES)
        how = {"separator": "\t", "comments": _PMB_COMMENTS, "space_mark": "~"}
        return read_columns(source, columns=columns, **how, **of_words)
    if not is_named and is_trec(lines):
        options.refuse_others(source.place, "questions of TREC")
        return read_trec(source, tasks=_columns_by_task(tasks))
    separator = "," if name.endswith(".csv") else "\t"
    texts = guess_text_columns(lines, separator, quoted=separator == ",")
    if options.text_column is not None or (options.word_column is None and texts):
        options.refuse_others(source.place, "a file with one text a row", *_OF_TEXTS, "skip_ragged")
        return _read_texts(source, texts, _columns_by_task(tasks), separator=separator, options=options, part=part)
    first_row = next((line for line in lines if _CONLLU_ROW.match(line)), None)
    if first_row and options.word_column is None and all(_is_conllu_task(task) for task in tasks):
        return _read_conllu(source, tasks, unlabelled_as, options)
    options.refuse_others(source.place, "a file with one word a row", *_OF_WORDS)
    first_row = next((line for line in lines if line.strip()), "")
    names = _CONLL2000_NAMES if len(first_row.split()) == 3 else {}
    return read_columns(
        source,
        columns=_named_columns(source, tasks, names, known_to_file=_names_in(lines[:20])),
        separator=separator if separator == "," else None,
        comments=("# ",) if "\t" in first_row or first_row.startswith("# ") else (),
        **of_words,
    )


def _read_conllu(source: Source, tasks: Sequence[str], unlabelled_as: str | None, options: TextOptions) -> Corpus:
    options.refuse_others(source.place, "CoNLL-U", "unlabelled")
    return read_conllu(source, tasks=tasks, unlabelled_as=unlabelled_as, unlabelled=options.unlabelled)


def _read_plain(source: Source, options: TextOptions) -> Corpus:
    """Reads running lines, and says so where they look like rows of columns."""
    options.refuse_others(source.place, "running text, since neither `word_column` nor `text_column` is given")
    corpus = read_text(source)
    lines = [line for line in source.lines[:1000] if line.strip()]
    if 2 * sum("\t" in line for line in lines) > len(lines):
        _log.warning(
            "%s: read as running text, whose lines are sentences, but most lines have tabs. If these are columns, give "
            "`--word-column` for a word a line or `--text-column` for a text a line.",
            source.place,
        )
    return corpus


def _read_json(source: Source, tasks: Sequence[str], options: TextOptions) -> Corpus:
    options.refuse_others(source.place, "JSON lines", *_OF_TEXTS)
    if options.text_column is None:
        text_key, *second = guess_text_keys(source)
    else:
        text_key, second = options.text_column, []
    return read_json_lines(
        source,
        keys=_columns_by_task(tasks),
        text_key=text_key,
        second_key=options.second_column or next(iter(second), None),
        where={str(column): text for column, text in options.filters.items()} or None,
        unlabelled=options.unlabelled,
    )


def _columns_by_task(tasks: Sequence[str]) -> dict[str, str]:
    """Returns the column or key of every task, from `NAME=COLUMN`, or from the column alone."""
    pairs = [(name or column, column) for name, _, column in (task.rpartition("=") for task in tasks)]
    refuse_like_names([name for name, _ in pairs])
    return dict(pairs)


def _read_texts(
    source: Source,
    texts: Sequence[int],
    column_of_task: Mapping[str, str],
    *,
    separator: str,
    options: TextOptions,
    part: str | None,
) -> Corpus:
    """Reads a text a row, in the columns that are named, or have usual names, or alone hold texts."""
    quoted = separator == ","
    first_row = split_rows(source.lines[:1000], separator, quoted=quoted)[0][1]
    columns = {task: column_of(column) for task, column in column_of_task.items()}
    text, second = _text_columns(source.place, first_row, texts, options)
    where: dict[int | str, str] = options.filters
    if not where and _names_parts(split_rows(source.lines, separator, quoted=quoted)):
        if part is None:
            raise SettingsError(
                f"{source.place}: its first column names the parts {', '.join(_PARTS)} (SentEval). Say which rows are "
                'read (`where={1: "tr"}`, `--where 1=tr`).'
            )
        where = {1: next(mark for mark, of_part in _PARTS.items() if of_part == part)}
        _log.info("%s: the rows `%s` are read for %s", source.place, where[1], part)
    return read_sentences(
        source,
        columns=columns,
        text_column=text,
        second_column=second,
        where=where or None,
        separator=separator,
        unlabelled=options.unlabelled,
        quoted=quoted,
        skip_ragged=options.skip_ragged,
        header=True if any(set(names) <= set(first_row) for names in TEXT_NAMES) else None,
    )


def _names_parts(rows: Iterable[tuple[int, Sequence[str]]]) -> bool:
    """Returns whether the first column of some rows says to which part they belong, and says nothing else."""
    marks = {row[0] for _, row in rows if row}
    return bool(marks & {*_PARTS}) and marks <= {*_PARTS, ""}


def _text_columns(
    place: str, first_row: Sequence[str], texts: Sequence[int], options: TextOptions
) -> tuple[int | str, int | str | None]:
    """Returns the columns of the text and, in pairs, of the second text."""
    second = None if options.second_column is None else column_of(options.second_column)
    if options.text_column is not None:
        return column_of(options.text_column), second
    named = next((names for names in TEXT_NAMES if set(names) <= set(first_row)), None)
    if named is not None:
        return named[0], second if second is not None or len(named) == 1 else named[1]
    if len(texts) > 1:
        raise SettingsError(
            f"{place}: the columns {', '.join(map(str, texts))} all hold texts, and no usual name says which are read. "
            "Give `--text-column`, and for pairs `--second-column`; in Python, `read_sentences` takes both."
        )
    return texts[0], second


def _is_conllu_task(task: str) -> bool:
    return task in _CONLLU_TASKS or task.startswith("feats:")


def _names_in(lines: Sequence[str]) -> set[str]:
    """Returns what may be the name of a column in some lines."""
    return {cell.lower() for line in lines for cell in re.split(r"[\s,=]+", line)}


def _named_columns(
    source: Source, tasks: Sequence[str], names: Mapping[str, int], *, known_to_file: Set[str] = frozenset()
) -> dict[str, int | str]:
    """Returns the column of every task, from a name known for the format or to the file, or from a number."""
    columns: list[tuple[str, int | str]] = []
    for task in tasks:
        name, _, column = task.rpartition("=")
        if task in names:
            columns.append((task, names[task]))
        elif isinstance(number := column_of(column), int):
            columns.append((name or column, number))
        elif column.lower() in known_to_file:
            columns.append((name or column, column))
        else:
            known = "".join(f"`{known}`, " for known in names)
            raise SettingsError(
                f"{source.place}: a task of this file is {known}a column number, a name in its first row, or "
                f"NAME=NUMBER, got `{task}`. Text without labels takes `--annotate NAME=FILE` or the task `position`."
            )
    refuse_like_names([name for name, _ in columns])
    return dict(columns)


def _described(corpus: Corpus) -> str:
    """Returns in a few words what a file was read as, with its first words."""
    kind = "pairs of texts" if corpus.second_starts is not None else "texts" if corpus.sentence_tasks else "words"
    first = next((sentence for sentence in corpus.sentences if sentence), ())
    skipped = "".join(f", {count:,} left out: {reason}" for reason, count in corpus.skipped.items())
    return f"{kind}, beginning with {' '.join(first[:5])!r}; {corpus.sentence_count:,} sentences{skipped}"

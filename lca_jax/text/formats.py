"""Reads a file in the format that its name and its first rows show. The command line reads corpora in this way.

What was recognised is logged, so that a file which was taken for another format is seen to be.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from lca_jax.errors import SettingsError
from lca_jax.machine.urls import url_of
from lca_jax.text.columns import read_columns, read_text
from lca_jax.text.conllu import read_conllu
from lca_jax.text.corpus import Corpus
from lca_jax.text.datasets import HUB, read_dataset
from lca_jax.text.json_lines import guess_text_keys, read_json_lines
from lca_jax.text.lines import Source
from lca_jax.text.options import TextOptions, column_of
from lca_jax.text.parallel import find_labels, read_parallel
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
        return read_dataset(str(path), labels=_columns_by_task(tasks), options=options, part=part)
    path = url_of(path) or path
    name = Path(path).name.removesuffix(".gz").lower()
    if name.endswith(".conllu"):
        return read_conllu(path, tasks=tasks, unlabelled_as=unlabelled_as, encoding=options.encoding)
    if name.endswith(".jsonl"):
        return _read_json(path, tasks, options)
    if not tasks and not name.endswith(".csv") and options.text_column is None and options.word_column is None:
        return _read_plain(path, options)
    if (files := find_labels(Path(path), _columns_by_task(tasks))) is not None:
        return read_parallel(path, labels=files, unlabelled=options.unlabelled, encoding=options.encoding)
    lines = Source.read(path, encoding=options.encoding).lines
    read = _reader_of_rows(path, name, lines, tasks, unlabelled_as=unlabelled_as, options=options, part=part)
    del lines  # half a gigabyte for a million words of a hundred tasks, and the reader reads the file anew
    corpus = read()
    _log.info("%s: read as %s", path, _described(corpus))
    return corpus


def _reader_of_rows(
    path: str | Path,
    name: str,
    lines: Sequence[str],
    tasks: Sequence[str],
    *,
    unlabelled_as: str | None,
    options: TextOptions,
    part: str | None,
) -> Callable[[], Corpus]:
    """Returns what reads a file of rows, by what the rows show."""
    if lines[0].startswith(_PMB_HEADERS):
        columns = _named_columns(path, tasks, _PMB_NAMES)
        return partial(read_columns, path, columns=columns, separator="\t", comments=_PMB_COMMENTS, space_mark="~")
    if is_trec(lines) and options.text_column is None:
        return partial(read_trec, path, tasks=_columns_by_task(tasks), encoding=options.encoding)
    separator = "," if name.endswith(".csv") else "\t"
    texts = guess_text_columns(lines, separator, quoted=separator == ",")
    if options.text_column is not None or (options.word_column is None and texts):
        return _reader_of_texts(
            path, lines, texts, _columns_by_task(tasks), separator=separator, options=options, part=part
        )
    first_row = next((line for line in lines if _CONLLU_ROW.match(line)), None)
    if first_row and options.word_column is None and all(_is_conllu_task(task) for task in tasks):
        return partial(read_conllu, path, tasks=tasks, unlabelled_as=unlabelled_as, encoding=options.encoding)
    first_row = next((line for line in lines if line.strip()), "")
    names = _CONLL2000_NAMES if len(first_row.split()) == 3 else {}
    return partial(
        read_columns,
        path,
        columns=_named_columns(path, tasks, names, lines=lines),
        word_column=None if options.word_column is None else column_of(options.word_column),
        separator=separator if separator == "," else None,
        comments=("# ",) if "\t" in first_row or first_row.startswith("# ") else (),
        unlabelled="_" if options.unlabelled is None else options.unlabelled,
        encoding=options.encoding,
    )


def _read_plain(path: str | Path, options: TextOptions) -> Corpus:
    """Reads running lines, and says so where they look like rows of columns."""
    corpus = read_text(path, encoding=options.encoding)
    lines = [line for line in Source.read(path, encoding=options.encoding).lines[:1000] if line.strip()]
    if 2 * sum("\t" in line for line in lines) > len(lines):
        _log.warning(
            "%s: read as running text, whose lines are sentences, but most lines have tabs. If these are columns, give "
            "`--word-column` for a word a line or `--text-column` for a text a line.",
            path,
        )
    return corpus


def _read_json(path: str | Path, tasks: Sequence[str], options: TextOptions) -> Corpus:
    if options.text_column is None:
        text_key, *second = guess_text_keys(path, encoding=options.encoding)
    else:
        text_key, second = options.text_column, []
    return read_json_lines(
        path,
        keys=_columns_by_task(tasks),
        text_key=text_key,
        second_key=options.second_column or next(iter(second), None),
        where={str(column): text for column, text in options.filters.items()} or None,
        unlabelled=options.unlabelled,
        encoding=options.encoding,
    )


def _columns_by_task(tasks: Sequence[str]) -> dict[str, str]:
    """Returns the column or key of every task, from `NAME=COLUMN`, or from the column alone."""
    pairs = [(name or column, column) for name, _, column in (task.rpartition("=") for task in tasks)]
    refuse_like_names([name for name, _ in pairs])
    return dict(pairs)


def _reader_of_texts(
    path: str | Path,
    lines: Sequence[str],
    texts: Sequence[int],
    column_of_task: Mapping[str, str],
    *,
    separator: str,
    options: TextOptions,
    part: str | None,
) -> Callable[[], Corpus]:
    """Returns what reads a text a row, in the columns that are named, or have usual names, or alone hold texts."""
    quoted = separator == ","
    rows = split_rows(lines[:1000], separator, quoted=quoted)
    first_row = rows[0][1]
    columns = {task: column_of(column) for task, column in column_of_task.items()}
    text, second = _text_columns(path, first_row, texts, options)
    where: dict[int | str, str] = options.filters
    if not where and {row[0] for _, row in split_rows(lines, separator, quoted=quoted) if row} <= {*_PARTS, ""}:
        if part is None:
            raise SettingsError(
                f"{path}: its first column names the parts {', '.join(_PARTS)} (SentEval). Say which rows are read "
                '(`where={1: "tr"}`, `--where 1=tr`).'
            )
        where = {1: next(mark for mark, of_part in _PARTS.items() if of_part == part)}
        _log.info("%s: the rows `%s` are read for %s", path, where[1], part)
    return partial(
        read_sentences,
        path,
        columns=columns,
        text_column=text,
        second_column=second,
        where=where or None,
        separator=separator,
        unlabelled=options.unlabelled,
        quoted=quoted,
        skip_ragged=options.skip_ragged,
        encoding=options.encoding,
        header=True if any(set(names) <= set(first_row) for names in TEXT_NAMES) else None,
    )


def _text_columns(
    path: str | Path, first_row: Sequence[str], texts: Sequence[int], options: TextOptions
) -> tuple[int | str, int | str | None]:
    """Returns the columns of the text and, in pairs, of the second text."""
    if options.text_column is not None:
        second = options.second_column
        return column_of(options.text_column), None if second is None else column_of(second)
    named = next((names for names in TEXT_NAMES if set(names) <= set(first_row)), None)
    if named is not None:
        return named[0], named[1] if len(named) == 2 else None
    if len(texts) > 1:
        raise SettingsError(
            f"{path}: the columns {', '.join(map(str, texts))} all hold texts, and no usual name says which are read. "
            "Give `--text-column`, and for pairs `--second-column`; in Python, `read_sentences` takes both."
        )
    return texts[0], None


def _is_conllu_task(task: str) -> bool:
    return task in _CONLLU_TASKS or task.startswith("feats:")


def _named_columns(
    path: str | Path, tasks: Sequence[str], names: Mapping[str, int], *, lines: Sequence[str] = ()
) -> dict[str, int | str]:
    """Returns the column of every task, from a name known for the format or to the file, or from a number."""
    columns: list[tuple[str, int | str]] = []
    known_to_file = [cell.lower() for line in lines[:20] for cell in re.split(r"[\s,=]+", line)]
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
                f"{path}: a task of this file is {known}a column number, a name in its first row, or NAME=NUMBER, "
                f"got `{task}`. Text without labels takes `--annotate NAME=FILE` or the task `position`."
            )
    refuse_like_names([name for name, _ in columns])
    return dict(columns)


def _described(corpus: Corpus) -> str:
    """Returns in a few words what a file was read as, with its first words."""
    kind = "pairs of texts" if corpus.second_starts is not None else "texts" if corpus.sentence_tasks else "words"
    first = next((sentence for sentence in corpus.sentences if sentence), ())
    skipped = "".join(f", {count:,} left out: {reason}" for reason, count in corpus.skipped.items())
    return f"{kind}, beginning with {' '.join(first[:5])!r}; {corpus.sentence_count:,} sentences{skipped}"

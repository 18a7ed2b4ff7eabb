"""Reads a file in the format that its name and its first rows show. The command line reads corpora in this way."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lca_jax.errors import SettingsError
from lca_jax.text.columns import read_columns, read_text
from lca_jax.text.conllu import read_conllu
from lca_jax.text.corpus import Corpus
from lca_jax.text.json_lines import guess_text_keys, read_json_lines
from lca_jax.text.lines import Source
from lca_jax.text.sentences import TEXT_NAMES, guess_text_column, read_sentences
from lca_jax.text.task_names import refuse_like_names

_CONLL2000_NAMES = {"pos": 2, "chunk": 3}
_PMB_NAMES = {"symbol": 3, "sem": 4, "ccg": 5, "sense": 6, "roles": 7}
_PMB_COMMENTS = ("# ", "###")
_PMB_HEADERS = ("###", "# newdoc id = ", "# layer:")


def read_corpus(path: str | Path, *, tasks: Sequence[str] = (), unlabelled_as: str | None = None) -> Corpus:
    """Reads a file in the format that its name and its first rows show.

    | file | format | tasks |
    | --- | --- | --- |
    | `*.conllu`, `*.conllu.gz` | CoNLL-U | `upos`, `xpos`, `deprel`, `head`, `lemma`, `feats:KEY` |
    | any other, without tasks | plain text, a sentence a line | |
    | `*.jsonl`, `*.jsonl.gz` | JSON lines, text under a usual key (`tokens`, `text`, …) | keys |
    | headed as the Parallel Meaning Bank | tab-separated, `~` = space | `symbol sem ccg sense roles`, or a column |
    | tab-separated, no blank line, texts of several words | a sentence a row | a column or its name in the first row |
    | with a tab in its first row | tab-separated columns, `# ` begins a comment | a column |
    | with three columns in its first row | space-separated as CoNLL-2000 | `pos`, `chunk`, or a column |
    | any other | space-separated columns | a column |

    A column is given as a number, counted from 1 as in `cut -f` (the words are column 1), or as `NAME=NUMBER`, which
    names the task. Keys, and names of columns, may be named in the same way (`NAME=KEY`). In files with a sentence a
    row or line the labels are labels of sentences, or of words where JSON has a list.

    Args:
        path: The file.
        tasks: Label columns or keys, as in the table.
        unlabelled_as: As in `read_conllu`, for `feats:` tasks alone.

    Raises:
        CorpusError: For the reasons of `read_conllu`, `read_columns`, `read_text`, `read_json_lines` and
            `read_sentences`.
        SettingsError: A task is not one that the format can have.
    """
    name = Path(path).name.removesuffix(".gz")
    if name.endswith(".conllu"):
        return read_conllu(path, tasks=tasks, unlabelled_as=unlabelled_as)
    if name.endswith(".jsonl"):
        text_key, *second = guess_text_keys(path)
        return read_json_lines(
            path, keys=_columns_by_task(tasks), text_key=text_key, second_key=next(iter(second), None)
        )
    if not tasks:
        return read_text(path)
    lines = Source.read(path).lines
    first_row = next((line for line in lines if line.strip() and not line.startswith(_PMB_COMMENTS)), "")
    if lines[0].startswith(_PMB_HEADERS):
        columns = _named_columns(path, tasks, _PMB_NAMES)
        return read_columns(path, columns=columns, separator="\t", comments=_PMB_COMMENTS, space_mark="~")
    if (text_column := guess_text_column(lines)) is not None:
        return _read_sentence_rows(path, _columns_by_task(tasks), lines[0].split("\t"), text_column)
    if "\t" in first_row:
        return read_columns(path, columns=_named_columns(path, tasks, {}), separator="\t", comments=("# ",))
    names = _CONLL2000_NAMES if len(first_row.split(" ")) == 3 else {}
    return read_columns(path, columns=_named_columns(path, tasks, names), separator=" ")


def _columns_by_task(tasks: Sequence[str]) -> dict[str, str]:
    """Returns the column or key of every task, from `NAME=COLUMN`, or from the column alone."""
    pairs = [(name or column, column) for name, _, column in (task.rpartition("=") for task in tasks)]
    refuse_like_names([name for name, _ in pairs])
    return dict(pairs)


def _read_sentence_rows(
    path: str | Path, column_of_task: Mapping[str, str], first_row: Sequence[str], text_column: int
) -> Corpus:
    """Reads a file with a sentence a row, its texts in the columns with usual names, or else in `text_column`."""
    columns: dict[str, int | str] = {
        task: int(column) if column.isdecimal() else column for task, column in column_of_task.items()
    }
    named = next((names for names in TEXT_NAMES if set(names) <= set(first_row)), (text_column,))
    second = named[1] if len(named) == 2 else None
    return read_sentences(path, columns=columns, text_column=named[0], second_column=second)


def _named_columns(path: str | Path, tasks: Sequence[str], names: Mapping[str, int]) -> dict[str, int]:
    """Returns the column of every task, from a name known for the format, `NAME=NUMBER`, or the number alone."""
    columns: list[tuple[str, int]] = []
    for task in tasks:
        name, _, number = task.rpartition("=")
        if task in names:
            columns.append((task, names[task]))
        elif number.isdecimal():
            columns.append((name or number, int(number)))
        else:
            known = "".join(f"`{known}`, " for known in names)
            raise SettingsError(
                f"{path}: a task of this file is {known}a column number (the words are column 1) or NAME=NUMBER, "
                f"got `{task}`."
            )
    refuse_like_names([name for name, _ in columns])
    return dict(columns)

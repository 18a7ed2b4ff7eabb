"""TREC's question classes: `LABEL:fine text` in every line (Li and Roth 2002), in Latin-1 as published."""

import re
from collections.abc import Mapping, Sequence

from lca_jax.errors import SettingsError
from lca_jax.text.corpus import Corpus
from lca_jax.text.lines import Readable, Source, is_blank
from lca_jax.text.sentences import BLANK, finish_sentences

_LINE = re.compile(r"([A-Z]+):([A-Za-z]+)[ \t]+(\S.*)")
_TASKS = ("coarse", "fine")


def is_trec(lines: Sequence[str]) -> bool:
    """Returns whether all lines begin with a label and a finer one, joined by a colon."""
    written = [line for line in lines if not is_blank(line)]
    return bool(written) and all(_LINE.fullmatch(line) for line in written)


def read_trec(path: Readable, *, tasks: Mapping[str, str] | None = None, encoding: str = "utf-8") -> Corpus:
    """Reads questions with their classes.

    Args:
        path: The file: a path, a URL, or one that was read already (`text.lines.Source`).
        tasks: Name of every task to `coarse` (`DESC`) or `fine` (`DESC:manner`); both under these names if None.
        encoding: Encoding of the file.

    Raises:
        CorpusError: The file cannot be read, or a line has another form.
        SettingsError: A task is neither of the two.
    """
    tasks = dict(zip(_TASKS, _TASKS, strict=True)) if tasks is None else tasks
    source = Source.of(path, encoding=encoding)
    if wrong := [label for label in tasks.values() if label not in _TASKS]:
        raise SettingsError(f"{source.place}: a task of this file is `coarse` or `fine`, got `{wrong[0]}`.")
    texts: list[list[list[str]]] = []
    labels: dict[str, list[str | None]] = {task: [] for task in tasks}
    for number, line in enumerate(source.lines, 1):
        if is_blank(line):
            source.skipped[BLANK] += 1
        elif found := _LINE.fullmatch(line):
            texts.append([found[3].split()])
            for task, label in tasks.items():
                labels[task].append(found[1] if label == "coarse" else f"{found[1]}:{found[2]}")
        else:
            source.report(number, "must be `LABEL:fine text`")
    return finish_sentences(source, texts, {}, labels)

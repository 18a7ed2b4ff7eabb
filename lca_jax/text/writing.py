"""Writes corpora in the forms that the readers read: CoNLL-U, columns, JSON lines. What is read again is the same.

Files are written whole or not at all. Nothing is overwritten unless that is asked for.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from lca_jax.errors import SettingsError
from lca_jax.machine.files import write_whole
from lca_jax.text.corpus import Corpus

TEXT_KEY = "tokens"
SECOND_KEY = "second_tokens"
_PLACES = {"lemma": 2, "upos": 3, "xpos": 4, "head": 6, "deprel": 7}


def write_conllu(corpus: Corpus, path: str | Path, *, overwrite: bool = False) -> Path:
    """Writes a corpus as CoNLL-U.

    The tasks `lemma`, `upos`, `xpos`, `head`, `deprel` and `feats:KEY` have their own columns; other tasks go to MISC,
    as `task=label`, and labels of sentences to comments.

    Args:
        corpus: Words and labels.
        path: The file to write.
        overwrite: Whether it may take the place of an older file.

    Returns:
        The path.

    Raises:
        SettingsError: A word or a label holds a tab or a line end, or the sentences are pairs.
        StoreError: The file exists already.
    """
    _refuse_pairs(corpus, "CoNLL-U")
    return _write(path, _conllu_lines(corpus), overwrite=overwrite)


def write_columns(corpus: Corpus, path: str | Path, *, unlabelled: str = "_", overwrite: bool = False) -> Path:
    """Writes a corpus with one word a row, tab-separated; a first line `# global.columns` names the columns.

    Args:
        corpus: Words and their labels; labels of sentences have no place in this form.
        path: The file to write.
        unlabelled: Mark of a word without a label.
        overwrite: Whether it may take the place of an older file.

    Returns:
        The path.

    Raises:
        SettingsError: A word or a label holds a tab or a line end or is the mark itself, a task's name holds white
            space, or the corpus has pairs or labels of sentences.
        StoreError: The file exists already.
    """
    _refuse_pairs(corpus, "a column file")
    if corpus.sentence_tasks:
        raise SettingsError(f"A column file has no place for labels of sentences: {', '.join(corpus.sentence_tasks)}.")
    if wrong := [task for task in corpus.tasks if task.split() != [task]]:
        raise SettingsError(f"The name of a column must be one word, got {wrong[0]!r}. Rename the task.")
    return _write(path, _column_lines(corpus, unlabelled), overwrite=overwrite)


def write_json_lines(corpus: Corpus, path: str | Path, *, overwrite: bool = False) -> Path:
    """Writes a corpus as JSON lines: `tokens` (and `second_tokens` of a pair), and a key for every task.

    Args:
        corpus: Words and labels; empty sentences are left out.
        path: The file to write.
        overwrite: Whether it may take the place of an older file.

    Returns:
        The path.

    Raises:
        SettingsError: A task has the name of one of the two keys.
        StoreError: The file exists already.
    """
    if taken := {TEXT_KEY, SECOND_KEY} & {*corpus.tasks, *corpus.sentence_tasks}:
        raise SettingsError(f"`{sorted(taken)[0]}` is the key of the words, so no task can have this name. Rename it.")
    return _write(path, _json_lines(corpus), overwrite=overwrite)


def _conllu_lines(corpus: Corpus) -> Iterator[str]:
    features = {task: task.partition(":")[2] for task in corpus.tasks if task.startswith("feats:")}
    others = [task for task in corpus.tasks if task not in _PLACES and task not in features]
    for number, sentence in enumerate(corpus.sentences):
        for task, labels in corpus.sentence_labels.items():
            if labels[number] is not None:
                yield f"# {task} = {_cell(corpus, number, labels[number])}"
        for place, word in enumerate(sentence):
            row = ["_"] * 10
            row[0], row[1] = str(place + 1), _cell(corpus, number, word)
            for task, column in _PLACES.items():
                if task in corpus.labels:
                    row[column] = _cell(corpus, number, corpus.labels[task][number][place])
            row[5] = _pairs(corpus, features, number, place)
            row[9] = _pairs(corpus, {task: task for task in others}, number, place)
            yield "\t".join(row)
        yield ""


def _pairs(corpus: Corpus, keys: dict[str, str], number: int, place: int) -> str:
    found = [(key, corpus.labels[task][number][place]) for task, key in keys.items()]
    return "|".join(f"{key}={_cell(corpus, number, label)}" for key, label in sorted(found) if label is not None) or "_"


def _column_lines(corpus: Corpus, unlabelled: str) -> Iterator[str]:
    yield f"# global.columns = {' '.join(('FORM', *corpus.tasks))}"
    for number, sentence in enumerate(corpus.sentences):
        for place, word in enumerate(sentence):
            labels = [corpus.labels[task][number][place] for task in corpus.tasks]
            if unlabelled in labels:
                raise SettingsError(
                    f"{corpus.name}, sentence {number + 1}: `{unlabelled}` is a label and cannot mark words without "
                    "one. Give another mark (`unlabelled`)."
                )
            cells = [unlabelled if label is None else _cell(corpus, number, label) for label in labels]
            yield "\t".join([_cell(corpus, number, word), *cells])
        yield ""


def _json_lines(corpus: Corpus) -> Iterator[str]:
    for number, sentence in enumerate(corpus.sentences):
        if not sentence:
            continue
        row: dict[str, object] = {TEXT_KEY: sentence}
        if corpus.second_starts is not None:
            cut = corpus.second_starts[number]
            row |= {TEXT_KEY: sentence[:cut], SECOND_KEY: sentence[cut:]}
        row |= {task: labels[number] for task, labels in {**corpus.labels, **corpus.sentence_labels}.items()}
        yield json.dumps(row, ensure_ascii=False)


def _cell(corpus: Corpus, number: int, text: str | None) -> str:
    if text is None:
        return "_"
    if not text or any(mark in text for mark in "\t\n\r"):
        raise SettingsError(
            f"{corpus.name}, sentence {number + 1}: {text!r} is empty or holds a tab or a line end, which this form "
            "cannot hold. Write JSON lines."
        )
    return text


def _refuse_pairs(corpus: Corpus, form: str) -> None:
    if corpus.second_starts is not None:
        raise SettingsError(f"{corpus.name} holds pairs of texts, for which {form} has no place. Write JSON lines.")


def _write(path: str | Path, lines: Iterator[str], *, overwrite: bool) -> Path:
    path = Path(path)
    with write_whole([path], overwrite=overwrite) as (unfinished,), unfinished.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
    return path

"""NeuroX's text and label files: a sentence a line, parallel to the activations word by word."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from lca_jax.errors import CorpusError, DataError, list_problems
from lca_jax.store.in_order import sentence_lengths
from lca_jax.store.store import ActivationStore
from lca_jax.text.corpus import Corpus
from lca_jax.text.lines import Source

_log = logging.getLogger(__name__)
_SPACE = re.compile(r"[ \n\r]")
"""What ends a word, or a line, in NeuroX's files."""
_MISMATCHED = "sentence whose words, labels and vectors differ in number"


class MatchedText(NamedTuple):
    """Sentences whose words, labels and vectors are of one number."""

    corpus: Corpus
    """Their words and labels; those left out are counted in `skipped`."""
    numbers: list[int]
    """For each of them its number in the activation file, from 0."""


def match_text(
    path: Path,
    sentences: Sequence[Sequence[str]],
    *,
    text: str | Path | None,
    labels: Mapping[str, str | Path],
    unlabelled: str | None,
    drop_mismatched: bool,
) -> MatchedText:
    """Puts words and labels to the sentences of an activation file.

    A line of text is split at every single space, as the extractor does that made the vectors; a line of labels at any
    white space, as NeuroX's loader does.

    Args:
        path: The activation file, for messages.
        sentences: The words in the activation file.
        text: The words in their place; the file's own if None.
        labels: A label file for every task.
        unlabelled: A label that stands for none.
        drop_mismatched: Whether a sentence that differs in number is left out and counted, as NeuroX does, or an error.

    Raises:
        CorpusError: A file cannot be read or has another number of lines, or sentences differ in number; lists all.
    """
    words: Sequence[Sequence[str]] = sentences
    if text is not None:
        words = [line.strip().split(" ") if line.strip() else [] for line in _lines(text)]
    of_task = {task: [line.split() for line in _lines(file)] for task, file in labels.items()}
    parallel = {"words": words} | {f"labels of `{task}`": of_sentences for task, of_sentences in of_task.items()}
    _refuse_other_lengths(path, len(sentences), parallel)
    problems: list[str] = []
    kept: list[int] = []
    for number, sentence in enumerate(sentences):
        others = {what: len(rows[number]) for what, rows in parallel.items() if len(rows[number]) != len(sentence)}
        if others:
            found = ", ".join(f"{count} {what}" for what, count in others.items())
            problems.append(
                f"sentence {number + 1} ({' '.join(sentence)[:60]!r}): {len(sentence)} vectors, but {found}"
            )
        else:
            kept.append(number)
    if problems and (not drop_mismatched or not kept):
        raise CorpusError(
            f"{path}: {len(problems)} of {len(sentences)} sentences differ in number from their text or labels. Mend "
            "these, or leave them out as NeuroX does with `drop_mismatched` (sentences counted from 1):\n"
            f"{list_problems(problems)}"
        )
    corpus = Corpus.from_words(
        [words[number] for number in kept],
        {
            task: [[None if label == unlabelled else label for label in of_sentences[number]] for number in kept]
            for task, of_sentences in of_task.items()
        },
        name=path.name,
    )
    skipped = {_MISMATCHED: len(problems)} if problems else {}
    return MatchedText(replace(corpus, skipped=skipped), kept)


def write_text(
    store: ActivationStore, path: Path, files: Mapping[str, Path], *, space_mark: str | None, unlabelled: str | None
) -> None:
    """Writes the words of a store, and the labels of some tasks, a sentence a line.

    Args:
        store: Whole store.
        path: Where the words go.
        files: Where the labels of each task go.
        space_mark: What stands for a space in a word.
        unlabelled: What stands for no label.
    """
    rows = {path: words_without_spaces(store, space_mark)}
    rows |= {file: [label or unlabelled or "" for label in store.labels(task)] for task, file in files.items()}
    lengths = sentence_lengths(store).tolist()
    for file, words in rows.items():
        following = iter(words)
        lines = [" ".join(islice(following, length)) + "\n" for length in lengths]
        file.write_text("".join(lines), encoding="utf-8", newline="\n")


def words_without_spaces(store: ActivationStore, space_mark: str | None) -> list[str]:
    """The words of a store as NeuroX's files can hold them, where a space ends a word."""
    if space_mark is None:
        return store.forms()
    return [_SPACE.sub(space_mark, form) for form in store.forms()]


def refuse_what_text_cannot_hold(
    store: ActivationStore, tasks: Sequence[str], *, space_mark: str | None, unlabelled: str | None
) -> None:
    """Checks that lines of words and labels can be read back.

    Words that are empty or hold other white space are only warned of: NeuroX's extractor makes such vectors, too, and
    its loader then leaves the sentence out.

    Raises:
        DataError: Words or labels hold spaces, or words have no label, and nothing was given to stand for that; all are
            listed.
    """
    forms, problems = words_without_spaces(store, space_mark), []
    for number, form in enumerate(forms, 1):
        if _SPACE.search(form):
            problems.append(f"word {number} ({form!r}) holds a space: give `space_mark`, e.g. '~', to stand for it")
    for task in tasks:
        labels = store.labels(task)
        if unlabelled is None and (without := labels.count(None)):
            problems.append(
                f"task `{task}`: {without} words have no label: give `unlabelled`, a mark to stand for that"
            )
        for label in sorted({label for label in labels if label is not None}):
            if label == unlabelled:
                problems.append(f"task `{task}`: {label!r} is a label, so it cannot mark words without one")
            elif len(label.split()) != 1:
                problems.append(
                    f"task `{task}`: the label {label!r} is empty or holds white space, where lines are split"
                )
    if problems:
        raise DataError(f"{store.place}: NeuroX's files cannot hold these:\n{list_problems(problems)}")
    if odd := sum(len(form.split()) != 1 for form in forms):
        _log.warning("%d words are empty or hold white space; NeuroX's loader leaves their sentences out", odd)


def _refuse_other_lengths(path: Path, sentences: int, parallel: Mapping[str, Sequence[object]]) -> None:
    problems = [f"{what}: {len(rows)} lines" for what, rows in parallel.items() if len(rows) != sentences]
    if problems:
        raise CorpusError(
            f"{path} holds {sentences} sentences, so its text and labels must have a line for each:\n"
            f"{list_problems(problems)}"
        )


def _lines(path: str | Path) -> list[str]:
    source = Source.read(path)
    source.refuse_problems()
    return source.lines

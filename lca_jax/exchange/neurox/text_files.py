"""NeuroX's text and label files: one sentence per line, parallel to the activations word by word."""

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
"""Characters that end a word, or a line, in NeuroX's files."""
_MISMATCHED = "sentence whose words, labels and vectors differ in number"


class MatchedText(NamedTuple):
    """Sentences whose words, labels and vectors are equal in number."""

    corpus: Corpus
    """Words and labels of these sentences; the sentences left out are counted in `skipped`."""
    numbers: list[int]
    """Number of each of these sentences in the activation file, from 0."""


def match_text(
    path: Path,
    sentences: Sequence[Sequence[str]],
    *,
    text: str | Path | None,
    labels: Mapping[str, str | Path],
    unlabelled: str | None,
    drop_mismatched: bool,
) -> MatchedText:
    """Matches words and labels with the sentences of an activation file.

    A line of text is split at every single space, as by the extractor that made the vectors; a line of labels at any
    white space, as by NeuroX's loader.

    Args:
        path: The activation file, for messages.
        sentences: Words in the activation file.
        text: File of the words to use instead; None uses those of the activation file.
        labels: File of the labels of every task.
        unlabelled: Mark of a word without a label.
        drop_mismatched: Whether a sentence that differs in number is left out and counted, as in NeuroX, or an error.

    Raises:
        CorpusError: A file cannot be read or has another number of lines, or sentences differ in number; the message
            lists all of them.
    """
    words: Sequence[Sequence[str]] = sentences
    if text is not None:
        words = [line.strip().split(" ") if line.strip() else [] for line in _lines(text)]
    of_task = {task: [line.split() for line in _lines(file)] for task, file in labels.items()}
    parallel = {"words": words} | {f"labels of `{task}`": of_sentences for task, of_sentences in of_task.items()}
    _refuse_other_lengths(path, len(sentences), parallel)
    problems: list[str] = []
    matching: list[int] = []
    for number, sentence in enumerate(sentences):
        others = {what: len(rows[number]) for what, rows in parallel.items() if len(rows[number]) != len(sentence)}
        if others:
            found = ", ".join(f"{count} {what}" for what, count in others.items())
            problems.append(
                f"sentence {number + 1} ({' '.join(sentence)[:60]!r}): {len(sentence)} vectors, but {found}"
            )
        else:
            matching.append(number)
    if problems and (not drop_mismatched or not matching):
        raise CorpusError(
            f"{path}: in {len(problems)} of {len(sentences)} sentences the number of vectors differs from the text or "
            "the labels. Mend these, or leave them out with `drop_mismatched`, as NeuroX does (sentences counted from "
            "1):\n"
            f"{list_problems(problems)}"
        )
    corpus = Corpus.from_words(
        [words[number] for number in matching],
        {
            task: [[None if label == unlabelled else label for label in of_sentences[number]] for number in matching]
            for task, of_sentences in of_task.items()
        },
        name=path.name,
    )
    skipped = {_MISMATCHED: len(problems)} if problems else {}
    return MatchedText(replace(corpus, skipped=skipped), matching)


def write_text(
    store: ActivationStore, path: Path, files: Mapping[str, Path], *, space_mark: str | None, unlabelled: str | None
) -> None:
    """Writes the words of a store, and the labels of some tasks, one sentence per line.

    Args:
        store: A whole store.
        path: File of the words.
        files: File of the labels of each task.
        space_mark: Mark to write for a space inside a word.
        unlabelled: Mark to write for a missing label.
    """
    rows = {path: words_without_spaces(store, space_mark)}
    rows |= {file: [label or unlabelled or "" for label in store.labels(task)] for task, file in files.items()}
    lengths = sentence_lengths(store).tolist()
    for file, words in rows.items():
        following = iter(words)
        lines = [" ".join(islice(following, length)) + "\n" for length in lengths]
        file.write_text("".join(lines), encoding="utf-8", newline="\n")


def words_without_spaces(store: ActivationStore, space_mark: str | None) -> list[str]:
    """Returns the words of a store as NeuroX's files can hold them, where a space ends a word."""
    if space_mark is None:
        return store.forms()
    return [_SPACE.sub(space_mark, form) for form in store.forms()]


def refuse_what_text_cannot_hold(
    store: ActivationStore, tasks: Sequence[str], *, space_mark: str | None, unlabelled: str | None
) -> None:
    """Checks that lines of words and labels can be read back.

    For words that are empty or hold other white space there is only a warning: NeuroX's extractor makes such vectors,
    too, and its loader then leaves the sentence out.

    Raises:
        DataError: Words or labels hold spaces, or words have no label, and no mark was given for that; the message
            lists all of them.
    """
    forms, problems = words_without_spaces(store, space_mark), []
    for number, form in enumerate(forms, 1):
        if _SPACE.search(form):
            problems.append(f"word {number} ({form!r}) holds a space: give a mark to write for it, e.g. space_mark='~'")
    for task in tasks:
        labels = store.labels(task)
        if unlabelled is None and (without := labels.count(None)):
            problems.append(
                f"task `{task}`: {without} words have no label: give a mark to write for it as `unlabelled`"
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
    """Checks that each file has one line per sentence."""
    problems = [f"{what}: {len(rows)} lines" for what, rows in parallel.items() if len(rows) != sentences]
    if problems:
        raise CorpusError(
            f"{path} holds {sentences} sentences, so its text and labels must have one line for each:\n"
            f"{list_problems(problems)}"
        )


def _lines(path: str | Path) -> list[str]:
    source = Source.read(path)
    source.refuse_problems()
    return source.lines

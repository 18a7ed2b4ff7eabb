"""Labels words by a list, a regular expression, a predicate or their position, as tasks for probes.

A task of two classes has as many negative words as positive ones, drawn by seed from all others, so that a probe cannot
be right by always saying no. The rest is masked.

Reference: Dalvi et al. 2023, NeuroX, `data.annotate` (annotation by word lists, patterns and functions).
"""

import re
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from lca_jax.errors import CorpusError, SettingsError
from lca_jax.text.corpus import Corpus, WordLabels
from lca_jax.text.lines import Source

POSITION = "position"
"""The built-in task of a word's position: `begin`, `middle` or `end` of its sentence."""
NEGATIVE = "not {}"


def label_words(
    corpus: Corpus, task: str, chosen: Callable[[str], bool], *, balanced: bool, seed: int
) -> list[list[str | None]]:
    """Returns labels of two classes: `task` for the chosen words, `not task` for others, None for those left out.

    Args:
        corpus: The words.
        task: Name of the class.
        chosen: Says of a word form whether it is in the class.
        balanced: Whether only as many of the other words are labelled as there are chosen ones.
        seed: Seed by which the others are drawn.

    Raises:
        CorpusError: No word is chosen, or all are.
    """
    answers: dict[str, bool] = {}
    for word in corpus.words():
        if word not in answers:
            answers[word] = bool(chosen(word))
    positive = np.array([answers[word] for word in corpus.words()])
    others = np.flatnonzero(~positive)
    if not positive.any() or not len(others):
        raise CorpusError(
            f"{corpus.name}: {'no' if not positive.any() else 'every'} word is in the class `{task}`, so there is "
            "nothing to tell apart. Give other words, or another pattern."
        )
    kept = others
    if balanced and len(others) > (count := int(positive.sum())):
        kept = np.random.default_rng(seed).choice(others, count, replace=False)
    labels = np.full(len(positive), None, object)
    labels[positive] = task
    labels[kept] = NEGATIVE.format(task)
    flat = iter(labels.tolist())
    return [[next(flat) for _ in sentence] for sentence in corpus.sentences]


def chooser(
    *,
    words: Collection[str] | None,
    pattern: str | None,
    where: Callable[[str], bool] | None,
    fold_case: bool,
) -> Callable[[str], bool]:
    """Returns the one predicate that is given.

    Raises:
        SettingsError: None of the three or several are given, or the pattern is not a regular expression.
    """
    if sum(each is not None for each in (words, pattern, where)) != 1:
        raise SettingsError("Give one of `words`, `pattern` and `where`.")
    if words is not None:
        if isinstance(words, str):
            raise SettingsError(f"`words` must be a collection of words, got the text {words[:40]!r}.")
        known = {word.casefold() if fold_case else word for word in words}
        return lambda word: (word.casefold() if fold_case else word) in known
    if pattern is not None:
        try:
            compiled = re.compile(pattern, re.IGNORECASE if fold_case else 0)
        except re.error as error:
            raise SettingsError(f"`pattern` must be a regular expression, got {pattern!r}: {error}.") from None
        return lambda word: compiled.fullmatch(word) is not None
    assert where is not None
    return where


def position_labels(corpus: Corpus) -> WordLabels:
    """Returns `begin`, `middle` or `end` for every word; the only word of a sentence has no label."""
    return tuple(
        (None,) * len(sentence) if len(sentence) < 2 else ("begin", *["middle"] * (len(sentence) - 2), "end")
        for sentence in corpus.sentences
    )


def annotate_by_option(corpus: Corpus, option: str, *, seed: int, encoding: str = "utf-8") -> Corpus:
    """Adds the task of `NAME=FILE`, whose file has one word a line, or of `NAME=/PATTERN/`.

    Args:
        corpus: The words.
        option: One of these forms.
        seed: Seed by which the other words are drawn.
        encoding: Encoding of the file.

    Raises:
        SettingsError: The option has another form, or the pattern is not a regular expression.
        CorpusError: The file cannot be read or has lines of another encoding, or no word is in the class.
    """
    task, pattern, file = split_option(option)
    if pattern is not None:
        return corpus.annotate(task, pattern=pattern, seed=seed)
    source = Source.read(Path(file), encoding=encoding)
    source.refuse_problems()
    words = {line.strip() for line in source.lines} - {""}
    return corpus.annotate(task, words=words, seed=seed)


def split_option(option: str) -> tuple[str, str | None, str]:
    """Returns the task, the pattern or None, and else the file, of `NAME=/PATTERN/` or `NAME=FILE`.

    Raises:
        SettingsError: The option has another form.
    """
    task, _, source = option.partition("=")
    if not task or not source:
        raise SettingsError(f"`annotate` must be NAME=FILE or NAME=/PATTERN/, got {option!r}.")
    if len(source) > 2 and source.startswith("/") and source.endswith("/"):
        return task, source[1:-1], ""
    return task, None, source


def with_file(option: str, change: Callable[[str], str]) -> str:
    """Returns an option of `annotate_by_option` with another form of the file's path, if it names one."""
    task, pattern, file = split_option(option)
    return option if pattern is not None else f"{task}={change(file)}"

"""The texts that a model is tuned on: windows of pieces, the units that are read from them, and their classes.

The unit of a task of sentences is the sentence, that of a task of words the word. A sentence that fits no window is
left out and counted; words of long sentences are read from several windows, as in `text.windows`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32

from lca_jax.errors import DataError, SettingsError
from lca_jax.models.choices import OF_SENTENCES, OF_WORDS, Reading
from lca_jax.models.model import Model
from lca_jax.text.corpus import Corpus
from lca_jax.text.pairs import align_texts, special_pieces_of
from lca_jax.text.whole_texts import cls_place_of, cut_text, read_whole
from lca_jax.text.windows import Window

UNLABELLED = "without a label"
UNKNOWN_CLASS = "of a class that training does not have"


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Windows with their units."""

    windows: tuple[Window, ...]
    """Windows with the slots of the pieces that are read; `words` are the units' numbers in their sentence."""
    classes: tuple[Int32[np.ndarray, "_"], ...]
    """Class number of each window's units; -1 where a unit has none that counts."""
    skipped: Mapping[str, int]
    """Number of units that are not read or not counted, by reason."""

    @property
    def counted(self) -> int:
        """Number of units with a class."""
        return sum(int((of_window >= 0).sum()) for of_window in self.classes)


def task_of(corpus: Corpus, task: str | None) -> str:
    """Returns the task, or the only one of a corpus.

    Raises:
        SettingsError: The corpus has no such task, or several and none is named.
    """
    known = (*corpus.sentence_tasks, *corpus.tasks)
    if task is None and len(known) == 1:
        return known[0]
    if task not in known:
        raise SettingsError(
            f"`task` must be one of those of {corpus.name} ({', '.join(known) or 'it has none'}), got {task!r}."
        )
    return task


def reading_of(corpus: Corpus, task: str, pool: Reading | None) -> Reading:
    """Returns the pieces that are read for a task.

    Raises:
        SettingsError: The pieces are those of words, and the task is one of sentences, or the other way round.
    """
    fitting = OF_SENTENCES if task in corpus.sentence_tasks else OF_WORDS
    if pool is not None and pool not in fitting:
        what = "sentences" if fitting is OF_SENTENCES else "words"
        raise SettingsError(f"`{task}` is a task of {what}: `pool` must be one of {', '.join(fitting)}, got {pool!r}.")
    return pool or fitting[0]


def read_texts(
    model: Model, corpus: Corpus, task: str, *, classes: Sequence[str], pool: Reading, unlabelled: bool = False
) -> Texts:
    """Cuts a corpus into windows with the units of a task.

    Args:
        model: The model, whose tokenizer makes the pieces.
        corpus: Words and labels.
        task: The task; where `unlabelled`, the corpus need not have it.
        classes: Names of the classes; other labels do not count.
        pool: The pieces that are read.
        unlabelled: Whether windows without a labelled unit are kept.

    Raises:
        DataError: No unit is left.
    """
    tokenizer = model.tokenizer
    special = special_pieces_of(tokenizer, pairs=corpus.second_starts is not None)
    special = special.told_apart(model.config.tells_types_apart)
    number_of = {name: number for number, name in enumerate(classes)}
    windows, numbers, skipped = [], [], Counter[str]()
    aligned = align_texts(tokenizer, corpus, range(corpus.sentence_count))
    cls_place = cls_place_of(tokenizer, special) if pool == "cls" else None
    for sentence, pieces in enumerate(aligned):
        cut, excluded = cut_text(corpus, sentence, pieces, special=special, max_pieces=model.max_pieces)
        if pool in OF_SENTENCES:
            cut = _one_unit(cut, excluded, cls_place, skipped)
        else:
            skipped.update(excluded.values())
        labels = _labels_of(corpus, task, sentence, of_sentence=pool in OF_SENTENCES)
        for window in cut:
            of_units = [labels[unit] for unit in window.words]
            found = np.array([number_of.get(label, -1) if label is not None else -1 for label in of_units], np.int32)
            skipped[UNLABELLED] += sum(label is None for label in of_units)
            skipped[UNKNOWN_CLASS] += sum(label is not None and label not in number_of for label in of_units)
            if unlabelled or (found >= 0).any():
                windows.append(_narrowed(window, pool))
                numbers.append(found)
    if not windows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in (+skipped).items())
        raise DataError(f"{corpus.name} has nothing to read for the task `{task}` ({reasons}). Give other texts.")
    return Texts(windows=tuple(windows), classes=tuple(numbers), skipped=dict(+skipped))


def _one_unit(
    windows: Sequence[Window], excluded: Mapping[int, str], cls_place: int | None, skipped: Counter[str]
) -> list[Window]:
    """Returns the window of a whole sentence, or none, and then counts why."""
    whole = read_whole(windows, excluded, cls_place)
    if isinstance(whole, str):
        skipped[whole] += 1
        return []
    return [whole]


def _labels_of(corpus: Corpus, task: str, sentence: int, *, of_sentence: bool) -> Sequence[str | None]:
    """Returns the label of every unit of a sentence; None for all where the corpus does not have the task."""
    if of_sentence:
        return (corpus.sentence_labels[task][sentence],) if task in corpus.sentence_tasks else (None,)
    return corpus.labels[task][sentence] if task in corpus.tasks else (None,) * len(corpus.sentences[sentence])


def _narrowed(window: Window, pool: Reading) -> Window:
    """Returns a window whose units are read from one of their pieces, where that is the reading."""
    if pool == "first":
        return window._replace(ends=window.starts + np.int32(1))
    return window._replace(starts=window.ends - np.int32(1)) if pool == "last" else window

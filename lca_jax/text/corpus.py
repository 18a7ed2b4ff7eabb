"""Words and their labels, as every later step sees them.

A `Corpus` is plain Python text: sentences of word forms and, for each task, one label (or None) per word, or one per
sentence. In a corpus of pairs, a sentence is both texts, one after the other. A corpus knows no model and no pieces. It
costs what its strings cost (about 130 bytes a word). Files are read in `conllu`, `columns`, `sentences` and
`json_lines`, pieces are made in `alignment`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, TypeVar

import numpy as np

from lca_jax.errors import CorpusError, SettingsError, list_problems
from lca_jax.machine.checksums import checksum_of_parts
from lca_jax.machine.json_text import compact_parts
from lca_jax.tables import html_table, text_table
from lca_jax.text.problems import label_problems, pair_problems, sentence_label_problems, taken_by_both, word_problems

_T = TypeVar("_T")

WordLabels = tuple[tuple[str | None, ...], ...]
"""One label per word, sentence by sentence; None masks the word: it is neither trained nor scored on."""
SentenceLabels = tuple[str | None, ...]
"""One label per sentence; None masks the sentence."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Sentences of words with labels; from `read_conllu` and the other readers, or from `Corpus.from_words`."""

    sentences: tuple[tuple[str, ...], ...]
    """Word forms, sentence by sentence. A sentence may be empty."""
    labels: Mapping[str, WordLabels]
    """Labels of all words for every task of words, shaped like `sentences`."""
    sentence_labels: Mapping[str, SentenceLabels] = field(default_factory=dict)
    """Labels of all sentences for every task of sentences; no task is in both mappings."""
    second_starts: tuple[int, ...] | None = None
    """In a corpus of pairs, the number of words in the first text of each sentence: the second text begins there. None
    if the sentences are not pairs."""
    name: str = "words"
    """Origin of the words (a file name), for messages and manifests."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Number of items that the reader skipped because they are not words, by reason."""

    @classmethod
    def from_words(
        cls,
        sentences: Sequence[Sequence[str]],
        labels: Mapping[str, Sequence[Sequence[str | None]]] | None = None,
        *,
        sentence_labels: Mapping[str, Sequence[str | None]] | None = None,
        second_starts: Sequence[int] | None = None,
        name: str = "words",
    ) -> "Corpus":
        """Makes a corpus from lists.

        Args:
            sentences: One list of word forms per sentence.
            labels: For every task, one list of labels per sentence, as long as the sentence; None for a word without a
                label.
            sentence_labels: For every task of sentences, one label per sentence; None for one without a label.
            second_starts: For pairs, each given as one list of words: the number of words in the first text.
            name: Name of these words in messages.

        Raises:
            CorpusError: There is no word, a word or label is not text, or the labels do not fit the words; the message
                lists every place.
        """
        problems = list(word_problems(sentences))
        if not problems and not any(len(sentence) for sentence in sentences):
            problems.append("there is no word")
        for task, of_sentences in (labels or {}).items():
            problems.extend(label_problems(task, of_sentences, sentences))
        for task, of_task in (sentence_labels or {}).items():
            problems.extend(sentence_label_problems(task, of_task, sentences, taken=labels or {}))
        if second_starts is not None:
            problems.extend(pair_problems(second_starts, sentences))
        if problems:
            raise CorpusError(
                f"{name}: sentences must be lists of words, and labels must fit them word by word. Mend these and try "
                f"again (sentences and words counted from 1):\n{list_problems(problems)}"
            )
        return cls(
            sentences=_frozen(sentences),
            labels={task: _frozen(of_sentences) for task, of_sentences in (labels or {}).items()},
            sentence_labels={task: tuple(of_task) for task, of_task in (sentence_labels or {}).items()},
            second_starts=None if second_starts is None else tuple(second_starts),
            name=name,
        )

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        *,
        text: str,
        labels: Mapping[str, str],
        second: str | None = None,
        unlabelled: str | None = None,
        name: str = "dataset",
    ) -> "Corpus":
        """Makes a corpus of one split of a Hugging Face data set; numbers of classes become their names.

        Args:
            dataset: A `datasets.Dataset`.
            text: Column of the text: a list of words, or a string, which is split at white space.
            labels: Column of every task; a list in each row holds labels of words, any other value one of the sentence.
            second: Column of the second text of pairs.
            unlabelled: Label that marks words or sentences without one, besides -100.
            name: Name of these words in messages.

        Raises: CorpusError, SettingsError, as `from_words`; or the data set has no column of one of these names.
        """
        from lca_jax.text.datasets import corpus_of_dataset

        return corpus_of_dataset(dataset, text=text, labels=labels, second=second, unlabelled=unlabelled, name=name)

    def __repr__(self) -> str:
        """Describes the corpus in a few lines: its size, what was skipped, and a table of its tasks."""
        return text_table(self._tasks_by_column(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(self._tasks_by_column(), caption=self._caption())

    @property
    def sentence_count(self) -> int:
        """Number of sentences, including the empty ones."""
        return len(self.sentences)

    @property
    def word_count(self) -> int:
        """Number of words, labelled or not."""
        return sum(map(len, self.sentences))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the label columns of words, in the order in which they were given."""
        return tuple(self.labels)

    @property
    def sentence_tasks(self) -> tuple[str, ...]:
        """Names of the label columns of sentences, in the order in which they were given."""
        return tuple(self.sentence_labels)

    def words(self) -> list[str]:
        """Returns all word forms as one flat list."""
        return list(chain.from_iterable(self.sentences))

    def flat_labels(self, task: str) -> list[str | None]:
        """Returns the labels of one task of words as one flat list, parallel to `words()`.

        Raises:
            SettingsError: The corpus has no such task; the message lists its tasks.
        """
        return list(chain.from_iterable(self._labels_of(task)))

    def classes(self, task: str) -> tuple[str, ...]:
        """Returns the distinct labels of one task, sorted; their places are the class numbers.

        Raises:
            SettingsError: The corpus has no such task, of words or sentences; the message lists its tasks.
        """
        labels = self.sentence_labels[task] if task in self.sentence_labels else self.flat_labels(task)
        return tuple(sorted({label for label in labels if label is not None}))

    def take_sentences(self, first: int, last: int) -> "Corpus":
        """Returns the sentences `first` to `last - 1`, counted from 0; `skipped` still counts the whole source."""
        return self.choose(range(self.sentence_count)[first:last])

    def take_words(self, limit: int, *, seed: int | None = None) -> "Corpus":
        """Returns whole sentences with at most `limit` words together, but at least the first that has any.

        `skipped` still counts the whole source.

        Args:
            limit: Largest number of words.
            seed: None for the leading sentences, which in many files are of one genre or source. A number draws the
                sentences, and leaves them in their order; smaller limits then take a part of what larger ones take.

        Raises:
            SettingsError: `limit` is less than 1.
        """
        if limit < 1:
            raise SettingsError(f"`limit` must be 1 word or more, got {limit}.")
        count = self.sentence_count
        order = range(count) if seed is None else np.random.default_rng(seed).permutation(count).tolist()
        taken, words = 0, 0
        for sentence in order:
            length = len(self.sentences[sentence])
            if words and words + length > limit:
                break
            taken, words = taken + 1, words + length
        return self.choose(sorted(order[:taken]))

    def with_task(self, task: str, labels: Sequence[Sequence[str | None]]) -> "Corpus":
        """Returns the same words with one more label column; it replaces a task of that name.

        Raises:
            CorpusError: The labels do not fit the words, or the task is one of sentences; the message lists every
                place.
        """
        problems = list(label_problems(task, labels, self.sentences))
        if task in self.sentence_labels:
            problems.append(taken_by_both(task))
        if problems:
            raise CorpusError(
                f"{self.name}: the labels of a new task must fit the words. Mend these and try again (sentences "
                f"and words counted from 1):\n{list_problems(problems)}"
            )
        return replace(self, labels={**self.labels, task: _frozen(labels)})

    def annotate(
        self,
        task: str,
        *,
        words: Collection[str] | None = None,
        pattern: str | None = None,
        where: Callable[[str], bool] | None = None,
        fold_case: bool = False,
        balanced: bool = True,
        seed: int = 0,
    ) -> "Corpus":
        """Adds a task of two classes, `task` and `not task`: `annotate("year", pattern=r"(19|20)[0-9]{2}")`.

        Args:
            task: Name of the task and of its class.
            words: The words of the class.
            pattern: Regular expression that the whole word must match.
            where: Function that says of a word form whether it is in the class. One of the three is given.
            fold_case: Whether words and pattern do not tell capitals from small letters.
            balanced: Whether only as many other words, drawn by `seed`, are labelled as the class has.
            seed: Seed of the draw.

        Raises: CorpusError, SettingsError: as `text.annotate` says.
        """
        from lca_jax.text.annotate import chooser, label_words

        chosen = chooser(words=words, pattern=pattern, where=where, fold_case=fold_case)
        return self.with_task(task, label_words(self, task, chosen, balanced=balanced, seed=seed))

    def annotate_position(self) -> "Corpus":
        """Adds the task `position`: a word's place in its sentence, `begin`, `middle` or `end`."""
        from lca_jax.text.annotate import POSITION, position_labels

        return self.with_task(POSITION, position_labels(self))

    def fingerprint(self) -> str:
        """Returns the SHA-256 of forms, labels and pairs, in hexadecimal; name and order of the tasks do not count."""
        content: list[object] = [self.sentences, sorted(self.labels.items())]
        if self.sentence_labels or self.second_starts is not None:
            content += [sorted(self.sentence_labels.items()), self.second_starts]
        return checksum_of_parts(compact_parts(content))  # as one text, a hundred tasks would take gigabytes

    def _caption(self) -> str:
        kind = "sentences" if self.second_starts is None else "pairs"
        skipped = ", ".join(f"{reason} ({count:,})" for reason, count in self.skipped.items())
        size = f"Corpus {self.name}: {self.sentence_count:,} {kind}, {self.word_count:,} words"
        return f"{size}; skipped: {skipped}" if skipped else size

    def _tasks_by_column(self) -> dict[str, list[str] | list[int]]:
        """Returns the columns of the table of tasks; none if there are no tasks."""
        if not (self.labels or self.sentence_labels):
            return {}
        labels: list[Sequence[str | None]] = [*(self.flat_labels(task) for task in self.tasks)]
        labels += self.sentence_labels.values()
        return {
            "task": [*self.tasks, *self.sentence_tasks],
            "of": ["words"] * len(self.tasks) + ["sentences"] * len(self.sentence_tasks),
            "classes": [len({*of_task} - {None}) for of_task in labels],
            "labelled": [sum(label is not None for label in of_task) for of_task in labels],
        }

    def choose(self, sentences: Sequence[int]) -> "Corpus":
        """Returns the sentences with these numbers, counted from 0, in this order."""

        def of(rows: Sequence[_T]) -> tuple[_T, ...]:
            return tuple(rows[sentence] for sentence in sentences)

        return replace(
            self,
            sentences=of(self.sentences),
            labels={task: of(of_sentences) for task, of_sentences in self.labels.items()},
            sentence_labels={task: of(of_task) for task, of_task in self.sentence_labels.items()},
            second_starts=None if self.second_starts is None else of(self.second_starts),
        )

    def _labels_of(self, task: str) -> WordLabels:
        if task not in self.labels:
            known = ", ".join(self.tasks) or "none; read the corpus with `tasks`"
            of_sentences = f" Tasks of sentences: {', '.join(self.sentence_tasks)}." if self.sentence_labels else ""
            raise SettingsError(f"{self.name} has no task `{task}`. Tasks: {known}.{of_sentences}")
        return self.labels[task]


def _frozen(rows: Sequence[Sequence[_T]]) -> tuple[tuple[_T, ...], ...]:
    return tuple(tuple(row) for row in rows)

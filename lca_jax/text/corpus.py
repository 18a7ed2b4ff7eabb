"""Words and their labels, as every later step sees them.

A `Corpus` is plain Python text: sentences of word forms and, for each task, one label or None a word. It knows no model
and no pieces. It costs what its strings cost (about 130 bytes a word). Files are read in `readers`, pieces are made in
`alignment`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TypeVar

from lca_jax.errors import CorpusError, SettingsError, list_problems

_T = TypeVar("_T")

WordLabels = tuple[tuple[str | None, ...], ...]
"""One label a word, sentence by sentence; None masks the word: it is neither trained nor scored on."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Sentences of words with labels; from `read_conllu`, `read_columns`, `read_text` or `Corpus.from_words`."""

    sentences: tuple[tuple[str, ...], ...]
    """The word forms. A sentence may be empty."""
    labels: Mapping[str, WordLabels]
    """For every task the labels of all words, shaped like `sentences`."""
    name: str = "words"
    """Where the words come from (a file name), for messages and manifests."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """What the reader passed over because it is no word, counted by reason."""

    @classmethod
    def from_words(
        cls,
        sentences: Sequence[Sequence[str]],
        labels: Mapping[str, Sequence[Sequence[str | None]]] | None = None,
        *,
        name: str = "words",
    ) -> "Corpus":
        """Makes a corpus from lists.

        Args:
            sentences: One list of word forms a sentence.
            labels: For every task one list of labels a sentence, as long as the sentence; None for a word without a
                label.
            name: What messages call these words.

        Raises:
            CorpusError: There is no word, a word or label is no text, or the labels do not fit the words; lists every
                place.
        """
        problems = list(_word_problems(sentences))
        if not problems and not any(len(sentence) for sentence in sentences):
            problems.append("there is no word")
        for task, of_sentences in (labels or {}).items():
            problems.extend(_label_problems(task, of_sentences, sentences))
        if problems:
            raise CorpusError(
                f"{name}: sentences must be lists of words, and labels must fit them word by word. Mend these and try "
                f"again (sentences and words counted from 1):\n{list_problems(problems)}"
            )
        return cls(
            sentences=_frozen(sentences),
            labels={task: _frozen(of_sentences) for task, of_sentences in (labels or {}).items()},
            name=name,
        )

    @property
    def sentence_count(self) -> int:
        """Number of sentences, the empty ones included."""
        return len(self.sentences)

    @property
    def word_count(self) -> int:
        """Number of words, labelled or not."""
        return sum(map(len, self.sentences))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the label columns, in the order in which they were given."""
        return tuple(self.labels)

    def words(self) -> list[str]:
        """All word forms, one flat list."""
        return list(chain.from_iterable(self.sentences))

    def flat_labels(self, task: str) -> list[str | None]:
        """The labels of one task, one flat list beside `words()`.

        Raises:
            SettingsError: The corpus has no such task; the message lists those it has.
        """
        return list(chain.from_iterable(self._labels_of(task)))

    def classes(self, task: str) -> tuple[str, ...]:
        """The distinct labels of one task, sorted; their places are the class numbers."""
        return tuple(sorted({label for label in self.flat_labels(task) if label is not None}))

    def take_words(self, limit: int) -> "Corpus":
        """The leading sentences that together have at most `limit` words, but at least the first one that has any.

        `skipped` keeps counting the whole source.

        Raises:
            SettingsError: `limit` is under 1.
        """
        if limit < 1:
            raise SettingsError(f"`limit` must be 1 word or more, got {limit}.")
        taken, words = 0, 0
        for sentence in self.sentences:
            if words and words + len(sentence) > limit:
                break
            taken, words = taken + 1, words + len(sentence)
        labels = {task: of_sentences[:taken] for task, of_sentences in self.labels.items()}
        return replace(self, sentences=self.sentences[:taken], labels=labels)

    def with_task(self, task: str, labels: Sequence[Sequence[str | None]]) -> "Corpus":
        """The same words with one more label column, or with another one in place of the task of that name.

        Raises:
            CorpusError: The labels do not fit the words; lists every place.
        """
        if problems := list(_label_problems(task, labels, self.sentences)):
            raise CorpusError(
                f"{self.name}: the labels of a new task must fit the words. Mend these and try again (sentences "
                f"and words counted from 1):\n{list_problems(problems)}"
            )
        return replace(self, labels={**self.labels, task: _frozen(labels)})

    def fingerprint(self) -> str:
        """SHA-256 over forms and labels, in hexadecimal; the name and the order of the tasks do not enter."""
        content = [self.sentences, sorted(self.labels.items())]
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()

    def _labels_of(self, task: str) -> WordLabels:
        if task not in self.labels:
            known = ", ".join(self.tasks) or "none; read the corpus with `tasks`"
            raise SettingsError(f"{self.name} has no task `{task}`. Tasks: {known}.")
        return self.labels[task]


def _frozen(rows: Sequence[Sequence[_T]]) -> tuple[tuple[_T, ...], ...]:
    return tuple(tuple(row) for row in rows)


def _word_problems(sentences: Sequence[Sequence[object]]) -> Iterator[str]:
    for number, sentence in enumerate(sentences, 1):
        if isinstance(sentence, str):
            yield f"sentence {number}: {sentence[:40]!r} is one text; split it into a list of words"
            continue
        for position, word in enumerate(sentence, 1):
            if not isinstance(word, str):
                yield f"sentence {number}, word {position}: {word!r} is no text"
            elif not _is_unicode(word):
                yield f"sentence {number}, word {position}: {word!r} holds half a surrogate pair, which is no Unicode"


def _label_problems(
    task: str, labels: Sequence[Sequence[object]], sentences: Sequence[Sequence[object]]
) -> Iterator[str]:
    if len(labels) != len(sentences):
        yield f"task `{task}`: labels for {len(labels)} sentences, but there are {len(sentences)} sentences"
        return
    for number, (of_words, sentence) in enumerate(zip(labels, sentences, strict=True), 1):
        if isinstance(of_words, str) or len(of_words) != len(sentence):
            yield f"task `{task}`, sentence {number}: {len(of_words)} labels for {len(sentence)} words"
            continue
        for position, label in enumerate(of_words, 1):
            if label is not None and not isinstance(label, str):
                yield f"task `{task}`, sentence {number}, word {position}: the label {label!r} is neither text nor None"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

"""Chooses the words of a corpus that are read: limits, labelled words only, at most a number of each class.

A choice leaves out units, never context: the model sees the whole sentence of a word that is read. Sentences without
such a word are not computed. Where units are sentences, these are chosen in the same way by their own labels. What is
left out is counted by reason.
"""

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from lca_jax.errors import SettingsError
from lca_jax.store.recipe import WordChoice
from lca_jax.text.corpus import Corpus

BEYOND_SENTENCES = "beyond `max_sentences`"
BEYOND_WORDS = "beyond `max_words`"
UNLABELLED = "no label"
OVER_THE_CAP = "not drawn from its class"
"""Reasons why a word or sentence is left out, as stores keep them."""


def choose_words(corpus: Corpus, choice: WordChoice) -> tuple[Bool[np.ndarray, "word"], Counter[str]]:
    """Returns whether each word is read, and the number of words that are not, by reason.

    Raises:
        SettingsError: A task is unknown; the message lists the known ones.
    """
    lengths = np.array([len(sentence) for sentence in corpus.sentences], np.int64)
    reasons = np.repeat(_limit_sentences(corpus, choice), lengths)
    tasks = choice.labelled or (corpus.tasks if choice.per_class else ())
    return _apply(reasons, {task: corpus.flat_labels(task) for task in tasks}, choice)


def choose_sentences(corpus: Corpus, choice: WordChoice) -> tuple[Bool[np.ndarray, "sentence"], Counter[str]]:
    """Returns whether each sentence is read, and the number of sentences that are not, by reason.

    Raises:
        SettingsError: The corpus does not have the task for sentences; the message lists those it has.
    """
    if unknown := [task for task in choice.labelled if task not in corpus.sentence_labels]:
        known = ", ".join(corpus.sentence_tasks) or "none"
        raise SettingsError(f"{corpus.name} has no task of sentences `{unknown[0]}`. Tasks of sentences: {known}.")
    tasks = choice.labelled or (corpus.sentence_tasks if choice.per_class else ())
    labels = {task: corpus.sentence_labels[task] for task in tasks}
    return _apply(_limit_sentences(corpus, choice), labels, choice)


_Reasons = np.ndarray
"""Why each word or sentence is left out; an empty string if it is read."""


def _limit_sentences(corpus: Corpus, choice: WordChoice) -> _Reasons:
    reasons = np.full(corpus.sentence_count, "", object)
    if choice.max_words is not None:
        reasons[corpus.take_words(choice.max_words).sentence_count :] = BEYOND_WORDS
    if choice.max_sentences is not None:
        reasons[choice.max_sentences :] = BEYOND_SENTENCES
    return reasons


def _apply(
    reasons: _Reasons, labels: Mapping[str, Sequence[str | None]], choice: WordChoice
) -> tuple[Bool[np.ndarray, "chosen"], Counter[str]]:
    if labels:
        open_to_choice = reasons == ""
        columns = {task: np.array(of_task, object) for task, of_task in labels.items()}
        has_label = np.any([column != None for column in columns.values()], axis=0)  # noqa: E711 - element by element
        reasons[open_to_choice & ~has_label] = UNLABELLED
        if choice.per_class is not None:
            drawn = np.zeros(len(reasons), bool)
            for task, column in columns.items():
                drawn |= _draw(task, column, open_to_choice, choice)
            reasons[open_to_choice & has_label & ~drawn] = OVER_THE_CAP
    return reasons == "", Counter(reason for reason in reasons.tolist() if reason)


def _draw(
    task: str, labels: np.ndarray, open_to_choice: Bool[np.ndarray, "chosen"], choice: WordChoice
) -> Bool[np.ndarray, "chosen"]:
    """Draws at most `per_class` words or sentences of each class."""
    drawn = np.zeros(len(labels), bool)
    for name in sorted({label for label in labels.tolist() if label is not None}):
        places = np.flatnonzero((labels == name) & open_to_choice)
        if choice.per_class is not None and len(places) > choice.per_class:
            generator = np.random.default_rng([choice.seed, zlib.crc32(f"{task}\0{name}".encode())])
            places = generator.choice(places, choice.per_class, replace=False)
        drawn[places] = True
    return drawn

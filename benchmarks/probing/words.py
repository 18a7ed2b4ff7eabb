"""Reads and extracts the words that the probe benchmarks train on, with the same scaling for all competitors."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int

from benchmarks.source import ModelAndCorpus
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.text.conllu import read_conllu
from lca_jax.text.control import draw_control_task


@dataclass(frozen=True, kw_only=True)
class Source(ModelAndCorpus):
    """The source and the number of the words."""

    task: str = "upos"
    """Label column."""
    words: int = 20_000
    """Maximum number of training words, in leading sentences."""
    held_out: int = 5_000
    """Number of words after them, for the accuracy."""
    raw: bool = False
    """Leave X as it was extracted, instead of mean 0 and deviation 1 over the training words."""


class Words(NamedTuple):
    """Activations, class numbers and sentences of some words."""

    X: Float32[np.ndarray, "word feature"]
    y: Int[np.ndarray, " word"]
    """Class numbers; -1 if no training word has the word's class."""
    control: Int[np.ndarray, " word"]
    """Class numbers of the control task: random labels by word type."""
    sentences: Int[np.ndarray, " word"]
    """Number of each word's sentence."""


class Split(NamedTuple):
    """Training words and words held out."""

    train: Words
    unseen: Words
    classes: tuple[str, ...]

    def leading(self, words: int) -> "Split":
        """Returns the same with the first training words only; classes that these do not have stay."""
        return self._replace(train=Words(*(part[:words] for part in self.train)))

    def with_features(self, count: int) -> "Split":
        """Returns the same with the first features only."""
        train, unseen = (part._replace(X=np.ascontiguousarray(part.X[:, :count])) for part in (self.train, self.unseen))
        return self._replace(train=train, unseen=unseen)


def read_words(source: Source) -> Split:
    """Extracts the words, draws the control task and scales the features."""
    corpus = read_conllu(source.corpus_file, tasks=(source.task,)).take_words(source.words + source.held_out)
    count = corpus.take_words(source.words).word_count
    store = extract(load_model(source.model_folder), corpus)
    labels = store.labels(source.task)
    rows = np.flatnonzero([usable and label is not None for usable, label in zip(store.usable, labels, strict=True)])
    X = store.matrix(rows)
    train = rows < count
    named = [str(labels[row]) for row in rows]
    forms = store.forms()
    written = [forms[row] for row in rows]
    control = draw_control_task(written[: int(train.sum())], named[: int(train.sum())], seed=0)
    numbers = {name: number for number, name in enumerate(control.classes)}
    y = np.array([numbers.get(name, -1) for name in named], np.int32)
    drawn = np.array([numbers[str(name)] for name in control.label_like(written, named)], np.int32)
    if not source.raw:
        mean, deviation = X[train].mean(axis=0, dtype=np.float64), X[train].std(axis=0, dtype=np.float64)
        X = ((X - mean) / np.where(deviation < 1e-6, 1, deviation)).astype(np.float32)
    sentences = store.words["sentence"].to_numpy()[rows]
    halves = (Words(np.ascontiguousarray(X[half]), y[half], drawn[half], sentences[half]) for half in (train, ~train))
    return Split(*halves, classes=control.classes)


def tell_from_rest(split: Split, target: str | None = None) -> Split:
    """Returns the task of one class against all others, numbered 1 and 0.

    Args:
        split: Words of all classes.
        target: Name of a class; the most frequent one of the training words if None.

    Raises:
        ValueError: No class has that name.
    """
    target = target or split.classes[int(np.bincount(split.train.y).argmax())]
    if target not in split.classes:
        raise ValueError(f"`target` must be one of the classes {', '.join(split.classes)}, got {target!r}.")
    number = split.classes.index(target)
    halves = (
        half._replace(y=(half.y == number).astype(np.int32), control=(half.control == number).astype(np.int32))
        for half in (split.train, split.unseen)
    )
    return Split(*halves, classes=(f"not {target}", target))


def describe_input(source: Source, split: Split) -> dict[str, object]:
    """Returns the key `input` of a result file."""
    return {
        **source.names(),
        "task": source.task,
        "words": len(split.train.y),
        "held_out_words": len(split.unseen.y),
        "features": split.train.X.shape[1],
        "classes": len(split.classes),
        "standardized": not source.raw,
    }

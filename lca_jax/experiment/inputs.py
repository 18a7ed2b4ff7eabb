"""The inputs of a run or a study: its texts, its model, and the stores made of them, each made when first needed.

Stores lie in a folder, or nowhere: then the model computes their vectors whenever they are read.

The labels decide which units are probed: labels of sentences are probed on sentences, labels of words on words (or
their pieces), with `heads` on each word and its head. A file that is asked for both kinds is refused.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from lca_jax.errors import CorpusError, SettingsError
from lca_jax.experiment.config import Experiment, Request
from lca_jax.extraction.extract import extract
from lca_jax.extraction.recompute import recompute
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.store.derived import pair_words
from lca_jax.store.recipe import Pool, WordChoice, unit_of
from lca_jax.store.statistics import Gathering
from lca_jax.store.store import ActivationStore
from lca_jax.text.corpus import Corpus
from lca_jax.text.formats import read_corpus

_log = logging.getLogger("lca_jax")


class Inputs:
    """The model, and the parts `train`, `dev` and, where there is one, `test`."""

    def __init__(self, request: Request, folder: Path | None, *, progress: bool = False) -> None:
        """Keeps the settings; nothing is read yet.

        Args:
            request: Settings that say what is read; those of an `Experiment` name a test part too.
            folder: Folder in whose `activations/` the stores lie; None for nowhere.
            progress: Whether to show bars on stderr.
        """
        self._request = request
        self._folder = folder
        self._progress = progress

    @cached_property
    def whole(self) -> Mapping[str, Corpus]:
        """The texts by part, as they are in their files.

        Raises:
            CorpusError: Train and another part have no label of a task in common.
        """
        train = self._read(self._request.train)
        if self._request.dev is None:
            train, dev = _split_off_tenth(train)
            _log.info("dev: the last %d of the training sentences", dev.sentence_count)
        else:
            dev = self._read(self._request.dev)
        parts = {"train": train, "dev": dev}
        if isinstance(self._request, Experiment):
            parts["test"] = self._read(self._request.test)
        for task in self._request_tasks(train):
            for part in [name for name in parts if name != "train"]:
                _refuse_nothing_in_common(task, train, parts[part], part)
        return parts

    @property
    def origins(self) -> dict[str, dict[str, str]]:
        """Name and fingerprint of the model and of the words of every file; labels and limits do not count."""
        read = {part: corpus for part, corpus in self.whole.items() if part != "dev" or self._request.dev is not None}
        words = {part: replace(corpus, labels={}, sentence_labels={}) for part, corpus in read.items()}
        seed = self.model.random_weights
        model = self.model.name if seed is None else f"{self.model.name} with random weights {seed}"
        return {
            "model": {"name": model, "fingerprint": self.model.fingerprint},
            **{part: {"name": corpus.name, "fingerprint": corpus.fingerprint()} for part, corpus in words.items()},
        }

    @cached_property
    def corpora(self) -> Mapping[str, Corpus]:
        """The texts by part, with at most as many words as the settings allow."""
        drawn = {}
        for part, corpus in self.whole.items():
            limit = getattr(self._request, f"max_{part}_words", None)
            drawn[part] = corpus if limit is None else corpus.take_words(limit, seed=self._request.seed)
            if drawn[part].sentence_count < corpus.sentence_count:
                _log.info(
                    "%s: %d of %d sentences drawn by the seed %d, %d of %d words",
                    *(part, drawn[part].sentence_count, corpus.sentence_count, self._request.seed),
                    *(drawn[part].word_count, corpus.word_count),
                )
        return drawn

    @cached_property
    def model(self) -> Model:
        """The model, with trained or random weights."""
        return load_model(self._request.model, random_weights=self._request.random_weights)

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, by the names that the corpus gives them."""
        return self._request_tasks(self.corpora["train"])

    @cached_property
    def pool(self) -> Pool:
        """The pooling of the settings, or the default for labels of this kind."""
        of_sentences = bool(self.corpora["train"].sentence_tasks)
        pool = self._request.pool or ("sentence-mean" if of_sentences else "last")
        if (unit_of(pool) == "sentence") != of_sentences:
            kind = "sentences" if of_sentences else "words"
            ways = [way for way in get_args(Pool) if (unit_of(way) == "sentence") == of_sentences]
            raise SettingsError(
                f"Labels of {kind} ({', '.join(self.tasks)}) are probed with `pool` one of {', '.join(ways)}, "
                f"got {pool}."
            )
        return pool

    def choice(self, part: str) -> WordChoice:
        """Returns which words are read. Only training words are limited by class, so that results stay comparable."""
        request = self._request
        per_class = request.max_train_per_class if part == "train" else None
        is_limited = request.labelled_only or per_class is not None
        return WordChoice(labelled=self.tasks if is_limited else (), per_class=per_class, seed=request.seed)

    def extract(self, part: str) -> ActivationStore:
        """Returns the store of a part's words or sentences; opens a whole one, and goes on with one that was begun."""
        request = self._request
        reading: dict[str, Any] = {
            "sites": request.sites,
            "layers": request.layers,
            "neurons": request.neurons,
            "pool": self.pool,
            "choice": self.choice(part),
            "dtype": request.dtype,
        }
        if self._folder is None:
            return recompute(self.model, self.corpora[part], **reading)
        folder = self._folder / "activations" / part
        statistics = Gathering(tasks=self.tasks) if request.statistics else None
        return extract(
            self.model, self.corpora[part], folder, **reading, statistics=statistics, progress=self._progress
        )

    def store(self, part: str) -> ActivationStore:
        """Returns what probes read: the store of `extract` or, with `heads`, the pairs of words in it."""
        store = self.extract(part)
        return store if self._request.heads is None else pair_words(store, self._request.heads)

    def _request_tasks(self, train: Corpus) -> tuple[str, ...]:
        return tuple(task for task in train.sentence_tasks or train.tasks if task != self._request.heads)

    def _read(self, path: Path) -> Corpus:
        request = self._request
        tasks = request.tasks if request.heads is None else (*request.tasks, request.heads)
        corpus = read_corpus(path, tasks=tasks, unlabelled_as=request.unlabelled_as)
        if corpus.sentence_tasks and (corpus.tasks or request.heads is not None):
            raise SettingsError(
                f"{path} has labels of sentences ({', '.join(corpus.sentence_tasks)}) and was asked for labels of "
                f"words ({', '.join(corpus.tasks) or request.heads}). Probe them in two runs."
            )
        return corpus


def _refuse_nothing_in_common(task: str, train: Corpus, other: Corpus, part: str) -> None:
    """Refuses parts of which no label of a task is among those of training: nothing could be right there."""
    if task not in other.tasks and task not in other.sentence_tasks:
        return  # what a file lacks is said where the task is looked up
    known, found = train.classes(task), other.classes(task)
    if found and not set(known) & set(found):
        raise CorpusError(
            f"train ({train.name}) and {part} ({other.name}) must have labels of `{task}` in common, and have none: "
            f"train has {_some(known)}, {part} has {_some(found)}. Check the label column of both files."
        )


def _some(names: Sequence[str], shown: int = 5) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def _split_off_tenth(corpus: Corpus) -> tuple[Corpus, Corpus]:
    """Returns all but the last tenth of the sentences, and the last tenth."""
    cut = corpus.sentence_count - max(1, corpus.sentence_count // 10)
    if cut < 1:
        raise SettingsError(f"{corpus.name} must have two sentences or more to spare some for dev. Name a dev file.")
    first, rest = corpus.take_sentences(0, cut), corpus.take_sentences(cut, corpus.sentence_count)
    return replace(first, name=f"{corpus.name} (first nine tenths)"), replace(rest, name=f"{corpus.name} (last tenth)")

"""The inputs of a run or a study: its texts, its model, and the stores made of them, each made when first needed.

Stores lie in a folder, or nowhere: then the model computes their vectors whenever they are read.

The labels decide which units are probed: labels of sentences are probed on sentences, labels of words on words (or
their pieces), with `heads` on each word and its head. A file that is asked for both kinds is refused.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

from lca_jax.errors import CorpusError, SettingsError
from lca_jax.experiment.config import Experiment
from lca_jax.experiment.kept_corpora import is_kept
from lca_jax.experiment.opening import open_model
from lca_jax.experiment.origins import Origins
from lca_jax.experiment.request import Request
from lca_jax.extraction.extract import extract
from lca_jax.extraction.recompute import recompute
from lca_jax.extraction.shapes import choose_row_length, choose_window
from lca_jax.machine.heap import return_freed_memory
from lca_jax.machine.versions import STORE_PACKAGES, package_versions
from lca_jax.models.model import Model
from lca_jax.store.derived import pair_words
from lca_jax.store.recipe import Pool, WordChoice, unit_of
from lca_jax.store.statistics import Gathering
from lca_jax.store.store import ActivationStore
from lca_jax.text.annotate import POSITION, annotate_by_option
from lca_jax.text.corpus import Corpus
from lca_jax.text.formats import read_corpus
from lca_jax.text.options import TextOptions
from lca_jax.text.reference import reference_pieces

_log = logging.getLogger("lca_jax")
_LONG = 6
"""Words of a sentence that hardly comes twice by chance."""
_FRACTION = re.compile(r"-?[0-9]*\.[0-9]+")
_MANY_NUMBERS = 20


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
        self._stores: dict[str, ActivationStore] = {}

    @cached_property
    def whole(self) -> Mapping[str, Corpus]:
        """The texts by part, as they are in their files.

        Raises:
            CorpusError: Train and another part have no label of a task in common.
        """
        train = self._read(self._request.train, "train")
        if self._request.dev is None:
            train, dev = _split_off_tenth(train)
            _log.info("dev: the last %d of the training sentences", dev.sentence_count)
        else:
            dev = self._read(self._request.dev, "dev")
        parts = {"train": train, "dev": dev}
        if isinstance(self._request, Experiment):
            parts["test"] = self._read(self._request.test, "test")
        for task in [task for task in self._request_tasks(train) if task not in self._numbers]:
            for part in [name for name in parts if name != "train"]:
                _refuse_nothing_in_common(task, train, parts[part], part)
        tell_overlaps(parts)
        return_freed_memory()  # of the rows, which take twice what is kept of them
        return parts

    @cached_property
    def origins(self) -> Origins:
        """Name and fingerprint of the model and of the words of every file; labels and limits do not count.

        With the model are its `pieces` of the reference words, and the `versions` of the packages that cut them.
        """
        read = {part: corpus for part, corpus in self.whole.items() if part != "dev" or self._request.dev is not None}
        words = {part: replace(corpus, labels={}, sentence_labels={}) for part, corpus in read.items()}
        seed = self.model.random_weights
        model = self.model.name if seed is None else f"{self.model.name} with random weights {seed}"
        return {
            "model": {
                "name": model,
                "fingerprint": self.model.fingerprint,
                "pieces": reference_pieces(self.model.tokenizer),
                "versions": package_versions(STORE_PACKAGES),
            },
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
        return open_model(self._request)

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

    def window(self, part: str) -> int | None:
        """Returns the pieces of the longest window of a part; None where they are as many as without the setting."""
        limits = {"row_length": choose_row_length(self.corpora[part]), "most": self.model.max_pieces}
        asked, usual = (choose_window(pieces, **limits) for pieces in (self._request.longest_window, None))
        return None if asked == usual else asked

    def extract(self, part: str) -> ActivationStore:
        """Returns the store of a part's words or sentences; opens a whole one, and goes on with one that was begun."""
        if part not in self._stores:
            self._stores[part] = self._extract(part)
        return self._stores[part]

    def _extract(self, part: str) -> ActivationStore:
        request = self._request
        reading: dict[str, Any] = {
            "sites": request.sites,
            "layers": request.layers,
            "neurons": request.neurons,
            "pool": self.pool,
            "choice": self.choice(part),
            "dtype": request.dtype,
        }
        for name in ("shard_words", "longest_window"):
            if (given := getattr(request, name)) is not None:
                reading[name] = given
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

    @property
    def _numbers(self) -> Sequence[str]:
        """The tasks whose labels are numbers to predict, which a study may have."""
        return getattr(self._request, "regression", ())

    def _request_tasks(self, train: Corpus) -> tuple[str, ...]:
        return tuple(task for task in train.sentence_tasks or train.tasks if task != self._request.heads)

    def _read(self, path: Path | Corpus, part: str) -> Corpus:
        request = self._request
        asked = request.tasks if request.heads is None else (*request.tasks, request.heads)
        if isinstance(path, Corpus):
            corpus = path
        else:
            tasks = [task for task in asked if task != POSITION]
            is_own = isinstance(request, Experiment) and is_kept(path, request.out)
            options = TextOptions() if is_own else request.texts
            corpus = read_corpus(path, tasks=tasks, unlabelled_as=request.unlabelled_as, options=options, part=part)
        corpus = corpus.annotate_position() if POSITION in asked else corpus
        for option in request.annotate:
            corpus = annotate_by_option(corpus, option, seed=request.seed, encoding=request.texts.encoding)
        for task in corpus.sentence_tasks or corpus.tasks:
            if task not in self._numbers:
                refuse_numbers(corpus, task)
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


def tell_overlaps(parts: Mapping[str, Corpus]) -> None:
    """Warns of parts that share sentences: a probe that has seen them in training is measured on what it remembers."""
    sentences = {part: {text for text in corpus.sentences if len(text) >= _LONG} for part, corpus in parts.items()}
    for one, other in combinations(parts, 2):
        shared = sentences[one] & sentences[other]
        count = sum(text in shared for text in parts[other].sentences)
        if parts[one].sentences == parts[other].sentences:
            _log.warning("%s and %s are the same sentences. Give different files.", one, other)
        elif shared:
            among = sum(len(text) >= _LONG for text in parts[other].sentences)
            _log.warning(
                "%d of %d sentences of %s (of %d words or more) are in %s too", count, among, other, _LONG, one
            )


def refuse_numbers(corpus: Corpus, task: str) -> None:
    """Refuses labels that are measurements: as classes, each number would be one of its own.

    Raises:
        SettingsError: Most labels are fractions, and there are many different ones.
    """
    classes = corpus.classes(task)
    fractions = [label for label in classes if _FRACTION.fullmatch(label)]
    if len(fractions) > _MANY_NUMBERS and 2 * len(fractions) > len(classes):
        raise SettingsError(
            f"{corpus.name}: the labels of `{task}` are numbers ({len(classes)} different ones, e.g. {fractions[0]}), "
            "and each would be a class of its own. Predict numbers with `lca study --regression "
            f"{task}` or fit_probes(…, regression=[{task!r}]); or give a column of classes."
        )

"""What an inquiry reads: its texts, its model, and the stores made of them, each made when it is first asked for.

Stores lie in a folder, or nowhere: then the model computes their vectors whenever they are read.

Labels decide what the rows are. Those of sentences are probed on sentences, those of words on words (or their pieces),
with `heads` on each word and its head; a file that was asked for both is refused.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from lca_jax.errors import SettingsError
from lca_jax.experiment.config import Inquiry
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


class Material:
    """The parts `train`, `dev` and, where there is one, `test`."""

    def __init__(
        self, inquiry: Inquiry, folder: Path | None, *, test: Path | None = None, progress: bool = False
    ) -> None:
        """Nothing is read yet.

        Args:
            inquiry: What is read.
            folder: The stores lie in its `activations/`; None for nowhere.
            test: A third part.
            progress: Shows bars on stderr.
        """
        self._inquiry = inquiry
        self._folder = folder
        self._test = test
        self._progress = progress

    @cached_property
    def corpora(self) -> Mapping[str, Corpus]:
        """The texts by part, those of train as many as are asked for."""
        train = self._read(self._inquiry.train)
        if self._inquiry.dev is None:
            train, dev = _split_off_tenth(train)
            _log.info("dev: the last %d of the training sentences", dev.sentence_count)
        else:
            dev = self._read(self._inquiry.dev)
        if self._inquiry.max_train_words is not None:
            train = train.take_words(self._inquiry.max_train_words)
        parts = {"train": train, "dev": dev}
        return parts if self._test is None else parts | {"test": self._read(self._test)}

    @cached_property
    def model(self) -> Model:
        """With its own or with random weights."""
        return load_model(self._inquiry.model, random_weights=self._inquiry.random_weights)

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """The tasks by the names that the corpus gives them."""
        train = self.corpora["train"]
        return tuple(task for task in train.sentence_tasks or train.tasks if task != self._inquiry.heads)

    @cached_property
    def pool(self) -> Pool:
        """The pooling asked for, or the usual one of the kind of tasks."""
        of_sentences = bool(self.corpora["train"].sentence_tasks)
        pool = self._inquiry.pool or ("sentence-mean" if of_sentences else "last")
        if (unit_of(pool) == "sentence") != of_sentences:
            kind = "sentences" if of_sentences else "words"
            ways = [way for way in get_args(Pool) if (unit_of(way) == "sentence") == of_sentences]
            raise SettingsError(
                f"Labels of {kind} ({', '.join(self.tasks)}) are probed with `pool` one of {', '.join(ways)}, "
                f"got {pool}."
            )
        return pool

    def choice(self, part: str) -> WordChoice:
        """Which words are read; a number of each class of train alone, so that results stay comparable."""
        inquiry = self._inquiry
        per_class = inquiry.max_train_per_class if part == "train" else None
        chosen = inquiry.labelled_only or per_class is not None
        return WordChoice(labelled=self.tasks if chosen else (), per_class=per_class, seed=inquiry.seed)

    def extract(self, part: str) -> ActivationStore:
        """The store of the words or sentences; one that is there is opened, one that was begun goes on."""
        inquiry = self._inquiry
        asked: dict[str, Any] = {
            "sites": inquiry.sites,
            "layers": inquiry.layers,
            "neurons": inquiry.neurons,
            "pool": self.pool,
            "choice": self.choice(part),
            "dtype": inquiry.dtype,
        }
        if self._folder is None:
            return recompute(self.model, self.corpora[part], **asked)
        folder = self._folder / "activations" / part
        statistics = Gathering(tasks=self.tasks) if inquiry.statistics else None
        return extract(self.model, self.corpora[part], folder, **asked, statistics=statistics, progress=self._progress)

    def store(self, part: str) -> ActivationStore:
        """What probes read: the store that `extract` makes or, with `heads`, the pairs in it."""
        store = self.extract(part)
        return store if self._inquiry.heads is None else pair_words(store, self._inquiry.heads)

    def _read(self, path: Path) -> Corpus:
        inquiry = self._inquiry
        asked = inquiry.tasks if inquiry.heads is None else (*inquiry.tasks, inquiry.heads)
        corpus = read_corpus(path, tasks=asked, unlabelled_as=inquiry.unlabelled_as)
        if corpus.sentence_tasks and (corpus.tasks or inquiry.heads is not None):
            raise SettingsError(
                f"{path} has labels of sentences ({', '.join(corpus.sentence_tasks)}) and was asked for labels of "
                f"words ({', '.join(corpus.tasks) or inquiry.heads}). Probe them in two runs."
            )
        return corpus


def _split_off_tenth(corpus: Corpus) -> tuple[Corpus, Corpus]:
    """All but the last tenth of the sentences, and the last tenth."""
    cut = corpus.sentence_count - max(1, corpus.sentence_count // 10)
    if cut < 1:
        raise SettingsError(f"{corpus.name} has one sentence only; name a dev file.")

    first, rest = corpus.take_sentences(0, cut), corpus.take_sentences(cut, corpus.sentence_count)
    return replace(first, name=f"{corpus.name} (first nine tenths)"), replace(rest, name=f"{corpus.name} (last tenth)")

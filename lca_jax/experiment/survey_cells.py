"""The cells of a survey: the parts of its corpora, each read and divided once, and the run of every model on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lca_jax.errors import CorpusError
from lca_jax.experiment.config import Experiment
from lca_jax.experiment.survey_settings import Survey
from lca_jax.text.annotate import POSITION
from lca_jax.text.corpus import Corpus
from lca_jax.text.division import divide_corpus, sentence_ids
from lca_jax.text.formats import read_corpus
from lca_jax.text.options import TextOptions


@dataclass(frozen=True)
class Cells:
    """The cells of a survey; its corpora are read when they are first needed."""

    survey: Survey

    @cached_property
    def experiments(self) -> Mapping[tuple[str, str], Experiment]:
        """The run of every cell, by the names of its model and its corpus.

        Raises:
            LcaError: A corpus cannot be read or divided, or corpora that are to be aligned have no sentence in common.
        """
        survey = self.survey
        parts = {name: self._parts(name) for name in survey.corpora}
        return {(model, corpus): survey.experiment(model, corpus, parts[corpus]) for model, corpus in survey.cells}

    @cached_property
    def aligned(self) -> Mapping[str, Any] | None:
        """How many sentences the aligned corpora have, each and all of them; None where they are not aligned."""
        if self.survey.align is None:
            return None
        known = {name: set(self._identities(name)) for name in self.survey.corpora}
        common = set.intersection(*known.values())
        if not common:
            raise CorpusError(
                f"{', '.join(known)} are to be aligned by sent_id, and no sent_id is in all of them. Leave out `align`."
            )
        return {"common": len(common), "sentences": {name: len(of_name) for name, of_name in known.items()}}

    def _parts(self, name: str) -> Mapping[str, Path | Corpus]:
        sources = self.survey.sources(name)
        if "file" not in sources:
            return sources
        keys = None if self.survey.align is None else self._identities(name)
        divided = divide_corpus(self._read(name), shares=self.survey.parts, keys=keys, seed=self.survey.seed)
        return divided._asdict()

    def _read(self, name: str) -> Corpus:
        source = self.survey.sources(name)["file"]
        if isinstance(source, Corpus):
            return source
        # What decides how the words are read must be the same for all models; runs check what they need besides.
        settings = self.survey.settings_of(next(iter(self.survey.models)), name)
        heads = settings.get("heads")
        tasks = [task for task in self.survey.tasks if task != POSITION] + ([heads] if heads else [])
        return read_corpus(
            source,
            tasks=tasks,
            unlabelled_as=settings.get("unlabelled_as"),
            options=settings.get("texts", TextOptions()),
        )

    def _identities(self, name: str) -> list[str]:
        source = self.survey.sources(name)["file"]
        if isinstance(source, Corpus):
            raise CorpusError(f"{name} is a corpus in memory, which has no sent_id. Give a CoNLL-U file to align it.")
        settings = self.survey.settings_of(next(iter(self.survey.models)), name)
        return sentence_ids(source, encoding=settings.get("texts", TextOptions()).encoding)

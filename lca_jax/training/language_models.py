"""Trains several LSTM language models at once, mapped over seeds and parts of the text (`training.many`).

The models have one shape and one vocabulary; they differ by their first weights and, with `divide`, by the part of the
sentences that they read, as in Dalvi et al. 2019 (three models on thirds). The loss is the mean cross-entropy of the
next word, the end of the sentence included.

Reference: Dalvi et al. 2019, "What Is One Grain of Sand in the Desert?", section "Experimental Setup".
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from lca_jax.errors import DataError
from lca_jax.models.model import Model
from lca_jax.models.recurrent.config import LstmConfig
from lca_jax.models.recurrent.making import draw_models, make_model
from lca_jax.models.stack import stack
from lca_jax.models.stack.dropout import Dropout
from lca_jax.models.stack.stack import Batch, Params, Stack
from lca_jax.models.stack.taps import Taps
from lca_jax.models.writing.generation import TextRules
from lca_jax.training.language_settings import TrainingSettings
from lca_jax.training.many import (
    EpochLoss,
    Schedule,
    count_models,
    file_in,
    perplexities,
    pick_model,
    split_sentences,
    stack_models,
    sum_cross_entropy,
    train_many,
)
from lca_jax.training.words import END, Vocabulary, batch_of, targets_of

_FILE = "language_models.safetensors"


@dataclass(frozen=True, kw_only=True)
class LanguageModels:
    """Trained language models of one shape and vocabulary."""

    config: LstmConfig
    vocabulary: Vocabulary = field(repr=False)
    params: Params = field(repr=False)
    """Parameters of all models, with a leading axis."""
    curve: tuple[EpochLoss, ...]
    """One entry an epoch."""
    row_length: int

    @property
    def count(self) -> int:
        """Number of models."""
        return count_models(self.params)

    def model(self, number: int) -> Model:
        """Returns one of the models, to be used like any other.

        Raises:
            SettingsError: There is no model of this number.
        """
        params, rules = pick_model(self.params, number), TextRules(ends=(END,))
        return make_model(f"language model {number}", self.config.stack(), params, self.vocabulary.tokenizer(), rules)

    def perplexity(self, sentences: Sequence[Sequence[str]]) -> tuple[float, ...]:
        """Returns the perplexity a word, ends of sentences included, of every model."""
        return perplexities(_loss(self.config, 0.0), self.params, _rows(self.vocabulary, sentences, self.row_length))


def train_language_models(
    sentences: Sequence[Sequence[str]],
    settings: TrainingSettings | None = None,
    *,
    out: Path | str | None = None,
    held_out: Sequence[Sequence[str]] = (),
    told: Callable[[EpochLoss], None] | None = None,
) -> LanguageModels:
    """Trains LSTM language models on sentences.

    Args:
        sentences: Sentences as lists of words.
        settings: Number and shape of the models, and how they are trained.
        out: Folder that gets the models after every epoch, and from which a run that was stopped goes on.
        held_out: Sentences whose perplexity is told after every epoch.
        told: Function that is called after every epoch.

    Raises:
        SettingsError: A number is out of its range.
        DataError: There are fewer sentences than models, or a model's part has no word.
        StoreError: The folder has models of other settings or sentences, or its file was altered.
    """
    settings = settings or TrainingSettings()
    file = file_in(out, _FILE)
    vocabulary = Vocabulary.of(sentences, settings.vocabulary)
    config = LstmConfig(
        vocabulary=len(vocabulary.words), width=settings.width, layers=settings.layers, tied=settings.tied
    )
    parts = split_sentences(len(sentences), settings.models, settings.seed, divide=settings.divide)
    data = [_rows(vocabulary, [sentences[int(one)] for one in part], settings.row_length) for part in parts]
    if not all(rows.counted.any() for rows in data):
        raise DataError(f"Every one of {settings.models} models needs words to learn from. Give more sentences.")
    loss, held = _loss(config, settings.dropout), _rows(vocabulary, held_out, settings.row_length) if held_out else None
    params, curve = train_many(
        loss,
        draw_models(config.stack(), settings.models, settings.seed),
        stack_models(data),
        Schedule(settings.epochs, settings.rows, settings.learning_rate, settings.seed),
        file=file,
        key=hashlib.sha256(json.dumps([asdict(settings), [*map(list, sentences)]]).encode()).hexdigest(),
        measure=lambda params: () if held is None else perplexities(loss, params, held),
        told=told,
    )
    return LanguageModels(
        config=config, vocabulary=vocabulary, params=params, curve=curve, row_length=settings.row_length
    )


class _Rows(NamedTuple):
    """Packed rows of words, and the word after every slot."""

    batch: Batch
    after: Int[Array | np.ndarray, "row slot"]
    counted: Bool[Array | np.ndarray, "row slot"]


def _rows(vocabulary: Vocabulary, sentences: Sequence[Sequence[str]], row_length: int) -> _Rows:
    batch = batch_of(vocabulary.pack(sentences, row_length))
    return _Rows(batch, *targets_of(np.asarray(batch.piece_ids), np.asarray(batch.segments)))


def _loss(config: LstmConfig, dropout: float) -> "_NextWord":
    return _NextWord(graph=stack.build(config.stack())[0], dropout=dropout)


@dataclass(frozen=True, kw_only=True)
class _NextWord:
    """Cross-entropy of the next word."""

    graph: nnx.GraphDef[Stack]
    dropout: float

    def __call__(
        self, params: Params, rows: _Rows, key: Key[Array, ""] | None
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        model = nnx.merge(self.graph, params)
        taps = Taps({}, {}, None if key is None else Dropout(rate=self.dropout, key=key))
        logits = model.logits(model(rows.batch, layers=model.config.layers, taps=taps))
        return sum_cross_entropy(logits, rows.after, rows.counted)

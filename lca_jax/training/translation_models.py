"""Trains several translation models at once, mapped over seeds and parts of the pairs (`training.many`).

The models are encoders of LSTMs in both directions with decoders that attend to them (`models.recurrent.config`). They
have one shape and one vocabulary; they differ by their first weights and, with `divide`, by the part of the pairs that
they read. The loss is the mean cross-entropy of the next piece of the translation, its end included.

References:
    Bahdanau et al. 2015; Luong et al. 2015 (attention). Dalvi et al. 2019, section "Experimental Setup".
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import jax
from flax import nnx
from jaxtyping import Array, Float, Key

from lca_jax.errors import DataError, SettingsError
from lca_jax.hugging_face import PreTrainedTokenizerFast
from lca_jax.models.model import Model
from lca_jax.models.recurrent.config import TranslatorConfig
from lca_jax.models.recurrent.making import draw_models, make_model
from lca_jax.models.stack import stack
from lca_jax.models.stack.dropout import Dropout
from lca_jax.models.stack.stack import Params, Stack
from lca_jax.models.stack.taps import Taps
from lca_jax.models.writing.generation import TextRules
from lca_jax.training.language_settings import TranslationSettings
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
from lca_jax.training.pieces import END, START, UNKNOWN, PairRows, learn_pieces, pack_pairs

Pair = tuple[str, str]
_FILE = "translation_models.safetensors"


@dataclass(frozen=True, kw_only=True)
class TranslationModels:
    """Trained translation models of one shape and vocabulary."""

    config: TranslatorConfig
    tokenizer: PreTrainedTokenizerFast = field(repr=False)
    params: Params = field(repr=False)
    """Parameters of all models, with a leading axis."""
    curve: tuple[EpochLoss, ...]
    """One entry an epoch."""
    left_out: int
    """Number of pairs that are longer than a row and were not read."""

    @property
    def count(self) -> int:
        """Number of models."""
        return count_models(self.params)

    def model(self, number: int) -> Model:
        """Returns one of the models, to be used like any other encoder-decoder.

        Raises:
            SettingsError: There is no model of this number.
        """
        params, rules = pick_model(self.params, number), TextRules(start=(START,), ends=(END,), never=(UNKNOWN, START))
        return make_model(f"translation model {number}", self.config.stack(), params, self.tokenizer, rules)


def train_translation_models(
    pairs: Sequence[Pair],
    settings: TranslationSettings | None = None,
    *,
    out: Path | str | None = None,
    held_out: Sequence[Pair] = (),
    told: Callable[[EpochLoss], None] | None = None,
) -> TranslationModels:
    """Trains translation models on pairs of source and translation.

    Args:
        pairs: Source and translation of every pair, split at white space.
        settings: Number and shape of the models, and how they are trained.
        out: Folder that gets the models after every epoch, and from which a run that was stopped goes on.
        held_out: Pairs whose perplexity a piece is told after every epoch.
        told: Function that is called after every epoch.

    Raises:
        SettingsError: A number is out of its range.
        DataError: A model has no pair that fits into a row.
        StoreError: The folder has models of other settings or pairs, or its file was altered.
    """
    settings = settings or TranslationSettings()
    file = file_in(out, _FILE)
    tokenizer = learn_pieces([text for pair in pairs for text in pair], settings.vocabulary)
    config = TranslatorConfig(vocabulary=len(tokenizer), width=settings.width, layers=settings.layers)
    parts = split_sentences(len(pairs), settings.models, settings.seed, divide=settings.divide)
    packed = [_rows(tokenizer, [pairs[one] for one in part.tolist()], settings.row_length) for part in parts]
    if not all(rows.counted.any() for rows, _ in packed):
        raise DataError(
            f"Every one of {settings.models} models needs pairs of at most {settings.row_length} pieces a side. Give "
            "more pairs, or a higher `row_length`."
        )
    held = _rows(tokenizer, held_out, settings.row_length)[0] if held_out else None
    if held is not None and not held.counted.any():
        raise SettingsError(f"No pair of `held_out` has at most {settings.row_length} pieces a side.")
    loss = _NextPiece(graph=stack.build(config.stack())[0], dropout=settings.dropout)
    content = [asdict(settings), [*map(list, pairs)], tokenizer.backend_tokenizer.to_str()]
    params, curve = train_many(
        loss,
        draw_models(config.stack(), settings.models, settings.seed),
        stack_models([rows for rows, _ in packed]),
        Schedule(settings.epochs, settings.rows, settings.learning_rate, settings.seed),
        file=file,
        key=hashlib.sha256(json.dumps(content).encode()).hexdigest(),
        measure=lambda params: () if held is None else perplexities(loss, params, held),
        told=told,
    )
    left_out = sum(count for _, count in packed)
    return TranslationModels(config=config, tokenizer=tokenizer, params=params, curve=curve, left_out=left_out)


def _rows(tokenizer: PreTrainedTokenizerFast, pairs: Sequence[Pair], row_length: int) -> tuple[PairRows, int]:
    sources, targets = (tokenizer(list(side), verbose=False)["input_ids"] for side in zip(*pairs, strict=True))
    return pack_pairs(sources, targets, row_length)


@dataclass(frozen=True, kw_only=True)
class _NextPiece:
    """Cross-entropy of the next piece of the translation."""

    graph: nnx.GraphDef[Stack]
    dropout: float

    def __call__(
        self, params: Params, rows: PairRows, key: Key[Array, ""] | None
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        model = nnx.merge(self.graph, params)
        assert model.decoder is not None
        keys = (None, None) if key is None else jax.random.split(key)
        reading, writing = (
            Taps({}, {}, None if own is None else Dropout(rate=self.dropout, key=own)) for own in (keys[0], keys[1])
        )
        states = model(rows.source, layers=model.config.layers, taps=reading)
        layers = model.decoder.config.layers
        logits = model.logits(model.decode(rows.target, rows.source, states, layers=layers, taps=writing))
        return sum_cross_entropy(logits, rows.after, rows.counted)

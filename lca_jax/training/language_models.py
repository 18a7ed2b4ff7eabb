"""Trains several LSTM language models at once: one compiled program an epoch, mapped over seeds and parts of the text.

The models have one shape and one vocabulary; they differ by their first weights and, with `divide`, by the part of the
sentences that they read, as in Dalvi et al. 2019 (three models on thirds). After every epoch everything is written to
one file, so that a run that is stopped goes on with the next epoch and ends with the same weights.

The loss is the mean cross-entropy of the next word, the end of the sentence included. Adam, gradients clipped at norm
1, and a learning rate that falls to 0 along a cosine; no dropout.

Reference: Dalvi et al. 2019, "What Is One Grain of Sand in the Desert?", section "Experimental Setup".
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Float32, Int, Int32

from lca_jax.errors import DataError, SettingsError, StoreError
from lca_jax.machine.files import real_path, write_whole
from lca_jax.models.recurrent.config import LstmConfig
from lca_jax.models.recurrent.lstm import forward, initial_params, logits
from lca_jax.models.stack.stack import Batch, Params
from lca_jax.store.tensor_file import pack_tensors, unpack_tensors
from lca_jax.training.language_settings import TrainingSettings
from lca_jax.training.words import Vocabulary, batch_of, targets_of

_FILE = "language_models.safetensors"
_ROWS_AT_ONCE = 32
_log = logging.getLogger(__name__)


class EpochLoss(NamedTuple):
    """The loss curve at the end of one epoch."""

    epoch: int
    training: tuple[float, ...]
    """Mean loss a word of every model during the epoch, in nats."""
    perplexity: tuple[float, ...]
    """Perplexity of every model on the held-out sentences; empty where none were given."""


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
        return len(self.params["bias"])

    def params_of(self, model: int) -> Params:
        """Returns the parameters of one model, for `models.recurrent.lstm`.

        Raises:
            SettingsError: There is no model of this number.
        """
        if not 0 <= model < self.count:
            raise SettingsError(f"Models run from 0 to {self.count - 1}, got {model}.")
        return jax.tree.map(lambda leaf: leaf[model], self.params)

    def read_words(self, model: int, sentences: Sequence[Sequence[str]]) -> Float32[np.ndarray, "word layer neuron"]:
        """Returns the states of every word by one model: what `correlate_models` and rankings read.

        Raises:
            SettingsError: There is no model of this number.
        """
        rows, params = self.vocabulary.pack(sentences, self.row_length), self.params_of(model)
        found = np.zeros((len(rows.words), self.config.layers + 1, self.config.width), np.float32)
        batch = _filled(batch_of(rows), _ROWS_AT_ONCE)
        for first in range(0, len(batch.piece_ids), _ROWS_AT_ONCE):
            states = np.asarray(
                _states(self.config, params, Batch(*(part[first : first + _ROWS_AT_ONCE] for part in batch[:3])))
            )
            own = (rows.rows >= first) & (rows.rows < first + _ROWS_AT_ONCE)
            found[own] = states[:, rows.rows[own] - first, rows.starts[own]].swapaxes(0, 1)
        return found

    def perplexity(self, sentences: Sequence[Sequence[str]]) -> tuple[float, ...]:
        """Returns the perplexity a word, ends of sentences included, of every model."""
        batch = _filled(batch_of(self.vocabulary.pack(sentences, self.row_length)), _ROWS_AT_ONCE)
        after, counted = targets_of(np.asarray(batch.piece_ids), np.asarray(batch.segments))
        total = np.zeros(self.count)
        for first in range(0, len(after), _ROWS_AT_ONCE):
            own = slice(first, first + _ROWS_AT_ONCE)
            part = Batch(*(of[own] for of in batch[:3]))
            total += np.asarray(_losses(self.config, self.params, part, after[own], counted[own]), np.float64)
        return tuple(np.exp(total / counted.sum()).tolist())


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
    vocabulary = Vocabulary.of(sentences, settings.vocabulary)
    config = LstmConfig(
        vocabulary=len(vocabulary.words), width=settings.width, layers=settings.layers, tied=settings.tied
    )
    data = _data(vocabulary, _parts(sentences, settings), settings)
    steps = -(-data.pieces.shape[1] // settings.rows)
    optimizer = _optimizer(settings, steps)
    keys = jax.random.split(jax.random.key(settings.seed), settings.models)
    params = jax.vmap(partial(initial_params, config))(keys)
    state = (params, jax.vmap(optimizer.init)(params))
    file = None if out is None else real_path(out) / _FILE
    key = _key(sentences, settings)
    curve: tuple[EpochLoss, ...] = ()
    if file is not None and file.exists():
        state, curve = _read(file, key, state)
        _log.info("%s has %d of %d epochs.", file, len(curve), settings.epochs)
    run = partial(_epoch, config, settings, steps)
    models = LanguageModels(
        config=config, vocabulary=vocabulary, params=state[0], curve=curve, row_length=settings.row_length
    )
    for epoch in range(len(curve), settings.epochs):
        state, losses = run(state, data, _orders(data, settings, steps, epoch))
        models = replace(models, params=state[0])
        loss = EpochLoss(epoch + 1, tuple(np.asarray(losses).tolist()), models.perplexity(held_out) if held_out else ())
        models = replace(models, curve=(*models.curve, loss))
        if file is not None:
            _write(file, key, state, models.curve)
        if told is not None:
            told(loss)
    return models


class _Data(NamedTuple):
    """The rows of every model's text; rows of zeros behind the last of a shorter one."""

    pieces: Int32[np.ndarray, "model row slot"]
    segments: Int32[np.ndarray, "model row slot"]
    after: Int32[np.ndarray, "model row slot"]
    counted: Bool[np.ndarray, "model row slot"]


def _parts(sentences: Sequence[Sequence[str]], settings: TrainingSettings) -> list[list[Sequence[str]]]:
    count = len(sentences)
    if settings.divide:
        parts = np.array_split(np.random.default_rng(settings.seed).permutation(count), settings.models)
    else:
        parts = [np.arange(count)] * settings.models
    return [[sentences[number] for number in part.tolist()] for part in parts]


def _data(vocabulary: Vocabulary, parts: Sequence[Sequence[Sequence[str]]], settings: TrainingSettings) -> _Data:
    packed = [vocabulary.pack(part, settings.row_length) for part in parts]
    if not all(len(rows.words) for rows in packed):
        raise DataError(f"Every one of {settings.models} models needs words to learn from. Give more sentences.")
    most = max(len(rows.piece_ids) for rows in packed)
    pieces, segments = (
        np.stack([np.pad(part, ((0, most - len(part)), (0, 0))) for part in of])
        for of in ([rows.piece_ids for rows in packed], [rows.segments for rows in packed])
    )
    after, counted = (np.stack(of) for of in zip(*map(targets_of, pieces, segments), strict=True))
    return _Data(pieces, segments, after, counted)


def _orders(data: _Data, settings: TrainingSettings, steps: int, epoch: int) -> Int[np.ndarray, "model step row"]:
    """Returns the rows of every step; the last step takes some rows of the first ones again."""
    count = data.pieces.shape[1]
    generator = np.random.default_rng((settings.seed, epoch))
    orders = [np.resize(generator.permutation(count), steps * settings.rows) for _ in range(settings.models)]
    return np.stack(orders).reshape(settings.models, steps, settings.rows)


def _optimizer(settings: TrainingSettings, steps: int) -> optax.GradientTransformation:
    rate = optax.cosine_decay_schedule(settings.learning_rate, steps * settings.epochs)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))


def _summed_loss(
    config: LstmConfig,
    params: Params,
    batch: Batch,
    after: Int[Array | np.ndarray, "row slot"],
    counted: Bool[Array | np.ndarray, "row slot"],
) -> Float[Array, ""]:
    losses = optax.softmax_cross_entropy_with_integer_labels(logits(config, params, batch), jnp.asarray(after))
    return jnp.where(jnp.asarray(counted), losses, 0.0).sum()


@partial(jax.jit, static_argnums=0)
def _losses(
    config: LstmConfig,
    params: Params,
    batch: Batch,
    after: Int[Array | np.ndarray, "row slot"],
    counted: Bool[Array | np.ndarray, "row slot"],
) -> Float[Array, " model"]:
    return jax.vmap(lambda own: _summed_loss(config, own, batch, after, counted))(params)


@partial(jax.jit, static_argnums=0)
def _states(config: LstmConfig, params: Params, batch: Batch) -> Float[Array, "layer row slot neuron"]:
    return forward(config, params, batch)


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def _epoch(
    config: LstmConfig,
    settings: TrainingSettings,
    steps: int,
    state: tuple[Params, optax.OptState],
    data: _Data,
    orders: Int[Array | np.ndarray, "model step row"],
) -> tuple[tuple[Params, optax.OptState], Float[Array, " model"]]:
    """Does all steps of an epoch of all models; returns their mean losses a word."""
    optimizer = _optimizer(settings, steps)

    def loss(params: Params, rows: Int[Array, " row"], own: _Data) -> tuple[Float[Array, ""], Float[Array, ""]]:
        batch = Batch(own.pieces[rows], jnp.zeros_like(own.pieces[rows]), own.segments[rows])
        words = own.counted[rows].sum().astype(jnp.float32)
        total = _summed_loss(config, params, batch, own.after[rows], own.counted[rows])
        return total / jnp.maximum(words, 1), words

    def train(own_state: tuple[Params, optax.OptState], own: _Data, order: Int[Array, "step row"]):
        def step(before: tuple[Params, optax.OptState], rows: Int[Array, " row"]):
            params, memory = before
            (mean, words), slope = jax.value_and_grad(loss, has_aux=True)(params, rows, own)
            with jax.numpy_dtype_promotion("standard"):  # optax raises floats to the number of the step, an integer
                change, memory = optimizer.update(slope, memory, params)
            return (optax.apply_updates(params, change), memory), (mean * words, words)

        after, (totals, words) = jax.lax.scan(step, own_state, order)
        return after, totals.sum() / words.sum()

    return jax.vmap(train)(state, jax.tree.map(jnp.asarray, data), jnp.asarray(orders))


def _filled(batch: Batch, rows: int) -> Batch:
    """Returns a batch with empty rows behind it, so that it can be cut into parts of one shape."""
    missing = -len(batch.piece_ids) % rows
    return Batch(*(np.pad(np.asarray(part), ((0, missing), (0, 0))) for part in batch[:3]))


def _key(sentences: Sequence[Sequence[str]], settings: TrainingSettings) -> str:
    return hashlib.sha256(json.dumps([asdict(settings), [*map(list, sentences)]]).encode()).hexdigest()


def _write(file: Path, key: str, state: tuple[Params, optax.OptState], curve: tuple[EpochLoss, ...]) -> None:
    leaves = {f"{number:04d}": np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(state))}
    file.parent.mkdir(parents=True, exist_ok=True)
    with write_whole([file], overwrite=True) as (fresh,):
        fresh.write_bytes(pack_tensors(leaves, {"key": key, "curve": curve}))


def _read(
    file: Path, key: str, like: tuple[Params, optax.OptState]
) -> tuple[tuple[Params, optax.OptState], tuple[EpochLoss, ...]]:
    try:
        leaves, facts = unpack_tensors(file.read_bytes())
    except ValueError as error:
        raise StoreError(f"{file} {error}. Delete it and train again.") from None
    if facts["key"] != key:
        raise StoreError(f"{file} has models of other settings or sentences. Give another folder.")
    tree = jax.tree.structure(like)
    curve = tuple(EpochLoss(epoch, tuple(training), tuple(held)) for epoch, training, held in facts["curve"])
    return jax.tree.unflatten(tree, [jnp.asarray(leaves[name]) for name in sorted(leaves)]), curve

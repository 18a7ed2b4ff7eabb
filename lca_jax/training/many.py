"""Trains several stacks of one shape at once: one compiled program an epoch, mapped over models and their own data.

After every epoch everything is written to one file, so that a run that is stopped goes on with the next epoch and ends
with the same weights. Adam, gradients clipped at norm 1, and a learning rate that falls to 0 along a cosine. What is
learnt is left to the loss (`language_models`, `translation_models`).
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Float64, Int, Key, PyTree

from lca_jax.errors import SettingsError, StoreError
from lca_jax.machine.files import real_path, write_whole
from lca_jax.models.stack.stack import Params
from lca_jax.store.tensor_file import pack_tensors, unpack_tensors

ROWS_AT_ONCE = 32
"""Rows that are measured together."""
_log = logging.getLogger(__name__)
State = tuple[Params, optax.OptState]
Loss = Callable[[Params, Any, Key[Array, ""] | None], tuple[Float[Array, ""], Float[Array, ""]]]
"""A function of one model's parameters, rows, and a key for dropout, or None without. It returns the sum of the loss
over what is predicted, in nats, and the number of predictions. It is hashable: programs are compiled for it."""


class EpochLoss(NamedTuple):
    """The loss curve at the end of one epoch."""

    epoch: int
    training: tuple[float, ...]
    """Mean loss a word or piece of every model during the epoch, in nats."""
    perplexity: tuple[float, ...]
    """Perplexity of every model on the held-out texts; empty where none were given."""


class Schedule(NamedTuple):
    """How long and how fast models learn."""

    epochs: int
    rows: int
    """Number of rows of a step."""
    learning_rate: float
    seed: int


def train_many(
    loss: Loss,
    params: Params,
    data: PyTree[np.ndarray],
    schedule: Schedule,
    *,
    file: Path | None,
    key: str,
    measure: Callable[[Params], tuple[float, ...]],
    told: Callable[[EpochLoss], None] | None,
) -> tuple[Params, tuple[EpochLoss, ...]]:
    """Trains models from their first parameters, or goes on from a file.

    Args:
        loss: What is made small.
        params: First parameters of all models, with a leading axis.
        data: Arrays (model, row, …) of every model's rows.
        schedule: How long and how fast.
        file: File that gets everything after every epoch.
        key: What determines the run; a file of another key is refused.
        measure: Returns the perplexities of parameters of all models.
        told: Function that is called after every epoch.

    Returns:
        The trained parameters, and one entry an epoch.

    Raises:
        StoreError: The file is of another run, or was altered.
    """
    models, count = jax.tree.leaves(data)[0].shape[:2]
    steps = -(-count // schedule.rows)
    optimizer = _optimizer(schedule, steps)
    state: State = (params, jax.vmap(optimizer.init)(params))
    curve: tuple[EpochLoss, ...] = ()
    if file is not None and file.exists():
        state, curve = _read(file, key, state)
        _log.info("%s has %d of %d epochs.", file, len(curve), schedule.epochs)
    for epoch in range(len(curve), schedule.epochs):
        orders = _orders(models, count, schedule, steps, epoch)
        keys = jax.random.split(jax.random.fold_in(jax.random.key(schedule.seed), epoch), models)
        state, losses = _epoch(loss, schedule, steps, state, data, orders, keys)
        entry = EpochLoss(epoch + 1, tuple(np.asarray(losses).tolist()), measure(state[0]))
        curve = (*curve, entry)
        if file is not None:
            _write(file, key, state, curve)
        if told is not None:
            told(entry)
    return state[0], curve


def _mean_losses(loss: Loss, params: Params, rows: PyTree[np.ndarray]) -> Float64[np.ndarray, " model"]:
    """Returns the mean loss of every model on the same rows, without dropout."""
    count = len(jax.tree.leaves(rows)[0])
    missing = -count % ROWS_AT_ONCE
    filled = jax.tree.map(lambda part: np.pad(part, ((0, missing), *[(0, 0)] * (part.ndim - 1))), rows)
    total, predicted = 0.0, 0.0
    for first in range(0, count + missing, ROWS_AT_ONCE):
        part = jax.tree.map(lambda whole, first=first: whole[first : first + ROWS_AT_ONCE], filled)
        sums, counts = _sums(loss, params, part)
        total, predicted = total + np.asarray(sums, np.float64), predicted + np.asarray(counts, np.float64)
    return np.asarray(total / predicted)


def perplexities(loss: Loss, params: Params, rows: PyTree[np.ndarray]) -> tuple[float, ...]:
    """Returns the perplexity of every model on the same rows."""
    return tuple(np.exp(_mean_losses(loss, params, rows)).tolist())


def sum_cross_entropy(
    logits: Float[Array, "row slot vocabulary"],
    after: Int[Array | np.ndarray, "row slot"],
    counted: Bool[Array | np.ndarray, "row slot"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns what a `Loss` does: the cross-entropy of what follows the slots that count, summed, and their number."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(after))
    counted = jnp.asarray(counted)
    return jnp.where(counted, losses, 0.0).sum(), counted.sum().astype(jnp.float32)


def stack_models(of_models: list[PyTree[np.ndarray]]) -> PyTree[np.ndarray]:
    """Stacks the rows of several models, with rows of zeros behind those of shorter ones."""
    most = max(len(jax.tree.leaves(rows)[0]) for rows in of_models)

    def stacked(*parts: np.ndarray) -> np.ndarray:
        return np.stack([np.pad(part, ((0, most - len(part)), *[(0, 0)] * (part.ndim - 1))) for part in parts])

    return jax.tree.map(stacked, *of_models)


def split_sentences(count: int, models: int, seed: int, *, divide: bool) -> list[Int[np.ndarray, "_sentence"]]:
    """Returns the sentences of every model: parts of their own, drawn by the seed, or all of them."""
    if divide:
        return np.array_split(np.random.default_rng(seed).permutation(count), models)
    return [np.arange(count)] * models


def count_models(params: Params) -> int:
    """Returns the number of models that parameters with a leading axis are of."""
    return len(jax.tree.leaves(params)[0])


def pick_model(params: Params, model: int) -> Params:
    """Returns the parameters of one of several models.

    Raises:
        SettingsError: There is no model of this number.
    """
    count = count_models(params)
    if not 0 <= model < count:
        raise SettingsError(f"Models run from 0 to {count - 1}, got {model}.")
    return jax.tree.map(lambda leaf: leaf[model], params)


def file_in(out: Path | str | None, name: str) -> Path | None:
    """Returns the file of a folder that a run is kept in; None where it is not kept."""
    return None if out is None else real_path(out) / name


def _orders(models: int, count: int, schedule: Schedule, steps: int, epoch: int) -> Int[np.ndarray, "model step row"]:
    """Returns the rows of every step; the last step takes some rows of the first ones again."""
    generator = np.random.default_rng((schedule.seed, epoch))
    orders = [np.resize(generator.permutation(count), steps * schedule.rows) for _ in range(models)]
    return np.stack(orders).reshape(models, steps, schedule.rows)


def _optimizer(schedule: Schedule, steps: int) -> optax.GradientTransformation:
    rate = optax.cosine_decay_schedule(schedule.learning_rate, steps * schedule.epochs)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))


@partial(jax.jit, static_argnums=0)
def _sums(
    loss: Loss, params: Params, rows: PyTree[Array | np.ndarray]
) -> tuple[Float[Array, " model"], Float[Array, " model"]]:
    return jax.vmap(lambda own: loss(own, rows, None))(params)


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def _epoch(
    loss: Loss,
    schedule: Schedule,
    steps: int,
    state: State,
    data: PyTree[Array | np.ndarray],
    orders: Int[Array | np.ndarray, "model step row"],
    keys: Key[Array, " model"],
) -> tuple[State, Float[Array, " model"]]:
    """Does all steps of an epoch of all models; returns their mean losses."""
    optimizer = _optimizer(schedule, steps)

    def train(own_state: State, own: PyTree[Array], order: Int[Array, "step row"], key: Key[Array, ""]):
        def mean(params: Params, rows: PyTree[Array], step: Int[Array, ""]) -> tuple[Float[Array, ""], Array]:
            total, count = loss(params, rows, jax.random.fold_in(key, step))
            return total / jnp.maximum(count, 1), count

        def step(before: State, numbered: tuple[Int[Array, ""], Int[Array, " row"]]):
            (params, memory), (number, rows) = before, numbered
            chosen = jax.tree.map(lambda part: part[rows], own)
            (loss_now, count), slope = jax.value_and_grad(mean, has_aux=True)(params, chosen, number)
            with jax.numpy_dtype_promotion("standard"):  # optax raises floats to the number of the step, an integer
                change, memory = optimizer.update(slope, memory, params)
            return (optax.apply_updates(params, change), memory), (loss_now * count, count)

        after, (totals, counts) = jax.lax.scan(step, own_state, (jnp.arange(steps, dtype=jnp.int32), order))
        return after, totals.sum() / counts.sum()

    return jax.vmap(train)(state, jax.tree.map(jnp.asarray, data), jnp.asarray(orders), keys)


def _write(file: Path, key: str, state: State, curve: tuple[EpochLoss, ...]) -> None:
    leaves = {f"{number:04d}": np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(state))}
    file.parent.mkdir(parents=True, exist_ok=True)
    with write_whole([file], overwrite=True) as (fresh,):
        fresh.write_bytes(pack_tensors(leaves, {"key": key, "curve": curve}))


def _read(file: Path, key: str, like: State) -> tuple[State, tuple[EpochLoss, ...]]:
    try:
        leaves, facts = unpack_tensors(file.read_bytes())
    except ValueError as error:
        raise StoreError(f"{file} {error}. Delete it and train again.") from None
    if facts["key"] != key:
        raise StoreError(f"{file} has models of other settings or sentences. Give another folder.")
    tree = jax.tree.structure(like)
    curve = tuple(EpochLoss(epoch, tuple(training), tuple(held)) for epoch, training, held in facts["curve"])
    return jax.tree.unflatten(tree, [jnp.asarray(leaves[name]) for name in sorted(leaves)]), curve

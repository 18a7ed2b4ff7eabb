"""LSTM stacks over packed rows: pure functions of their parameters, which `jax.vmap` maps over many models at once.

A row holds several texts, as for transformers (`text.packing`), and the state is reset where a text begins; read from
the end, where it ends. The products of all slots with the input matrices are one product; only those with the state
before are taken slot by slot. The site is `residual`: layer 0 the word vectors, layer l the output of the l-th LSTM. An
edit there changes what the next layer and the head read, not what the next slot of the same layer does.

Source: Hochreiter and Schmidhuber 1997, with forget gates (Gers et al. 2000) and projections (Sak et al. 2014); the
order of the gates in the matrices is input, forget, cell, output, as in PyTorch.
"""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lca_jax.errors import ModelError, SettingsError
from lca_jax.machine.precision import FLOAT32
from lca_jax.models.recurrent.config import LstmConfig
from lca_jax.models.stack.stack import Batch, Params
from lca_jax.models.stack.taps import Edit, Taps

RESIDUAL = "residual"
_GATES = 4
_multiply = partial(jnp.matmul, precision=FLOAT32)
States = Float[Array, "row slot neuron"]


def initial_params(config: LstmConfig, key: Array) -> Params:
    """Draws untrained parameters: uniform within 1/√cells, word vectors within 0.1, as is usual for LSTMs."""
    words, head, *layers = jax.random.split(key, 2 + config.layers)
    params: dict[str, Params] = {
        "words": jax.random.uniform(words, (config.vocabulary, config.width), minval=-0.1, maxval=0.1),
        "bias": jnp.zeros(config.vocabulary),
        "layers": [
            [_initial_direction(config, own) for own in jax.random.split(layer, config.directions)] for layer in layers
        ],
    }
    if not config.tied:
        params["head"] = jax.random.uniform(head, (config.vocabulary, config.width), minval=-0.1, maxval=0.1)
    return params


def _initial_direction(config: LstmConfig, key: Array) -> dict[str, Array]:
    cells, own = config.cell_count, config.direction_width
    shapes = {"input": (config.width, _GATES * cells), "state": (own, _GATES * cells), "bias": (_GATES * cells,)}
    if config.projected:
        shapes["project"] = (cells, own)
    bound = cells**-0.5
    return {
        name: jax.random.uniform(of, shape, minval=-bound, maxval=bound)
        for (name, shape), of in zip(shapes.items(), jax.random.split(key, len(shapes)), strict=True)
    }


def forward(
    config: LstmConfig,
    params: Params,
    batch: Batch,
    edits: Mapping[str, Edit] | None = None,
    *,
    layers: tuple[int, ...] | None = None,
) -> Float[Array, "_layer row _slot neuron"]:
    """Runs the stack over packed rows and returns the requested layers of the site `residual`, after their edits.

    Args:
        config: Shape of the stack.
        params: Its parameters.
        batch: Rows of words; results in padding slots have no meaning.
        edits: Edit of `residual`: scale and shift, (layer, neuron) each. Traced: new values do not recompile.
        layers: Layer numbers; all if None.

    Raises:
        SettingsError: There is no layer of this number, or no site of this name.
        ModelError: An edit is of another shape.
    """
    wanted = tuple(range(config.layers + 1)) if layers is None else layers
    if not wanted or not set(wanted) <= set(range(config.layers + 1)):
        raise SettingsError(f"Layers of `residual` run from 0 to {config.layers}, got {list(wanted)}.")
    taps = Taps(_checked(config, edits), {RESIDUAL: wanted})
    _run(config, params, batch, taps, depth=max(wanted))
    return jnp.stack([taps.captures[RESIDUAL, layer] for layer in wanted])


def logits(
    config: LstmConfig, params: Params, batch: Batch, edits: Mapping[str, Edit] | None = None
) -> Float[Array, "row slot vocabulary"]:
    """Returns the logits of the word after every slot.

    Raises:
        SettingsError: There is no site of this name.
        ModelError: An edit is of another shape.
    """
    states = _run(config, params, batch, Taps(_checked(config, edits), {}), depth=config.layers)
    return _multiply(states, params["words" if config.tied else "head"].T) + params["bias"][None, None, :]


def _checked(config: LstmConfig, edits: Mapping[str, Edit] | None) -> Mapping[str, Edit]:
    shape = (config.layers + 1, config.width)
    for site, edit in (edits or {}).items():
        if site != RESIDUAL:
            raise SettingsError(f"An LSTM has the site `residual` alone, got {site!r}.")
        if (np.shape(edit.scale), np.shape(edit.shift)) != (shape, shape):
            raise ModelError(f"An edit must have scale and shift of shape {shape}, got {np.shape(edit.scale)}.")
    return edits or {}


def _run(config: LstmConfig, params: Params, batch: Batch, taps: Taps, *, depth: int) -> States:
    segments = jnp.asarray(batch.segments)
    changes = segments[:, 1:] != segments[:, :-1]
    edge = jnp.ones_like(segments[:, :1], bool)
    begins, ends = jnp.concatenate([edge, changes], axis=1), jnp.concatenate([changes, edge], axis=1)
    states = taps(RESIDUAL, 0, params["words"][jnp.asarray(batch.piece_ids)])
    for layer in range(depth):
        own = params["layers"][layer]
        parts = [_read(own[0], states, begins, reverse=False)]
        if config.bidirectional:
            parts.append(_read(own[1], states, ends, reverse=True))
        states = taps(RESIDUAL, layer + 1, jnp.concatenate(parts, axis=-1))
    return states


def _read(
    params: Params, states: States, resets: Bool[Array, "row slot"], *, reverse: bool
) -> Float[Array, "row slot own"]:
    """Reads rows in one direction; `resets` marks the slots before which nothing was read."""
    inputs = _multiply(states, params["input"]) + params["bias"][None, None, :]
    cells = inputs.shape[-1] // _GATES
    none = jnp.zeros_like(inputs[:, 0, : params["state"].shape[0]]), jnp.zeros_like(inputs[:, 0, :cells])

    def step(
        before: tuple[Float[Array, "row own"], Float[Array, "row cell"]],
        slot: tuple[Float[Array, "row gate"], Bool[Array, " row"]],
    ) -> tuple[tuple[Float[Array, "row own"], Float[Array, "row cell"]], Float[Array, "row own"]]:
        of_slot, reset = slot
        state, cell = (jnp.where(reset[:, None], 0.0, part) for part in before)
        gates = of_slot + _multiply(state, params["state"])
        enter, keep, new, leave = jnp.split(gates, _GATES, axis=-1)
        cell = jax.nn.sigmoid(keep) * cell + jax.nn.sigmoid(enter) * jnp.tanh(new)
        state = jax.nn.sigmoid(leave) * jnp.tanh(cell)
        if "project" in params:
            state = _multiply(state, params["project"])
        return (state, cell), state

    by_slot = jnp.swapaxes(inputs, 0, 1), resets.T
    return jnp.swapaxes(jax.lax.scan(step, none, by_slot, reverse=reverse)[1], 0, 1)

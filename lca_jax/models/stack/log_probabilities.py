"""Log-probabilities of the pieces of a text, with the head in blocks of slots.

Logits of all slots at once are the largest array of a language model: 192 MiB for 4 x 256 slots and 49,152 pieces, and
twice that with their softmax. Nothing of that size is made here: the last hidden states are kept, and the head reads a
block of slots at a time, of at most 24 MiB of logits. What is returned has one number a slot.

References:
    Masked models: Salazar et al. 2020, Masked Language Model Scoring, section 2 (pseudo-log-likelihood).
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from lca_jax.errors import ModelError
from lca_jax.models.stack.attention_config import RelativeSinusoids
from lca_jax.models.stack.stack import Batch, Params, Stack, require_targets
from lca_jax.models.stack.taps import Edit

_LOGITS = 6 * 2**20
"""Number of logits in a block."""


def log_probabilities(
    graph: nnx.GraphDef[Stack],
    params: Params,
    batch: Batch,
    edits: Mapping[str, Edit] | None = None,
    *,
    targets: Batch | None = None,
    mask_piece: int | None = None,
) -> Float[Array, "row slot"]:
    """Returns the log-probability of the piece in every slot, in nats; 0 where it has none.

    Args:
        graph: The module graph of `stack.build`.
        params: Its parameters.
        batch: Rows of pieces.
        edits: Site to edit.
        targets: Rows of pieces for the decoder, from its start piece on.
        mask_piece: The piece that a masked model reads in place of the one that it predicts.

    Raises:
        ModelError: `targets` or the mask piece are missing, or the model predicts pieces in a way of its own.
    """
    stack, edits = nnx.merge(graph, params), edits or {}
    if stack.decoder is not None or stack.config.attention.causal:
        written = batch if stack.decoder is None else require_targets(targets)
        return _of_following(stack, written, stack.last_states(batch, edits, targets=targets))
    if isinstance(stack.config.attention.relative, RelativeSinusoids) or mask_piece is None:
        why = "its tokenizer has no mask piece" if mask_piece is None else "it predicts pieces in a drawn order"
        raise ModelError(
            f"A {stack.config.family!r} model gives no log-probabilities here: {why}. Use a causal or a masked model."
        )
    chosen = _of_pieces(stack, _masked_states(stack, batch, edits, mask_piece), jnp.asarray(batch.piece_ids))
    return jnp.where(jnp.asarray(batch.segments) > 0, chosen, 0.0)


def _of_following(stack: Stack, texts: Batch, states: Float[Array, "row slot neuron"]) -> Float[Array, "row slot"]:
    """Every slot predicts the piece of the next one, so a window's first piece is predicted by none."""
    ids, positions, segments = (jnp.asarray(part) for part in texts[:3])
    chosen = _of_pieces(stack, states, jnp.roll(ids, -1, axis=1))
    return jnp.where((positions > 0) & (segments > 0), jnp.roll(chosen, 1, axis=1), 0.0)


def _masked_states(
    stack: Stack, batch: Batch, edits: Mapping[str, Edit], mask_piece: int
) -> Float[Array, "row slot neuron"]:
    """Returns for every slot its last hidden state with its own piece masked: one pass for each place in a window.

    The windows of a row do not see each other, so a pass masks one piece in each of them.
    """
    positions = jnp.asarray(batch.positions)
    last = jnp.where(jnp.asarray(batch.segments) > 0, positions, 0).max()

    def mask(place: Int[Array, ""], kept: Float[Array, "row slot neuron"]) -> Float[Array, "row slot neuron"]:
        here = positions == place
        masked = batch._replace(piece_ids=jnp.where(here, mask_piece, batch.piece_ids))
        return jnp.where(here[:, :, None], stack.last_states(masked, edits), kept)

    nothing = jnp.zeros((*positions.shape, stack.config.residual_width), jnp.dtype(stack.config.dtype))
    return jax.lax.fori_loop(jnp.zeros_like(last), last + 1, mask, nothing)


def _of_pieces(
    stack: Stack, states: Float[Array, "row slot neuron"], pieces: Int[Array, "row slot"]
) -> Float[Array, "row slot"]:
    """Returns the log-probability that each slot's state gives to a piece, block by block."""
    slots = pieces.size
    vocabulary = (stack.decoder or stack).config.embedding.vocabulary
    size = min(max(1, _LOGITS // vocabulary), slots)
    blocks = -(-slots // size)
    padding = blocks * size - slots
    flat_states = jnp.pad(states.reshape(slots, -1), ((0, padding), (0, 0))).reshape(blocks, size, -1)
    flat_pieces = jnp.pad(pieces.reshape(slots), (0, padding)).reshape(blocks, size)

    def of_block(block: tuple[Float[Array, "slot neuron"], Int[Array, " slot"]]) -> Float[Array, " slot"]:
        logits = stack.logits(block[0][None])[0]
        chosen = jnp.take_along_axis(logits, block[1][:, None], axis=1)[:, 0]
        return chosen - jax.nn.logsumexp(logits, axis=1)

    return jax.lax.map(of_block, (flat_states, flat_pieces)).reshape(-1)[:slots].reshape(pieces.shape)

"""Causal texts that begin alike: what the layers computed for their common beginning is computed once.

Few-shot prompts share most of their pieces. The beginning runs once, in one row; its keys and values are the first
places of every row's cache, and a row runs its own pieces alone. All functions are pure and are compiled for a few
shapes: own pieces are padded to powers of two, beginnings are cut to multiples of 16 pieces.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from lca_jax.models.stack.memory import Cache, Memory, empty_cache
from lca_jax.models.stack.stack import Batch, Params, Stack
from lca_jax.models.stack.taps import Taps
from lca_jax.models.writing.sampling import draw_pieces
from lca_jax.models.writing.search import GeneratedPieces, search_singly, take_likeliest


class Beginnings(NamedTuple):
    """Texts after their common beginning, one a row."""

    common: Cache
    """The common beginning, one row of as many places as it has pieces."""
    own: Int[Array, "row slot"]
    """Each row's further pieces, then padding."""
    lengths: Int[Array, " row"]
    """Number of these pieces in each row, at least 1."""


class Draws(NamedTuple):
    """How pieces are drawn; traced, so that new values do not compile."""

    keys: Key[Array, " row_sample"]
    temperature: Float[Array, ""]
    top_p: Float[Array, ""]


def read_common(graph: nnx.GraphDef[Stack], params: Params, pieces: Int[Array, " piece"]) -> Cache:
    """Runs the common beginning of some texts in one row, and returns its cache."""
    stack = nnx.merge(graph, params)
    cache = empty_cache(stack.config, rows=1, places=len(pieces))
    positions = jnp.arange(len(pieces), dtype=jnp.int32)[None]
    return _run(stack, cache, pieces[None], positions)[1] if len(pieces) else cache


def write_after(
    graph: nnx.GraphDef[Stack],
    params: Params,
    begun: Beginnings,
    draws: Draws | None,
    stops: Int[Array, "state vocabulary"] | None,
    *,
    samples: int,
    longest: int,
    ends: Sequence[int],
    never: Sequence[int],
) -> GeneratedPieces:
    """Continues texts; the samples of a text follow each other.

    Args:
        graph: The module graph of a causal stack with a head.
        params: Its parameters.
        begun: The texts.
        draws: How pieces are drawn; None takes the most likely ones.
        stops: The automaton of texts that end a text.
        samples: Number of continuations of each text.
        longest: Maximum number of pieces in a continuation.
        ends: Pieces that end a text.
        never: Pieces that are never chosen.
    """
    stack = nnx.merge(graph, params)
    cache, logits, following = _begin(stack, begun, room=longest)
    cache, logits, following = jax.tree.map(lambda part: jnp.repeat(part, samples, axis=0), (cache, logits, following))

    def step(
        cache: Cache, newest: Int[Array, " row"], positions: Int[Array, " row"]
    ) -> tuple[Float[Array, "row vocabulary"], Cache]:
        states, cache = _run(stack, cache, newest[:, None], positions[:, None])
        return stack.logits(states)[:, 0], cache

    choose = take_likeliest if draws is None else draw_pieces(draws.keys, draws.temperature, draws.top_p)
    settings = {"longest": longest, "ends": ends, "never": never, "stops": stops}
    return search_singly(step, cache, logits, following, choose=choose, **settings)


def score_after(
    graph: nnx.GraphDef[Stack],
    params: Params,
    begun: Beginnings,
    continuations: Int[Array, "continuation piece"],
) -> Float[Array, "row continuation"]:
    """Returns the log probability of each given continuation after each text, the sum over its pieces.

    Args:
        graph: The module graph of a causal stack with a head.
        params: Its parameters.
        begun: The texts.
        continuations: Pieces of each continuation, all of one length.
    """
    stack = nnx.merge(graph, params)
    longest = continuations.shape[1]
    cache, logits, following = _begin(stack, begun, room=longest)
    first = jax.nn.log_softmax(logits, axis=1)[:, continuations[:, 0]]
    if longest == 1:
        return first
    rows = logits.shape[0]
    places = following[:, None] + jnp.arange(longest - 1, dtype=jnp.int32)[None, :]

    def score(pieces: Int[Array, " piece"]) -> Float[Array, " row"]:
        states, _ = _run(stack, cache, jnp.broadcast_to(pieces[None, :-1], (rows, longest - 1)), places)
        chances = jax.nn.log_softmax(stack.logits(states), axis=2)
        of_pieces = jnp.take_along_axis(
            chances, jnp.broadcast_to(pieces[None, 1:, None], (rows, longest - 1, 1)), axis=2
        )
        return of_pieces[:, :, 0].sum(axis=1)

    return first + jax.lax.map(score, continuations).T


def _begin(
    stack: Stack, begun: Beginnings, *, room: int
) -> tuple[Cache, Float[Array, "row vocabulary"], Int[Array, " row"]]:
    """Runs each row's own pieces; returns the cache, the logits of the next piece and its position."""
    rows, slots = begun.own.shape

    def widen(part: Array) -> Array:
        part = jnp.broadcast_to(part, (rows, *part.shape[1:]))
        return jnp.pad(part, [(0, 0), (0, slots + room), *[(0, 0)] * (part.ndim - 2)])

    common = jax.tree.leaves(begun.common["text"])[0].shape[1]
    cache = Cache(text=jax.tree.map(widen, begun.common["text"]), encoder={})
    # Padding is stored at places that the text overwrites before any piece can see them.
    positions = jnp.broadcast_to(common + jnp.arange(slots, dtype=jnp.int32), (rows, slots))
    states, cache = _run(stack, cache, begun.own, positions)
    last = jnp.take_along_axis(states, (begun.lengths - 1)[:, None, None], axis=1)
    return cache, stack.logits(last)[:, 0], common + begun.lengths


def _run(
    stack: Stack, cache: Cache, pieces: Int[Array, "row slot"], positions: Int[Array, "row slot"]
) -> tuple[Float[Array, "row slot neuron"], Cache]:
    """Returns the last hidden states of new pieces, and the cache with them added."""
    memory = Memory(Cache(text=dict(cache["text"]), encoder={}), positions)
    batch = Batch(pieces, positions, jnp.ones_like(pieces))
    states = stack(batch, layers=stack.config.layers, taps=Taps({}, {}), memory=memory)
    assert memory.cache is not None
    return states, memory.cache
